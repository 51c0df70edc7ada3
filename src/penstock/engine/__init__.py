"""The engine: events in, rulesets matched, rules applied in batches. It knows nothing of orders."""
