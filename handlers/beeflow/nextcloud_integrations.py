"""nextcloud-integrations."""

from __future__ import annotations

from uuid import UUID

from domain.kernel.context import Ctx
from domain.kernel.pages import OffsetPage
from generated.beeflow import requests, responses
from thalweg.edge.problem import not_implemented


def get_nextcloud_integrations(ctx: Ctx, org_id: UUID) -> responses.NextcloudToggles:
    """Read what of Nextcloud agents may use."""
    raise not_implemented()


def update_nextcloud_integrations(
    ctx: Ctx, org_id: UUID, body: requests.NextcloudTogglesUpdate
) -> responses.NextcloudToggles:
    """Set what of Nextcloud agents may use."""
    raise not_implemented()


def list_nextcloud_group_exceptions(ctx: Ctx, org_id: UUID, page: OffsetPage) -> responses.NextcloudGroupExceptionPage:
    """List what groups may not use of Nextcloud."""
    raise not_implemented()


def update_nextcloud_group_exception(
    ctx: Ctx, org_id: UUID, group_id: UUID, body: requests.NextcloudGroupExceptionUpdate
) -> responses.NextcloudGroupException:
    """Set what a group may not use of Nextcloud."""
    raise not_implemented()
