"""What an API process does without until somebody asks for it: start-up and memory grow back by single imports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from thalweg.sparing import SPARED

ROOT = Path(__file__).resolve().parents[2]

HEAVY = {
    "PIL": "pictures",
    "altcha": "captchas",
    "alembic": "migrations",
    "boto3": "files in S3",
    "botocore": "files in S3",
    "croniter": "the scheduler",
    "datamodel_code_generator": "generation",
    "docx": "documents, read in workers",
    "email_validator": "unusual addresses",
    "faster_whisper": "speech",
    "httpcore": "calls to servers outside",
    "httpx": "calls to servers outside",
    "joserfc": "access tokens",
    "lxml": "SAML, and documents, read in workers",
    "markdown_it": "pages of the portal",
    "numpy": "vectors",
    "onnxruntime": "embeddings",
    "openai": "models of providers",
    "opentelemetry.sdk": "traces, when they are sent somewhere",
    "pptx": "documents, read in workers",
    "protego": "crawling, in workers",
    "pydantic": "request models, made with the first body",
    "pydantic_ai": "models of providers",
    "pypdf": "documents, read in workers",
    "pypdfium2": "documents, read in workers",
    "python_calamine": "documents, read in workers",
    "redis": "what the edge's own link to Valkey does not do",
    "rq": "workers",
    "signxml": "SAML",
    "simpleeval": "the calculator of agents",
    "stdnum": "guardrails",
    "tokenizers": "embeddings",
    "trafilatura": "webpages, read in workers",
    "ua_parser": "names of devices",
    "workers": "workers",
    "xllamacpp": "the demonstration model",
    "zxcvbn": "new passwords",
}
"""Module to what it is for: none of this is needed to answer the first request."""

SCRIPT = """
import json, sys
from thalweg.sparing import SPARED, spare
spare()
import thalweg.logs, thalweg.server
from thalweg.edge.serve import create
process = create()
held_back = [name for name in SPARED if type(sys.modules.get(name)).__name__ == "_Later"]
there = [name for name, module in sys.modules.items() if type(module).__name__ != "_Later"]
process.edge.plan_all()
planned = sum(route.plan is not None for route in process.edge.routes)
print(json.dumps({"operations": planned, "modules": there, "held_back": held_back}))
"""


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """An application with all surfaces, assembled in an interpreter of its own. No store is asked for that."""
    folder = tmp_path_factory.mktemp("start")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("THALWEG_")}
    done = subprocess.run(
        [sys.executable, "-P", "-c", SCRIPT],
        env={
            **environment,
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}",
            "THALWEG_ROOT": str(ROOT),
            "THALWEG_DATA_DIR": str(folder),
            "THALWEG_DATABASE_URL": "postgresql://nobody@127.0.0.1:9/nothing",
            "THALWEG_REDIS_URL": "redis://127.0.0.1:9/0",
            "THALWEG_ENVIRONMENT": "test",
            "THALWEG_SECRET_KEYS": "1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        },
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_an_api_process_imports_nothing_that_only_few_requests_need(started: dict[str, object]) -> None:
    operations, modules = started["operations"], started["modules"]
    assert isinstance(operations, int)
    assert operations > 400, "every operation of all surfaces can be planned"
    assert isinstance(modules, list)
    there = {name for name in HEAVY if name in modules}
    assert not there, "\n".join(f"{name} ({HEAVY[name]}): import it in the function that needs it" for name in there)


def test_what_a_server_is_spared_stays_away_until_it_is_used(started: dict[str, object]) -> None:
    installed = {"numpy", "requests", "httpx"}  # by extras: an installation may lack them
    held_back = started["held_back"]
    assert isinstance(held_back, list)
    assert set(SPARED) - installed <= set(held_back), "an import runs what `thalweg.sparing` puts off"
