"""Model settings: whose models work for the caller, with keys of one's own that are tried before they are believed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain.identity import memberships
from domain.inference import byok
from handlers.thallus import wire_models as wire

if TYPE_CHECKING:
    from domain.kernel.context import Ctx
    from generated.thallus import requests, responses
    from thalweg.edge.application import Pending


def get_model_settings(ctx: Ctx) -> responses.ModelSettings:
    return wire.settings(byok.get_model_settings(ctx, memberships.caller_id(ctx)))


def update_model_settings(ctx: Ctx, body: requests.ModelSettingsUpdate) -> Pending:
    trial = byok.start_trial(
        ctx,
        memberships.caller_id(ctx),
        wire.credentials(body.credentials),
        models=body.models.model_dump(),
        embedding=wire.embedding(body.embedding),
        save=True,
        disclaimer_accepted=bool(body.disclaimer_accepted),
    )
    return wire.once_saved(trial)


def delete_model_settings(ctx: Ctx) -> None:
    byok.delete_model_settings(ctx, memberships.caller_id(ctx))


def validate_model_settings(ctx: Ctx, body: requests.ModelValidationRequest) -> Pending:
    trial = byok.start_trial(
        ctx,
        memberships.caller_id(ctx),
        wire.credentials(body.credentials),
        models=body.models or (),
        embedding=wire.embedding(body.embedding),
    )
    return wire.once_tried(trial)


def list_model_providers(ctx: Ctx) -> responses.ModelProviderList:
    return wire.provider_list(byok.providers())
