"""Pictures of accounts, at addresses that change with them."""

from __future__ import annotations

from uuid import UUID

from flask import Blueprint, Response

from domain.identity import pictures
from domain.kernel.context import AnonymousActor
from domain.kernel.db import Database
from domain.kernel.errors import DomainError


def blueprint(database: Database) -> Blueprint:
    made = Blueprint("pictures", __name__)

    @made.get(f"{pictures.PATH}/<uuid:account_id>/<name>.webp")
    def picture(account_id: UUID, name: str) -> Response:
        """Pages show it by its address alone, without a credential; the address holds 128 random bits."""
        try:
            with database.context(AnonymousActor(), None) as ctx:
                data = pictures.read(ctx, account_id, name)
        except DomainError as missing:
            return Response(missing.message, status=404 if missing.code == "not_found" else 503, mimetype="text/plain")
        response = Response(data, mimetype=pictures.MEDIA_TYPE)
        response.headers["Cache-Control"] = "public, max-age=604800, immutable"
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
        return response

    return made
