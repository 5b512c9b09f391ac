"""HTTP: routes, tokens, rate limits, answers."""
