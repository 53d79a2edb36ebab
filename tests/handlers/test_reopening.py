"""What an idempotency record keeps of a stream or a wait leads to something that makes it again."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

from handlers.app import _REOPENED

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("kind", sorted(_REOPENED))
def test_every_kind_is_made_again_by_a_function_that_exists(kind: str) -> None:
    module, _, name = _REOPENED[kind].partition(":")
    assert callable(getattr(import_module(module), name))


def test_every_kind_that_a_surface_keeps_is_known() -> None:
    kept = {
        kind
        for file in (ROOT / "handlers").rglob("*.py")
        for kind in re.findall(r'"kind": "(\w+)"', file.read_text())
        if "replay" in file.read_text()
    }
    assert kept, "surfaces say what is kept as `replay={'kind': ...}`"
    assert kept <= set(_REOPENED)
