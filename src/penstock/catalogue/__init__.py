"""Catalogue: products and the catalogues they are in."""
