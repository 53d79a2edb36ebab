"""analysis."""

from __future__ import annotations

from domain.kernel.context import Ctx
from generated.thalian import requests, responses
from thalweg.edge.problem import not_implemented


def run_analysis(ctx: Ctx, body: requests.AnalysisRequest) -> responses.Analysis:
    """Run an analysis."""
    raise not_implemented()
