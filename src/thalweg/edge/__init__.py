"""The way of a request: guard, route, authenticate, authorise, limit, validate, idempotency, handler, reply."""
