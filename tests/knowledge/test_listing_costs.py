"""What a list of documents costs must not grow with its length."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import event

from domain import knowledge
from domain.kernel.pages import OffsetPage
from handlers.thallus import wire_documents as wire


@pytest.mark.parametrize("people", [1, 3])
def test_a_page_of_documents_takes_as_many_statements_as_one_document(world: Any, people: int) -> None:
    first, *others = [world.person() for _ in range(people)]
    collection_id = world.collection(first, personal=False)
    world.upload(first, b"The first of them.", "a.txt", collection_id=collection_id)
    alone = _statements(world, first)
    for number in range(6):
        who = (first, *others)[number % people]
        world.upload(who, f"Number {number} of them.".encode(), f"{number}.txt", collection_id=collection_id)
    assert _statements(world, first) == alone


def _statements(world: Any, actor: Any) -> int:
    sent: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        sent.append(statement)

    event.listen(world.database.engine, "before_cursor_execute", note)
    try:
        with world.ctx(actor) as ctx:
            page = OffsetPage(50, 0)
            shown = wire.document_page(ctx, page, knowledge.list_documents(ctx, page))
    finally:
        event.remove(world.database.engine, "before_cursor_execute", note)
    assert all("@example.org" in each["uploaded_by"]["email"] for each in shown["items"])
    return len(sent)
