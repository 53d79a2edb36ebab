"""Real files that were not written for these tests: upload, wait, ask, get the cited passage, and open it.

They ship with Debian and with Python packages. What of them is not on a machine is left out there, and said so.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import httpx
import pytest
from recipes import Person, World

BASE = "/thallus/api/v1/documents"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@dataclass(frozen=True)
class Asked:
    """A file, a question about it, words that its answer has, and where it has to stand."""

    path: Path | None
    name: str
    question: str
    words: str
    paged: bool = False


def _of_package(name: str, ending: str) -> Path | None:
    """A file of an installed distribution."""
    try:
        files = metadata.files(name) or []
    except metadata.PackageNotFoundError:
        return None
    return next((Path(str(each.locate())) for each in files if str(each).endswith(ending)), None)


FILES = {
    "a manual of Debian as PDF": Asked(
        Path("/usr/share/doc/libtasn1-doc/libtasn1.pdf"),
        "libtasn1.pdf",
        "Which function decodes a DER encoded certificate into an ASN.1 structure?",
        "asn1_der_decoding",
        paged=True,
    ),
    "a specification of freedesktop as PDF": Asked(
        Path("/usr/share/doc/shared-mime-info/shared-mime-info-spec.pdf"),
        "shared-mime-info-spec.pdf",
        "How are glob patterns weighted when several match a file name?",
        "glob",
        paged=True,
    ),
    "a licence": Asked(
        Path("/usr/share/common-licenses/GPL-3"),
        "GPL-3.txt",
        "May I convey verbatim copies of the source code?",
        "verbatim copies",
    ),
    "the description of a package": Asked(
        _of_package("httpx", "METADATA"),
        "httpx.md",
        "Does the client support HTTP/2?",
        "HTTP/2",
    ),
    "a table of measurements": Asked(
        _of_package("numpy", "umath-validation-set-cos.csv"),
        "cosine.csv",
        "dtype input output ulperrortol",
        "ulperrortol",
    ),
}


def ask(world: World, who: Person, method: str, path: str, **more: Any) -> httpx.Response:
    return httpx.request(method, f"{world.url}{BASE}{path}", headers=who.headers(), timeout=60, **more)


def read_in(world: World, who: Person, document_id: str) -> dict[str, Any]:
    end = time.monotonic() + 180
    while time.monotonic() < end:
        told: dict[str, Any] = ask(world, who, "GET", f"/{document_id}/status").json()
        if told["status"] in ("completed", "failed"):
            return told
        time.sleep(0.3)
    raise AssertionError(f"the document is still {told}")


@pytest.mark.parametrize("what", FILES)
def test_a_real_file_answers_with_the_passage_that_says_so(reading: Any, world: World, what: str) -> None:
    asked = FILES[what]
    if asked.path is None or not asked.path.exists():
        pytest.skip(f"{asked.path or asked.name} is not on this machine")
    who, content = world.person("thallus"), asked.path.read_bytes()
    made = ask(world, who, "POST", "/upload", files={"file": (asked.name, content, "application/octet-stream")})
    assert made.status_code == 201, made.text
    document_id = made.json()["id"]
    told = read_in(world, who, document_id)
    assert told["status"] == "completed", told
    found = ask(world, who, "POST", "/query", json={"query": asked.question, "limit": 5}).json()["results"]
    [best, *_] = [each for each in found if asked.words in each["text"]] or [None]
    assert best is not None, [each["text"][:300] for each in found]
    assert best["document_id"] == document_id
    assert best["citation"]["snippet"] in best["text"]
    if asked.paged:
        assert best["citation"]["page"] >= 1, best["citation"]
    chunks = ask(world, who, "GET", f"/{document_id}/chunks", params={"limit": 100}).json()
    assert chunks["total"] == told["chunk_count"] >= 1
    assert ask(world, who, "GET", f"/{document_id}/download").content == content
