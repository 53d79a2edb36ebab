"""Making and keeping brains."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import select

from domain import audit, memory
from domain.brains import plan
from domain.brains.models import Brain
from domain.kernel.context import Ctx
from domain.kernel.errors import Conflict, Invalid, NotFound

MAX_TERMS, MAX_TERM = 1_000, 200


def create_brain(
    ctx: Ctx,
    name: str,
    *,
    slug: str | None = None,
    blocked_terms: Sequence[str] = (),
    role_config: Mapping[str, Any] | None = None,
) -> Brain:
    """A new brain with its 33 baseline entries. `slug` is made from the name when it is not given.

    Raises `Invalid`, and `Conflict` for a slug that the organisation uses already.
    """
    named = _named(name)
    slug = _slug(named) if slug is None else slug
    if not re.fullmatch(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", slug):
        raise Invalid("slug: 1 to 63 of a-z, 0-9 and -, not beginning or ending with -.")
    terms = _terms(blocked_terms)
    config = dict(role_config or {})
    plan.checked(config, blocked_terms=bool(terms))
    if ctx.session.scalars(select(Brain.id).where(Brain.slug == slug)).first() is not None:
        raise Conflict(f"There is a brain {slug!r} already.", slug=slug)
    brain = Brain(name=named, slug=slug, status="active", blocked_terms=terms, role_config=config)
    ctx.session.add(brain)
    ctx.session.flush()
    memory.seed(ctx, brain.id)
    audit.record(ctx, "brain.create", resource_type="brain", resource_id=brain.id, details={"slug": slug})
    return brain


def update_brain(
    ctx: Ctx,
    brain_id: UUID,
    *,
    name: str | None = None,
    blocked_terms: Sequence[str] | None = None,
    role_config: Mapping[str, Any] | None = None,
) -> Brain:
    """Change what is given. Invocations under way keep the roles they were started with.

    Raises `NotFound`, `Invalid`.
    """
    brain = get_brain(ctx, brain_id)
    terms = list(brain.blocked_terms) if blocked_terms is None else _terms(blocked_terms)
    config = dict(brain.role_config) if role_config is None else dict(role_config)
    plan.checked(config, blocked_terms=bool(terms))
    if name is not None:
        brain.name = _named(name)
    brain.blocked_terms, brain.role_config = terms, config
    audit.record(ctx, "brain.update", resource_type="brain", resource_id=brain.id)
    return brain


def archive_brain(ctx: Ctx, brain_id: UUID) -> Brain:
    """It takes no more invocations and is not found any more. Its memory stays. Raises `NotFound`."""
    brain = get_brain(ctx, brain_id)
    brain.status = "archived"
    audit.record(ctx, "brain.archive", resource_type="brain", resource_id=brain.id)
    return brain


def get_brain(ctx: Ctx, brain_id: UUID) -> Brain:
    """An active brain of the organisation. Raises `NotFound`."""
    found = ctx.session.scalars(select(Brain).where(Brain.id == brain_id, Brain.status == "active")).one_or_none()
    if found is None:
        raise NotFound("Brain not found.")
    return found


def find_brain(ctx: Ctx, slug: str) -> Brain | None:
    """By slug: how the command line names them."""
    return ctx.session.scalars(select(Brain).where(Brain.slug == slug, Brain.status == "active")).one_or_none()


def list_brains(ctx: Ctx) -> list[Brain]:
    """The organisation's active brains, oldest first."""
    return list(ctx.session.scalars(select(Brain).where(Brain.status == "active").order_by(Brain.id)))


def _named(name: str) -> str:
    stripped = name.strip()
    if not 0 < len(stripped) <= 200 or not stripped.isprintable():
        raise Invalid("name: 1 to 200 printable characters.")
    return stripped


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:63].strip("-") or "brain"


def _terms(terms: Sequence[str]) -> list[Any]:
    cleaned = list(dict.fromkeys(" ".join(term.split()) for term in terms))
    if len(cleaned) > MAX_TERMS or any(not 0 < len(term) <= MAX_TERM or not term.isprintable() for term in cleaned):
        raise Invalid(f"blocked_terms: at most {MAX_TERMS}, each of 1 to {MAX_TERM} printable characters.")
    return list(cleaned)
