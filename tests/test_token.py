"""Step 04 on the wire, second half: a code is traded for a token, once, by whoever asked for it (OAuth 2.1 §4.1.3)."""

import httpx2
import jwt
import pytest

from tests.world import CALLBACK, ISSUER, RESOURCE, World, answer_in, s256

pytestmark = [pytest.mark.since("04"), pytest.mark.wire]


def refused(answer: httpx2.Response, error: str, status: int = 400) -> None:
    assert (answer.status_code, answer.json()["error"]) == (status, error), answer.text
    assert set(answer.json()) == {"error", "error_description"}
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"


def test_a_code_becomes_a_token(world: World) -> None:
    client_id = world.register()["client_id"]
    answer = world.redeem(client_id, world.code(client_id))
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    tokens = answer.json()
    assert set(tokens) == {"access_token", "token_type", "expires_in", "scope"}
    assert (tokens["token_type"], tokens["expires_in"]) == ("Bearer", 600)
    assert tokens["scope"] == "mcp:tools:sentiment mcp:resources:customer-data:read"


def test_the_token_says_who_for_whom_and_how_long(world: World) -> None:
    client_id = world.register()["client_id"]
    token = world.redeem(client_id, world.code(client_id)).json()["access_token"]
    header = jwt.get_unverified_header(token)
    assert (header["typ"], header["alg"]) == ("at+jwt", "RS256")
    claims = jwt.decode(token, world.signing_key.public_key(), ["RS256"], audience=RESOURCE, issuer=ISSUER)
    assert len(claims.pop("jti")) >= 22, "128 random bits or more"
    assert claims.pop("exp") - claims.pop("iat") == 600
    assert claims == {
        "iss": ISSUER,
        "aud": RESOURCE,
        "sub": "alice",
        "client_id": client_id,
        "scope": "mcp:tools:sentiment mcp:resources:customer-data:read",
    }


def test_a_code_works_once(world: World) -> None:
    client_id = world.register()["client_id"]
    code = world.code(client_id)
    assert world.redeem(client_id, code).status_code == 200
    refused(world.redeem(client_id, code), "invalid_grant")
    assert world.honest_flow_works()


@pytest.mark.parametrize(
    "verifier", ["a" * 43, "", None, "é" * 43, "x" * 10_000, "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"]
)
def test_without_the_verifier_a_code_is_worthless_and_then_gone(world: World, verifier: str | None) -> None:
    client_id = world.register()["client_id"]
    code = world.code(client_id)
    refused(world.redeem(client_id, code, code_verifier=verifier), "invalid_grant")
    refused(world.redeem(client_id, code), "invalid_grant")
    assert world.honest_flow_works()


@pytest.mark.parametrize("verifier", [None, "", "a" * 42, "a" * 129, "a" * 42 + "=", "a" * 42 + "é"])
def test_a_verifier_has_its_form_even_if_the_challenge_is_the_hash_of_another(
    world: World, verifier: str | None
) -> None:
    """A client that hashed nothing, or next to nothing, has no proof: its challenge does not make it one."""
    client_id = world.register()["client_id"]
    code = world.code(client_id, code_challenge=s256(verifier or ""))
    refused(world.redeem(client_id, code, code_verifier=verifier), "invalid_grant")


def test_what_is_unknown_is_ignored(world: World) -> None:
    client_id = world.register()["client_id"]
    assert world.redeem(client_id, world.code(client_id), colour=["red", "blue"], subject="bob").status_code == 200


def test_another_client_gets_nothing_and_spoils_nothing(world: World) -> None:
    client_id, thief = world.register()["client_id"], world.register()["client_id"]
    code = world.code(client_id)
    refused(world.redeem(thief, code), "invalid_grant")
    assert world.redeem(client_id, code).status_code == 200


def test_an_attackers_own_challenge_does_not_fit_a_stolen_code(world: World) -> None:
    """Code injection, ATK-004: the attacker's own flow, the victim's code."""
    client_id = world.register()["client_id"]
    victims = world.code(client_id, code_challenge="A" * 43)
    refused(world.redeem(client_id, victims), "invalid_grant")


@pytest.mark.parametrize("code", ["", None, "guessed", "é"])
def test_a_code_that_was_never_given_is_refused(world: World, code: str | None) -> None:
    refused(world.redeem(world.register()["client_id"], code), "invalid_grant")


def test_a_code_expires(world: World) -> None:
    client_id = world.register()["client_id"]
    code = world.code(client_id)
    world.clock.ahead += 61
    refused(world.redeem(client_id, code), "invalid_grant")


def test_a_redirect_uri_may_be_left_out_but_not_changed(world: World) -> None:
    client_id = world.register()["client_id"]
    assert world.redeem(client_id, world.code(client_id), redirect_uri=CALLBACK).status_code == 200
    for changed in (CALLBACK + "/", "http://127.0.0.1/callback", "https://evil.example"):
        refused(world.redeem(client_id, world.code(client_id), redirect_uri=changed), "invalid_grant")


@pytest.mark.parametrize("resource", ["http://localhost:8001/mcp", "https://other.example", RESOURCE + "/"])
def test_the_resource_cannot_be_swapped_and_the_code_is_gone(world: World, resource: str) -> None:
    client_id = world.register()["client_id"]
    code = world.code(client_id)
    refused(world.redeem(client_id, code, resource=resource), "invalid_target")
    refused(world.redeem(client_id, code), "invalid_grant")


def test_a_resource_left_out_means_the_granted_one(world: World) -> None:
    client_id = world.register()["client_id"]
    token = world.redeem(client_id, world.code(client_id), resource=None).json()["access_token"]
    assert jwt.decode(token, options={"verify_signature": False})["aud"] == RESOURCE


@pytest.mark.parametrize("grant_type", [None, "", "password", "implicit", "é"])
def test_only_known_grants_are_traded(world: World, grant_type: str | None) -> None:
    client_id = world.register()["client_id"]
    error = "unsupported_grant_type" if grant_type else "invalid_request"
    refused(world.redeem(client_id, "x", grant_type=grant_type), error)


@pytest.mark.parametrize(("grant_type", "since"), [("refresh_token", "06"), ("client_credentials", "08")])
def test_a_grant_is_unknown_at_first_and_later_for_those_who_registered_it(
    world: World, grant_type: str, since: str
) -> None:
    error = "unauthorized_client" if world.number >= since else "unsupported_grant_type"
    refused(world.redeem(world.register()["client_id"], "x", grant_type=grant_type), error)


@pytest.mark.parametrize("client_id", [None, "", "nobody", "é"])
def test_an_unknown_client_is_not_served(world: World, client_id: str | None) -> None:
    refused(world.redeem(client_id, "x"), "invalid_client", 401)


def test_a_client_with_a_secret_must_show_it(world: World) -> None:
    client = world.register(token_endpoint_auth_method="client_secret_post")
    client_id, secret = client["client_id"], client["client_secret"]
    code = world.code(client_id)
    for wrong in (None, "", "wrong", "é", secret + "x", secret[:-1]):
        refused(world.redeem(client_id, code, client_secret=wrong), "invalid_client", 401)
    assert world.redeem(client_id, code, client_secret=secret).status_code == 200


def test_a_client_without_a_secret_shows_none(world: World) -> None:
    refused(world.redeem(world.register()["client_id"], "x", client_secret="mine"), "invalid_client", 401)


def test_two_client_authentications_are_one_too_many(world: World) -> None:
    client = world.register(token_endpoint_auth_method="client_secret_post")
    form = {
        "grant_type": "authorization_code",
        "client_id": client["client_id"],
        "client_secret": client["client_secret"],
    }
    refused(world.auth.post("/token", data=form, headers={"Authorization": "Basic eDp5"}), "invalid_request")
    refused(world.auth.post("/token", data=form | {"client_assertion": "x"}), "invalid_request")


@pytest.mark.parametrize("authorization", ["Basic eDp5", "Basic !", "Bearer x", ""])
def test_an_authentication_nobody_offered_fails_and_says_which_one_was_tried(world: World, authorization: str) -> None:
    form = {"grant_type": "authorization_code", "client_id": world.register()["client_id"], "code": "x"}
    answer = world.auth.post("/token", data=form, headers={"Authorization": authorization})
    refused(answer, "invalid_client", 401)
    assert answer.headers["www-authenticate"] == 'Basic realm="token"'
    refused(world.auth.post("/token", data=form | {"client_assertion": "x"}), "invalid_client", 401)


def test_a_secret_in_the_url_is_not_read(world: World) -> None:
    client = world.register(token_endpoint_auth_method="client_secret_post")
    url = f"/token?client_id={client['client_id']}&client_secret={client['client_secret']}"
    refused(world.auth.post(url, data={"grant_type": "authorization_code"}), "invalid_client", 401)


@pytest.mark.parametrize("name", ["grant_type", "client_id", "code", "code_verifier", "redirect_uri"])
def test_a_doubled_parameter_is_refused_and_the_code_is_kept(world: World, name: str) -> None:
    client_id = world.register()["client_id"]
    code = world.code(client_id)
    form = {"grant_type": "authorization_code", "client_id": client_id, "code": code, name: ["x", "x"]}
    refused(world.auth.post("/token", data=form), "invalid_request")
    assert world.redeem(client_id, code).status_code == 200


def test_two_resources_are_one_too_many(world: World) -> None:
    client_id = world.register()["client_id"]
    refused(
        world.redeem(client_id, world.code(client_id), resource=[RESOURCE, "http://localhost:8001/mcp"]),
        "invalid_target",
    )


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"json": {"grant_type": "authorization_code"}}, 415),
        ({"files": {"code_verifier": b"x"}, "data": {"grant_type": "authorization_code"}}, 415),
        ({"content": b"grant_type=authorization_code", "headers": {"Content-Type": "text/plain"}}, 415),
        ({"content": b"grant_type=authorization_code"}, 415),
        ({"content": b"code=\xff\xfe", "headers": {"Content-Type": "application/x-www-form-urlencoded"}}, 400),
        ({"content": b"code=%ff%fe", "headers": {"Content-Type": "application/x-www-form-urlencoded"}}, 400),
        ({"data": {"code": "x" * 1_000_000}}, 413),
        ({"data": {"code": ["x"] * 100_000}}, 413),
    ],
)
def test_what_is_not_a_small_form_is_refused(world: World, options: dict, status: int) -> None:
    refused(world.auth.post("/token", **options), "invalid_request", status)
    assert world.honest_flow_works()


def test_trading_is_a_post(world: World) -> None:
    answer = world.auth.get("/token?grant_type=authorization_code")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_two_people_two_tokens(world: World) -> None:
    tokens = [jwt.decode(world.access_token(who), options={"verify_signature": False}) for who in ("alice", "bob")]
    assert [token["sub"] for token in tokens] == ["alice", "bob"]
    assert tokens[0]["jti"] != tokens[1]["jti"]


def test_no_secret_reaches_the_log(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", logger="http")
    client_id = world.register()["client_id"]
    redirect = world.consent(world.ask(client_id))
    token = world.redeem(client_id, answer_in(redirect)["code"]).json()["access_token"]
    world.list_tools(f"Bearer {token}")
    ours = " ".join(record.getMessage() for record in caplog.records if record.name in ("http", "mcp_server"))
    for secret in (answer_in(redirect)["code"], token, token.split(".")[2], "wonderland"):
        assert secret not in ours
