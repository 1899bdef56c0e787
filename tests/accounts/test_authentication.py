"""Who a bearer token lets in over REST."""


def test_token_of_a_live_session_is_let_in(api, alice):
    assert api(alice).get("/api/me/").status_code == 200
