"""Network: locations, networks, calendars, capacities, sourcing profiles."""
