"""The base of generated request models. Run-time code: it leans on pydantic alone."""

from __future__ import annotations

from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, RootModel


class RequestModel(BaseModel):
    """A request body after the edge has validated it against the contract.

    A model is built when the first request needs it (`defer_build`): four hundred of them cost start-up nothing.
    Bounds and patterns are the edge's business and not repeated here; defaults, dates, ids and unions are this class's.
    """

    model_config = ConfigDict(
        defer_build=True,
        validate_default=True,
        populate_by_name=True,
        arbitrary_types_allowed=True,
        protected_namespaces=(),
        regex_engine="python-re",
    )


Root = TypeVar("Root")


class RequestRoot(RootModel[Root], Generic[Root]):
    """A request body that is no JSON object (a list, a union): the value is in `root`."""

    model_config = ConfigDict(defer_build=True, arbitrary_types_allowed=True, regex_engine="python-re")
