"""The organisation's settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain.identity import organisation_settings
from handlers.beeflow import wire_identity as wire

if TYPE_CHECKING:
    from domain.kernel.context import Ctx
    from generated.beeflow import requests, responses


def get_organisation(ctx: Ctx) -> responses.Organisation:
    return wire.organisation(organisation_settings.describe(ctx))


def update_organisation(ctx: Ctx, body: requests.OrganisationUpdate) -> responses.Organisation:
    return wire.organisation(organisation_settings.update(ctx, wire.organisation_changes(body)))
