"""Rows of conversations: whose they are, how one begins, how something said is added."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError

from domain import agents
from domain.agents.spec import Agent
from domain.conversations import rules
from domain.conversations.models import Conversation, MessageRow
from domain.conversations.rules import title_of
from domain.kernel.context import ApiKeyActor, Ctx, ServiceAccountActor
from domain.kernel.errors import Conflict, Forbidden, NotFound
from domain.kernel.ids import new_id

SEARCHED = 100_000
"""Characters of a message that a search looks at: Postgres bounds a search vector at 1 MB."""
PREVIEW = 500


def owner_of(ctx: Ctx) -> str:
    """Whose conversations a caller has: a person's are the same through their session and their keys."""
    user = agents.caller(ctx)
    if user is not None:
        return f"user:{user}"
    if isinstance(ctx.actor, ServiceAccountActor):
        return f"service_account:{ctx.actor.account}"[:200]
    if isinstance(ctx.actor, ApiKeyActor):
        return f"key:{ctx.actor.key_id}"
    raise Forbidden("Conversations belong to somebody.")


def find_conversation(
    ctx: Ctx, conversation_id: UUID | None, client_id: UUID | None = None, *, lock: bool = False
) -> Conversation | None:
    """The caller's own, by its id or the client's; by its id anybody's of the organisation where the surface shares
    them (`TurnRules.shared`). None when neither is given, or the client's is new.

    Raises `NotFound` for an id that is not one of theirs, or deleted.
    """
    if conversation_id is None and client_id is None:
        return None
    query = select(Conversation).where(Conversation.deleted_at.is_(None))
    if conversation_id is not None and ctx.surface is not None and rules.of_surface(ctx.surface).shared:
        query = query.where(Conversation.id == conversation_id, Conversation.surface == ctx.surface)
    elif conversation_id is not None:
        query = query.where(Conversation.id == conversation_id, Conversation.owner_key == owner_of(ctx))
    else:
        query = query.where(Conversation.client_id == client_id, Conversation.owner_key == owner_of(ctx))
    if lock:
        # Not its key: a turn that is written twice in one transaction has a share of that, by its foreign key.
        query = query.with_for_update(key_share=True)
    found = ctx.session.scalars(query).one_or_none()
    if found is None and conversation_id is not None:
        raise NotFound("There is no such conversation.")
    return found


def new_conversation(
    ctx: Ctx,
    *,
    surface: str,
    source: str = "chat",
    agent: Agent | None = None,
    title: str | None = None,
    client_id: UUID | None = None,
) -> Conversation:
    """Raises `Conflict` (reason `turn_active`) when one of the same `client_id` was begun meanwhile."""
    conversation = Conversation(
        id=new_id(),
        owner_key=owner_of(ctx),
        user_id=agents.caller(ctx),
        surface=surface,
        source=source,
        title=title,
        title_given=title is not None,
        agent_key=agent.key if agent else None,
        agent_id=agent.id if agent else None,
        client_id=client_id,
        message_count=0,
        moved_at=ctx.now(),
    )
    ctx.session.flush()
    try:
        with ctx.session.begin_nested():
            ctx.session.add(conversation)
    except IntegrityError as taken:
        if client_id is None or "uq_conversation_client_id" not in str(taken.orig):
            raise
        # Somebody has begun it in this moment, and has the first answer coming.
        raise Conflict("This conversation has an answer under way.", reason="turn_active") from taken
    return conversation


def add_message(
    ctx: Ctx,
    conversation: Conversation,
    *,
    role: str,
    content: str,
    status: str = "complete",
    message_id: UUID | None = None,
    turn_id: UUID | None = None,
    agent_key: str | None = None,
    attachments: Sequence[Mapping[str, Any]] = (),
    position: int | None = None,
) -> MessageRow:
    """Put something behind what was said (or at a free `position`)."""
    if position is None:
        last = select(func.max(MessageRow.position)).where(MessageRow.conversation_id == conversation.id)
        position = (ctx.session.scalar(last) or 0) + 1
    row = MessageRow(
        id=message_id or new_id(),
        conversation_id=conversation.id,
        position=position,
        role=role,
        content=content,
        status=status,
        turn_id=turn_id,
        agent_key=agent_key,
        attachments=[dict(each) for each in attachments],
    )
    ctx.session.add(row)
    ctx.session.flush()
    if status == "complete":
        conversation.message_count += 1
        moved(ctx, conversation, content)
        index(ctx, row.id, content)
    return row


def moved(ctx: Ctx, conversation: Conversation, content: str) -> None:
    """Something was said."""
    if content:
        conversation.last_message = _preview(content)
    conversation.last_message_at = conversation.moved_at = ctx.now()


def hear(ctx: Ctx, message_id: UUID, text: str) -> None:
    """What was said aloud is understood: the conversation has its words, and a title if it had none."""
    row = ctx.session.get_one(MessageRow, message_id)
    conversation = ctx.session.get_one(Conversation, row.conversation_id)
    row.content = text
    if conversation.title is None and text:
        conversation.title = title_of(text)
    moved(ctx, conversation, text)
    ctx.session.flush()
    index(ctx, message_id, text)


def rewrite(ctx: Ctx, message_id: UUID, text: str) -> None:
    """Something said stands otherwise from now on, wherever its words are kept: in searches, as the conversation's
    preview, and as the title that was made of it."""
    row = ctx.session.get_one(MessageRow, message_id)
    conversation = ctx.session.get_one(Conversation, row.conversation_id)
    if conversation.last_message == _preview(row.content):
        conversation.last_message = _preview(text)
    if not conversation.title_given and conversation.title == title_of(row.content):
        conversation.title = title_of(text)
    row.content = text
    ctx.session.flush()
    index(ctx, message_id, text)


def _preview(content: str) -> str:
    return " ".join(content[:2000].split())[:PREVIEW]


def index(ctx: Ctx, message_id: UUID, content: str) -> None:
    """Let a search find it by its words; by what it means once a worker has looked at it."""
    ctx.session.execute(
        update(MessageRow)
        .where(MessageRow.id == message_id)
        .values(search=func.to_tsvector("simple", content[:SEARCHED]), embedding=None)
        .execution_options(synchronize_session=False)
    )
