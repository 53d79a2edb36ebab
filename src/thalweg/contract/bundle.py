"""Many files to one document: every reference ends as `#/components/<section>/<name>`.

The source is OpenAPI 3.0.3 in `openapi/<surface>/openapi.yaml` and whatever it refers to. The result keeps the order of
the source (components by name), so equal sources give equal bytes.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from thalweg.contract import grammar
from thalweg.contract.findings import ContractError, Finding, Place
from thalweg.contract.sources import Library, Listed, Mapped, place_of, place_of_child, unescape

COMPONENT_NAME = re.compile(r"[A-Za-z0-9._-]+\Z")


@dataclass(frozen=True, slots=True)
class Target:
    """Where a reference ends: a file and the parts of a pointer into it."""

    file: Path
    pointer: tuple[str, ...]


@dataclass(slots=True)
class Bundle:
    """One surface's document. `document` has internal references only; its mappings know their source lines."""

    surface: str
    document: Mapped
    files: list[Path]
    """Every source file that went in, the entry document first."""
    reached: set[Target]
    """Every definition that a reference led to."""

    def json(self) -> bytes:
        """The document as indented JSON, ending in a newline. Equal sources give equal bytes."""
        return as_json(self.document)

    def operations(self) -> list[tuple[str, str, Mapped]]:
        """Path, method and operation object, in the order of the source."""
        return [
            (path, method, operation)
            for path, item in self.document.get("paths", {}).items()
            for method, operation in item.items()
            if method in grammar.METHODS
        ]


def as_json(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def bundle(surface: str, source: Path, library: Library) -> Bundle:
    """The document that `source` and its references make.

    Raises `ContractError` with every unreadable file, dangling or circular reference and name clash.
    """
    return _Bundler(surface, source.resolve(), library).run()


@dataclass(slots=True)
class _Component:
    target: Target
    kind: str
    place: Place
    content: Any = None


class _Bundler:
    def __init__(self, surface: str, source: Path, library: Library) -> None:
        self.surface = surface
        self.source = source
        self.library = library
        self.findings: list[Finding] = []
        self.names: dict[tuple[str, Target], str] = {}
        self.components: dict[tuple[str, str], _Component] = {}
        self.clashes: list[tuple[str, str, _Component]] = []
        self.aliases: dict[tuple[str, str], tuple[str, Place]] = {}
        self.waiting: deque[_Component] = deque()
        self.reached: set[Target] = set()
        self.files: dict[Path, None] = {source: None}
        self.inlining: list[Target] = []

    def run(self) -> Bundle:
        root = self.library.read(self.source)
        if not isinstance(root, Mapped):
            raise ContractError(
                self._finding("bundle", "the entry document is no mapping", "write an OpenAPI document")
            )
        self._own_components(root)
        document = root.like()
        for key, value in root.items():
            document[key] = Mapped() if key == "components" else self._child("openapi", key, value, self.source)
        self._drain()
        self._settle_clashes()
        if self.findings:
            raise ContractError(self.findings)
        document["components"] = self._sections(root.get("components"))
        if not document["components"]:
            del document["components"]
        return Bundle(self.surface, document, list(self.files), self.reached)

    # --- naming --------------------------------------------------------------------------------

    def _own_components(self, root: Mapped) -> None:
        """Names that the entry document gives win over names made from files."""
        sections = root.get("components")
        for section, entries in sections.items() if isinstance(sections, dict) else ():
            found = grammar.GRAMMAR["components"].get(section)
            if found is None or not isinstance(entries, dict):
                continue
            for name, value in entries.items():
                target = Target(self.source, ("components", section, name))
                place = place_of_child(entries, name, place_of(entries, Place("-", 1)))
                if isinstance(value, dict) and isinstance(value.get("$ref"), str):
                    end = self._follow(self.source, value, place)
                    if end is None:
                        continue
                    target = end
                first = self.names.get((section, target))
                if first is not None:
                    self.aliases[(section, name)] = (first, place)
                    continue
                self._register(section, name, target, found[0], place)

    def _register(self, section: str, name: str, target: Target, kind: str, place: Place) -> None:
        self.names[(section, target)] = name
        self.reached.add(target)
        component = _Component(target, kind, place)
        self.waiting.append(component)
        if (section, name) in self.aliases:
            _, alias = self.aliases[(section, name)]
            self._report(place, f"{section} {name!r} is another definition's name at {alias}", "rename one of them")
        elif (section, name) in self.components:
            self.clashes.append((section, name, component))
        else:
            self.components[(section, name)] = component

    def _name(self, target: Target) -> str:
        parts = target.pointer
        if not parts:
            return target.file.name.split(".")[0]
        if len(parts) == 1:
            return parts[0]
        if parts[-2] in grammar.GRAMMAR["components"] and len(parts) <= 3:
            return parts[-1]
        words = [target.file.name.split(".")[0], *(part for part in parts if part not in ("properties", "items"))]
        return "".join(word[:1].upper() + word[1:] for word in words)

    # --- references ------------------------------------------------------------------------------

    def _follow(self, file: Path, node: Any, place: Place) -> Target | None:
        """Where `node`'s reference ends, through any number of further references. None: reported as a finding."""
        seen: list[Target] = []
        while isinstance(node, dict) and "$ref" in node:
            reference = node["$ref"]
            here = place_of_child(node, "$ref", place)
            if not isinstance(reference, str) or not reference:
                self._report(here, "$ref is not a string", "write file#/pointer")
                return None
            if len(node) > 1:
                beside = ", ".join(key for key in node if key != "$ref")
                self._report(here, f"keys beside $ref are ignored by OpenAPI 3.0: {beside}", "wrap the $ref in allOf")
                return None
            target = self._locate(file, reference, here)
            if target is None:
                return None
            if target in seen:
                self._report(here, f"{reference} refers to itself", "end the chain at a definition")
                return None
            seen.append(target)
            self.reached.add(target)
            file = target.file
            node = self._at(target)
        return seen[-1] if seen else None

    def _locate(self, file: Path, reference: str, place: Place) -> Target | None:
        path, _, fragment = reference.partition("#")
        if "://" in path:
            self._report(place, f"{reference} is remote", "copy the definition into this repository")
            return None
        target_file = (file.parent / path).resolve() if path else file
        if fragment and not fragment.startswith("/"):
            self._report(place, f"{reference}: the fragment is no JSON pointer", "write #/name")
            return None
        target = Target(target_file, tuple(unescape(fragment)))
        try:
            self.library.read(target_file)
        except ContractError as error:
            for one in error.findings:
                if one.rule == "source-file":
                    self._report(place, f"{reference}: {one.message}", one.fix)
                elif one not in self.findings:
                    self.findings.append(one)
            return None
        self.files.setdefault(target_file)
        if self._at(target) is _MISSING:
            fix = "correct the pointer"
            if not path and file != self.source and fragment.startswith("/components/"):
                fix = "`#` means this file: write the path of the file that holds the definition before it"
            self._report(place, f"{reference}: nothing stands there", fix)
            return None
        return target

    def _at(self, target: Target) -> Any:
        node = self.library.read(target.file)
        for part in target.pointer:
            if isinstance(node, dict) and part in node:
                node = node[part]
            elif isinstance(node, list) and part.isdigit() and int(part) < len(node):
                node = node[int(part)]
            else:
                return _MISSING
        return node

    def _place(self, target: Target) -> Place:
        """Where a definition is written: the line of its name."""
        top = Place(self.library.name(target.file), 1)
        if not target.pointer:
            return top
        parent = self._at(Target(target.file, target.pointer[:-1]))
        return place_of_child(parent, target.pointer[-1], top)

    def _refer(self, kind: str, file: Path, node: Mapped) -> Any:
        place = place_of(node, Place(self.library.name(file), 1))
        target = self._follow(file, node, place)
        if target is None:
            return node
        if kind == "pathItem":
            return self._inline(target, place)
        section = grammar.SECTIONS.get(kind)
        if section is None:
            self._report(place, f"a {kind} object cannot be a reference", "write it in place")
            return node
        name = self.names.get((section, target))
        if name is None:
            name = self._name(target)
            if not COMPONENT_NAME.match(name):
                self._report(place, f"{name!r} is no component name", "use letters, digits, `.`, `_` and `-`")
                return node
            self._register(section, name, target, kind, self._place(target))
        out = node.like()
        out["$ref"] = f"#/components/{section}/{name}"
        return out

    def _inline(self, target: Target, place: Place) -> Any:
        if target in self.inlining:
            self._report(place, "a path item refers to itself", "end the chain at a path item")
            return Mapped()
        self.inlining.append(target)
        try:
            return self._rewrite("pathItem", self._at(target), target.file)
        finally:
            self.inlining.pop()

    # --- rewriting -------------------------------------------------------------------------------

    def _rewrite(self, kind: str, node: Any, file: Path) -> Any:
        if not isinstance(node, Mapped):
            return node
        if "$ref" in node and kind not in ("openapi", "components"):
            return self._refer(kind, file, node)
        if kind == "discriminator":
            return self._discriminator(node, file)
        out = node.like()
        for key, value in node.items():
            out[key] = self._child(kind, key, value, file)
        return out

    def _child(self, kind: str, key: str, value: Any, file: Path) -> Any:
        found = grammar.child_of(kind, key)
        if found is None:
            return value
        below, shape = found
        if shape == "one":
            return self._rewrite(below, value, file)
        if shape == "list" and isinstance(value, Listed):
            items = value.like()
            items.extend(self._rewrite(below, item, file) for item in value)
            return items
        if shape == "map" and isinstance(value, Mapped):
            entries = value.like()
            for name, item in value.items():
                entries[name] = self._rewrite(below, item, file)
            return entries
        return value

    def _discriminator(self, node: Mapped, file: Path) -> Mapped:
        """`mapping` holds references as plain strings; a bare name already means a schema component."""
        out = node.like()
        out.update(node)
        mapping = node.get("mapping")
        if isinstance(mapping, Mapped):
            entries = mapping.like()
            for value, reference in mapping.items():
                if isinstance(reference, str) and ("#" in reference or "/" in reference):
                    pointer = Mapped(mapping.file, mapping.lines.get(value, mapping.line))
                    pointer["$ref"] = reference
                    entries[value] = self._refer("schema", file, pointer)["$ref"]
                elif isinstance(reference, str) and COMPONENT_NAME.match(reference):
                    entries[value] = f"#/components/schemas/{reference}"
                else:
                    entries[value] = reference
            out["mapping"] = entries
        return out

    def _drain(self) -> None:
        while self.waiting:
            component = self.waiting.popleft()
            component.content = self._rewrite(component.kind, self._at(component.target), component.target.file)

    def _settle_clashes(self) -> None:
        """Two definitions of one name are harmless when they say the same."""
        for section, name, second in self.clashes:
            first = self.components[(section, name)]
            if first.content != second.content:
                self._report(
                    second.place,
                    f"{section} {name!r} is also defined at {first.place}, differently",
                    "rename one, or name it in the entry document's components",
                )

    def _sections(self, own: Any) -> Mapped:
        out = own.like() if isinstance(own, Mapped) else Mapped()
        for section in grammar.GRAMMAR["components"]:
            names = [name for known, name in (*self.components, *self.aliases) if known == section]
            if not names:
                continue
            entries = Mapped()
            for name in sorted(set(names)):
                if (section, name) in self.components:
                    component = self.components[(section, name)]
                    entries[name] = component.content
                    entries.elsewhere[name] = self._place(component.target)
                else:
                    first, place = self.aliases[(section, name)]
                    entries[name] = Mapped(place.file, place.line)
                    entries[name]["$ref"] = f"#/components/{section}/{first}"
            out[section] = entries
        return out

    def _report(self, place: Place, message: str, fix: str) -> None:
        self.findings.append(self._finding("reference", message, fix, place))

    def _finding(self, rule: str, message: str, fix: str, place: Place | None = None) -> Finding:
        where = place or Place(self.library.name(self.source), 1)
        return Finding(rule, message, fix, where, surface=self.surface)


class _Missing:
    pass


_MISSING = _Missing()
