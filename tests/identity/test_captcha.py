"""CAPTCHA: solved work passes once, everything else never, and nobody passes when a provider cannot be asked."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import ClassVar
from urllib.parse import parse_qs

import altcha
import pytest

from domain.identity import captcha
from domain.kernel import crypto, outgoing
from domain.kernel.clock import FixedClock
from domain.kernel.context import AnonymousActor
from domain.kernel.errors import Unavailable

NOW = datetime.now(UTC)


@pytest.fixture(autouse=True)
def _quick() -> Iterator[None]:
    before = captcha._bound
    captcha.bind(captcha.Altcha(difficulty=1))
    yield
    captcha.bind(before)


@pytest.fixture
def verify(database):
    """Verify as a stranger, in a transaction of its own."""

    def act(solution: str, now: datetime | None = None) -> None:
        clock = FixedClock(now or datetime.now(UTC))
        with database.context(AnonymousActor(), None, clock=clock, address="203.0.113.9") as ctx:
            captcha.verify(ctx, solution)

    return act


def changed(solved: str, /, **parts) -> str:
    payload = json.loads(base64.b64decode(solved))
    for path, value in parts.items():
        target = payload
        *way, last = path.split("__")
        for step in way:
            target = target[step]
        target[last] = value
    return base64.b64encode(json.dumps(payload).encode()).decode()


def test_a_solved_challenge_passes_once(verify):
    solution = captcha.solve(captcha.challenge(NOW))
    verify(solution)
    with pytest.raises(captcha.CaptchaFailed) as refused:
        verify(solution)
    assert refused.value.code == "captcha_failed"


def test_another_solution_of_the_same_challenge_is_the_same_challenge(verify):
    asked = captcha.challenge(NOW)
    verify(captcha.solve(asked))
    first = json.loads(base64.b64decode(captcha.solve(asked)))["solution"]["counter"]
    again = altcha.solve_challenge(altcha.Challenge.from_dict(asked), counter_start=first + 1)
    with pytest.raises(captcha.CaptchaFailed):
        verify(altcha.Payload(altcha.Challenge.from_dict(asked), again).to_base64())


def test_a_solution_of_a_request_that_was_refused_is_not_spent(database, verify):
    solution = captcha.solve(captcha.challenge(NOW))

    def refused_later():
        with database.context(AnonymousActor(), None) as ctx:
            captcha.verify(ctx, solution)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        refused_later()
    verify(solution)


def test_an_old_challenge_does_not_pass(verify):
    solution = captcha.solve(captcha.challenge(NOW))
    with pytest.raises(captcha.CaptchaFailed):
        verify(solution, now=NOW + captcha.GOOD_FOR + timedelta(seconds=1))
    with pytest.raises(captcha.CaptchaFailed):
        verify(captcha.solve(captcha.challenge(NOW - captcha.GOOD_FOR - timedelta(seconds=1))))


def test_the_terms_of_a_challenge_cannot_be_made_easier(verify):
    captcha.bind(captcha.Altcha(difficulty=50))
    solution = captcha.solve(captcha.challenge(NOW))
    for change in (
        {"challenge__parameters__cost": 1},
        {"challenge__parameters__keyPrefix": ""},
        {"challenge__parameters__expiresAt": 2**40},
        {"challenge__parameters__nonce": "00" * 16},
        {"challenge__signature": "00" * 32},
        {"challenge__signature": None},
        {"solution__counter": -1},
        {"solution__derivedKey": "00" * 32},
    ):
        with pytest.raises(captcha.CaptchaFailed):
            verify(changed(solution, **change))
    verify(solution)


@pytest.mark.parametrize(
    "solution",
    [
        "",
        "x",
        "10000000-aaaa-bbbb-cccc-000000000001",
        base64.b64encode(b"null").decode(),
        base64.b64encode(b"[]").decode(),
        base64.b64encode(b'{"challenge": {"parameters": [], "signature": 1}, "solution": 3}').decode(),
        base64.b64encode(b'{"challenge": {"parameters": {}}, "solution": {}}').decode(),
        base64.b64encode(b"[" * 3000).decode(),
        base64.b64encode(b"\xff\xfe\x00").decode(),
        "\ud800",
        "A" * 100_000,
    ],
)
def test_what_is_no_solution_fails_and_breaks_nothing(verify, solution):
    with pytest.raises(captcha.CaptchaFailed):
        verify(solution)


@pytest.mark.parametrize("value", [None, [], {}, "x", float("inf"), 10**400, -1, True])
@pytest.mark.parametrize(
    "path",
    [
        "challenge__parameters__algorithm",
        "challenge__parameters__cost",
        "challenge__parameters__nonce",
        "challenge__parameters__expiresAt",
        "challenge__parameters__keyPrefix",
        "challenge__parameters",
        "challenge",
        "solution",
        "solution__derivedKey",
    ],
)
def test_a_solution_with_strange_parts_fails_and_breaks_nothing(verify, path, value):
    solution = captcha.solve(captcha.challenge(NOW))
    with pytest.raises(captcha.CaptchaFailed):
        verify(changed(solution, **{path: value}))


def test_a_challenge_survives_a_change_of_keys_and_is_worth_nothing_elsewhere(verify):
    old, new = crypto.KeyRing.new_key(), crypto.KeyRing.new_key()
    before = crypto.ring()
    try:
        crypto.use(crypto.KeyRing({"old": old}))
        solution = captcha.solve(captcha.challenge(NOW))
        crypto.use(crypto.KeyRing({"new": new}))
        with pytest.raises(captcha.CaptchaFailed):
            verify(solution)
        crypto.use(crypto.KeyRing({"new": new, "old": old}))
        verify(solution)
    finally:
        crypto.use(before)


def test_two_processes_do_not_both_take_one_solution(database):
    solution = captcha.solve(captcha.challenge(NOW))
    gate = threading.Barrier(4)
    taken: list[bool] = []

    def run():
        gate.wait()
        try:
            with database.context(AnonymousActor(), None) as ctx:
                captcha.verify(ctx, solution)
        except captcha.CaptchaFailed:
            taken.append(False)
        else:
            taken.append(True)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == [False, False, False, True]


# --- hosted ----------------------------------------------------------------------------------------------


@pytest.fixture
def provider():
    """A siteverify server: `answers` are given in order, `asked` is what came."""

    class Provider(BaseHTTPRequestHandler):
        answers: ClassVar[list[tuple[int, bytes]]] = []
        asked: ClassVar[list[dict]] = []

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            self.asked.append({name: values[0] for name, values in parse_qs(body).items()})
            status, content = self.answers.pop(0)
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Provider)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    outgoing.use(outgoing.Client(allow=("127.0.0.0/8",)))
    url = f"http://127.0.0.1:{server.server_port}/siteverify"
    captcha.bind(captcha.Hosted("turnstile", "the-secret", "the-key", url=url, seconds=1.0))
    yield Provider
    outgoing.use(None)
    server.shutdown()
    server.server_close()


def test_a_hosted_solution_passes_once_and_the_provider_learns_who_asks(verify, provider):
    provider.answers = [(200, b'{"success": true, "challenge_ts": "x", "hostname": "h"}')] * 2
    verify("solved-1")
    assert provider.asked[-1] == {"secret": "the-secret", "response": "solved-1", "remoteip": "203.0.113.9"}
    with pytest.raises(captcha.CaptchaFailed):
        verify("solved-1")
    assert captcha.challenge(NOW) == {"provider": "turnstile", "site_key": "the-key"}


@pytest.mark.parametrize(
    "answer",
    [
        b'{"success": false, "error-codes": ["timeout-or-duplicate"]}',
        b'{"success": false}',
        b'{"success": true, "score": 0.1}',
    ],
)
def test_what_the_provider_refuses_fails(verify, provider, answer):
    provider.answers = [(200, answer)]
    with pytest.raises(captcha.CaptchaFailed):
        verify("unsolved")


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (500, b"oops"),
        (200, b"no json"),
        (200, b"[]"),
        (200, b'{"success": "yes"}'),
        (302, b""),
        (200, b'{"success": false, "error-codes": ["invalid-input-secret"]}'),
    ],
)
def test_nobody_passes_when_the_provider_cannot_say(verify, provider, status, answer):
    provider.answers = [(status, answer)]
    with pytest.raises(Unavailable) as refused:
        verify("whatever")
    assert "the-secret" not in f"{refused.value.message} {refused.value.facts} {refused.value!r}"


def test_a_hosted_solution_is_one_line_of_bounded_length(verify, provider):
    for solution in ("", "a\nb", "x" * 5000):
        with pytest.raises(captcha.CaptchaFailed):
            verify(solution)
    assert provider.asked == [] or all(asked["response"] not in ("", "a\nb") for asked in provider.asked)


# --- settings --------------------------------------------------------------------------------------------


def test_off_is_refused_in_production_and_asks_nothing_elsewhere(verify):
    with pytest.raises(ValueError, match="captcha"):
        captcha.configure("off", production=True)
    captcha.configure("off", production=False)
    verify("anything")
    assert captcha.challenge(NOW) == {"provider": "off"}


def test_a_hosted_captcha_needs_both_keys():
    for missing in ({"secret": "s"}, {"site_key": "k"}, {}):
        with pytest.raises(ValueError, match="captcha_secret and captcha_site_key"):
            captcha.configure("hcaptcha", **missing)
    captcha.configure("hcaptcha", secret="s3cr3t", site_key="k")
    assert "s3cr3t" not in repr(captcha._bound)
