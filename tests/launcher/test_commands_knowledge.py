"""`thalweg knowledge`: a knowledge base gets a provider's embedding model, and the setting reaches the models."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select

from domain import identity, knowledge
from domain.kernel.context import SystemActor, UserActor
from domain.kernel.crypto import KeyRing
from domain.kernel.outbox import Job

ROOT = Path(__file__).parents[2]
Run = Callable[..., "subprocess.CompletedProcess[str]"]
MODEL = "openai:bge-m3@1024"


@pytest.fixture
def thalweg(tmp_path: Path, database_url: str, valkey_url: str) -> Run:
    """Runs a command against the test servers; `embeddings` is the setting."""

    def run(*arguments: str, embeddings: str = f"minilm, {MODEL}") -> subprocess.CompletedProcess[str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith("THALWEG_")}
        own |= {"PYTHONPATH": f"{ROOT}:{ROOT}/src", "THALWEG_ROOT": str(ROOT), "COLUMNS": "200", "NO_COLOR": "1"}
        own |= {"THALWEG_DATA_DIR": str(tmp_path / "data"), "THALWEG_SECRET_KEYS": f"cli:{KeyRing.new_key()}"}
        own |= {"THALWEG_DATABASE_URL": database_url, "THALWEG_REDIS_URL": valkey_url}
        own |= {"THALWEG_EMBEDDINGS": embeddings, "THALWEG_EMBEDDINGS_BASE_URL": "http://127.0.0.1:9/v1"}
        own |= {"THALWEG_EMBEDDINGS_API_KEY": "sk-unsaid"}
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


def test_an_operator_gives_a_knowledge_base_another_model_and_back(thalweg: Run, database: Any) -> None:
    slug = f"models-{uuid4().hex[:8]}"
    with database.context(SystemActor("test"), None, frozenset({"admin"}), platform=True) as ctx:
        organisation = identity.create_organisation(ctx, name=slug, slug=slug).id
        email = f"{slug}@example.org"
        account = identity.accounts.make(ctx, email=email, name="Ada", source="signup", verified=True)
        ada = UserActor(account.id)
    with database.context(ada, organisation, frozenset({"knowledge:write"})) as ctx:
        base = knowledge.bases.create(ctx, "Contracts").collection.id

    def listed() -> dict[str, str]:
        shown = thalweg("knowledge", "list", "-o", slug, "--json")
        assert shown.returncode == 0, shown.stderr
        (row,) = json.loads(shown.stdout)
        assert row["id"] == str(base)
        return {key: row[key] for key in ("model", "chosen", "state")}

    assert listed() == {"model": "all-MiniLM-L6-v2", "chosen": "no", "state": "ready"}
    given = thalweg("knowledge", "model", str(base), MODEL, "-o", slug)
    assert given.returncode == 0, given.stderr
    assert f"Contracts: {MODEL}" in given.stdout
    assert listed() == {"model": MODEL, "chosen": "yes", "state": "ready"}
    with database.context(SystemActor("test"), organisation, frozenset({"admin"})) as ctx:
        assert "knowledge.reindex" in ctx.session.scalars(select(Job.name).where(Job.organisation_id == organisation))
    refused = thalweg("knowledge", "model", str(base), "openai:unknown@768", "-o", slug)
    assert refused.returncode == 1
    assert "openai:unknown@768 is not set up here" in refused.stderr
    assert "sk-unsaid" not in refused.stdout + refused.stderr
    assert thalweg("knowledge", "model", str(base), "-o", slug, embeddings=f"{MODEL},minilm").returncode == 0
    assert listed() == {"model": MODEL, "chosen": "no", "state": "ready"}
    assert thalweg("knowledge", "model", str(uuid4()), MODEL, "-o", slug).returncode == 1


def test_an_embedding_model_without_its_size_is_named_at_the_start(thalweg: Run) -> None:
    wrong = thalweg("knowledge", "model", str(uuid4()), "-o", "demo", embeddings="openai:bge-m3")
    assert wrong.returncode != 0
    assert "bge-m3" in wrong.stdout + wrong.stderr
