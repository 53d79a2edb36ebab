"""Modules that wait until they are asked."""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from thalweg.edge.later import import_later


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "waiting"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == "waiting"]:
        del sys.modules[name]


def test_a_module_is_run_with_the_first_thing_asked_of_it(package: Path) -> None:
    (package / "slow.py").write_text("import sys\nsys.waiting_ran = True\nvalue = 7\n")
    import_later("waiting.slow")
    slow = importlib.import_module("waiting.slow")
    assert not hasattr(sys, "waiting_ran")
    assert slow.value == 7
    assert sys.waiting_ran  # type: ignore[attr-defined]
    assert type(slow) is ModuleType
    assert sys.modules["waiting"].slow is slow
    del sys.waiting_ran  # type: ignore[attr-defined]


def test_threads_that_come_together_meet_a_whole_module(package: Path) -> None:
    (package / "slow.py").write_text("import time\nfirst = 1\ntime.sleep(0.2)\nlast = 2\n")
    import_later("waiting.slow")
    seen: list[int] = []

    def look() -> None:
        seen.append(importlib.import_module("waiting.slow").last)

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [2] * 8


def test_a_missing_name_is_an_attribute_error(package: Path) -> None:
    (package / "small.py").write_text("value = 1\n")
    import_later("waiting.small")
    with pytest.raises(AttributeError, match="no attribute 'other'"):
        importlib.import_module("waiting.small").other  # noqa: B018


def test_a_module_that_fails_says_so_each_time(package: Path) -> None:
    (package / "broken.py").write_text("raise ValueError('broken')\n")
    import_later("waiting.broken")
    for _ in range(2):
        with pytest.raises(ValueError, match="broken"):
            importlib.import_module("waiting.broken").value  # noqa: B018


def test_a_module_that_is_not_there_is_refused_at_once(package: Path) -> None:
    with pytest.raises(ModuleNotFoundError):
        import_later("waiting.absent")


def test_a_package_that_waits_still_has_its_submodules(package: Path) -> None:
    inner = package / "inner"
    inner.mkdir()
    (inner / "__init__.py").write_text("own = 1\n")
    (inner / "deep.py").write_text("value = 3\n")
    import_later("waiting.inner")
    assert importlib.import_module("waiting.inner.deep").value == 3
    assert importlib.import_module("waiting.inner").own == 1


def test_what_is_imported_by_name_waits_until_it_is_called(package: Path) -> None:
    (package / "slow.py").write_text("import sys\nsys.waiting_ran = True\nclass Thing:\n    value = 7\n")
    import_later("waiting.slow", "Thing")
    importing: dict[str, object] = {}
    exec("from waiting.slow import Thing", importing)
    assert not hasattr(sys, "waiting_ran")
    assert importing["Thing"]().value == 7  # type: ignore[operator]
    assert isinstance(importlib.import_module("waiting.slow").Thing, type)
    del sys.waiting_ran  # type: ignore[attr-defined]


def test_a_package_need_not_be_imported_for_a_module_of_it_that_waits(package: Path) -> None:
    (package / "__init__.py").write_text("from . import slow\nknown = 1\n")
    (package / "slow.py").write_text("import sys\nsys.waiting_ran = True\nvalue = 7\n")
    import_later("waiting.slow", parents=False)
    assert "waiting" not in sys.modules
    waiting = importlib.import_module("waiting")
    assert waiting.known == 1
    assert not hasattr(sys, "waiting_ran")
    assert waiting.slow.value == 7
    del sys.waiting_ran  # type: ignore[attr-defined]
