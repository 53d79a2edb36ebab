"""Where a sign-in through an organisation's own identity provider begins, and where one in a window ends.

`/account/saml` sends the browser off with a request; where several organisations have a provider, it asks for the short
name of one first. `/account/popup` tells the page that opened it. Bee Flow's contract leads to both.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from uuid import UUID

from flask import Blueprint, Response, make_response, redirect, render_template, request
from werkzeug.exceptions import NotFound

from domain.identity.federation import flows, registry, saml_flow
from domain.kernel.context import AnonymousActor, Ctx
from domain.kernel.db import Database
from domain.kernel.errors import DomainError
from handlers.beeflow import wire_sso
from handlers.console.calls import served
from thalweg.edge.problem import CODES
from thalweg.portal.blueprint import POLICY

LEADS_ON = POLICY.replace("form-action 'self'", "form-action 'self' https: http:")
"""Browsers hold the address that a form is redirected to against its page's policy, too."""


def blueprint(database: Database) -> Blueprint:
    made = Blueprint("saml", __name__, template_folder="templates")

    @made.before_request
    def only_beside_bee_flow() -> None:
        if saml_flow.SURFACE not in served():
            raise NotFound

    @made.get(flows.SAML_PAGE)
    def begin() -> Response:
        """`organization`: its id or short name. `redirect` and `mode` as with the other ways to sign in."""
        named = request.args.get("organization", "").strip()
        if not named and len(registry.current().saml) > 1:
            return _page(200)
        try:
            departure = _depart(database, named)
        except DomainError as refused:
            return _page(CODES.get(refused.code, CODES["internal"])[0], refused.message)
        answer = make_response(redirect(departure.location))
        answer.headers["Cache-Control"] = "no-store"
        answer.headers.add("Set-Cookie", wire_sso.state_cookie(departure.browser))
        return answer

    @made.get(flows.POPUP_PAGE)
    def arrived() -> str:
        return render_template("account/popup.html")

    return made


def _depart(database: Database, named: str) -> flows.Departure:
    with _visit(database) as ctx:
        organisation_id = _id(named) or (saml_flow.organisation_named(ctx, named) if named else None)
    idp = saml_flow.way_to(organisation_id)  # between two transactions: the metadata may have to be fetched
    mode, wanted = request.args.get("mode", "redirect"), request.args.get("redirect")
    with _visit(database) as ctx:
        return saml_flow.depart(ctx, idp, redirect=wanted, mode=mode)


def _visit(database: Database) -> AbstractContextManager[Ctx]:
    return database.context(AnonymousActor(request.remote_addr), None, address=request.remote_addr)


def _page(status: int, refusal: str | None = None) -> Response:
    kept = {name: request.args[name] for name in ("redirect", "mode") if name in request.args}
    answer = make_response(render_template("account/saml.html", refusal=refusal, kept=kept), status)
    answer.headers["Content-Security-Policy"] = LEADS_ON
    return answer


def _id(named: str) -> UUID | None:
    try:
        return UUID(named)
    except ValueError:
        return None
