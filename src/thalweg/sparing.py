"""What an API process is spared: modules that are imported by what it imports, and that hardly any process uses.

`spare()` puts them off before anything else is imported; each is run when it is first asked for. Start-up was a fifth
slower with them. tests/launcher/test_start_of_a_server.py watches that what is put off stays away.
"""

from __future__ import annotations

from contextlib import suppress

from thalweg.edge.later import import_later

__all__ = ["spare"]

SPARED: dict[str, tuple[str, ...]] = {
    "numpy": (),
    "requests": (),
    "httpx": (),
    "rich.traceback": ("Traceback",),
    "starlette.testclient": ("TestClient",),
    "uvicorn.main": ("Server", "main", "run"),
    "uvicorn.middleware.wsgi": ("WSGIMiddleware",),
    "werkzeug.serving": ("is_running_from_reloader", "run_simple"),
    "yaml": (),
    "connexion.json_schema": (
        "Draft4RequestValidator",
        "Draft4ResponseValidator",
        "NullableTypeValidator",
        "URLHandler",
        "format_error_with_path",
        "resolve_refs",
    ),
    "connexion.apps.asynchronous": ("AsyncApi", "AsyncApp"),
    "connexion.apps.flask": ("FlaskApi", "FlaskApp"),
    "connexion.middleware.request_validation": ("RequestValidationMiddleware",),
    "connexion.middleware.response_validation": ("ResponseValidationMiddleware",),
    "connexion.middleware.routing": ("RoutingMiddleware",),
    "connexion.middleware.security": ("SecurityMiddleware",),
    "connexion.middleware.server_error": ("ServerErrorMiddleware",),
    "connexion.middleware.swagger_ui": ("SwaggerUIMiddleware",),
    "sqlalchemy.dialects.postgresql.asyncpg": (),
    "sqlalchemy.dialects.postgresql.pg8000": (),
}
"""Module to what of it is asked for by name when it is imported."""


def spare() -> None:
    """Put the modules off. What has been imported already stays."""
    for name, callables in SPARED.items():
        with suppress(ModuleNotFoundError):
            import_later(name, *callables, parents=False)
