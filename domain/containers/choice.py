"""Which driver this process uses, and within which bounds: bound once at start-up from the settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from domain.containers import rules
from domain.containers.ports import Driver
from domain.kernel.errors import Unavailable

OPENAI = "https://api.openai.com/v1"


class Off(Unavailable):
    """The setting `containers` is `off`."""

    reason = "containers_off"
    default = "Containers are switched off on this server (setting `containers`)."


@dataclass(frozen=True, slots=True)
class Bound:
    drivers: Mapping[str, Driver]
    """Also those that are not chosen any more: their containers can still be dropped."""
    chosen: str | None
    memory: str
    """The largest tier."""
    seconds: float
    """Of one run."""


_bound: Bound | None = None


def configure(
    setting: str,
    *,
    folder: Path,
    memory: str,
    seconds: float,
    megabytes: int,
    key: str | None = None,
    address: str | None = None,
) -> None:
    """`setting`: `local`, `openai:<model>` or `off`; `folder` holds local workspaces of `megabytes` each.
    Raises `ValueError` that names the setting that is wrong."""
    global _bound
    from domain.containers.drivers.local import Local
    from domain.containers.drivers.openai import OpenAI

    name, _, model = setting.partition(":")
    if name == "openai" and not (key or address):
        raise ValueError("containers: `openai:<model>` needs openai_api_key or openai_base_url")
    drivers: dict[str, Driver] = {"local": Local(folder, megabytes << 20)}
    if key or address:
        drivers["openai"] = OpenAI((address or OPENAI).rstrip("/"), key or "none", model)
    _bound = Bound(drivers, None if name == "off" else name, memory, seconds)


def bound() -> Bound:
    """Raises `RuntimeError` when `configure()` was not called."""
    if _bound is None:
        raise RuntimeError("no containers: call domain.containers.configure() at start-up (setting `containers`)")
    return _bound


def chosen() -> Driver:
    """The driver of new containers. Raises `Off`."""
    held = bound()
    if held.chosen is None:
        raise Off
    return held.drivers[held.chosen]


def driver(name: str) -> Driver:
    """The driver of a container that there is. Raises `Unavailable` for one that has no settings any more."""
    found = bound().drivers.get(name)
    if found is None:
        raise Unavailable("The service that has this container is not set up on this server any more.")
    return found


def tiers() -> tuple[str, ...]:
    """The sizes that there are here."""
    most = rules.MEMORY[bound().memory]
    return tuple(name for name, size in rules.MEMORY.items() if size <= most)
