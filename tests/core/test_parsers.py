"""Which bodies REST reads."""

import pytest
from rest_framework.test import APIClient

GUEST = "/api/auth/guest/"


def test_body_over_the_limit_is_refused(db):
    body = '{"display_name": "' + "x" * 1024 * 1024 + '"}'
    response = APIClient().post(GUEST, data=body, content_type="application/json")
    assert response.status_code == 413
    assert response.json()["code"] == "too_large"


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_deeply_nested_body_is_refused(db, opening):
    response = APIClient().post(GUEST, data=opening * 100_000, content_type="application/json")
    assert response.status_code == 400
    assert response.json()["code"] == "parse_error"


def test_form_data_is_refused(db):
    response = APIClient().post(GUEST, data={"display_name": "Gwen"}, format="multipart")
    assert response.status_code == 415
    assert response.json()["code"] == "unsupported_media_type"
