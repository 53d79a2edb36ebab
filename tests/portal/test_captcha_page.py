"""The page that hands out challenges, over HTTP."""

from __future__ import annotations

import httpx

from domain.identity import captcha


def test_a_challenge_is_fresh_each_time_and_can_be_solved(serve):
    url = serve(captcha_difficulty="1", cors_origins="https://app.example")
    answers = [httpx.get(f"{url}/captcha/challenge", headers={"Origin": "https://app.example"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    for answer in answers:
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example"
    one, other = (answer.json() for answer in answers)
    assert one["parameters"]["nonce"] != other["parameters"]["nonce"]
    assert one["parameters"]["cost"] == 1
    assert 0 < len(captcha.solve(one)) <= captcha.LONGEST
    assert httpx.post(f"{url}/captcha/challenge").status_code == 405


def test_a_client_learns_that_nothing_is_asked(serve):
    url = serve(captcha="off")
    assert httpx.get(f"{url}/captcha/challenge").json() == {"provider": "off"}
