"""`thalweg organisation`: what an operator sets for an organisation and no contract offers.

Everything is imported when a command runs, so that `thalweg --help` is quick.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()
organisation = typer.Typer(help="Organisations: plans, allowed networks, single sign-on.", no_args_is_help=True)
app.add_typer(organisation, name="organisation")

Slug = Annotated[str, typer.Argument(help="The organisation, by its slug.")]
Data = Annotated[Path | None, typer.Option(help="The data folder of the installation.", show_default=".data")]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


@organisation.command("list")
def list_organisations(as_json: AsJson = False, data: Data = None) -> None:
    """Organisations by slug, with their plans."""
    from domain import billing, identity
    from domain.kernel.db import acting_for
    from handlers.commands import _platform, _show

    rows = []
    with _platform(data) as ctx:
        for found in identity.organisations.all_organisations(ctx):
            with acting_for(ctx, found.id) as inside:
                plans = " ".join(f"{product}={billing.plan_of(inside, product).name}" for product in billing.products())
            rows.append(
                {
                    "slug": found.slug,
                    "id": str(found.id),
                    "name": found.name,
                    "plans": plans,
                    "networks": " ".join(found.networks) or "any",
                }
            )
    _show(rows, as_json, "There are no organisations yet. People make theirs by signing up.")


@organisation.command("plan")
def set_plan(
    slug: Slug,
    product: Annotated[str, typer.Argument(help="thallus, thalian, beeflow, starter or thalium.")],
    plan: Annotated[str, typer.Argument(help="A plan of the product.")],
    data: Data = None,
) -> None:
    """Put an organisation on a plan, where no payment provider does."""
    from domain import billing
    from handlers.commands import _organisation

    with _organisation(slug, data) as ctx:
        chosen = billing.subscribe(ctx, plan, product=product)
    typer.echo(f"{slug} has plan {chosen.name} of {product}.")


@organisation.command("networks")
def set_networks(
    slug: Slug,
    networks: Annotated[
        list[str] | None, typer.Argument(help="Addresses and networks in CIDR.", show_default="every address")
    ] = None,
    data: Data = None,
) -> None:
    """Set from where an organisation's sessions and keys are taken. None given: from everywhere."""
    from domain import identity
    from handlers.commands import _organisation

    with _organisation(slug, data) as ctx:
        changed = identity.organisations.allow_networks(ctx, networks or [])
    typer.echo(f"{slug}: {', '.join(changed.networks) or 'every address'}")


@organisation.command("sso")
def set_sso(
    slug: Slug,
    require: Annotated[bool, typer.Option("--require/--optional", help="Whether passwords are refused.")] = True,
    data: Data = None,
) -> None:
    """Ask for single sign-on: passwords do not open the organisation any more."""
    from domain import identity
    from handlers.commands import _organisation

    with _organisation(slug, data) as ctx:
        identity.organisations.require_sso(ctx, require)
    typer.echo(f"{slug}: single sign-on is {'required' if require else 'optional'}")


@organisation.command("idle")
def set_idle(
    slug: Slug,
    minutes: Annotated[int, typer.Argument(min=0, max=43_200, help="0: as long as the session lives.")],
    data: Data = None,
) -> None:
    """End sessions that are not used for so many minutes."""
    from domain import identity
    from handlers.commands import _organisation

    with _organisation(slug, data) as ctx:
        identity.organisations.limit_idle(ctx, minutes or None)
    typer.echo(f"{slug}: sessions end after {minutes} idle minutes" if minutes else f"{slug}: no idle limit")
