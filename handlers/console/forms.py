"""The forms of the account pages: which operation of a surface each calls, and what people fill in.

A field is named as the operation's body names it, so a page sends what was filled in and knows no more of a surface
than what stands here. tests/console holds every name against the contracts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from domain.identity.policies import PasswordRule, policy_of

Kind = Literal["email", "password", "new-password", "text", "lines", "tick", "token", "invite", "captcha", "trap"]
"""`token`: what stood behind `#`; `invite`: the same on the page of an invitation, elsewhere asked for where `when`
says so. `captcha`: a solution that the page works out. `trap`: left empty by people."""


@dataclass(frozen=True, slots=True)
class Field:
    """One value of a body. `when`: asked for only while the surface's policy says so (see `Form.when`)."""

    name: str
    label: str
    kind: Kind = "text"
    autocomplete: str = "off"
    required: bool = True
    hint: str | None = None
    when: str | None = None
    rare: str | None = None
    """Folded away under these words: hardly anybody needs it."""


@dataclass(frozen=True, slots=True)
class Form:
    """An operation and what it takes.

    `then` is `said` (the answer's `message`, else `done`, is shown) or `signed-in` (the answer holds tokens). `when`
    is `member=value|value`, a member of what `Site.policy` answers: the form is for these values alone.
    """

    operation: str
    button: str
    fields: tuple[Field, ...] = ()
    then: Literal["said", "signed-in"] = "said"
    done: str = ""
    title: str | None = None
    when: str | None = None


@dataclass(frozen=True, slots=True)
class Tokens:
    """Members of the answer to a sign-in, dotted."""

    access: str
    expires: str
    """Seconds from now, or a moment."""
    refresh: str | None = None
    """None: there is none, or it is in a cookie that no page can read."""
    within: str | None = None
    """The member of a sign-up's answer that holds all this, or null while the account waits."""


@dataclass(frozen=True, slots=True)
class Site:
    """A surface that signs people in, as the pages use it."""

    key: str
    name: str
    sign_in: Form
    sign_up: tuple[Form, ...]
    tokens: Tokens
    me: str
    shown: tuple[tuple[str, str], ...]
    """What the page says of the caller: a label, and a member of what `me` answers, dotted. `@email`: as typed."""
    out: str
    policy: str | None = None
    """The operation that tells who may sign up."""
    closed: str | None = None
    """`when` of a surface that takes nobody without an invitation."""
    verify: Form | None = None
    resend: Form | None = None
    forgot: Form | None = None
    reset: Form | None = None
    renew: str | None = None
    verified: str | None = None
    """The member of `me` that says whether the address is verified, where the caller can have the mail sent again."""
    send_verification: str | None = None
    sessions: str | None = None
    revoke: str | None = None
    providers: str | None = None
    """The member of what `policy` answers that lists other ways to sign in."""
    returns: bool = False
    """A cookie keeps the session, so that it survives the page."""

    @property
    def joins(self) -> bool:
        """Whether signing in takes up an invitation."""
        return any(field.kind == "invite" for field in self.sign_in.fields)


def rule_in_words(rule: PasswordRule) -> str:
    """A password rule as a sentence; the surface checks it."""
    kinds = {
        "lower": "a lower-case letter",
        "upper": "an upper-case letter",
        "digit": "a digit",
        "other": "a special character",
    }
    needed = [words for kind, words in kinds.items() if kind in rule.each]
    told = f"At least {rule.shortest} characters"
    if needed:
        told += f", with {', '.join(needed[:-1])} and {needed[-1]}"
    elif rule.classes > 1:
        told += f" of {rule.classes} kinds (lower case, upper case, digits, others)"
    told += "."
    if rule.strength:
        told += " Hard to guess: no words, names, dates or runs of keys on their own."
    if rule.history > 1:
        told += f" None of your last {rule.history}."
    return told


def _email(autocomplete: str = "username") -> Field:
    return Field("email", "Mail address", "email", autocomplete)


def _new(surface: str, name: str = "password", label: str = "Password") -> Field:
    return Field(name, label, "new-password", "new-password", hint=rule_in_words(policy_of(surface).password))


_PASSWORD = Field("password", "Password", "password", "current-password")
_TOKEN = Field("token", "", "token")
_CAPTCHA = Field("captcha_token", "", "captcha")

SITES: Mapping[str, Site] = {
    "thallus": Site(
        "thallus",
        "Thallus",
        sign_in=Form(
            "login",
            "Sign in",
            (_email(), _PASSWORD, Field("remember_me", "Stay signed in for 30 days", "tick", required=False)),
            then="signed-in",
        ),
        sign_up=(
            Form(
                "register",
                "Create the account",
                (
                    Field("name", "Your name", autocomplete="name"),
                    _email(),
                    _new("thallus"),
                    Field("invite_token", "", "invite", required=False),
                    _CAPTCHA,
                ),
            ),
        ),
        verify=Form("verifyEmail", "Verify my address", (_TOKEN,)),
        resend=Form("resendVerification", "Send the mail again", (_email("email"),)),
        forgot=Form("forgotPassword", "Send me a link", (_email(), _CAPTCHA)),
        reset=Form("resetPassword", "Set the password", (_TOKEN, _new("thallus", "new_password", "New password"))),
        tokens=Tokens("access_token", "expires_in"),
        me="getCurrentUser",
        shown=(
            ("Name", "name"),
            ("Mail address", "email"),
            ("Address verified", "email_verified"),
            ("Organisation", "organization.name"),
            ("Plan", "organization.plan"),
            ("Role", "role"),
        ),
        out="logout",
        renew="refreshToken",
        returns=True,
    ),
    "beeflow": Site(
        "beeflow",
        "Bee Flow",
        sign_in=Form(
            "login",
            "Sign in",
            (_email(), _PASSWORD, Field("inviteToken", "", "invite", required=False)),
            then="signed-in",
        ),
        sign_up=(
            Form(
                "signUp",
                "Create the account",
                (
                    Field("displayName", "Your name", autocomplete="name"),
                    _email(),
                    _new("beeflow"),
                    Field("inviteToken", "", "invite", required=False),
                    Field(
                        "organizationName",
                        "Organisation",
                        autocomplete="organization",
                        required=False,
                        hint="What yours is to be called. May be left out.",
                        when="signup=open|waitlist",
                    ),
                ),
                then="signed-in",
                done="The account waits for an administrator’s approval. You will get a mail.",
                when="signup=open|waitlist",
            ),
        ),
        policy="getSetupStatus",
        closed="signup=invite_only",
        providers="providers",
        tokens=Tokens("token", "expiresAt", within="session"),
        me="getCurrentUser",
        shown=(
            ("Name", "displayName"),
            ("Mail address", "email"),
            ("Organisation", "organizationName"),
            ("Tier", "tier"),
            ("Role", "role"),
            ("Signed in by", "authMethod"),
        ),
        out="logout",
        returns=True,
    ),
    "starter": Site(
        "starter",
        "Starter",
        sign_in=Form(
            "login",
            "Sign in",
            (
                _email(),
                _PASSWORD,
                Field(
                    "tenant_id",
                    "Tenant",
                    required=False,
                    hint="The id of the one that you mean.",
                    rare="I belong to several tenants",
                ),
            ),
            then="signed-in",
        ),
        sign_up=(
            Form(
                "registerTenant",
                "Create the tenant",
                (
                    Field("display_name", "Your name", autocomplete="name", required=False),
                    _email(),
                    _new("starter"),
                    Field("tenant_name", "Tenant", autocomplete="organization", hint="What it is to be called."),
                    Field(
                        "invite_token",
                        "Invite",
                        "invite",
                        hint="From the mail with your invitation.",
                        when="invite_required=true",
                    ),
                    Field("accept_terms", "I accept the terms of this service", "tick"),
                ),
                then="signed-in",
                title="Register a tenant",
            ),
            Form(
                "requestAccess",
                "Ask for access",
                (
                    Field("full_name", "Your name", autocomplete="name"),
                    _email("email"),
                    Field("organization", "Organisation", autocomplete="organization"),
                    Field("message", "What you want it for", "lines", required=False),
                    Field("accept_terms", "I accept the terms of this service", "tick"),
                    Field("honeypot", "Leave this empty", "trap", required=False),
                ),
                done="Your request is noted. The answer comes by mail.",
                title="Ask for access",
                when="request_access_enabled=true",
            ),
        ),
        policy="getSignupPolicy",
        verify=Form("verifyEmail", "Verify my address", (_TOKEN,)),
        forgot=Form("requestPasswordReset", "Send me a link", (_email(),)),
        reset=Form(
            "confirmPasswordReset", "Set the password", (_TOKEN, _new("starter", "new_password", "New password"))
        ),
        tokens=Tokens("access_token", "expires_at", "refresh_token"),
        me="getCurrentUser",
        shown=(
            ("Mail address", "@email"),
            ("Address verified", "data.token_payload.email_verified"),
            ("Tenant", "data.token_payload.tenant_id"),
            ("Roles", "data.token_payload.roles"),
            ("Scopes", "data.token_payload.scope"),
        ),
        out="logout",
        renew="refreshSession",
        verified="data.token_payload.email_verified",
        send_verification="sendVerificationEmail",
        sessions="listSessions",
        revoke="revokeSession",
    ),
}
"""By surface. Thalian signs nobody in and takes the tokens of all three; Thalium takes API keys."""

JOIN = Form("join", "Join", (_TOKEN, _email(), _PASSWORD))
"""For the invited who have an account, where signing in takes no invitation. The one form that calls no operation."""

REFUSALS: Mapping[str, str] = {
    "access_denied": "The sign-in was refused or broken off.",
    "account_disabled": "This account is deactivated.",
    "domain_not_allowed": "Addresses of this domain are not let in here.",
    "email_unverified": "The provider does not say that your address is verified.",
    "no_free_seat": "The organisation has no free seat: ask its administrator.",
    "pending_approval": "An administrator has to approve your account first.",
    "signup_disabled": "There is no account for this address, and new ones are not made here.",
    "sso_required": "Your organisation asks for its own single sign-on.",
}
"""Why somebody comes back from another provider without a session, by the reason in the address."""
