"""The way of a request: guard, route, authenticate, authorise, limit, parse and validate, idempotency, handler, reply."""
