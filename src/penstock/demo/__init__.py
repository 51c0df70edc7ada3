"""The sample retailer: real orders of a UK gift shop, and the made network that serves them."""
