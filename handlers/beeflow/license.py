"""license."""

from __future__ import annotations

from domain.kernel.context import Ctx
from generated.beeflow import requests, responses
from thalweg.edge.problem import not_implemented


def get_license_status(ctx: Ctx) -> responses.LicenseStatus:
    """Read what the licence covers."""
    raise not_implemented()


def apply_license(ctx: Ctx, body: requests.LicenseApply) -> responses.LicenseStatus:
    """Put a licence in."""
    raise not_implemented()


def remove_license(ctx: Ctx) -> responses.LicenseStatus:
    """Take the licence out."""
    raise not_implemented()
