"""chat."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from domain.kernel.context import Ctx
from generated.thallus import requests, responses
from thalweg.edge.problem import not_implemented


def start_chat(ctx: Ctx, body: requests.ChatRequest) -> responses.ChatTask:
    """Start a chat task."""
    raise not_implemented()


def stream_chat_progress(ctx: Ctx, task_id: UUID, last_id: str) -> Any:
    """Watch a chat task."""
    raise not_implemented()


def get_chat_state(ctx: Ctx, task_id: UUID) -> responses.ChatState:
    """Read all events of a chat task."""
    raise not_implemented()


def get_chat_result(ctx: Ctx, task_id: UUID) -> responses.ChatResult:
    """Read the answer of a chat task."""
    raise not_implemented()


def list_active_chats(ctx: Ctx) -> responses.ChatActive:
    """List tasks to go on with."""
    raise not_implemented()


def chat(ctx: Ctx, body: requests.ChatRequest) -> responses.ChatResult | responses.ChatTask:
    """Ask and wait for the answer."""
    raise not_implemented()
