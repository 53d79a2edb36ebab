"""`thalweg account` and `thalweg invite`: the people who run the platform, and the first tenants.

Everything is imported when a command runs, so that `thalweg --help` is quick.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from domain.identity import Account
    from domain.kernel.context import Ctx

account = typer.Typer(help="Accounts of people who run the platform.", no_args_is_help=True)
invite = typer.Typer(help="Invites to found a tenant.", no_args_is_help=True)

Data = Annotated[Path | None, typer.Option(help="The data folder of the installation.", show_default=".data")]
Superadmin = Annotated[bool, typer.Option("--superadmin", help="May do everything, everywhere.")]
Support = Annotated[bool, typer.Option("--support", help="Helps tenants: invites, access requests, passwords.")]


@account.command("create")
def create_account(
    email: Annotated[str, typer.Argument(help="The address to sign in with.")],
    name: Annotated[str, typer.Option(help="The person's name.", show_default="made of the address")] = "",
    superadmin: Superadmin = False,
    support: Support = False,
    data: Data = None,
) -> None:
    """Make an account with a workspace of its own, and print its password. It is shown once: change it after signing
    in. Without --superadmin or --support it is an ordinary account."""
    from domain import identity
    from domain.identity import passwords, policies
    from handlers.commands import _platform

    role = _role(superadmin=superadmin, support=support)
    password = passwords.generated()
    with _platform(data) as ctx:
        for policy in policies.POLICIES.values():
            passwords.check(ctx, policy.password, password, None, (email, name))
        made = identity.accounts.make(
            ctx,
            email=email,
            name=name or email.partition("@")[0],
            source="setup",
            password=password,
            verified=True,
        )
        identity.accounts.give_own_organisation(ctx, made)
        identity.operators.set_platform_role(ctx, made, role)
        typer.echo(f"{made.email} ({role or 'ordinary'}): keep the password now, it is not shown again.", err=True)
    typer.echo(password)  # alone on standard output, and only once it is committed


@account.command("role")
def change_role(
    email: Annotated[str, typer.Argument(help="The account's address.")],
    superadmin: Superadmin = False,
    support: Support = False,
    data: Data = None,
) -> None:
    """Give an account a platform role, or without --superadmin and --support take it away. It holds at once."""
    from domain import identity
    from handlers.commands import _platform

    role = _role(superadmin=superadmin, support=support)
    with _platform(data) as ctx:
        identity.operators.set_platform_role(ctx, _found(ctx, email), role)
    typer.echo(f"{email} is {role or 'an ordinary account'} now.")


@account.command("shut")
def shut_account(
    email: Annotated[str, typer.Argument(help="The account's address.")],
    reason: Annotated[str, typer.Option(help="Why, for the audit trail.")],
    data: Data = None,
) -> None:
    """Shut an account on every surface: its sessions end and its API keys stop, at once."""
    from domain import identity
    from handlers.commands import _platform

    with _platform(data) as ctx:
        identity.operators.deactivate(ctx, _found(ctx, email), reason)
    typer.echo(f"{email} is shut.")


@account.command("open")
def open_account(
    email: Annotated[str, typer.Argument(help="The account's address.")],
    data: Data = None,
) -> None:
    """Open an account that was shut. Its owner signs in anew; its API keys work again."""
    from domain import identity
    from handlers.commands import _platform

    with _platform(data) as ctx:
        identity.operators.reactivate(ctx, _found(ctx, email))
    typer.echo(f"{email} is open.")


@invite.command("create")
def create_invite(
    email: Annotated[str | None, typer.Option(help="Only this address may use it.", show_default="anybody")] = None,
    uses: Annotated[int, typer.Option(min=1, max=10, help="How often it may be used.")] = 1,
    hours: Annotated[int, typer.Option(min=1, max=336, help="How long it is good for.")] = 72,
    note: Annotated[str | None, typer.Option(help="For whoever reads the list.")] = None,
    data: Data = None,
) -> None:
    """Make an invite to found a tenant, and print its token. It is shown once: only its digest is stored."""
    from domain.identity import signup
    from handlers.commands import _platform

    with _platform(data) as ctx:
        made = signup.issue_invite(ctx, email=email, uses=uses, life=timedelta(hours=hours), note=note)
        typer.echo(f"Good until {made.invite.expires_at:%Y-%m-%d %H:%M}Z: keep it now.", err=True)
    typer.echo(made.token)


def _found(ctx: Ctx, email: str) -> Account:
    """The account of an address. Raises `NotFound`."""
    from domain import identity
    from domain.kernel.errors import NotFound

    found = identity.accounts.find(ctx, email)
    if found is None:
        raise NotFound(f"There is no account for {email}.")
    return found


def _role(*, superadmin: bool, support: bool) -> str | None:
    if superadmin and support:
        raise typer.BadParameter("choose one of --superadmin and --support")
    return "superadmin" if superadmin else "support" if support else None
