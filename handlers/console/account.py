"""The pages that mails lead to, and those that one comes in by: sign in and up, verify, reset, invitations, claims.

They hold no rule and no secret: a page is forms (`forms.py`) that a script sends to the published operations of the
surface that is named in the address, and what that answers is shown. What stands behind `#` never reaches this server
but in the body of such a call. Invitations and claims are looked at and answered here, because no contract has an
operation for it; their token is the proof.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, cast

from flask import Blueprint, Response, jsonify, redirect, render_template, request
from werkzeug.exceptions import NotFound

from domain.identity import roles, welcome
from domain.identity.connector import claims
from domain.identity.policies import DELETION_GRACE
from domain.kernel.context import AnonymousActor
from domain.kernel.errors import DomainError, Invalid
from handlers.console.calls import call, served
from handlers.console.forms import JOIN, REFUSALS, SITES, Form, Site
from handlers.wiring import timestamp
from thalweg.edge import strictjson
from thalweg.edge.problem import CODES

if TYPE_CHECKING:
    from werkzeug.wrappers import Response as AnyResponse

    from domain.identity.connector.claims import Claim
    from domain.identity.welcome import Welcome
    from domain.kernel.context import Ctx
    from domain.kernel.db import Database
    from thalweg.portal.surfaces import Surface

LONGEST = 4096
"""Bytes of a body that holds a token."""
CHOICE = "/account#surfaces"
"""The choice of a surface. Its own fragment takes the place of one that holds a token: browsers would carry that on."""
WORKSPACE = {"chat": "/console/chat", "documents": "/console/documents"}
"""Where a sign-in goes on to, by `then` in the address. Nothing else is: an address is never taken from outside."""


def blueprint(database: Database) -> Blueprint:
    made = Blueprint(
        "account", __name__, template_folder="templates", static_folder="static", static_url_path="/account/static"
    )

    # --- pages ------------------------------------------------------------------------------------------------

    @made.get("/account")
    def index() -> str:
        """Which surface is meant."""
        return render_template("account/index.html", sites=[site for site in SITES.values() if site.key in served()])

    @made.get("/account/sign-in")
    def sign_in() -> str | AnyResponse:
        """With `error`: why somebody comes back from another provider without a session."""
        error = request.args.get("error")
        refusal = None if error is None else REFUSALS.get(error, "The sign-in did not work. Try again.")
        onward = WORKSPACE.get(request.args.get("then", "")) if request.args.get("surface") == "thallus" else None
        return _page("sign-in", refusal=refusal, grace=DELETION_GRACE.days, onward=onward)

    @made.get("/account/sign-up")
    def sign_up() -> str | AnyResponse:
        return _page("sign-up")

    @made.get("/account/verify")
    def verify() -> str | AnyResponse:
        return _page("verify", borrowed="verify")

    @made.get("/account/forgot")
    def forgot() -> str | AnyResponse:
        return _page("forgot", borrowed="forgot")

    @made.get("/account/reset")
    def reset() -> str | AnyResponse:
        return _page("reset", borrowed="reset")

    @made.get("/account/invite")
    def invite() -> str | AnyResponse:
        return _page("invite", join=JOIN)

    @made.get("/account/claim")
    def claim() -> str | AnyResponse:
        return _page("claim")

    # --- what no contract has -----------------------------------------------------------------------------------

    @made.post("/account/invite/look")
    def look_at_invite() -> Response:
        with _visit(database) as ctx:
            return jsonify(_welcome(welcome.look(ctx, _given("token")["token"])))

    @made.post("/account/invite/join")
    def join_by_invite() -> Response:
        surface, given = _surface(), _given("token", "password")
        with _visit(database) as ctx:
            joined = welcome.join(ctx, surface, given["token"], given["password"])
        return jsonify({"message": f"You belong to “{joined.organisation}” now. Sign in."})

    @made.post("/account/claim/look")
    def look_at_claim() -> Response:
        with _visit(database) as ctx:
            return jsonify(_claim(claims.look(ctx, _given("token")["token"])))

    @made.post("/account/claim/accept")
    def accept_claim() -> Response:
        with _visit(database) as ctx:
            return jsonify(_claim(claims.decide(ctx, _given("token")["token"], accepted=True)))

    @made.post("/account/claim/decline")
    def decline_claim() -> Response:
        with _visit(database) as ctx:
            return jsonify(_claim(claims.decide(ctx, _given("token")["token"], accepted=False)))

    @made.app_context_processor
    def everywhere() -> dict[str, Any]:
        """For the bar at the top of all pages, and the front page: address, name, the surface it needs, what for."""
        return {
            "more_pages": [
                (WORKSPACE["chat"], "Chat", "thallus", "ask, and watch the answer come with what it rests on"),
                (WORKSPACE["documents"], "Documents", "thallus", "upload, search, and open the place that was found"),
                ("/account", "Account", None, "sign up, in and out"),
            ]
        }

    @made.errorhandler(DomainError)
    def refused(error: DomainError) -> tuple[Response, int, dict[str, str]]:
        status, title = CODES.get(error.code, CODES["internal"])
        wait = error.facts.get("retry_after")
        headers = {} if wait is None else {"Retry-After": str(wait)}
        return jsonify({"error": title, "message": error.message, "reason": error.facts.get("reason")}), status, headers

    @made.after_request
    def private(response: Response) -> Response:
        if request.method == "POST":
            response.headers["Cache-Control"] = "no-store"
        return response

    return made


# --- what the pages lean on ---------------------------------------------------------------------------------------


def _page(name: str, *, borrowed: str | None = None, **more: Any) -> str | AnyResponse:
    """A page for the surface in the address; where none is named, on to the choice of one. `borrowed`: the form that
    another surface may lend, because the account behind both is the same."""
    surfaces = served()
    key = request.args.get("surface")
    if not key:
        return redirect(CHOICE, 303)
    if key not in SITES or key not in surfaces:
        raise NotFound
    site = lender = SITES[key]
    if borrowed is not None and getattr(site, borrowed) is None:
        others = (one for one in SITES.values() if one.key in surfaces and getattr(one, borrowed) is not None)
        lender = next(others, site)
    return render_template(
        f"account/{name}.html",
        site=site,
        lender=lender,
        facts=_facts(site, surfaces[key]) | {"onward": more.get("onward")},
        where=lambda form, of=lender: _where(form, surfaces[of.key]),
        **more,
    )


def _facts(site: Site, surface: Surface) -> dict[str, Any]:
    """What the script has to know of a surface: where its operations are, and what their answers hold."""
    names = ("me", "out", "policy", "renew", "send_verification", "sessions", "revoke")
    wanted = {name: getattr(site, name) for name in names}
    return {
        "key": site.key,
        "name": site.name,
        "calls": {name: call(surface, operation) for name, operation in wanted.items() if operation is not None},
        "tokens": asdict(site.tokens),
        "shown": site.shown,
        "verified": site.verified,
        "providers": site.providers,
        "returns": site.returns,
    }


def _where(form: Form, surface: Surface) -> dict[str, str]:
    if form is JOIN:
        return {"method": "POST", "url": f"/account/invite/join?surface={surface.key}"}
    return call(surface, form.operation)


def _visit(database: Database) -> AbstractContextManager[Ctx]:
    """A context of whoever holds a token."""
    return database.context(
        AnonymousActor(request.remote_addr),
        None,
        address=request.remote_addr,
        user_agent=request.headers.get("User-Agent"),
    )


def _surface() -> str:
    """The surface in the address. Raises `Invalid`."""
    surface = request.args.get("surface", "")
    if surface not in SITES:
        raise Invalid("The link is not complete. Open it in the mail again.")
    return surface


def _given(*names: str) -> dict[str, str]:
    """Texts out of the body of the request. Raises `Invalid`."""
    try:
        body = strictjson.loads(request.get_data()[: LONGEST + 1])
    except strictjson.JsonError:
        body = None
    given = {name: body.get(name) for name in names} if isinstance(body, dict) and request.is_json else {}
    if not given or not all(isinstance(text, str) and 1 <= len(text) <= 512 for text in given.values()):
        raise Invalid("The link is not complete. Open it in the mail again.")
    return cast("dict[str, str]", given)


def _welcome(found: Welcome) -> dict[str, Any]:
    """An invitation, its role as the surface in the address calls it."""
    surface = request.args.get("surface", "")
    return {
        "organisation": found.organisation,
        "invited_by": found.invited_by,
        "role": roles.called(surface, found.role) if found.role and surface in SITES else None,
        "email": found.email,
        "has_account": found.has_account,
        "expires_at": timestamp(found.expires_at),
    }


def _claim(found: Claim) -> dict[str, Any]:
    return {
        "organisation": found.organisation,
        "base_url": found.base_url,
        "instance_id": found.instance_id,
        "administrator": found.administrator,
        "expires_at": timestamp(found.expires_at),
        "accepted": found.accepted,
    }
