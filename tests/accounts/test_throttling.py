"""How often one address may try."""

import pytest
from rest_framework.throttling import ScopedRateThrottle

from tests.conftest import PASSWORD


@pytest.fixture
def three_a_minute(monkeypatch):
    rates = {"auth": "3/min", "guest": "3/min"}
    monkeypatch.setattr(ScopedRateThrottle, "THROTTLE_RATES", rates)


@pytest.mark.parametrize(
    "path",
    ["register/", "guest/", "token/", "password/reset/", "password/reset/confirm/"],
)
def test_too_many_tries_are_told_when_to_come_back(api, db, three_a_minute, path):
    answers = [api().post(f"/api/auth/{path}", {}) for _ in range(4)]
    assert all(answer.status_code != 429 for answer in answers[:3])
    refused = answers[3]
    assert refused.status_code == 429
    assert 0 < int(refused["Retry-After"]) <= 60
    body = refused.json()
    assert set(body) == {"code", "message", "details"}
    assert body["code"] == "throttled"
    assert 0 < body["details"]["retry_after"] <= 60


def test_right_password_is_throttled_too(api, alice, three_a_minute):
    for _ in range(3):
        api().post("/api/auth/token/", {"username": "alice", "password": "wrong"})
    answer = api().post("/api/auth/token/", {"username": "alice", "password": PASSWORD})
    assert answer.status_code == 429


def test_forged_forwarding_header_is_no_way_round(api, db, three_a_minute):
    statuses = [
        api().post("/api/auth/token/", {}, headers={"X-Forwarded-For": f"10.0.0.{n}"}).status_code
        for n in range(4)
    ]
    assert statuses == [400, 400, 400, 429]


def test_refreshing_is_not_throttled(api, alice, three_a_minute):
    answers = [api().post("/api/auth/token/refresh/", {"refresh": "x"}) for _ in range(6)]
    assert {answer.status_code for answer in answers} == {401}
