"""Conversations: a message becomes a turn, a turn an answer, and every surface watches the same numbered events.

`start` promises an answer, `run` carries it out in a worker, `events_after` is its record; `state`, `result`, `active`,
`ended` read it, `cancel` and `decide` act on it. `rules` says what a surface promises, `events` what there is to watch.
Conversations themselves are in `history`, the log of the guardrails in `guardrails.record`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain.kernel.lazily import offers

if TYPE_CHECKING:
    from domain.conversations import events, history, retention, rules, voice
    from domain.conversations.digesting import compact, digest
    from domain.conversations.engine import announce, run
    from domain.conversations.events import TERMINAL
    from domain.conversations.guardrails.record import export_guardrail_events, list_guardrail_events
    from domain.conversations.history import (
        Hit,
        Message,
        Rating,
        active_turns,
        branch_conversation,
        create_conversation,
        delete_conversation,
        erase,
        erase_person,
        get_conversation,
        last_messages,
        list_conversations,
        list_events,
        list_messages,
        meaning_of,
        purge_deleted,
        purge_older,
        rate_message,
        rename_conversation,
        restore_conversation,
        search_conversations,
        spoken_with,
    )
    from domain.conversations.journal import channel
    from domain.conversations.models import Conversation, GuardrailEvent, Turn, TurnEvent
    from domain.conversations.rules import TurnRules
    from domain.conversations.titles import ENDS as TITLE_ENDS
    from domain.conversations.titles import channel as title_channel
    from domain.conversations.titles import request_title, retitle, retitled, titled
    from domain.conversations.turns import (
        Prior,
        TurnResult,
        active,
        cancel,
        decide,
        ended,
        events_after,
        expire,
        get_turn,
        give_up,
        last_number,
        result,
        shown,
        start,
        state,
    )
    from domain.conversations.warming import warm
else:
    __getattr__ = offers(__name__, __file__)

__all__ = [
    "TERMINAL",
    "TITLE_ENDS",
    "Conversation",
    "GuardrailEvent",
    "Hit",
    "Message",
    "Prior",
    "Rating",
    "Turn",
    "TurnEvent",
    "TurnResult",
    "TurnRules",
    "active",
    "active_turns",
    "announce",
    "branch_conversation",
    "cancel",
    "channel",
    "compact",
    "create_conversation",
    "decide",
    "delete_conversation",
    "digest",
    "ended",
    "erase",
    "erase_person",
    "events",
    "events_after",
    "expire",
    "export_guardrail_events",
    "get_conversation",
    "get_turn",
    "give_up",
    "history",
    "last_messages",
    "last_number",
    "list_conversations",
    "list_events",
    "list_guardrail_events",
    "list_messages",
    "meaning_of",
    "purge_deleted",
    "purge_older",
    "rate_message",
    "rename_conversation",
    "request_title",
    "restore_conversation",
    "result",
    "retention",
    "retitle",
    "retitled",
    "rules",
    "run",
    "search_conversations",
    "shown",
    "spoken_with",
    "start",
    "state",
    "title_channel",
    "titled",
    "voice",
    "warm",
]
