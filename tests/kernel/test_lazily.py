"""What contexts offer is found when it is asked for, and is all that they say they offer."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from domain.kernel import lazily

ROOT = Path(__file__).resolve().parents[2]
LAZY = sorted(
    ".".join(file.parent.relative_to(ROOT).parts)
    for file in (ROOT / "domain").rglob("__init__.py")
    if "offers(__name__" in file.read_text()
)


def test_most_contexts_are_imported_bit_by_bit() -> None:
    assert len(LAZY) > 10


@pytest.mark.parametrize("package", LAZY)
def test_a_context_has_every_name_that_it_lists_and_no_module_hides_one(package: str) -> None:
    module = importlib.import_module(package)
    names = lazily._homes(Path(str(module.__file__)))
    assert sorted(names) == sorted(module.__all__)
    for name, (home, original) in names.items():
        if home != package:
            folder = Path(str(module.__file__)).parent
            assert not (folder / f"{name}.py").exists(), f"the module {name} would take the place of {home}.{original}"
            assert getattr(module, name) is getattr(importlib.import_module(home), original)
        else:
            assert getattr(module, name) is importlib.import_module(f"{package}.{name}")
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = module.nothing


def test_a_context_imports_what_is_asked_of_it() -> None:
    script = (
        "import sys, domain.conversations as c; assert 'domain.conversations.turns' not in sys.modules; "
        "c.start; assert 'domain.conversations.turns' in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
