"""data-queries."""

from __future__ import annotations

from domain.kernel.context import Ctx
from generated.thallus import requests, responses
from thalweg.edge.problem import not_implemented


def execute_data_query(ctx: Ctx, body: requests.DataQuery) -> responses.DataQueryResult:
    """Query a connection."""
    raise not_implemented()
