"""The working parts of tools that lean on other contexts: documents, memories, tickets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol
from uuid import UUID

from domain import billing, inference, knowledge, memory, support
from domain.agents.tools.registry import Found, ToolResult, ToolRun, provide
from domain.identity import accounts
from domain.kernel.context import Ctx

LIMIT = 8
VECTOR_STORE = knowledge.stores.KIND
SHARED: Mapping[str, tuple[str, ...]] = {"starter": (VECTOR_STORE,)}
"""Surface -> the kinds of collections that its agents search, where everybody of the organisation reads the answers."""


class Searches(Protocol):
    """How documents are searched: what the person of `ctx` may see, the best first."""

    def __call__(
        self, ctx: Ctx, query: str, *, vector: Any, limit: int, knowledge_base_ids: Sequence[UUID]
    ) -> Sequence[Found]: ...


def bind_search(search: Searches | None) -> None:
    """Give `search_documents` its working part. `vector` is the query's embedding, made outside the transaction."""
    if search is None:
        provide("search_documents", reads=None)
        return

    def search_documents(run: ToolRun, given: Mapping[str, Any]) -> ToolResult:
        vector = knowledge.asking.question(run.transaction, given["query"], run.knowledge_base_ids, run.deadline)
        with run.transaction() as ctx:
            found = search(
                ctx,
                given["query"],
                vector=vector,
                limit=given.get("limit", LIMIT),
                knowledge_base_ids=run.knowledge_base_ids,
            )
        return _passages(found, "document")

    provide("search_documents", reads=search_documents)


def _documents(ctx: Ctx, query: str, *, vector: Any, limit: int, knowledge_base_ids: Sequence[UUID]) -> Sequence[Found]:
    """From the agent's knowledge bases, as far as the person may see them; without any, from all that they may see, and
    on a surface whose conversations others read, from what they all may see (`SHARED`)."""
    passages: Sequence[knowledge.Passage]
    if knowledge_base_ids:
        passages = knowledge.marketplace.answers(ctx, query, knowledge_base_ids, vector=vector, limit=limit)
    else:
        kinds = None if ctx.surface is None else SHARED.get(ctx.surface)
        passages = knowledge.search(
            ctx, query, collection_kinds=kinds, limit=limit, highlight=False, vector=vector
        ).passages
    return [
        Found(
            "document",
            p.title,
            p.text,
            p.score,
            str(p.external_id if p.collection_kind == VECTOR_STORE and p.external_id else p.document_id),
            document_id=p.document_id,
            chunk_id=p.chunk_id,
            page=p.citation.page,
            sheet=p.citation.sheet,
            cells=p.citation.cells,
            url=p.citation.url,
        )
        for p in passages
    ]


def search_memory(run: ToolRun, given: Mapping[str, Any]) -> ToolResult:
    if run.user_id is None:
        return _passages((), "memory")
    vector = inference.drivers().embedder.embed([given["query"]], run.deadline)[0]
    with run.transaction() as ctx:
        recalled = memory.recall_personal(ctx, run.user_id, vector, limit=given.get("limit", LIMIT))
    return _passages(
        [
            Found("memory", f"Memory of {m.created_at:%d %B %Y}", m.text, m.similarity, str(m.id))
            for m in recalled
            if m.conversation_id is None or m.conversation_id != run.conversation_id
        ],
        "memory",
    )


URGENCY: Mapping[str, str] = {"low": "low", "medium": "normal", "high": "high", "urgent": "urgent"}
"""What an agent calls it -> what a ticket does."""


def create_ticket(ctx: Ctx, run: ToolRun, given: Mapping[str, Any]) -> ToolResult:
    """A ticket of the person's organisation, in their name. Bee Flow's tiers cover tickets or do not; raises
    `PaymentRequired` there."""
    if run.surface == "beeflow":
        billing.entitled(ctx, "ticket_assistant", "beeflow")
    asker = None if run.user_id is None else accounts.get_many(ctx, [run.user_id]).get(run.user_id)
    made = support.open_ticket(
        ctx,
        given["title"],
        given["description"],
        requester=asker,
        priority=URGENCY.get(given.get("priority", "")),
        finding_id=UUID(given["finding_id"]) if given.get("finding_id") else None,
    )
    told = {"id": str(made.id), "number": made.number, "title": made.subject, "status": made.status}
    return ToolResult(f"Ticket {made.number} is open: {made.subject}", told)


def _passages(found: Sequence[Found], kind: str) -> ToolResult:
    """Numbers are put in by whoever called the tool: they count through the whole answer."""
    data = {"count": len(found), "titles": [f.title[:200] for f in found][:20]}
    return ToolResult("" if found else f"No {kind} was found.", data, tuple(found))


provide("search_memory", reads=search_memory)
provide("create_ticket", writes=create_ticket)
bind_search(_documents)
