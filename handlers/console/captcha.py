"""Where a client gets what it has to solve for a `captcha_token`: the same for all surfaces, so a page of none."""

from __future__ import annotations

from datetime import UTC, datetime

from flask import Blueprint, Response, jsonify

from domain.identity import captcha

blueprint = Blueprint("captcha", __name__)


@blueprint.get("/captcha/challenge")
def challenge() -> Response:
    """A fresh challenge, for the ALTCHA widget (`<altcha-widget challenge="/captcha/challenge">`) or any client."""
    response = jsonify(captcha.challenge(datetime.now(UTC)))
    response.headers["Cache-Control"] = "no-store"
    return response
