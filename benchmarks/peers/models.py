"""The models of the service in pydantic: FastAPI's in both directions, this edge's for request bodies."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from peers import contract

Name = Annotated[str, Field(min_length=1, max_length=120)]
Description = Annotated[str | None, Field(max_length=2000)]
Tag = Annotated[str, Field(min_length=1, max_length=30)]
Priority = Annotated[int, Field(ge=1, le=5)]
Amount = Annotated[int, Field(ge=0, le=1_000_000_000)]
Tags = Annotated[list[Tag], Field(max_length=10)]


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Word(Closed):
    word: Annotated[str, Field(max_length=40)]


class Reason(Closed):
    reason: Annotated[str, Field(max_length=500)]


def of(resource: str) -> Any:
    """Create, update, item and page of a resource."""
    kinds = Literal[contract.kinds(resource)]  # type: ignore[valid-type]

    class Contact(Closed):
        name: Name
        phone: Annotated[str | None, Field(max_length=30)] = None

    class Create(Closed):
        project_id: UUID
        name: Name
        description: Description = None
        kind: kinds  # type: ignore[valid-type]
        priority: Priority
        amount_minor: Amount
        tags: Tags = []
        contact: Contact

    class Update(Closed):
        project_id: UUID | None = None
        name: Name | None = None
        description: Description = None
        kind: kinds | None = None  # type: ignore[valid-type]
        priority: Priority | None = None
        amount_minor: Amount | None = None
        tags: Tags | None = None
        contact: Contact | None = None

    class Item(Create):
        id: UUID
        created_at: datetime

    class Page(Closed):
        items: Annotated[list[Item], Field(max_length=100)]
        total: Annotated[int, Field(ge=0)]

    return Create, Update, Item, Page
