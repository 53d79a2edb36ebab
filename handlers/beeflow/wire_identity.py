"""Accounts, people, groups, the organisation and keys, as Bee Flow's contract has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

from domain.identity import languages, roles
from domain.identity.federation import flows
from handlers.beeflow import wire_sso
from handlers.wiring import page_of, timestamp
from thalweg.edge.application import Reply
from thalweg.edge.cookies import expired

if TYPE_CHECKING:
    from domain.billing import Plan
    from domain.identity import Account, ApiKey, Organisation
    from domain.identity.groups import Described as Group
    from domain.identity.groups import Joined
    from domain.identity.me import Me, Permitted
    from domain.identity.members import Invited, Member
    from domain.identity.models import UserGroup
    from domain.identity.newcomers import Newcomer, Shown
    from domain.identity.organisation_settings import Described as OrganisationDescribed
    from domain.identity.organisation_settings import PublicProfile
    from domain.identity.sessions import SignedIn
    from domain.identity.signup_settings import SignupSettings
    from domain.identity.waitlist import Entry
    from domain.kernel.context import Ctx
    from domain.kernel.pages import OffsetPage, Page
    from generated.beeflow import requests, responses

Role = Literal["user", "admin"]
METHODS = frozenset({"password", "google", "microsoft", "github", "nextcloud", "saml", "connector", "api_key"})
SOURCES = frozenset({"invite", "signup", "sso", "nextcloud", "setup"})
FEATURES = (
    "automations",
    "webpages",
    "meeting_notes",
    "skills",
    "ticket_assistant",
    "dlp",
    "gdpr_hub",
    "saml_sso",
    "audit_export",
    "white_label",
    "license_issuance",
)
CRON_MINUTES = {"community": None, "pro": 5}
"""The shortest time between two scheduled runs, by tier; one minute for those that are not named."""
NULLABLE = frozenset({"logo_url", "primary_color", "support_email", "conversation_retention_days"})
"""Settings of an organisation that null takes away."""
NO_STORE = {"Cache-Control": "no-store"}


def role(rung: str) -> Role:
    return cast("Role", roles.called("beeflow", rung))


# --- sessions ------------------------------------------------------------------------------------------------


def setup_status(
    *, done: bool, token_needed: bool, mode: str, ways: Sequence[tuple[str, str]], saml: bool, base_path: str
) -> responses.SetupStatus:
    providers = [
        {"id": name, "name": f"Sign in with {label}", "loginUrl": f"{base_path}/auth/{name}/login"}
        for name, label in ways
    ]
    if saml:
        providers.append({"id": "saml", "name": "Sign in with your organisation", "loginUrl": flows.SAML_PAGE})
    return {
        "bootstrapped": done,
        "setupTokenRequired": token_needed and not done,
        "providers": cast("list[responses.IdentityProvider]", providers),
        "passwordLogin": True,
        "signup": cast("Literal['open', 'waitlist', 'invite_only']", mode),
        "locales": list(languages.SPOKEN),
        "defaultLocale": languages.DEFAULT,
    }


def opened(ctx: Ctx, signed_in: SignedIn, *, location: str | None = None) -> Reply:
    """A session: in the body, and as the cookie of a browser."""
    headers = NO_STORE if location is None else {**NO_STORE, "Location": f"{ctx.base_path}{location}"}
    return Reply(wire_sso.session(signed_in), headers=headers, cookies=[wire_sso.session_cookie(ctx, signed_in)])


def signed_out() -> Reply:
    return Reply(status=204, cookies=[expired(wire_sso.SESSION_COOKIE)])


def frame_token(signed_in: SignedIn) -> Reply:
    body: responses.SessionToken = {
        "token": signed_in.access_token,
        "tokenType": "Bearer",
        "origin": signed_in.session.origin or "",
        "expiresAt": timestamp(signed_in.access_expires_at),
    }
    return Reply(body, headers=NO_STORE)


# --- the caller ------------------------------------------------------------------------------------------------


def current_user(me: Me) -> responses.CurrentUser:
    account, belonging, plan = me.account, me.belonging, me.plan
    return {
        "id": str(account.id),
        "email": account.email,
        "displayName": account.name,
        "role": role(belonging.role),
        "avatarUrl": account.avatar_url,
        "language": languages.shown(account.language),
        "authMethod": cast("Any", me.method if me.method in METHODS else "password"),
        "organizationId": str(belonging.organisation_id),
        "organizationName": belonging.name,
        "tier": cast("responses.Tier", plan.name),
        "features": features(plan),
        "limits": limits(plan),
        "consentVersion": me.consent_version,
        "createdAt": timestamp(account.created_at),
    }


def features(plan: Plan) -> list[responses.Feature]:
    return cast("list[responses.Feature]", [feature for feature in FEATURES if feature in plan.features])


def limits(plan: Plan) -> responses.TierLimits:
    standing = plan.limits
    return {
        "users": standing["beeflow.users"],
        "agents": standing["beeflow.agents"],
        "messagesPerMonth": plan.quotas["beeflow.messages"],
        "knowledgeBases": standing["beeflow.knowledge_bases"],
        "automations": standing["beeflow.automations"],
        "minCronMinutes": CRON_MINUTES.get(plan.name, 1),
        "documentMaxBytes": standing["beeflow.document_bytes"],
        # Where the organisation decides, the plan's number is only the most there may be.
        "auditRetentionDays": None if "audit_export" in plan.features else standing["beeflow.audit_days"],
    }


def my_permissions(found: Permitted) -> responses.MyPermissions:
    return {
        "role": role(found.role),
        "permissions": list(found.permissions),
        "groups": [group_reference(group) for group in found.groups[:500]],
        "organizations": [
            {
                "id": str(one.organisation_id),
                "name": one.name,
                "role": role(one.role),
                "current": one.organisation_id == found.current,
            }
            for one in found.belongings[:100]
        ],
        "betaFeatures": list(found.beta_features),
    }


def reference(account: Account) -> responses.UserReference:
    return {"id": str(account.id), "displayName": account.name, "avatarUrl": account.avatar_url}


def group_reference(group: UserGroup) -> responses.GroupReference:
    return {"id": str(group.id), "name": group.name}


# --- coming in ---------------------------------------------------------------------------------------------------


def newcomer(ctx: Ctx, made: Newcomer) -> Reply:
    signed_in = made.signed_in
    body: responses.SignupResult = {
        "status": "pending" if signed_in is None else "active",
        "userId": str(made.account.id),
        "session": None if signed_in is None else wire_sso.session(signed_in),
    }
    cookies = [] if signed_in is None else [wire_sso.session_cookie(ctx, signed_in)]
    return Reply(body, headers={**NO_STORE, "Location": f"{ctx.base_path}/auth/user"}, cookies=cookies)


def invite(shown: Shown) -> responses.Invite:
    return {
        "email": shown.email,
        "organizationName": shown.organisation,
        "role": role(shown.role),
        "invitedBy": shown.invited_by,
        "accountExists": shown.account_exists,
        "expiresAt": timestamp(shown.expires_at),
    }


def signup_settings(settings: SignupSettings, changed_by: Account | None) -> responses.SignupSettings:
    assert settings.updated_at is not None
    return {
        "mode": cast("Literal['open', 'waitlist', 'invite_only']", settings.mode),
        "allowedDomains": list(settings.allowed_domains),
        "defaultRole": role(settings.default_role),
        "defaultGroupIds": [str(group_id) for group_id in settings.default_group_ids],
        "provisionFromSso": settings.provision_from_sso,
        "notifyEmail": settings.notify_email,
        "updatedAt": timestamp(settings.updated_at),
        "updatedBy": None if changed_by is None else reference(changed_by),
    }


def joined_waitlist() -> responses.WaitlistJoined:
    return {"status": "pending", "message": "Thank you. We write to this address as soon as there is a place."}


def waitlist_entry(entry: Entry) -> responses.WaitlistEntry:
    request = entry.request
    return {
        "userId": str(entry.person_id),
        "email": request.email,
        "displayName": request.name or request.email[:200],
        "organizationName": request.company,
        "message": request.message,
        "source": cast("Literal['form', 'signup', 'sso']", entry.source),
        "status": cast("Literal['pending', 'approved', 'rejected']", request.status),
        "decidedBy": None if entry.decided_by is None else reference(entry.decided_by),
        "decidedAt": timestamp(request.decided_at),
        "createdAt": timestamp(request.created_at),
    }


def waitlist_page(found: Page[Entry], page: OffsetPage) -> responses.WaitlistPage:
    return {"items": [waitlist_entry(entry) for entry in found.items], **page_of(found, page)}


def public_organisation(profile: PublicProfile) -> responses.PublicOrganisation:
    return {
        "id": str(profile.id),
        "name": profile.name,
        "slug": profile.slug,
        "logoUrl": profile.logo_url,
        "primaryColor": profile.primary_color,
        "welcomeMessage": profile.welcome_message,
        "agentId": None if profile.agent_id is None else str(profile.agent_id),
    }


def public_organisations(found: Page[PublicProfile], page: OffsetPage) -> responses.PublicOrganisationPage:
    return {"items": [public_organisation(profile) for profile in found.items], **page_of(found, page)}


# --- people ------------------------------------------------------------------------------------------------------


def user(member: Member) -> responses.User:
    account, membership = member.account, member.membership
    return {
        "id": str(account.id),
        "email": account.email,
        "displayName": account.name,
        "role": role(membership.role),
        "status": cast("Literal['invited', 'active', 'disabled', 'deleted']", membership.status),
        "source": cast("Any", membership.source if membership.source in SOURCES else "setup"),
        "groups": [group_reference(group) for group in member.groups[:500]],
        "avatarUrl": account.avatar_url,
        "language": languages.shown(account.language),
        "lastSeenAt": timestamp(member.seen_at),
        "createdAt": timestamp(membership.created_at),
        "deletedAt": timestamp(membership.deleted_at),
    }


def user_page(found: Page[Member], page: OffsetPage) -> responses.UserPage:
    return {"items": [user(member) for member in found.items], **page_of(found, page)}


def invited(ctx: Ctx, made: Invited) -> Reply:
    body: responses.InvitedUser = {
        "user": user(made.member),
        "inviteUrl": made.link,
        "expiresAt": timestamp(made.expires_at),
    }
    location = f"{ctx.base_path}/api/users/{made.member.account.id}"
    return Reply(body, headers={**NO_STORE, "Location": location})


# --- groups --------------------------------------------------------------------------------------------------------


def group(found: Group) -> responses.Group:
    row = found.group
    return {
        "id": str(row.id),
        "name": row.name,
        "description": row.description,
        "source": "local" if row.external_id is None else "nextcloud",
        "memberCount": found.count,
        "members": None if found.members is None else [reference(account) for account in found.members],
        "createdAt": timestamp(row.created_at),
        "updatedAt": timestamp(row.updated_at),
    }


def group_page(found: Page[Group], page: OffsetPage) -> responses.GroupPage:
    return {"items": [group(one) for one in found.items], **page_of(found, page)}


def created_group(ctx: Ctx, made: Group) -> Reply:
    return Reply(group(made), headers={"Location": f"{ctx.base_path}/api/organisation/groups/{made.group.id}"})


def joined_group(ctx: Ctx, joined: Joined) -> Reply:
    body: responses.GroupMember = {
        "groupId": str(joined.group_id),
        "user": reference(joined.account),
        "addedAt": timestamp(joined.at),
    }
    location = f"{ctx.base_path}/api/organisation/groups/{joined.group_id}/members/{joined.account.id}"
    return Reply(body, headers={"Location": location})


# --- the organisation ------------------------------------------------------------------------------------------------


def organisation(found: OrganisationDescribed) -> responses.Organisation:
    row: Organisation = found.organisation
    settings = found.settings
    guardrails = settings.guardrails
    return {
        "id": str(row.id),
        "name": row.name,
        "slug": row.slug,
        "logoUrl": settings.logo_url,
        "primaryColor": settings.primary_color,
        "defaultLanguage": settings.default_language,
        "timezone": settings.timezone,
        "supportEmail": settings.support_email,
        "publicProfile": settings.public,
        "conversationRetentionDays": settings.conversation_days,
        "auditRetentionDays": settings.audit_days,
        "embedOrigins": list(settings.embed_origins),
        "guardrails": {
            "dlpMode": cast("Literal['ask', 'auto_redact', 'block']", guardrails.dlp_mode),
            "dlpFailureMode": cast("Literal['fail_open', 'fail_closed']", guardrails.dlp_failure_mode),
            "privacyShield": cast("Literal['off', 'standard', 'strict', 'custom']", guardrails.privacy_shield),
            "privacyShieldThreshold": guardrails.privacy_shield_threshold,
            "customTerms": list(guardrails.custom_terms),
        },
        "tier": cast("responses.Tier", found.tier),
        "userCount": found.user_count,
        "ncInstanceUrl": found.nextcloud_url,
        "createdAt": timestamp(row.created_at),
        "updatedAt": timestamp(row.updated_at),
    }


def organisation_changes(body: requests.OrganisationUpdate) -> dict[str, Any]:
    """What is sent, by the names that the domain has for it."""
    sent = body.model_dump(exclude_unset=True)
    renamed = {
        "public_profile": "public",
        "conversation_retention_days": "conversation_days",
        "audit_retention_days": "audit_days",
    }
    return {renamed.get(name, name): value for name, value in sent.items() if value is not None or name in NULLABLE}


# --- keys ------------------------------------------------------------------------------------------------------------


def api_key(key: ApiKey) -> responses.ApiKey:
    return {
        "id": str(key.id),
        "name": key.name,
        "prefix": key.prefix,
        "scope": "read-only" if "read-only" in key.scopes else "full",
        "lastUsedAt": timestamp(key.last_used_at),
        "createdAt": timestamp(key.created_at),
        "revokedAt": timestamp(key.revoked_at),
    }


def created_api_key(ctx: Ctx, key: ApiKey, plain: str) -> Reply:
    body: responses.ApiKeyCreated = {"key": plain, "apiKey": api_key(key)}
    return Reply(body, headers={**NO_STORE, "Location": f"{ctx.base_path}/api/api-keys/{key.id}"})


def api_key_page(found: Page[ApiKey], page: OffsetPage) -> responses.ApiKeyPage:
    return {"items": [api_key(key) for key in found.items], **page_of(found, page)}
