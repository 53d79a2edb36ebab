"""The passages of a turn, numbered through the whole answer, so that `[3]` means one thing in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from domain.agents.tools import Found
from domain.inference import Source

PASSAGE = 4000
"""Characters of a passage that a model is shown."""


class Sources:
    """Numbers from 1, in the order in which passages were found; a passage that is found twice keeps its number."""

    def __init__(self) -> None:
        self._rows: dict[int, dict[str, Any]] = {}
        self._known: dict[str, int] = {}

    def add(self, found: Sequence[Found]) -> list[dict[str, Any]]:
        """The passages as JSON, each with its `index`. They are not kept before `keep`."""
        taken = len(self._rows)
        rows: list[dict[str, Any]] = []
        fresh: dict[str, int] = {}
        for each in found:
            row = _row(each)
            name = _name(row)
            number = self._known.get(name) or fresh.get(name)
            if number is None:
                taken += 1
                number = fresh[name] = taken
            rows.append({"index": number, **row})
        return rows

    def keep(self, rows: Sequence[Mapping[str, Any]]) -> None:
        for row in rows:
            self._rows.setdefault(int(row["index"]), dict(row))
            self._known.setdefault(_name(row), int(row["index"]))

    @property
    def rows(self) -> Mapping[int, Mapping[str, Any]]:
        return self._rows

    def for_model(self, numbers: Sequence[int] | None = None) -> tuple[Source, ...]:
        chosen = self._rows if numbers is None else {n: self._rows[n] for n in numbers if n in self._rows}
        return tuple(
            Source(number, row["title"], row["text"][:PASSAGE], row["score"] or 0.0, row["kind"])
            for number, row in sorted(chosen.items())
        )


def told(rows: Sequence[Mapping[str, Any]]) -> str:
    """Passages as a model reads them."""
    return "\n\n".join(f"[{row['index']}] {row['title']}\n{row['text'][:PASSAGE]}" for row in rows)


def citation(row: Mapping[str, Any], snippet: str) -> dict[str, Any]:
    """As a citation of an answer: without the whole passage."""
    return {**{k: v for k, v in row.items() if k != "text"}, "snippet": snippet}


def _row(found: Found) -> dict[str, Any]:
    return {
        "kind": found.kind,
        "title": found.title[:500],
        "text": found.text,
        "score": None if found.score is None else max(0.0, min(1.0, round(found.score, 4))),
        "source_id": found.source_id,
        "document_id": None if found.document_id is None else str(found.document_id),
        "chunk_id": None if found.chunk_id is None else str(found.chunk_id),
        "page": found.page,
        "sheet": found.sheet,
        "cells": found.cells,
        "connection_id": None if found.connection_id is None else str(found.connection_id),
        "table_name": found.table_name,
        "url": found.url,
    }


def _name(row: Mapping[str, Any]) -> str:
    return str(row["chunk_id"] or f"{row['kind']}:{row['source_id']}:{row['text'][:200]}")
