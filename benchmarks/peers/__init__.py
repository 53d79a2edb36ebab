"""The same small service five times: behind this edge, FastAPI (`def` and `async`), Litestar and bare ASGI."""
