"""What recipes work with: people of every surface, what is mailed to them, and the verbs of the domain."""

from __future__ import annotations

import email as messages
import email.policy
import itertools
import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from sqlalchemy import select, text

from domain import billing, identity
from domain.identity.sessions import SignedIn
from domain.kernel import crypto
from domain.kernel.context import AnonymousActor, Ctx, SystemActor, UserActor
from domain.kernel.db import Database
from domain.notifications.models import Mail

PASSWORD = "Staple-orbit-lantern-42"
PLANS = {
    "thallus": "enterprise",
    "thalian": "enterprise",
    "beeflow": "full",
    "starter": "enterprise",
    "thalium": "enterprise",
}
OPERATORS = frozenset({"platform:manage", "audit:manage", "auth:signup_requests", "auth:invites", "status:manage"})
"""Permissions that people who run the platform have, and nobody else."""
ELSEWHERE = frozenset(
    {
        "finishGoogleLogin",
        "finishMicrosoftLogin",
        "finishGithubLogin",
        "finishNextcloudLogin",
        "consumeSamlAssertion",
        "pickUpLogin",
    }
)
"""These succeed with what an identity provider has just sent. It runs in the process of the tests, where the fuzzing is
not: their success stands in test_beeflow_sso and test_every_operation."""
HOME = {"thalian": "thallus", "thalium": "thallus"}
"""Where people of a surface sign in that signs nobody in itself."""


@dataclass
class Person:
    """Somebody who is signed in on a surface."""

    surface: str
    email: str
    account_id: UUID
    organisation_id: UUID
    session_id: UUID
    token: str = field(repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    password: str = field(default=PASSWORD, repr=False)
    role: str = "owner"
    key: str | None = field(default=None, repr=False)
    """An API key of theirs, which goes instead of the token where a surface takes nothing else."""

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.key is None else {"X-API-Key": self.key}


@dataclass
class Call:
    """One request that is going to succeed. `who`: whose credentials go with it (None: those of `World.person`).

    `public`: it goes without. `status`: the one that is expected, else any 2xx or 3xx that is declared. `audit` is
    False where the entry that the contract names is not in the caller's own trail.
    """

    json: Any = None
    path: Mapping[str, Any] = field(default_factory=dict)
    query: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    cookies: Mapping[str, str] = field(default_factory=dict)
    form: Mapping[str, Any] | None = None
    files: Mapping[str, Any] | None = None
    content: bytes | None = None
    who: Person | None = None
    public: bool = False
    status: int | None = None
    audit: bool = True
    seconds: float = 30.0
    """How long its answer may take."""
    once: bool = False
    """The second time it does not succeed: a token is used up, a name is taken."""
    check: Callable[[httpx.Response], None] | None = None
    """Looks at the reply, beyond what the contract says of it."""


Recipe = Callable[["World"], Call]
RECIPES: dict[tuple[str, str], Recipe] = {}


def recipe(surface: str, operation_id: str) -> Callable[[Recipe], Recipe]:
    """Say how an operation is made to succeed."""

    def keep(made: Recipe) -> Recipe:
        assert (surface, operation_id) not in RECIPES, f"two recipes for {surface} {operation_id}"
        RECIPES[surface, operation_id] = made
        return made

    return keep


_numbers = itertools.count(1)


@dataclass
class World:
    """A running platform, and whatever a test needs to have happened before."""

    url: str
    database: Database
    data_dir: Path
    processes: Mapping[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    """The platform's, by name; none where it was started elsewhere."""
    afterwards: list[Callable[[], None]] = field(default_factory=list)
    """What puts right again, after each test, what holds for the whole server."""

    def tidy(self) -> None:
        """Do what was left for afterwards."""
        while self.afterwards:
            self.afterwards.pop()()

    def rest(self, name: str = "worker") -> None:
        """A worker stands still until the test is over: `worker` is the one of turns and trials."""
        group = self.processes[name].pid
        os.killpg(group, signal.SIGSTOP)
        self.afterwards.append(lambda: os.killpg(group, signal.SIGCONT))

    def unreachable(self, table: str) -> None:
        """Until after the test the database gives up, at once, on every statement that reads a table."""
        over, held = threading.Event(), ExitStack()
        self.afterwards.append(held.close)
        holder = held.enter_context(self.database.session(None, platform=True))
        holder.execute(text(f'LOCK TABLE "{table}" IN ACCESS EXCLUSIVE MODE'))
        waiting = (  # databases of one template have the same tables under the same numbers
            "SELECT pg_cancel_backend(pid) FROM pg_locks JOIN pg_database d ON d.oid = database"
            " WHERE NOT granted AND relation = CAST(:t AS regclass) AND d.datname = current_database()"
        )

        def give_up() -> None:
            while not over.wait(0.02):
                with self.database.session(None, platform=True) as session:
                    session.execute(text(waiting), {"t": table})

        thread = threading.Thread(target=give_up, daemon=True)
        thread.start()
        held.callback(thread.join)
        held.callback(over.set)

    def email(self) -> str:
        return f"person-{os.getpid()}-{next(_numbers)}-{time.monotonic_ns() % 10**9}@example.org"

    def person(
        self,
        surface: str,
        *,
        organisation_id: UUID | None = None,
        role: str = "owner",
        platform_role: str | None = None,
        plan: str | None = None,
        verified: bool = True,
        name: str = "Ada Lovelace",
    ) -> Person:
        """Somebody new: the owner of an organisation of their own, or a member of one that there is; signed in."""
        address, home = self.email(), HOME.get(surface, surface)
        with self.anyone(home) as ctx:
            account = identity.accounts.make(
                ctx, email=address, name=name, source="signup", password=PASSWORD, verified=verified
            )
            account.platform_role = platform_role
            if organisation_id is None:
                organisation_id = identity.accounts.give_own_organisation(ctx, account)
            else:
                identity.accounts.join(ctx, account, organisation_id, role, source="invite")
        self.subscribe(organisation_id, surface, plan)
        with self.anyone(home) as ctx:
            account = identity.accounts.get(ctx, account.id)
            return self._signed(
                identity.sessions.open_session(
                    ctx,
                    account,
                    identity.signin.choose_organisation(ctx, account),
                    surface=home,
                    method="password",
                ),
                surface,
                role,
            )

    def again(self, person: Person) -> Person:
        """The same person in another session."""
        with self.anyone(HOME.get(person.surface, person.surface)) as ctx:
            account = identity.accounts.get(ctx, person.account_id)
            belonging = identity.signin.choose_organisation(ctx, account, person.organisation_id)
            opened = identity.sessions.open_session(
                ctx, account, belonging, surface=HOME.get(person.surface, person.surface), method="password"
            )
            return self._signed(opened, person.surface, person.role)

    def registers(self, surface: str) -> str:
        """The address of somebody who has signed up and not verified it yet."""
        address = self.email()
        with self.anyone(surface) as ctx:
            identity.accounts.register(ctx, surface, email=address, password=PASSWORD, name="Ada Lovelace")
        return address

    def mailed(self, address: str, template: str, fact: str = "link") -> str:
        """The token behind the link of the newest mail of a kind to an address, delivered or not."""
        end = time.monotonic() + 10
        rows: Sequence[Mail] = ()
        while not rows and time.monotonic() < end:  # some are promised by a worker
            with self.database.session(None, platform=True) as session:
                rows = session.scalars(
                    select(Mail).where(Mail.recipient == address, Mail.template == template).order_by(Mail.created_at)
                ).all()
                for row in reversed(rows):
                    facts = crypto.unseal(row, "facts")
                    if facts is not None:
                        return str(json.loads(facts.reveal())[fact]).partition("#")[2]
            time.sleep(0 if rows else 0.05)
        return self._delivered(address)

    def _delivered(self, address: str) -> str:
        end = time.monotonic() + 10
        while time.monotonic() < end:
            for path in sorted((self.data_dir / "mail").rglob("*.eml"), reverse=True):
                mail = messages.message_from_bytes(path.read_bytes(), policy=email.policy.default)
                body = mail.get_body(("plain",))
                if address in str(mail["To"]) and body is not None:
                    found = re.search(r"#([\w-]+)", body.get_content())
                    if found:
                        return found[1]
            time.sleep(0.1)
        raise AssertionError(f"no mail with a link came to {address}")

    def subscribe(self, organisation_id: UUID, surface: str, plan: str | None = None) -> None:
        """Put an organisation on a plan of a surface, the largest unless told."""
        with self.platform(organisation_id) as ctx:
            billing.subscribe(ctx, plan or PLANS[surface], product=surface)

    @contextmanager
    def anyone(self, surface: str) -> Iterator[Ctx]:
        """A context of somebody who has not signed in."""
        with self.database.context(AnonymousActor("127.0.0.1"), None, surface=surface, address="127.0.0.1") as ctx:
            yield ctx

    @contextmanager
    def platform(self, organisation_id: UUID | None = None) -> Iterator[Ctx]:
        """A context of the platform itself, in an organisation or across all."""
        with self.database.context(
            SystemActor("tests"), organisation_id, platform=organisation_id is None, surface="tests"
        ) as ctx:
            yield ctx

    @contextmanager
    def acting(self, person: Person) -> Iterator[Ctx]:
        """A context of a person, for verbs that prepare what a request is about."""
        permissions = identity.roles.permissions_of(person.surface, person.role)
        with self.database.context(
            UserActor(person.account_id, person.session_id),
            person.organisation_id,
            permissions,
            surface=person.surface,
            address="127.0.0.1",
        ) as ctx:
            yield ctx

    def _signed(self, opened: SignedIn, surface: str, role: str) -> Person:
        assert opened.belonging is not None
        return Person(
            surface,
            opened.account.email,
            opened.account.id,
            opened.belonging.organisation_id,
            opened.session.id,
            opened.access_token,
            opened.refresh_token,
            role=opened.belonging.role,
        )


def send(
    world: World, base: str, method: str, path: str, call: Call, headers: Mapping[str, str], **more: Any
) -> httpx.Response:
    """Carry out a call against the running platform."""
    for name, value in call.path.items():
        path = path.replace(f"{{{name}}}", httpx.URL("/", params={"v": str(value)}).params["v"])
    given: dict[str, Any] = {"headers": {**headers, **call.headers}, "timeout": call.seconds, **more}
    if call.query:
        given["params"] = dict(call.query)
    if call.cookies:
        given["headers"]["Cookie"] = "; ".join(f"{name}={value}" for name, value in call.cookies.items())
    bodies = {"json": call.json, "data": call.form, "files": call.files, "content": call.content}
    given |= {name: value for name, value in bodies.items() if value is not None}
    return httpx.request(method, f"{world.url}{base}{path}", follow_redirects=False, **given)
