"""Reading contract sources: YAML 1.2 core schema, no duplicate keys, every mapping knows its file and lines.

PyYAML's C parser composes the nodes; what a plain scalar means is decided here, because PyYAML follows YAML 1.1,
where `on`, `yes` and `2024-01-01` are not strings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from yaml.cyaml import CParser  # type: ignore[attr-defined]

from thalweg.contract.findings import ContractError, Finding, Place

Pointer = tuple[str | int, ...]


class Mapped(dict[str, Any]):
    """A mapping that knows where it and its keys were written."""

    __slots__ = ("elsewhere", "file", "line", "lines")

    def __init__(self, file: str = "-", line: int = 1) -> None:
        super().__init__()
        self.file = file
        self.line = line
        self.lines: dict[str, int] = {}
        self.elsewhere: dict[str, Place] = {}
        """Places of entries that come from several files."""

    def like(self) -> Mapped:
        """An empty mapping with the same origin."""
        twin = Mapped(self.file, self.line)
        twin.lines = self.lines
        return twin


class Listed(list[Any]):
    """A list that knows where it and its items were written."""

    __slots__ = ("file", "line", "lines")

    def __init__(self, file: str = "-", line: int = 1) -> None:
        super().__init__()
        self.file = file
        self.line = line
        self.lines: list[int] = []

    def like(self) -> Listed:
        twin = Listed(self.file, self.line)
        twin.lines = self.lines
        return twin


def place_of(node: object, default: Place) -> Place:
    """Where a value begins; `default` for scalars and for what was not read from a file."""
    if isinstance(node, (Mapped, Listed)) and node.file != "-":
        return Place(node.file, node.line)
    return default


def place_of_child(parent: object, key: str | int, default: Place) -> Place:
    """Where the entry `key` of `parent` was written: the line of the key itself where it is known."""
    if isinstance(parent, Mapped) and isinstance(key, str):
        if key in parent.elsewhere:
            return parent.elsewhere[key]
        if key in parent.lines:
            return Place(parent.file, parent.lines[key])
    if isinstance(parent, Listed) and isinstance(key, int) and key < len(parent.lines):
        return Place(parent.file, parent.lines[key])
    try:
        child = parent[key]  # type: ignore[index]
    except (KeyError, IndexError, TypeError):
        return place_of(parent, default)
    return place_of(child, place_of(parent, default))


class Library:
    """The source files of one run, each read once. `root` is the project's folder."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self._read: dict[Path, Any] = {}

    @property
    def files(self) -> list[Path]:
        """Every file read so far, in order of reading."""
        return list(self._read)

    def name(self, path: Path) -> str:
        """The path as findings show it."""
        try:
            return path.relative_to(self.root).as_posix()
        except ValueError:
            return path.as_posix()

    def read(self, path: Path) -> Any:
        """The file's content. Raises `ContractError` where it is no YAML, holds a key twice or does not exist."""
        if path not in self._read:
            self._read[path] = self._load(path)
        return self._read[path]

    def _load(self, path: Path) -> Any:
        name = self.name(path)
        try:
            text = path.read_bytes().decode("utf-8")
        except FileNotFoundError:
            raise ContractError(
                Finding("source-file", f"{name} does not exist", "write the file, or correct the path", Place(name, 1))
            ) from None
        except UnicodeDecodeError as error:
            line = path.read_bytes()[: error.start].count(b"\n") + 1
            raise ContractError(
                Finding("source-file", f"{name} is not UTF-8", "save the file as UTF-8", Place(name, line))
            ) from None
        return parse(text, name)


def parse(text: str, name: str) -> Any:
    """YAML (or JSON) text to `Mapped`, `Listed` and scalars. `name` is what findings call the file."""
    loader = _Composer(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return Mapped(name, 1)
        return _Builder(name).build(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        column = f", column {mark.column + 1}" if mark else ""
        said = ": ".join(part for part in (error.context, error.problem) if part)
        raise ContractError(
            Finding("yaml", f"not YAML: {said}{column}", "correct the syntax", Place(name, line))
        ) from None
    except yaml.YAMLError as error:
        raise ContractError(Finding("yaml", f"not YAML: {error}", "correct the syntax", Place(name, 1))) from None
    finally:
        loader.dispose()


_PLAIN, _QUOTED, _MAP, _SEQ = "plain", "quoted", "map", "seq"


class _Composer(CParser):
    """The C parser with a resolver that only says whether a scalar was plain: its meaning is decided later."""

    def descend_resolver(self, current_node: Any, current_index: Any) -> None: ...

    def ascend_resolver(self) -> None: ...

    def check_resolver_prefix(self, depth: Any, path: Any, kind: Any, current_node: Any, current_index: Any) -> bool:
        return False

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> str:
        if kind is yaml.ScalarNode:
            return _PLAIN if implicit[0] else _QUOTED
        return _MAP if kind is yaml.MappingNode else _SEQ


_NULL = {"", "~", "null", "Null", "NULL"}
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]+\Z")
_BASED = re.compile(r"0o[0-7]+\Z|0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_NOT_JSON = re.compile(r"[-+]?\.(inf|Inf|INF)\Z|\.(nan|NaN|NAN)\Z")
_NUMERIC_START = frozenset("+-.0123456789")


def _meaning(text: str) -> str | int | float | bool | None:
    """What a plain scalar means in the core schema of YAML 1.2."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if text[0] not in _NUMERIC_START:
        return text
    if _INT.match(text):
        return int(text)
    if _BASED.match(text):
        return int(text, 0)
    if _FLOAT.match(text):
        return float(text)
    return text


def means_something_else(text: str) -> bool:
    """Whether a string must be quoted to stay a string."""
    return _NOT_JSON.match(text) is not None or not isinstance(_meaning(text), str)


class _Builder:
    def __init__(self, file: str) -> None:
        self.file = file
        self.open: set[int] = set()
        self.done: dict[int, Any] = {}

    def build(self, node: yaml.Node) -> Any:
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node)
        key = id(node)
        if key in self.done:
            return self.done[key]
        if key in self.open:
            raise self.error(node, "an alias refers to a node that contains it", "write a $ref instead of an alias")
        self.open.add(key)
        out = self.mapping(node) if isinstance(node, yaml.MappingNode) else self.sequence(node)
        self.open.discard(key)
        self.done[key] = out
        return out

    def mapping(self, node: yaml.MappingNode) -> Mapped:
        if node.tag != _MAP:
            raise self.error(node, f"tag {node.tag} means nothing here", "remove the tag")
        out = Mapped(self.file, node.start_mark.line + 1)
        lines = out.lines
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise self.error(key_node, "a key must be a string", "write the key as plain text")
            # A key is always its text: `200:` is "200", as the OpenAPI Specification wants response codes.
            key = key_node.value
            if key == "<<" and key_node.tag == _PLAIN:
                raise self.error(key_node, "merge keys (<<) are not part of YAML 1.2", "use $ref or allOf")
            line = key_node.start_mark.line + 1
            if key in out:
                raise self.error(
                    key_node, f"key {key!r} stands twice (first in line {lines[key]})", "remove or rename one of them"
                )
            lines[key] = line
            out[key] = self.build(value_node)
        return out

    def sequence(self, node: yaml.Node) -> Listed:
        if node.tag != _SEQ:
            raise self.error(node, f"tag {node.tag} means nothing here", "remove the tag")
        out = Listed(self.file, node.start_mark.line + 1)
        for item in node.value:
            out.lines.append(item.start_mark.line + 1)
            out.append(self.build(item))
        return out

    def scalar(self, node: yaml.ScalarNode) -> str | int | float | bool | None:
        text: str = node.value
        if node.tag == _QUOTED or node.tag == "tag:yaml.org,2002:str":
            return text
        if node.tag != _PLAIN:
            raise self.error(node, f"tag {node.tag} means nothing here", "remove the tag")
        if _NOT_JSON.match(text):
            raise self.error(node, f"{text} is not a JSON number", "write a finite number, or quote it")
        return _meaning(text)

    def error(self, node: yaml.Node, message: str, fix: str) -> ContractError:
        return ContractError(Finding("yaml", message, fix, Place(self.file, node.start_mark.line + 1)))


def walk(node: Any, pointer: Pointer = ()) -> Iterator[tuple[Pointer, Any]]:
    """Every mapping and list below `node`, itself included, with its pointer."""
    yield pointer, node
    if isinstance(node, dict):
        for key, value in node.items():
            if isinstance(value, (dict, list)):
                yield from walk(value, (*pointer, key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            if isinstance(value, (dict, list)):
                yield from walk(value, (*pointer, index))


def escape(pointer: Pointer) -> str:
    """A JSON pointer (RFC 6901) as text, without the leading `#`."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in pointer)


def unescape(text: str) -> list[str]:
    """The parts of a JSON pointer; percent-encoding of a URI fragment is undone."""
    from urllib.parse import unquote

    if text in ("", "/"):
        return [] if text == "" else [""]
    return [part.replace("~1", "/").replace("~0", "~") for part in unquote(text).lstrip("/").split("/")]
