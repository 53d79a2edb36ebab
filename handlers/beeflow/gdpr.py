"""gdpr."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from domain.kernel.context import Ctx
from domain.kernel.pages import OffsetPage
from generated.beeflow import requests, responses
from thalweg.edge.problem import not_implemented


def list_data_subject_requests(
    ctx: Ctx, page: OffsetPage, status: str | None = None, type: str | None = None, q: str | None = None
) -> responses.DataSubjectRequestPage:
    """List requests of people about their data."""
    raise not_implemented()


def create_data_subject_request(ctx: Ctx, body: requests.DataSubjectRequestCreate) -> responses.DataSubjectRequest:
    """Open a request of somebody about their data."""
    raise not_implemented()


def download_data_archive(ctx: Ctx, user_id: UUID) -> Any:
    """Download the archive of a person's data."""
    raise not_implemented()
