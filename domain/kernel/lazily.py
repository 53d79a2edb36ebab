"""Packages whose names are found when they are first asked for.

A context's `__init__` says under `if TYPE_CHECKING:` what it offers, for readers and type checkers; `offers` finds the
same names at run time. A process imports of a context what it uses and no more: with everything imported at once, a
third of an API process's start went into verbs that most of its requests never call, and every new one made it longer.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any


def offers(package: str, file: str) -> Callable[[str], Any]:
    """The `__getattr__` of the package whose `__init__` is `file`."""
    homes: dict[str, tuple[str, str]] = {}

    def find(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)  # Python itself looks for what a module may have and may not
        if not homes:
            homes.update(_homes(Path(file)))
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        home, original = homes[name]
        found = import_module(f"{package}.{original}") if home == package else getattr(import_module(home), original)
        setattr(sys.modules[package], name, found)
        return found

    return find


def _homes(file: Path) -> dict[str, tuple[str, str]]:
    """Name to module and the name there."""
    found = {}
    for node in ast.parse(file.read_bytes()).body:
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            for imported in node.body:
                assert isinstance(imported, ast.ImportFrom)
                assert imported.module is not None
                found.update({one.asname or one.name: (imported.module, one.name) for one in imported.names})
    return found
