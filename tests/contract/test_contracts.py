"""What every operation of this project's contracts promises, beyond the rules of lint that hold for any contract."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from thalweg.contract import project as projects
from thalweg.contract.manifest import follow, operations, parameters_of

PROJECT = projects.find(Path(__file__).parents[2])
DOCUMENTS = {
    surface: json.loads((PROJECT.generated / surface / "bundle.json").read_bytes()) for surface in PROJECT.surfaces
}

NOTHING_TO_FOLLOW = {
    "starter.receiveStripeEvent": "the sender is Stripe, which follows nothing",
    "starter.requestAccess": "the requester has no account; the decision comes by mail",
    "starter.submitContact": "the answer comes by mail",
    "beeflow.cancelChatTurn": "the turn's own stream tells its end",
    "beeflow.receiveAuditEvents": "the sender is another server, which follows nothing",
}
"""Operations that answer 201 or 202 and have nothing to look at next."""

TEXT_OF_ITS_OWN = {"application/json", "text/event-stream", "text/html", "text/plain", "application/rss+xml"}
"""Media types that are read where they come; what else there is, is a file."""

NO_FILE = {"beeflow.getSamlMetadata": "an identity provider fetches it by its address"}


@dataclass(frozen=True)
class Declared:
    """An operation with its document."""

    surface: str
    document: Mapping[str, Any]
    path: str
    item: Mapping[str, Any]
    node: Mapping[str, Any]

    @property
    def id(self) -> str:
        return f"{self.surface}.{self.node['operationId']}"

    def answers(self, *first: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Status and response of the statuses that begin with a digit of `first`."""
        for status, response in self.node["responses"].items():
            if status.startswith(first):
                yield status, follow(self.document, response)[0]

    def headers(self, response: Mapping[str, Any]) -> set[str]:
        return {name.lower() for name in response.get("headers") or {}}


ALL = [
    Declared(surface, document, path, item, node)
    for surface, document in DOCUMENTS.items()
    for path, _, item, node in operations(document)
]


def test_the_five_contracts_have_all_operations() -> None:
    assert len(DOCUMENTS) == 5
    assert len(ALL) == 404


def test_every_answer_has_the_correlation_id() -> None:
    wrong = [
        f"{one.id} {status}"
        for one in ALL
        for status, response in one.answers("2", "3", "4", "5")
        if "x-correlation-id" not in one.headers(response)
    ]
    assert wrong == []


def test_an_operation_under_a_limit_says_how_much_is_left() -> None:
    wanted = {"ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"}
    limited = [one for one in ALL if "x-limit" in one.node]
    wrong = [
        f"{one.id} {status}"
        for one in limited
        for status, response in one.answers("2")
        if not wanted <= one.headers(response)
    ]
    assert wrong == []
    refused = [one.id for one in limited for _, response in one.answers("429") if not _retry(one, response)]
    assert refused == []


def _retry(one: Declared, response: Mapping[str, Any]) -> bool:
    return "retry-after" in one.headers(response)


def test_what_was_made_or_begun_says_where_to_look_next() -> None:
    silent = {
        one.id
        for one in ALL
        for status, response in one.answers("201", "202")
        if "location" not in one.headers(response) and not response.get("links")
    }
    assert silent == set(NOTHING_TO_FOLLOW), "declare Location or links, or say why there is nothing to follow"


def test_a_download_has_a_name() -> None:
    nameless = {
        one.id
        for one in ALL
        for status, response in one.answers("2")
        if set(response.get("content") or ()) - TEXT_OF_ITS_OWN and "content-disposition" not in one.headers(response)
    }
    assert nameless == set(NO_FILE)


def test_every_json_body_is_shown_by_example() -> None:
    bare = [
        one.id
        for one in ALL
        for kind, media in follow(one.document, one.node.get("requestBody", {}))[0].get("content", {}).items()
        if kind == "application/json" and not {"example", "examples"} & media.keys()
    ]
    assert bare == []


def test_what_is_named_in_the_path_may_be_missing() -> None:
    assert [one.id for one in ALL if "{" in one.path and "404" not in one.node["responses"]] == []


def test_an_operation_that_reads_a_page_takes_what_its_kind_of_page_needs() -> None:
    for one in ALL:
        names = {parameter["name"] for parameter in parameters_of(one.document, one.item, one.node)}
        if kind := one.node.get("x-pagination"):
            assert {"limit", kind} <= names, one.id


def test_links_lead_from_what_is_made_to_what_can_be_done_with_it() -> None:
    """A reader and the stateful tests can follow a life: nothing that has an id of its own is out of reach."""
    reached = {
        f"{one.surface}.{follow(one.document, link)[0]['operationId']}"
        for one in ALL
        for _, response in one.answers("2", "3")
        for link in (response.get("links") or {}).values()
    }
    owned = [one for one in ALL if "x-resource" in one.node and one.path.rstrip("/").endswith("}")]
    unreached = [one.id for one in owned if one.id not in reached]
    assert unreached == []
    assert len(owned) > 50


@pytest.mark.parametrize("surface", list(PROJECT.surfaces))
def test_a_permission_is_a_resource_and_what_is_done_with_it(surface: str) -> None:
    """One vocabulary: roles are made of these words."""
    acts = {"read", "write", "delete", "manage", "admin"}
    for one in ALL:
        name = one.node.get("x-permission")
        if one.surface == surface and name is not None and ":" in name:
            assert name.rpartition(":")[2] in acts | {"signup_requests", "invites", "*"}, f"{one.id}: {name}"
