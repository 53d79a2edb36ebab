"""`thalweg account` and `thalweg invite`: the first operator, and the first tenant's invite."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from domain import identity
from domain.identity import signup
from domain.identity.policies import POLICIES
from domain.kernel import crypto
from domain.kernel.context import AnonymousActor

ROOT = Path(__file__).parents[2]
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def thalweg(tmp_path: Path, database_url: str, valkey_url: str) -> Run:
    """Runs a command against the test servers, with the keys that this process has too."""
    key = crypto.KeyRing.new_key()
    crypto.use(crypto.KeyRing({"cli": key}))

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith("THALWEG_")}
        own |= {"PYTHONPATH": f"{ROOT}:{ROOT}/src", "THALWEG_ROOT": str(ROOT), "COLUMNS": "200", "NO_COLOR": "1"}
        own |= {"THALWEG_DATA_DIR": str(tmp_path / "data"), "THALWEG_SECRET_KEYS": f"cli:{key}"}
        own |= {"THALWEG_DATABASE_URL": database_url, "THALWEG_REDIS_URL": valkey_url}
        return subprocess.run(
            [sys.executable, "-P", "-m", "thalweg", *arguments],
            capture_output=True,
            text=True,
            env=own,
            cwd=tmp_path,
            timeout=120,
            check=False,
        )

    return run


def sign_in(database: Any, surface: str, email: str, password: str) -> Any:
    with database.context(AnonymousActor("127.0.0.1"), None, surface=surface, address="127.0.0.1") as ctx:
        return identity.signin.sign_in(ctx, surface, email, password)


def test_the_first_operator_signs_in_everywhere_with_the_password_that_is_shown_once(
    thalweg: Run, database: Any
) -> None:
    made = thalweg("account", "create", "ada@operators.example", "--support")
    assert made.returncode == 0, made.stderr
    password = made.stdout.strip()
    for surface in POLICIES:
        signed_in = sign_in(database, surface, "ada@operators.example", password)
        assert signed_in.account.platform_role == "support"
    assert {"auth:invites", "support:*"} <= sign_in(database, "starter", "ada@operators.example", password).permissions
    again = thalweg("account", "create", "ada@operators.example", "--support")
    assert again.returncode == 1
    assert "account" in again.stderr
    assert "Traceback" not in again.stderr


def test_a_platform_role_is_given_and_taken_away(thalweg: Run, database: Any) -> None:
    password = thalweg("account", "create", "bob@operators.example").stdout.strip()

    def may() -> bool:
        return "auth:invites" in sign_in(database, "starter", "bob@operators.example", password).permissions

    assert not may()
    assert thalweg("account", "role", "bob@operators.example", "--superadmin").returncode == 0
    assert may()
    assert thalweg("account", "role", "bob@operators.example").returncode == 0
    assert not may()
    assert thalweg("account", "role", "nobody@operators.example").returncode == 1
    assert thalweg("account", "role", "bob@operators.example", "--superadmin", "--support").returncode == 2


def test_the_first_invite_founds_a_tenant(thalweg: Run, database: Any) -> None:
    made = thalweg("invite", "create", "--email", "eve@lovelace.example", "--hours", "5")
    assert made.returncode == 0, made.stderr
    wish = signup.Registration(
        "eve@lovelace.example",
        "Staple-orbit-lantern-42",
        "Lovelace Analytics",
        accept_terms=True,
        invite_token=made.stdout.strip(),
    )
    with database.context(AnonymousActor("127.0.0.1"), None, surface="starter", address="127.0.0.1") as ctx:
        assert signup.register(ctx, wish).slug == "lovelace-analytics"
