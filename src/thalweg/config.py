"""What an operator can set: `Settings`, and `load()`, which reads them from THALWEG_* variables and a TOML file.

    settings = load()                      # raises SettingsError, which lists everything that is wrong at once
    settings.host, settings.database_url.reveal()

Order, last wins: defaults, the file, the environment, the command line. Every field says what it is for in
`thalweg.settings`; docs/configuration.md is written from that (`python -m thalweg.config_page`).
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marshmallow import ValidationError, fields

from thalweg.config_fields import Secret
from thalweg.settings import FIELDS, Settings

__all__ = ["PREFIX", "Problem", "Secret", "Settings", "SettingsError", "environment_of", "load", "need"]

PREFIX = "THALWEG_"
FILE = "thalweg.toml"
# Variables of this prefix that are not settings: where the file and the project are, what tests say to each other.
_OTHER_VARIABLES = ("THALWEG_CONFIG", "THALWEG_ROOT")
_TEST_VARIABLES = "THALWEG_TEST_"


@dataclass(frozen=True, slots=True)
class Problem:
    """One setting that is wrong: its name, where the value came from, and what is allowed."""

    name: str
    origin: str
    message: str

    def __str__(self) -> str:
        return f"{self.origin}: {self.message}"


class SettingsError(ValueError):
    """Some settings cannot be used. `problems` has all of them; the text has one a line, without any secret."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def load(
    environ: Mapping[str, str] | None = None,
    *,
    file: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    defaults: Mapping[str, Any] | None = None,
    root: Path | None = None,
) -> Settings:
    """The settings of this process.

    `environ`: default os.environ. `file`: default THALWEG_CONFIG, or `thalweg.toml` in `root` if it is there. `root`:
    the folder that the default data folder is in (default: the working directory). `overrides`: values of the command
    line by setting name; None means not given. `defaults`: what a command prefers to a default, by setting name.
    Raises SettingsError with everything that is wrong.
    """
    environ = os.environ if environ is None else environ
    root = Path.cwd() if root is None else root
    problems: list[Problem] = []
    given: dict[str, tuple[Any, str, Path]] = {}  # name -> value, where it came from, what a relative path means
    named = environ.get("THALWEG_CONFIG")
    path = file or (Path(named) if named else root / FILE)
    if path.is_file():
        _from_file(path, given, problems)
    elif file or named:
        problems.append(Problem("config", "THALWEG_CONFIG" if named else str(path), f"there is no file {path}."))
    for variable, value in environ.items():
        if not variable.startswith(PREFIX) or variable in _OTHER_VARIABLES or variable.startswith(_TEST_VARIABLES):
            continue
        name = variable[len(PREFIX) :].lower()
        if name not in FIELDS or variable != variable.upper():
            problems.append(Problem(name, variable, f"there is no such setting.{_similar(name, variable=True)}"))
        elif value.strip():  # an empty variable counts as not set
            given[name] = (value.strip(), variable, Path.cwd())
    for name, value in (overrides or {}).items():
        if value is not None:
            given[name] = (value, f"--{name.replace('_', '-')}", Path.cwd())
    values: dict[str, Any] = {"data_dir": root / ".data", **(defaults or {})}
    for name, (value, origin, base) in given.items():
        field: fields.Field[Any] = FIELDS[name].metadata["field"]
        try:
            found = field.deserialize(value, name)
        except ValidationError as error:
            problems.append(Problem(name, origin, " ".join(_flat(error.messages))))
            continue
        values[name] = (base / found).absolute() if isinstance(found, Path) else found
    if problems:
        raise SettingsError(problems)
    values["data_dir"] = values["data_dir"].absolute()
    return Settings(**values)


def need(settings: Settings, *names: str) -> None:
    """Raises SettingsError that names each of these settings that has no value."""
    empty = [name for name in names if not getattr(settings, name)]
    if empty:
        hint = "Set it, or run `./thalweg up`, which brings its own."
        raise SettingsError([Problem(name, f"{PREFIX}{name.upper()}", f"is not set. {hint}") for name in empty])


def environment_of(overrides: Mapping[str, Any]) -> dict[str, str]:
    """The THALWEG_* variables that give another process these settings. Secrets are in plain: hand it to it alone."""

    def text(value: Any) -> str:
        if isinstance(value, Secret):
            return value.reveal()
        if isinstance(value, tuple | list):
            return ",".join(text(item) for item in value)
        if isinstance(value, Mapping):
            raise TypeError("a table of settings does not fit into a variable")
        return str(value).lower() if isinstance(value, bool) else str(value)

    unknown = sorted(set(overrides) - set(FIELDS))
    if unknown:
        raise KeyError(f"no such settings: {', '.join(unknown)}")
    return {f"{PREFIX}{name.upper()}": text(value) for name, value in overrides.items() if value is not None}


def _from_file(path: Path, given: dict[str, tuple[Any, str, Path]], problems: list[Problem]) -> None:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        problems.append(Problem("config", str(path), f"cannot be read: {error}."))
        return
    for name, value in table.items():
        origin = f"{path.name}: {name}"
        if name in FIELDS:
            given[name] = (value, origin, path.parent.absolute())
        else:
            problems.append(Problem(name, origin, f"there is no such setting.{_similar(name, variable=False)}"))


def _similar(name: str, *, variable: bool) -> str:
    near = difflib.get_close_matches(name.lower(), FIELDS, n=1, cutoff=0.7)
    if not near:
        return " docs/configuration.md has them all."
    return f" Did you mean {PREFIX + near[0].upper() if variable else near[0]}?"


def _flat(messages: Any) -> Iterable[str]:
    """marshmallow's nested messages, with the place inside the value in front where there is one."""
    if isinstance(messages, Mapping):
        for key, value in messages.items():
            for text in _flat(value):
                yield f"{key}: {text}" if not isinstance(key, int) else f"entry {key + 1}: {text}"
    elif isinstance(messages, list):
        for item in messages:
            yield from _flat(item)
    else:
        yield str(messages)
