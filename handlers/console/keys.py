"""The published keys of access tokens, for whoever verifies them without asking."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from domain.identity import tokens
from domain.kernel.context import AnonymousActor
from domain.kernel.db import Database


def blueprint(database: Database) -> Blueprint:
    made = Blueprint("keys", __name__)

    @made.get("/.well-known/jwks.json")
    def key_set() -> Response:
        """RFC 7517. A key stands here an hour before it signs: keeping a copy for that long is safe."""
        with database.context(AnonymousActor(), None) as ctx:
            response = jsonify(tokens.key_set(ctx))
        response.headers["Content-Type"] = "application/jwk-set+json"
        response.headers["Cache-Control"] = "public, max-age=600"
        return response

    return made
