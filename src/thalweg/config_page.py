"""Writes docs/configuration.md from the settings: `python -m thalweg.config_page > docs/configuration.md`."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from thalweg.config import PREFIX
from thalweg.settings import FIELDS

__all__ = ["page"]

_HEAD = """\
# Configuration

<!-- Written by `python -m thalweg.config_page`; a test keeps it current. Change src/thalweg/settings.py instead. -->

Every setting can be given as an environment variable (`THALWEG_PORT=8081`) or in a TOML file (`port = 8081`). The
file is `thalweg.toml` beside `pyproject.toml`, or the one that `THALWEG_CONFIG` names. The environment wins over the
file, and the command line over both. Lists are TOML arrays, or one text with commas in a variable.

A variable or key that does not exist, or a value that is not allowed, stops the start and is named, all of them at
once. Passwords and keys are never printed. `./thalweg doctor` says whether what is set works.

```toml
# thalweg.toml; readable by its owner only when it holds secrets (chmod 600)
environment = "production"
database_url = "postgresql://thalweg:...@db.internal/thalweg"
redis_url = "rediss://:...@valkey.internal:6379/0"
secret_keys = ["k1:..."]
public_url = "https://api.example.com"
trusted_proxies = ["10.0.0.0/8"]

[limits]
"thalium.invoke" = "120/minute"
```
"""

_GROUPS = {
    "platform": "The platform",
    "stores": "Stores",
    "serving": "Serving",
    "streams": "Streams",
    "jobs": "Jobs",
    "models": "Models",
    "outside": "The world outside",
    "containers": "Containers",
    "signup": "Who comes in",
    "federation": "Signing in through others",
    "observation": "What is seen of it",
}


def page() -> str:
    """The whole page."""
    parts = [_HEAD]
    for group, members in groupby(FIELDS.items(), key=lambda item: item[1].metadata["group"]):
        parts.append(f"\n## {_GROUPS[group]}\n")
        for name, field in members:
            default = field.default_factory() if callable(field.default_factory) else field.default
            parts.append(
                f"\n### `{name}`\n\n"
                f"{field.metadata['doc']}\n\n"
                f"- Variable: `{PREFIX}{name.upper()}`\n"
                f"- Allowed: {field.metadata['field'].allowed()}\n"
                f"- Default: {_shown(default)}\n"
            )
    return "".join(parts)


def _shown(default: Any) -> str:
    if default is None or default == () or (isinstance(default, Mapping) and not default):
        return "not set"
    if isinstance(default, tuple):
        return ", ".join(f"`{item}`" for item in default)
    if isinstance(default, Path):
        return f"`{default}` in the project's folder"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


if __name__ == "__main__":
    print(page(), end="")
