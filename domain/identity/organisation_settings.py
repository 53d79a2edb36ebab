"""The organisation's settings: looks, language, time zone, retention, guardrails, where frames may stand.

They are kept by section (`profile`, `retention`, `guardrails`, `frames`) in the organisation's row. What is read is
what holds: a setting that the tier does not cover any more stays written down and has no effect.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.exc import IntegrityError

from domain import audit, billing
from domain.identity import languages, memberships, organisations, rules
from domain.identity.models import ConnectorInstance, Organisation
from domain.kernel.context import Ctx
from domain.kernel.db import across_organisations
from domain.kernel.errors import Conflict, Forbidden, Invalid, PaymentRequired, Unprocessable
from domain.kernel.pages import OffsetPage, Page

PRODUCT = "beeflow"
PROFILE = ("logo_url", "primary_color", "default_language", "timezone", "support_email", "public")
RETENTION = ("conversation_days", "audit_days")
GUARDRAILS = ("dlp_mode", "dlp_failure_mode", "privacy_shield", "privacy_shield_threshold", "custom_terms")
WHITE_LABEL = ("logo_url", "primary_color")
_PUBLIC = text("(organisation.settings #>> '{profile,public}') = 'true' AND organisation.deleted_at IS NULL")


@dataclass(frozen=True, slots=True)
class Guardrails:
    dlp_mode: str = "ask"
    dlp_failure_mode: str = "fail_open"
    privacy_shield: str = "off"
    privacy_shield_threshold: float = 0.7
    custom_terms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Settings:
    """What holds for an organisation. Days of `conversation_days` None: kept for good."""

    logo_url: str | None = None
    primary_color: str | None = None
    default_language: str = "en"
    timezone: str = "UTC"
    support_email: str | None = None
    public: bool = False
    conversation_days: int | None = None
    audit_days: int = 30
    embed_origins: tuple[str, ...] = ()
    guardrails: Guardrails = field(default_factory=Guardrails)


@dataclass(frozen=True, slots=True)
class Retention:
    """Days after which things go for good. `audit_days` None: the organisation has not chosen; its tier bounds what
    it is shown, and the platform decides what is kept."""

    conversation_days: int | None
    guardrail_days: int
    audit_days: int | None


@dataclass(frozen=True, slots=True)
class Described:
    """The organisation with everything around it."""

    organisation: Organisation
    settings: Settings
    tier: str
    user_count: int
    nextcloud_url: str | None


@dataclass(frozen=True, slots=True)
class PublicProfile:
    """An organisation that has opened a chat to everybody."""

    id: UUID
    name: str
    slug: str
    logo_url: str | None
    primary_color: str | None
    welcome_message: str | None
    agent_id: UUID | None
    updated_at: datetime


def get(ctx: Ctx) -> Settings:
    """The settings that hold for the context's organisation."""
    return effective(organisations.get_organisation(ctx).settings, billing.plan_of(ctx, PRODUCT))


def retention(ctx: Ctx) -> Retention:
    """How long the context's organisation keeps things."""
    holds = get(ctx)
    chosen = (organisations.get_organisation(ctx).settings.get("retention") or {}).get("audit_days")
    return Retention(holds.conversation_days, holds.audit_days, None if chosen is None else holds.audit_days)


def with_retention(ctx: Ctx) -> Sequence[UUID]:
    """Organisations that have chosen how long something is kept; needs a context of the platform."""
    chosen = text(
        "organisation.settings #> '{retention,conversation_days}' <> 'null' "
        "OR organisation.settings #> '{retention,audit_days}' <> 'null'"
    )
    return ctx.session.scalars(
        select(Organisation.id).where(chosen, Organisation.deleted_at.is_(None)).order_by(Organisation.id)
    ).all()


def describe(ctx: Ctx) -> Described:
    """The context's organisation, with its settings, tier, people and Nextcloud."""
    organisation = organisations.get_organisation(ctx)
    plan = billing.plan_of(ctx, PRODUCT)
    nextcloud = ctx.session.scalar(
        select(ConnectorInstance.base_url)
        .where(ConnectorInstance.organisation_id == ctx.organisation, ConnectorInstance.revoked_at.is_(None))
        .order_by(ConnectorInstance.created_at)
        .limit(1)
    )
    return Described(
        organisation, effective(organisation.settings, plan), plan.name, memberships.in_use(ctx), nextcloud
    )


def update(ctx: Ctx, changes: Mapping[str, Any]) -> Described:
    """Change what is given of name, slug, the settings by their names above, and `guardrails` (a mapping).

    Raises `Forbidden` (facts `reason` `license_feature_required`, `feature`) for what the tier does not cover,
    `Conflict` for a slug that is taken, `Unprocessable` for a time zone, an address or an origin that cannot be.
    """
    organisation = ctx.session.scalars(
        select(Organisation)
        .where(Organisation.id == ctx.organisation, Organisation.deleted_at.is_(None))
        .with_for_update()
    ).one()
    plan = billing.plan_of(ctx, PRODUCT)
    present = effective(organisation.settings, plan)
    _check(ctx, changes, present)
    sections: dict[str, Any] = dict(organisation.settings)
    for section, names in (("profile", PROFILE), ("retention", RETENTION)):
        chosen = {name: changes[name] for name in names if name in changes}
        if chosen:
            sections[section] = {**sections.get(section, {}), **chosen}
    if "embed_origins" in changes:
        sections["frames"] = {"origins": _origins(changes["embed_origins"])}
    if changes.get("guardrails"):
        told = {name: value for name, value in changes["guardrails"].items() if name in GUARDRAILS}
        sections["guardrails"] = {**sections.get("guardrails", {}), **told}
    organisation.settings = sections
    if "name" in changes:
        organisation.name = _name(changes["name"])
    _rename(ctx, organisation, changes.get("slug"))
    organisation.updated_at = ctx.now()
    ctx.session.flush()
    audit.record(
        ctx,
        "organisation.settings_update",
        resource_type="organisation",
        resource_id=organisation.id,
        details={"fields": sorted(changes)},
    )
    return describe(ctx)


def public_profiles(ctx: Ctx, page: OffsetPage, *, slug: str | None = None) -> Page[PublicProfile]:
    """Organisations that have opened a chat to everybody, by name. For anybody: nothing else of them is told."""
    wanted = select(Organisation).where(_PUBLIC)
    if slug is not None:
        wanted = wanted.where(Organisation.slug == slug)
    with across_organisations(ctx) as wide:
        total = wide.session.scalar(
            select(func.count()).select_from(wanted.with_only_columns(Organisation.id).subquery())
        )
        ordered = wanted.order_by(Organisation.name, Organisation.id).limit(page.limit).offset(page.offset)
        rows = wide.session.scalars(ordered).all()
        plans = billing.plans_of(wide, [row.id for row in rows], PRODUCT)
    return Page([_public(row, plans[row.id]) for row in rows], total=total)


def effective(stored: Mapping[str, Any], plan: billing.Plan) -> Settings:
    """What of the stored sections holds under a plan. Pure."""
    profile: Mapping[str, Any] = stored.get("profile") or {}
    retention: Mapping[str, Any] = stored.get("retention") or {}
    branded = "white_label" in plan.features
    return Settings(
        logo_url=profile.get("logo_url") if branded else None,
        primary_color=profile.get("primary_color") if branded else None,
        default_language=profile.get("default_language") or "en",
        timezone=profile.get("timezone") or "UTC",
        support_email=profile.get("support_email"),
        public=bool(profile.get("public")),
        conversation_days=retention.get("conversation_days"),
        audit_days=_audit_days(plan, retention.get("audit_days")),
        embed_origins=tuple((stored.get("frames") or {}).get("origins") or ()),
        guardrails=_guardrails(stored.get("guardrails") or {}, dlp="dlp" in plan.features),
    )


def _guardrails(stored: Mapping[str, Any], *, dlp: bool) -> Guardrails:
    mode = (stored.get("dlp_mode") or "ask") if dlp else "ask"
    threshold = stored.get("privacy_shield_threshold")
    return Guardrails(
        dlp_mode=mode,
        dlp_failure_mode=stored.get("dlp_failure_mode") or ("fail_closed" if mode == "block" else "fail_open"),
        privacy_shield=stored.get("privacy_shield") or "off",
        privacy_shield_threshold=0.7 if threshold is None else float(threshold),
        custom_terms=tuple(stored.get("custom_terms") or ()),
    )


def _audit_days(plan: billing.Plan, chosen: int | None) -> int:
    """Where the tier leaves it open, as chosen; else as the tier has it. Its limit is the most there may be."""
    most = plan.limits.get("beeflow.audit_days") or 3_650
    return min(chosen, most) if chosen is not None and "audit_export" in plan.features else most


def _check(ctx: Ctx, changes: Mapping[str, Any], present: Settings) -> None:
    if any(changes.get(name) not in (None, getattr(present, name)) for name in WHITE_LABEL):
        _licensed(ctx, "white_label", "Colours and a logo of one's own need Full.", "full")
    if (changes.get("guardrails") or {}).get("dlp_mode") not in (None, "ask", present.guardrails.dlp_mode):
        _licensed(ctx, "dlp", "DLP modes other than `ask` need Enterprise or higher.", "enterprise")
    if changes.get("audit_days") not in (None, present.audit_days):
        _licensed(ctx, "enterprise", "A retention of one's own for the audit trail needs Enterprise or higher.")
    zone = changes.get("timezone")
    if zone is not None and zone != present.timezone:
        try:
            rules.check_timezone(zone)
        except Invalid as unknown:
            raise Unprocessable(unknown.message, reason="unknown_timezone") from None
    language = changes.get("default_language")
    if language is not None:
        languages.check(language)
    logo = changes.get("logo_url")
    if logo is not None and rules.origin_of(str(logo)) is None:
        raise Unprocessable("The logo has to be at an http or https address.", reason="not_an_address")


def _licensed(ctx: Ctx, feature: str, message: str, tier: str | None = None) -> None:
    try:
        billing.entitled(ctx, feature, PRODUCT)
    except PaymentRequired:
        raise Forbidden(
            message, reason="license_feature_required", feature=feature, required_tier=tier or feature
        ) from None


def _name(given: str) -> str:
    name = " ".join(given.split())
    if not name:
        raise Unprocessable("The name is empty.", reason="name_empty")
    return name


def _origins(given: Any) -> list[str]:
    found = [rules.origin_of(str(one)) for one in given]
    if None in found:
        raise Unprocessable(
            "An origin is a scheme and a host, such as https://www.example.com.", reason="not_an_origin"
        )
    return sorted(set(cast("list[str]", found)))


def _rename(ctx: Ctx, organisation: Organisation, slug: str | None) -> None:
    if slug is None or slug == organisation.slug:
        return
    try:
        with ctx.session.begin_nested():
            organisation.slug = slug
            ctx.session.flush()
    except IntegrityError:
        raise Conflict("This name for addresses is taken.", reason="slug_taken") from None


def _public(row: Organisation, plan: billing.Plan) -> PublicProfile:
    settings = effective(row.settings, plan)
    profile: Mapping[str, Any] = row.settings.get("profile") or {}
    agent = profile.get("agent_id")
    return PublicProfile(
        id=row.id,
        name=row.name,
        slug=row.slug,
        logo_url=settings.logo_url,
        primary_color=settings.primary_color,
        welcome_message=profile.get("welcome_message"),
        agent_id=None if agent is None else UUID(str(agent)),
        updated_at=row.updated_at,
    )
