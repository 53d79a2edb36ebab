"""The program of a partner, on a client that was generated: `Partner`, `partners`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import pytest

from thalweg.contract import clients, project, tools

PROJECT = project.find(Path(__file__).resolve().parents[2])


class Partner:
    """A generated client, as the program of a partner uses it."""

    def __init__(self, surface: str, folder: Path, url: str) -> None:
        self.name = f"{surface}_client"
        self.url = f"{url}{PROJECT.base_path(surface)}"
        sys.path.insert(0, str(folder))
        try:
            self.package = importlib.import_module(self.name)
            self.models: ModuleType = importlib.import_module(f"{self.name}.models")
            self.types: ModuleType = importlib.import_module(f"{self.name}.types")
        finally:
            sys.path.remove(str(folder))

    def anybody(self) -> Any:
        return self.package.Client(base_url=self.url, raise_on_unexpected_status=True)

    def holder(self, token: str, **how: str) -> Any:
        return self.package.AuthenticatedClient(base_url=self.url, token=token, raise_on_unexpected_status=True, **how)

    def reply(self, operation: str, who: Any, *path: Any, **given: Any) -> Any:
        """What `tag.operation` answered: status, headers, content, and what the client made of it."""
        return importlib.import_module(f"{self.name}.api.{operation}").sync_detailed(*path, client=who, **given)

    def body(self, model: str, content: dict[str, Any]) -> Any:
        return getattr(self.models, model).from_dict(content)

    def file(self, name: str, content: bytes) -> Any:
        return self.types.File(payload=BytesIO(content), file_name=name, mime_type="text/markdown")


P = TypeVar("P", bound=Partner)


def partners(kind: type[P], made: Path, url: str) -> Callable[[str], P]:
    """Makes the Python client of a surface, where test_clients makes it. Skips where there is nothing to make it."""
    if why := tools.missing("openapi_python_client"):
        pytest.skip(f"{why}; `thalweg contract clients` says what to install")

    def make(surface: str) -> P:
        client = next(iter(clients.clients(PROJECT, [surface], "python", made)))
        return kind(surface, client.folder, url)

    return make
