"""Cursors walk a listing once, whole, and answer nothing but the listing that made them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import select

from domain.kernel import cursor
from domain.kernel.errors import Invalid
from domain.kernel.ids import new_id
from domain.kernel.pages import CursorPage


@pytest.mark.parametrize("descending", [False, True])
def test_the_pages_hold_every_row_once_and_in_order(world: Any, descending: bool) -> None:
    with pytest.raises(ZeroDivisionError), world.database.session(world.ours) as session:  # noqa: PT012
        # equal names: only the second key tells them apart
        session.add_all([world.Shelf(name=f"n{number % 3}") for number in range(23)])
        session.flush()
        seen: list[Any] = []
        following: str | None = None
        while True:
            page = cursor.listed(
                session,
                select(world.Shelf),
                world.Shelf.name,
                world.Shelf.id,
                page=CursorPage(5, following),
                listing="shelves",
                descending=descending,
            )
            seen += page.items
            following = page.next_cursor
            if following is None:
                break
        keys = [(shelf.name, shelf.id) for shelf in seen]
        assert len(keys) == 24
        assert keys == sorted(keys, reverse=descending)
        raise ZeroDivisionError


def test_every_kind_of_value_comes_back_as_it_was() -> None:
    values: list[cursor.Value] = [1, -2.5, "text", None, True, new_id(), datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)]
    assert cursor.decode("x", cursor.encode("x", values)) == values


def test_a_cursor_of_another_listing_is_malformed() -> None:
    with pytest.raises(Invalid, match="malformed cursor"):
        cursor.decode("other", cursor.encode("x", [1]))


def test_every_changed_character_is_noticed() -> None:
    good = cursor.encode("x", [1, "name"])
    for place in range(len(good) - 1):
        changed = good[:place] + ("A" if good[place] != "A" else "B") + good[place + 1 :]
        with pytest.raises(Invalid, match="malformed cursor"):
            cursor.decode("x", changed)


@given(st.text(max_size=100))
@example("")
@example("\ud800")
@example("é" * 40)
@example("=" * 30)
@example("A" * 100_000)
def test_anything_else_is_malformed(text: str) -> None:
    with pytest.raises(Invalid, match="malformed cursor"):
        cursor.decode("x", text)
