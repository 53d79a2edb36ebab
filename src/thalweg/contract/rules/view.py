"""What rules look at: every object of a bundled document with its kind, pointer and source line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from thalweg.contract import grammar, manifest
from thalweg.contract.bundle import Bundle
from thalweg.contract.findings import Place
from thalweg.contract.project import Project
from thalweg.contract.sources import Pointer, place_of, place_of_child


@dataclass(frozen=True, slots=True)
class Site:
    """One object of the document. `node` is never a reference; `within` is the object it stands in."""

    kind: str
    node: Any
    pointer: Pointer
    place: Place
    within: Site | None = None

    @property
    def name(self) -> str:
        """The last part of the pointer: a component's name, a status, a media type."""
        return str(self.pointer[-1]) if self.pointer else ""

    def up(self, kind: str) -> Site | None:
        """The nearest object of `kind` that this one stands in."""
        site = self.within
        while site is not None and site.kind != kind:
            site = site.within
        return site


@dataclass(frozen=True, slots=True)
class Breach:
    """A broken rule: where, what is wrong, what to do. `key` points at one entry of the object."""

    site: Site
    message: str
    fix: str
    key: str | int | None = None

    @property
    def place(self) -> Place:
        return self.site.place if self.key is None else place_of_child(self.site.node, self.key, self.site.place)

    @property
    def pointer(self) -> Pointer:
        return self.site.pointer if self.key is None else (*self.site.pointer, self.key)


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation with what it inherits: parameters of its path item, the document's security."""

    site: Site
    path: str
    method: str
    parameters: list[Any]
    security: list[Mapping[str, list[str]]]

    @property
    def node(self) -> Mapping[str, Any]:
        node: Mapping[str, Any] = self.site.node
        return node

    @property
    def id(self) -> str:
        return str(self.node.get("operationId", f"{self.method.upper()} {self.path}"))

    @property
    def label(self) -> str:
        return f"{self.method.upper()} {self.path}"

    @property
    def statuses(self) -> list[str]:
        return list(self.node.get("responses", {}))

    @property
    def successes(self) -> list[str]:
        return [status for status in self.statuses if status.startswith("2")]


@dataclass
class View:
    """One surface's bundle, walked once."""

    bundle: Bundle
    project: Project
    sites: dict[str, list[Site]] = field(default_factory=dict)
    _references: list[str] = field(default_factory=list)
    judge: Any = None
    """The validator of examples, made when the first rule needs it (`rules.examples.judge`)."""

    def __post_init__(self) -> None:
        root = Site("openapi", self.document, (), place_of(self.document, Place("-", 1)))
        self.root = root
        self._walk(root)

    @property
    def document(self) -> Mapping[str, Any]:
        return self.bundle.document

    def all(self, *kinds: str) -> Iterator[Site]:
        """Every object of these kinds, references left out."""
        for kind in kinds:
            yield from self.sites.get(kind, ())

    def follow(self, node: Any) -> Any:
        """`node`, or what it refers to."""
        return manifest.follow(self.document, node)[0]

    def section(self, name: str) -> Mapping[str, Any]:
        """One section of the components."""
        found: Mapping[str, Any] = self.document.get("components", {}).get(name, {})
        return found

    @cached_property
    def operations(self) -> list[Operation]:
        found = []
        for site in self.all("operation"):
            item = site.within
            if item is None or len(site.pointer) != 3 or site.pointer[0] != "paths":
                continue  # a callback's operation is the partner's
            security = site.node.get("security", self.document.get("security", []))
            found.append(
                Operation(
                    site,
                    str(site.pointer[1]),
                    str(site.pointer[2]),
                    manifest.parameters_of(self.document, item.node, site.node),
                    security if isinstance(security, list) else [],
                )
            )
        return found

    @cached_property
    def references(self) -> dict[str, int]:
        """How often each `#/components/...` is referred to."""
        counts: dict[str, int] = {}
        for reference in self._references:
            counts[reference] = counts.get(reference, 0) + 1
        for site in self.all("discriminator"):
            for reference in (site.node.get("mapping") or {}).values():
                counts[reference] = counts.get(reference, 0) + 1
        return counts

    def _walk(self, site: Site) -> None:
        self.sites.setdefault(site.kind, []).append(site)
        for relative, kind, node in grammar.children(site.kind, site.node):
            if isinstance(node, Mapping) and "$ref" in node and kind != "pathItem":
                self._references.append(node["$ref"])
                continue
            parent = site.node if len(relative) == 1 else site.node[relative[0]]
            place = place_of_child(parent, relative[-1], site.place)
            self._walk(Site(kind, node, (*site.pointer, *relative), place, site))


def text(node: Any, key: str) -> str:
    """A string entry, stripped; empty where it is missing or no string."""
    value = node.get(key) if isinstance(node, Mapping) else None
    return value.strip() if isinstance(value, str) else ""
