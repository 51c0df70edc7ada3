"""Orders: orders, their lines, fulfilment choices, and holds."""
