"""Where the operations of the surfaces are, for the scripts of the pages: they call them as any client does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from flask import current_app

if TYPE_CHECKING:
    from thalweg.portal.surfaces import Surface


def served() -> Mapping[str, Surface]:
    """The surfaces of this process, which the portal gives to all pages."""
    context: dict[str, Any] = {}
    current_app.update_template_context(context)
    found: Mapping[str, Surface] = context["surfaces"]
    return found


def call(surface: Surface, operation_id: str) -> dict[str, str]:
    """Method and address of an operation; parameters of the path stay in braces."""
    found = next(one for one in surface.operations if one.id == operation_id)
    return {"method": found.method, "url": f"{surface.base_path}{found.path}"}


def calls(surface: Surface, operation_ids: Iterable[str]) -> dict[str, dict[str, str]]:
    """`call` of each, by its id."""
    return {operation_id: call(surface, operation_id) for operation_id in operation_ids}
