"""From method and path to a plan.

Literal paths are one dictionary look-up; templated ones walk a tree of segments in which a literal beats a parameter.
The path that is matched first is the one that is meant, whatever the method: `/documents/query` is never a document.
Segments are matched as they came over the wire, so an encoded slash stays inside its parameter.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from urllib.parse import unquote

P = TypeVar("P")


@dataclass(slots=True)
class _Node(Generic[P]):
    literals: dict[str, _Node[P]] = field(default_factory=dict)
    patterns: list[tuple[re.Pattern[str], _Node[P]]] = field(default_factory=list)
    parameter: _Node[P] | None = None
    leaf: dict[str, tuple[P, tuple[str, ...]]] = field(default_factory=dict)


@dataclass(slots=True)
class Router(Generic[P]):
    """Routes of one document."""

    _static: dict[str, dict[str, P]] = field(default_factory=dict)
    _root: _Node[P] = field(default_factory=_Node)

    def add(self, method: str, path: str, plan: P) -> None:
        """`method` in capitals, `path` as in the contract."""
        if "{" not in path:
            self._static.setdefault(path, {})[method] = plan
            return
        node = self._root
        for segment in path.split("/")[1:]:
            node = _child(node, segment)
        node.leaf[method] = (plan, tuple(re.findall(r"{([^}]+)}", path)))

    def find(self, method: str, path: str) -> tuple[P, dict[str, str]] | frozenset[str]:
        """The plan and the raw (still percent-encoded) path values; else the methods that the path has, maybe none.

        `path` is the raw path without the base path, starting with `/`.
        """
        methods = self._static.get(path)
        if methods is None and "%" in path and "%2f" not in path.lower():
            methods = self._static.get(unquote(path))
        if methods is not None:
            plan = methods.get(method)
            return frozenset(methods) if plan is None else (plan, {})
        segments = path.split("/")
        found = self._straight(segments, method)
        if found is not None:
            return found
        allowed: set[str] = set()
        found = self._walk(self._root, segments, 1, [], method, allowed)
        return frozenset(allowed) if found is None else found

    def _straight(self, segments: list[str], method: str) -> tuple[P, dict[str, str]] | None:
        """The quick way down, for as long as there is no choice to come back to; None leaves it to `_walk`."""
        node = self._root
        values: list[str] = []
        for segment in segments[1:]:
            literal = node.literals.get(segment)
            if literal is not None:
                if node.parameter is not None or node.patterns:
                    return None
                node = literal
            elif node.parameter is None or node.patterns or not segment or "%" in segment:
                return None
            else:
                values.append(segment)
                node = node.parameter
        hit = node.leaf.get(method)
        return None if hit is None else (hit[0], dict(zip(hit[1], values, strict=True)))

    def _walk(
        self, node: _Node[P], segments: list[str], at: int, values: list[str], method: str, allowed: set[str]
    ) -> tuple[P, dict[str, str]] | None:
        if at == len(segments):
            hit = node.leaf.get(method)
            if hit is None:
                allowed.update(node.leaf)
                return None
            plan, names = hit
            return plan, dict(zip(names, values, strict=True))
        segment = segments[at]
        literal = node.literals.get(segment)
        if literal is None and "%" in segment and node.literals:
            literal = node.literals.get(unquote(segment))
        if literal is not None:
            found = self._walk(literal, segments, at + 1, values, method, allowed)
            if found is not None or allowed:
                return found
        for pattern, child in node.patterns:
            match = pattern.fullmatch(segment)
            if match is not None:
                found = self._walk(child, segments, at + 1, [*values, *match.groups()], method, allowed)
                if found is not None or allowed:
                    return found
        if node.parameter is not None and segment:
            return self._walk(node.parameter, segments, at + 1, [*values, segment], method, allowed)
        return None


def _child(node: _Node[P], segment: str) -> _Node[P]:
    if re.fullmatch(r"{[^}]+}", segment):
        if node.parameter is None:
            node.parameter = _Node()
        return node.parameter
    if "{" in segment:
        source = "".join(
            "([^/]+?)" if part.startswith("{") else re.escape(part) for part in re.split(r"({[^}]+})", segment) if part
        )
        for pattern, child in node.patterns:
            if pattern.pattern == source:
                return child
        fresh: _Node[P] = _Node()
        node.patterns.append((re.compile(source), fresh))
        return fresh
    return node.literals.setdefault(segment, _Node())
