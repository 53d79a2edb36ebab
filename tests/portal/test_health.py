"""Health as it is while parts of the platform are away."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import redis

from thalweg import heartbeats
from thalweg.embedded.postgres import Postgres
from thalweg.embedded.valkey import Valkey

PARTS = ["database", "streams", "limits", "workers", "relay", "scheduler", "sweeper"]
QUEUES = ("interactive", "default", "untrusted", "fetching")
PROMPT = 1.0


def ask(url: str) -> httpx.Response:
    began = time.perf_counter()
    answer = httpx.get(f"{url}/health", timeout=10)
    took = time.perf_counter() - began
    # What a busy machine adds is not ours; the patience of the probes is 0.8 s.
    assert took < PROMPT + 0.5, took
    return answer


def until(url: str, fits: Callable[[httpx.Response], bool], seconds: float = 30.0) -> httpx.Response:
    end = time.monotonic() + seconds
    while not fits(answer := ask(url)):
        assert time.monotonic() < end, answer.text
        time.sleep(0.3)
    return answer


@pytest.fixture(scope="module")
def own_postgres(server_folder: Path, migrated_template: str) -> Iterator[Postgres]:
    """A cluster that may be taken away; the schema is not needed to tell that it is there."""
    server = Postgres(server_folder / "health-postgres", volatile=True)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def own_valkey(server_folder: Path) -> Iterator[Valkey]:
    server = Valkey(server_folder / "health-valkey", volatile=True)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def url(serve, own_postgres: Postgres, own_valkey: Valkey) -> str:
    return serve(database_url=own_postgres.url_of("postgres"), redis_url=own_valkey.url)


def beat_all(valkey: Valkey) -> None:
    with redis.Redis.from_url(valkey.url) as connection:
        for queue in QUEUES:
            # One process beats for one queue; here one stands for four.
            heartbeats.beat(connection, f"worker-{queue}", {"queue": queue})
            value = connection.hget(heartbeats.KEY, heartbeats._field(f"worker-{queue}", *heartbeats.me().split(":")))
            connection.hset(heartbeats.KEY, f"worker:{queue}:1", value.replace(f"worker-{queue}".encode(), b"worker"))
        for kind in ("relay", "scheduler", "sweeper"):
            heartbeats.beat(connection, kind)


def test_health_tells_of_every_part(url, own_valkey):
    beat_all(own_valkey)
    answer = until(url, lambda found: found.json()["status"] == "ok")
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    body = answer.json()
    assert list(body["services"]) == PARTS
    assert all(part["status"] == "ok" and part["detail"] for part in body["services"].values())
    assert body["services"]["database"]["latency_ms"] >= 0


def test_people_get_a_page_and_monitors_json(url):
    page = httpx.get(f"{url}/health", headers={"Accept": "text/html,*/*;q=0.8"})
    assert "<h1>Health</h1>" in page.text
    assert "Accept" in page.headers["Vary"]
    for accept in ("*/*", "application/json", "application/json, text/html;q=0.5", ""):
        assert httpx.get(f"{url}/health", headers={"Accept": accept}).headers["Content-Type"] == "application/json"


def test_a_part_that_gives_no_sign_of_life_is_degraded_and_named(url, own_valkey):
    beat_all(own_valkey)
    with redis.Redis.from_url(own_valkey.url) as connection:
        connection.hdel(heartbeats.KEY, "worker:untrusted:1")
        connection.hdel(heartbeats.KEY, heartbeats._field("relay", *heartbeats.me().split(":")))
    answer = until(url, lambda found: found.json()["services"]["relay"]["status"] == "degraded")
    assert answer.status_code == 200
    assert answer.json()["status"] == "degraded"
    assert "untrusted" in answer.json()["services"]["workers"]["detail"]
    assert answer.json()["services"]["scheduler"]["status"] == "ok"


def test_nonsense_among_the_signs_of_life_is_survived(url, own_valkey):
    with redis.Redis.from_url(own_valkey.url) as connection:
        connection.hset(heartbeats.KEY, "worker:x:1", b"\xff not json")
        answer = until(url, lambda found: found.json()["services"]["workers"]["status"] == "unknown")
        connection.hdel(heartbeats.KEY, "worker:x:1")
    assert answer.json()["services"]["database"]["status"] == "ok"


def test_without_valkey_it_is_degraded_in_time_and_comes_back(url, own_valkey):
    own_valkey.stop()
    answer = until(url, lambda found: found.json()["services"]["limits"]["status"] == "degraded")
    assert answer.status_code == 200
    body = answer.json()
    assert body["status"] == "degraded"
    assert {body["services"][part]["status"] for part in ("workers", "relay", "scheduler")} == {"unknown"}
    assert body["services"]["streams"]["status"] == "degraded"
    own_valkey.start()
    beat_all(own_valkey)
    until(url, lambda found: found.json()["status"] == "ok")


def test_without_the_database_it_is_unavailable_in_time_and_comes_back(url, own_postgres, own_valkey):
    own_postgres.stop()
    answer = until(url, lambda found: found.status_code == 503)
    assert answer.json()["status"] == "unavailable"
    assert answer.json()["services"]["database"] == {
        "status": "unavailable",
        "detail": "It does not answer.",
        "latency_ms": None,
    }
    page = httpx.get(f"{url}/health", headers={"Accept": "text/html"})
    assert page.status_code == 503
    assert "Does not work" in page.text
    # The rest of the portal goes on: it needs no database.
    assert httpx.get(f"{url}/surfaces/thalium").status_code == 200
    own_postgres.start()
    beat_all(own_valkey)
    until(url, lambda found: found.status_code == 200)


def test_a_server_that_accepts_and_says_nothing_does_not_delay_the_answer(serve, own_valkey):
    import socket

    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        port = silent.getsockname()[1]
        url = serve(database_url=f"postgresql://nobody@127.0.0.1:{port}/nothing", redis_url=own_valkey.url)
        answer = until(url, lambda found: found.status_code == 503)
        assert answer.json()["services"]["database"]["status"] == "unavailable"
        for _ in range(3):
            ask(url)
            time.sleep(1.1)
