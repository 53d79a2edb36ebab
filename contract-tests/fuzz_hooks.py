"""What Schemathesis is told beside the contract: people to be, and for each operation a request that succeeds.

Loaded by Schemathesis (`SCHEMATHESIS_HOOKS`), in its own process, against the platform that the tests have started.
Every thread is a person of its own: what one signs out of does not end the other's session.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import recipes
import schemathesis
from recipes import RECIPES, Call, Person, World
from recipes.world import ELSEWHERE, OPERATORS

from domain import identity
from domain.kernel import crypto
from domain.kernel.db import Database
from domain.startup import load_tables

SURFACE = os.environ["FUZZ_SURFACE"]
CREDENTIALS = frozenset({"authorization", "x-beeflow-sig"})
"""Headers by which a recipe proves who asks."""


def _world() -> World:
    load_tables()
    recipes.load()
    crypto.use(crypto.KeyRing(dict([os.environ["THALWEG_SECRET_KEYS"].split(":", 1)])))
    identity.tokens.configure(os.environ["FUZZ_URL"])
    identity.captcha.configure("off", production=False)
    database = Database(os.environ["THALWEG_DATABASE_URL"], pool_size=4)
    return World(os.environ["FUZZ_URL"], database, Path(os.environ["THALWEG_DATA_DIR"]))


world = _world()
mine = threading.local()
brought: dict[str, dict[str, str]] = {}
"""The credential of each case that a recipe made."""
forms: dict[str, Call] = {}
"""Of each case of a recipe that sends files, the recipe's call: a generated form has no names of files."""


def person(operator: bool) -> Person:
    """This thread's person, made anew when the last was signed out."""
    name = "operator" if operator else "owner"
    found: Person | None = getattr(mine, name, None)
    if found is None:
        found = world.person(SURFACE, platform_role="superadmin" if operator else None)
        setattr(mine, name, found)
    return found


def definition(operation: Any) -> dict[str, Any]:
    raw: dict[str, Any] = operation.definition.raw
    return raw


def key() -> str:
    """An API key of this thread's organisation, for operations that take nothing else."""
    found: str | None = getattr(mine, "key", None)
    if found is None:
        owner = person(False)
        with world.acting(owner) as ctx:
            found = identity.issue_api_key(ctx, "fuzz", ["write"], "thalian")[1]
        mine.key = found
    return found


@schemathesis.auth(refresh_interval=None, retry_on=[])
class Somebody:
    """The credential that the operation asks for, unless the case brings its own."""

    def get(self, case: Any, context: Any) -> dict[str, str]:
        raw = definition(case.operation)
        options = [name for option in raw.get("security", []) for name in option]
        if SURFACE == "thalian" and options == ["apiKey"]:
            return {"Authorization": f"Bearer {key()}"}
        who = person(raw.get("x-permission") in OPERATORS)
        if options == ["refreshCookie"]:
            return {"Cookie": f"refresh_token={world.again(who).refresh_token}"}
        return who.headers() if options else {}

    def set(self, case: Any, data: dict[str, str], context: Any) -> None:
        case.headers = case.headers or {}
        case.headers.update(data)


@schemathesis.hook
def before_add_examples(context: Any, examples: list[Any]) -> None:
    """The operation's recipe, among the examples: so each one is reached with success at least once."""
    operation = context.operation
    name = definition(operation).get("operationId", "")
    made = RECIPES.get((SURFACE, name))
    if made is not None and name not in ELSEWHERE:
        examples.append(case_of(operation, made(world)))


def case_of(operation: Any, call: Call) -> Any:
    given: dict[str, Any] = {}
    who = call.who
    if who is None and not call.public:
        raw = definition(operation)
        who = world.person(SURFACE, platform_role="superadmin" if raw.get("x-permission") in OPERATORS else None)
    credential = {} if who is None or call.public else who.headers()
    if call.cookies:
        credential["Cookie"] = "; ".join(f"{name}={value}" for name, value in call.cookies.items())
    body = call.json if call.json is not None else call.form if call.form is not None else call.content
    if call.files:
        given["media_type"] = "multipart/form-data"
        body = {
            **(call.form or {}),
            **{name: value[1] if isinstance(value, tuple) else value for name, value in call.files.items()},
        }
    elif call.form is not None:
        given["media_type"] = "application/x-www-form-urlencoded"
    elif call.json is not None:
        given["media_type"] = "application/json"
    if body is not None:
        given["body"] = body
    case = operation.Case(
        path_parameters={name: str(value) for name, value in call.path.items()},
        query={name: str(value) for name, value in call.query.items()},
        headers=dict(call.headers),
        **given,
    )
    brought[case.id] = credential | {n: v for n, v in call.headers.items() if n.lower() in CREDENTIALS}
    if call.files:
        forms[case.id] = call
    return case


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """A recipe's own credential; and a case that names a workspace means the caller's."""
    if case.id in brought:
        case.headers = {**(case.headers or {}), **brought[case.id]}
        case._has_explicit_auth = bool(brought[case.id])
        if case.id in forms:
            kwargs |= {"files": forms[case.id].files, "data": forms[case.id].form}
        return
    if _is_uuid((case.headers or {}).get("Idempotency-Key")):
        case.headers["Idempotency-Key"] = str(uuid4())  # an example that stands in every request is one request's key
    own = getattr(mine, "owner", None)
    for part in (case.query, case.body):
        if own is not None and isinstance(part, dict) and _is_uuid(part.get("workspaceId")):
            part["workspaceId"] = str(own.organisation_id)


def _is_uuid(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(UUID(value))
    except ValueError:
        return False


@schemathesis.hook
def after_call(context: Any, case: Any, response: Any) -> None:
    """Whoever was signed out, or cannot sign in any more, is replaced by somebody new."""
    if response.status_code == 401 or (
        response.status_code < 300 and case.operation.method.upper() != "GET" and "auth" in case.operation.path
    ):
        mine.__dict__.clear()
