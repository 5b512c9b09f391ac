"""The HTTP side of the service: routes, tokens, limits, answers."""
