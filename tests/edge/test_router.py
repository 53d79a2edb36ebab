"""From a path to its operation."""

from __future__ import annotations

import random

import pytest

from thalweg.edge.router import Router


@pytest.fixture
def router() -> Router[str]:
    made: Router[str] = Router()
    for path in (
        "/things",
        "/things/special",
        "/things/{id}",
        "/things/{id}/parts/{part}",
        "/{kind}/all",
        "/a/{x}.json",
    ):
        made.add("GET", path, path)
    made.add("DELETE", "/things/{id}", "delete")
    return made


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/things", ("/things", {})),
        ("/things/special", ("/things/special", {})),
        ("/things/7", ("/things/{id}", {"id": "7"})),
        ("/things/a%2Fb", ("/things/{id}", {"id": "a%2Fb"})),
        ("/things/7/parts/8", ("/things/{id}/parts/{part}", {"id": "7", "part": "8"})),
        ("/%74hings/7", ("/things/{id}", {"id": "7"})),
        ("/other/all", ("/{kind}/all", {"kind": "other"})),
        ("/things/all", ("/things/{id}", {"id": "all"})),
        ("/a/x.json", ("/a/{x}.json", {"x": "x"})),
    ],
)
def test_a_literal_beats_a_parameter_and_segments_stay_whole(
    router: Router[str], path: str, expected: tuple[str, dict[str, str]]
) -> None:
    assert router.find("GET", path) == expected


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/things/7", {"GET", "DELETE"}),
        ("PUT", "/things", {"GET"}),
        ("GET", "/nothing", set()),
        ("GET", "/things/", set()),
        ("GET", "/things/7/", set()),
    ],
)
def test_what_is_not_found_says_which_methods_there_are(
    router: Router[str], method: str, path: str, allowed: set[str]
) -> None:
    assert router.find(method, path) == allowed


def test_the_quick_way_down_finds_what_the_careful_one_finds() -> None:
    chance = random.Random(404)
    words = ["a", "b", "c", "{x}", "{y}", "{x}.json"]
    asked = ["a", "b", "c", "d", "d.json", "%61", "a%2Fb", ""]
    for _ in range(300):
        router: Router[str] = Router()
        for _ in range(chance.randint(1, 12)):
            parts = [chance.choice(words) for _ in range(chance.randint(1, 4))]
            path = "/" + "/".join(part.replace("x", f"x{n}").replace("y", f"y{n}") for n, part in enumerate(parts))
            router.add(chance.choice(["GET", "POST"]), path, path)
        for _ in range(40):
            segments = ["", *(chance.choice(asked) for _ in range(chance.randint(1, 4)))]
            method = chance.choice(["GET", "POST"])
            quick = router._straight(segments, method)
            if quick is not None:
                assert quick == router._walk(router._root, segments, 1, [], method, set())


def test_a_literal_path_is_meant_whatever_the_method() -> None:
    router: Router[str] = Router()
    router.add("POST", "/documents/query", "search")
    router.add("DELETE", "/documents/{id}", "delete")
    router.add("GET", "/groups/mine/{name}", "own")
    router.add("PUT", "/groups/{id}/{name}", "any")
    assert router.find("DELETE", "/documents/query") == frozenset({"POST"})
    assert router.find("DELETE", "/documents/7") == ("delete", {"id": "7"})
    assert router.find("PUT", "/groups/mine/x") == frozenset({"GET"})
    assert router.find("PUT", "/groups/7/x") == ("any", {"id": "7", "name": "x"})
