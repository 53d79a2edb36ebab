"""The job that reads a ticket: what it is about, how urgent, and an answer from the knowledge bases that whoever handed
it in may see. Nothing is sent.

A ticket is read in a short transaction, judged outside of any, and written in the one that ends the job: killed
anywhere it begins anew and writes once. A mail that joins meanwhile has a job of its own, and this one writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import select

from domain import inference, knowledge
from domain.inference import ChatModel, Deadline, Source
from domain.inference.choice import chat_model
from domain.kernel.context import Actor, AnonymousActor, Ctx, UserActor, Work
from domain.kernel.errors import DomainError, Invalid
from domain.support import judging, quoting
from domain.support.judging import Case, Judgement, Reply
from domain.support.models import Ticket, TicketMessage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from domain.knowledge import Passage

PATIENCE = 120.0
"""Seconds that a language model has for a ticket."""
SPARE = 40.0
"""Seconds of the job's that are kept for quotation, where the model was too slow."""
PASSAGES = 12
EACH = 5
"""Passages that are looked at for one question."""
READ = 20
"""Mails of a ticket that are read: the latest."""
SNIPPET = 1_000
KINDS = ("knowledge_base",)

Open = Callable[[], AbstractContextManager[Ctx]]


@dataclass(frozen=True, slots=True)
class _Task:
    round: int
    case: Case
    wanted: bool
    actor: Actor
    model: ChatModel


def suggest(work: Work, ticket_id: UUID) -> None:
    """Judge a ticket and suggest an answer. The job `support.suggest_reply`."""
    with work.transaction() as ctx:
        task = _task(ctx, ticket_id)
        if task is None:
            work.complete(ctx)
    if task is None:
        return

    @contextmanager
    def person() -> Iterator[Ctx]:
        with work.transaction() as ctx:
            yield replace(ctx, actor=task.actor, permissions=frozenset(), surface="beeflow")

    deadline = Deadline(max(1.0, min(PATIENCE, work.remaining() - SPARE)))
    spare = Deadline(max(2.0, work.remaining() - 5.0))
    try:
        judgement = judging.judge(task.model, task.case, deadline)
    except inference.TimedOut:
        judgement = judging.judge_by_quotation(task.case, spare)
    work.heartbeat()
    passages: list[Passage] = []
    reply: Reply | None = None
    if task.wanted:
        questions = quoting.questions(task.case.subject, task.case.latest, judgement.summary or "")
        passages = _passages(person, questions, spare)
        sources = [
            Source(number, each.title, each.text, each.score, "document") for number, each in enumerate(passages, 1)
        ]
        try:
            reply = judging.answer(task.model, task.case, questions, sources, deadline)
        except inference.TimedOut:
            reply = judging.answer_by_quotation(questions, sources, spare)
    with work.transaction() as ctx:
        ticket = _unread(ctx, ticket_id)
        if ticket is not None and ticket.round == task.round:
            _write(ctx, ticket, judgement, reply, passages)
        work.complete(ctx)


def give_up(ctx: Ctx, ticket_id: UUID) -> None:
    """`suggest` has failed for good: nobody waits for an answer any more. The ticket is there all the same."""
    ticket = _unread(ctx, ticket_id)
    if ticket is not None and ticket.suggestion_state == "pending":
        ticket.suggestion_state = "failed"
        ticket.suggested_at = ctx.now()


def _unread(ctx: Ctx, ticket_id: UUID) -> Ticket | None:
    """The ticket, locked, unless all of it was read."""
    ticket = ctx.session.scalar(
        select(Ticket).where(Ticket.id == ticket_id).with_for_update().execution_options(populate_existing=True)
    )
    return ticket if ticket is not None and ticket.judged_round < ticket.round else None


def _task(ctx: Ctx, ticket_id: UUID) -> _Task | None:
    ticket = _unread(ctx, ticket_id)
    if ticket is None:
        return None
    texts = ctx.session.scalars(
        select(TicketMessage.content)
        .where(TicketMessage.ticket_id == ticket_id)
        .order_by(TicketMessage.position.desc())
        .limit(READ)
    ).all()
    try:
        model = chat_model(ctx, ticket.created_by, "medium")
    except DomainError:  # the person's own key was refused: nothing else may stand in for it but quotation
        model = inference.drivers().chat(quoting.MODEL)
    actor = AnonymousActor() if ticket.created_by is None else UserActor(ticket.created_by)
    case = Case(ticket.subject, tuple(reversed(texts)))
    return _Task(ticket.round, case, ticket.suggestion_state == "pending", actor, model)


def _passages(person: Open, questions: Sequence[str], deadline: Deadline) -> list[Passage]:
    """What the person's knowledge bases say about it: for each question the best, none twice."""
    found: dict[UUID, Passage] = {}
    for question in questions:
        try:
            vector = knowledge.asking.question(person, question, deadline=deadline)
        except Invalid:  # nothing in it that could be looked for
            continue
        with person() as ctx:
            hits = knowledge.search(
                ctx, question, collection_kinds=KINDS, limit=EACH, highlight=False, vector=vector
            ).passages
        for each in hits:
            known = found.get(each.chunk_id)
            if known is None or known.score < each.score:
                found[each.chunk_id] = each
    return sorted(found.values(), key=lambda each: (-each.score, each.chunk_id))[:PASSAGES]


def _write(ctx: Ctx, ticket: Ticket, judgement: Judgement, reply: Reply | None, passages: Sequence[Passage]) -> None:
    ticket.judged_round = ticket.round
    ticket.category, ticket.language, ticket.summary = judgement.category, judgement.language, judgement.summary
    if not ticket.priority_given:
        ticket.priority = judgement.priority
    if ticket.suggestion_state == "pending":
        ticket.suggestion_state = "failed" if reply is None else "completed"
        ticket.suggested_at = ctx.now()
        ticket.suggestion = None if reply is None else _kept(reply, passages)


def _kept(reply: Reply, passages: Sequence[Passage]) -> dict[str, Any]:
    by_number = dict(enumerate(passages, 1))
    return {
        "text": reply.text,
        "confidence": reply.confidence,
        "citations": [_citation(by_number[number]) for number in reply.cited],
        "collections": sorted({str(by_number[number].collection_id) for number in reply.read}),
        "model": reply.model,
    }


def _citation(passage: Passage) -> dict[str, Any]:
    return {
        "document_id": str(passage.document_id),
        "title": passage.title[:500],
        "snippet": (passage.snippet or passage.text)[:SNIPPET],
    }
