"""organisation."""

from __future__ import annotations

from domain.kernel.context import Ctx
from generated.beeflow import requests, responses
from thalweg.edge.problem import not_implemented


def get_organisation(ctx: Ctx) -> responses.Organisation:
    """Read the organisation's settings."""
    raise not_implemented()


def update_organisation(ctx: Ctx, body: requests.OrganisationUpdate) -> responses.Organisation:
    """Change the organisation's settings."""
    raise not_implemented()
