"""webhooks."""

from __future__ import annotations

from domain.kernel.context import Ctx
from generated.beeflow import requests, responses
from thalweg.edge.problem import not_implemented


def receive_audit_events(ctx: Ctx, body: requests.SiemDelivery) -> responses.SiemReceipt:
    """Receive audit events for the SIEM."""
    raise not_implemented()


def receive_license_revocation(ctx: Ctx, body: requests.LicenseRevocation) -> responses.RevocationReceipt:
    """Receive the revocation of a licence."""
    raise not_implemented()
