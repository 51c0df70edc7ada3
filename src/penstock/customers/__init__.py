"""Customers: who orders, with a tier and an address."""
