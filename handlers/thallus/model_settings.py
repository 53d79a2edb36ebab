"""model-settings."""

from __future__ import annotations

from domain.kernel.context import Ctx
from generated.thallus import requests, responses
from thalweg.edge.problem import not_implemented


def get_model_settings(ctx: Ctx) -> responses.ModelSettings:
    """Read the model configuration."""
    raise not_implemented()


def update_model_settings(ctx: Ctx, body: requests.ModelSettingsUpdate) -> responses.ModelSettings:
    """Save one's own provider and models."""
    raise not_implemented()


def delete_model_settings(ctx: Ctx) -> None:
    """Go back to the platform's models."""
    raise not_implemented()


def validate_model_settings(ctx: Ctx, body: requests.ModelValidationRequest) -> responses.ModelValidation:
    """Try model keys with a completion."""
    raise not_implemented()


def list_model_providers(ctx: Ctx) -> responses.ModelProviderList:
    """List model providers."""
    raise not_implemented()
