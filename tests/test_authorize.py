"""Step 04 on the wire, first half: what a browser may ask at /authorize, and where a no goes (OAuth 2.1 §4.1)."""

import jwt
import pytest

from tests.world import CALLBACK, CHALLENGE, ISSUER, RESOURCE, World, answer_in

pytestmark = [pytest.mark.since("04"), pytest.mark.wire]

HTTPS = "https://app.example/cb"
ALICE = {"username": "alice", "password": "wonderland", "decision": "allow"}


def shown(world: World, query: object, expected: str = "invalid_request") -> str:
    """The person sees a page, and nobody is sent anywhere."""
    answer = world.auth.get("/authorize", params=query)
    assert answer.status_code == 400, (answer.status_code, answer.text)
    assert "location" not in answer.headers
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    assert expected in answer.text
    return answer.text


def told(world: World, query: object) -> dict[str, str]:
    """The client hears the error at its own address, from whom it asked, with its state."""
    redirect = world.auth.get("/authorize", params=query)
    assert redirect.headers["location"].startswith(CALLBACK + "?")
    assert redirect.headers["cache-control"] == "no-store"
    assert redirect.headers["referrer-policy"] == "no-referrer"
    answer = answer_in(redirect)
    assert answer.pop("iss") == ISSUER
    assert answer.pop("state") == "the state"
    assert answer.pop("error_description").isprintable()
    assert "code" not in answer
    return answer


def test_an_honest_request_shows_a_page_with_everything_a_person_must_know(world: World) -> None:
    client = world.register(client_name="A <b>test</b> & more")
    page = world.consent_page(world.ask(client["client_id"]))
    assert "A &lt;b&gt;test&lt;/b&gt; &amp; more" in page.text
    assert "<b>test" not in page.text
    for needed in ("127.0.0.1:4567", "on this computer", RESOURCE, "Score the mood of headlines", "Deny"):
        assert needed in page.text
    assert page.headers["cache-control"] == "no-store"


def test_the_answer_carries_code_state_and_iss(world: World) -> None:
    client = world.register()
    redirect = world.consent(world.ask(client["client_id"], state="a b&c=d/é%00"))
    answer = answer_in(redirect)
    assert set(answer) == {"code", "state", "iss"}
    assert answer["state"] == "a b&c=d/é%00"
    assert answer["iss"] == ISSUER
    assert len(answer["code"]) >= 43
    assert redirect.headers["cache-control"] == "no-store"


def test_no_state_asked_means_no_state_answered(world: World) -> None:
    answer = answer_in(world.consent(world.ask(world.register()["client_id"], state=None)))
    assert set(answer) == {"code", "iss"}


def test_the_query_of_a_redirect_uri_is_kept(world: World) -> None:
    client = world.register(redirect_uris=[HTTPS + "?tenant=1"])
    redirect = world.consent(world.ask(client["client_id"], redirect_uri=HTTPS + "?tenant=1"))
    assert redirect.headers["location"].startswith(HTTPS + "?tenant=1&code=")


@pytest.mark.parametrize(
    "uri",
    [
        HTTPS + "/evil",
        "https://app.example.evil/cb",
        "https://x.app.example/cb",
        "https://app.example/cb/../evil",
        "https://app.example/%63b",
        "https://app.example/cb%2f..%2fevil",
        "https://app.example//cb",
        HTTPS + "#x",
        HTTPS + "?x=1",
        "HTTPS://app.example/cb",
        "https://app.example:8443/cb",
        "https://app.example@evil.example/cb",
        "https://app.example\\@evil.example/cb",
        "http://app.example/cb",
        "http://127.0.0.1:3000@evil.example/cb",
        "http://user@127.0.0.1/cb",
        "http://127.0.0.1:5/evil",
        "https://127.0.0.1/cb",
        "http://localhost:5/cb",
        "http://127.0.0.2/cb",
        "http://127.0.0.1.evil.example/cb",
        "http://127.0.0.1:/cb",
        "http://127.0.0.1:123456/cb",
        "http://127.0.0.1:5/cb\n",
        "http://[::1/cb",
        "javascript:alert(1)",
        "é",
        "",
    ],
)
def test_a_redirect_uri_that_is_not_registered_shows_a_page(world: World, uri: str) -> None:
    client = world.register(redirect_uris=[HTTPS, "http://127.0.0.1/cb"])
    shown(world, world.ask(client["client_id"], redirect_uri=uri), "not one that the program registered")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_on_loopback_only_the_port_may_differ(world: World, host: str) -> None:
    client = world.register(redirect_uris=[f"http://{host}/cb"])
    redirect = world.consent(world.ask(client["client_id"], redirect_uri=f"http://{host}:5050/cb"))
    assert redirect.headers["location"].startswith(f"http://{host}:5050/cb?code=")


def test_an_unknown_client_shows_a_page_that_is_the_same_for_all(world: World) -> None:
    pages = {
        shown(world, world.ask(client_id), "No program is registered")
        for client_id in ("nobody", "https://", "é", "a" * 5000, "' OR 1=1 --")
    }
    assert len(pages) == 1
    shown(world, {}, "No program is registered")


@pytest.mark.of_steps("the finished server looks at what is there: tests/test_client_documents.py")
def test_a_url_is_an_unknown_client_too(world: World) -> None:
    shown(world, world.ask("https://client.example/metadata.json"), "No program is registered")


@pytest.mark.parametrize("name", ["client_id", "redirect_uri"])
def test_a_doubled_client_or_address_shows_a_page(world: World, name: str) -> None:
    ask = world.ask(world.register()["client_id"])
    shown(world, [*ask.items(), (name, ask[name])], "more than once")


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": "code token"}, "unsupported_response_type"),
        ({"response_type": None}, "invalid_request"),
        ({"response_type": ""}, "invalid_request"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge": "abc"}, "invalid_request"),
        ({"code_challenge": CHALLENGE + "="}, "invalid_request"),
        ({"code_challenge": CHALLENGE[:-1] + "é"}, "invalid_request"),
        ({"code_challenge": CHALLENGE + "\n"}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"code_challenge_method": "s256"}, "invalid_request"),
        ({"resource": None}, "invalid_target"),
        ({"resource": ""}, "invalid_target"),
        ({"scope": "admin"}, "invalid_scope"),
        ({"scope": "mcp:tools:sentiment admin"}, "invalid_scope"),
        ({"scope": "mcp:tools:*"}, "invalid_scope"),
        ({"scope": "é"}, "invalid_scope"),
        ({"scope": " "}, "invalid_scope"),
        ({"scope": "\x1f"}, "invalid_scope"),
        ({"scope": "mcp:tools:sentiment\u2003mcp:resources:customer-data:read"}, "invalid_scope"),
    ],
)
def test_every_other_no_travels_home(world: World, changes: dict, error: str) -> None:
    client_id = world.register()["client_id"]
    assert told(world, world.ask(client_id, **changes)) == {"error": error}
    assert world.honest_flow_works()


@pytest.mark.since("05")
@pytest.mark.parametrize(
    "resource", ["https://other.example/mcp", RESOURCE + "/", RESOURCE + "?x", "http://localhost:8000/", "mcp", "é"]
)
def test_a_token_is_made_only_for_a_resource_we_know(world: World, resource: str) -> None:
    assert told(world, world.ask(world.register()["client_id"], resource=resource)) == {"error": "invalid_target"}


@pytest.mark.steps("04")
def test_left_open_in_step_04_any_resource_will_do(world: World) -> None:
    assert world.access_token(resource="https://other.example/mcp")


def test_two_resources_are_one_too_many(world: World) -> None:
    ask = world.ask(world.register()["client_id"])
    assert told(world, [*ask.items(), ("resource", "http://localhost:8001/mcp")]) == {"error": "invalid_target"}


@pytest.mark.parametrize("name", ["response_type", "scope", "code_challenge", "code_challenge_method"])
def test_a_doubled_parameter_travels_home(world: World, name: str) -> None:
    ask = world.ask(world.register()["client_id"])
    assert told(world, [*ask.items(), (name, ask[name])]) == {"error": "invalid_request"}


def test_a_doubled_state_travels_home_without_any_state(world: World) -> None:
    ask = world.ask(world.register()["client_id"])
    answer = answer_in(world.auth.get("/authorize", params=[*ask.items(), ("state", "other")]))
    assert answer["error"] == "invalid_request"
    assert "state" not in answer


def test_what_is_unknown_is_ignored(world: World) -> None:
    client_id = world.register()["client_id"]
    query = [
        *world.ask(client_id).items(),
        ("colour", "red"),
        ("colour", "blue"),
        ("subject", "bob"),
        ("expires_at", "x"),
    ]
    assert world.auth.get("/authorize", params=query).status_code == 200
    code = answer_in(world.consent(dict(query)))["code"]
    [asked] = world.pending()
    assert asked.items() >= world.ask(client_id).items()
    assert not {"colour", "subject"} & set(asked) and asked.get("expires_at") != "x"
    assert (
        jwt.decode(world.redeem(client_id, code).json()["access_token"], options={"verify_signature": False})["sub"]
        == "alice"
    )


def test_no_scope_asked_means_the_registered_ones(world: World) -> None:
    client = world.register(scope="mcp:tools:sentiment")
    code = answer_in(world.consent(world.ask(client["client_id"], scope=None)))["code"]
    assert world.redeem(client["client_id"], code).json()["scope"] == "mcp:tools:sentiment"


@pytest.mark.parametrize("registered", ["", "offline_access"])
def test_no_scope_asked_and_none_registered_is_no_page_without_boxes(world: World, registered: str) -> None:
    client_id = world.register(scope=registered)["client_id"]
    assert told(world, world.ask(client_id, scope=None)) == {"error": "invalid_scope"}


def test_a_scope_that_nobody_knows_cannot_be_asked_even_if_it_was_registered(world: World) -> None:
    client_id = world.register(scope="foo mcp:tools:sentiment")["client_id"]
    assert told(world, world.ask(client_id, scope="foo")) == {"error": "invalid_scope"}


def test_an_empty_query_gets_no_second_question_mark(world: World) -> None:
    client_id = world.register(redirect_uris=[HTTPS + "?"])["client_id"]
    redirect = world.consent(world.ask(client_id, redirect_uri=HTTPS + "?"))
    assert "code" in answer_in(redirect)


@pytest.mark.parametrize("path", ["/consent/", "/token/", "//consent", "/consent%2f"])
def test_no_redirect_ever_repeats_a_post(world: World, path: str) -> None:
    assert world.auth.post(path, data={"password": "wonderland"}).status_code == 404


def test_who_asks_gets_and_who_decides_posts(world: World) -> None:
    assert world.auth.post("/authorize").status_code == 405
    form = world.page(world.ask(world.register()["client_id"])) | ALICE
    assert "location" not in world.auth.get("/consent", params=form).headers
    assert "code" in answer_in(world.auth.post("/consent", data=form))


@pytest.mark.of_steps("the finished server shows the page there, after somebody has signed in")
def test_consent_is_nothing_to_look_at(world: World) -> None:
    assert world.auth.get("/consent?request=x&decision=allow").status_code == 405


def test_a_long_query_is_answered(world: World) -> None:
    shown(world, {"client_id": "x" * 15_000}, "No program is registered")
    nobody = world.auth.get("/authorize", params={"client_id": "x" * 60_000})
    assert nobody.status_code in (400, 414), "RFC 9110 §15.5.15: a server may have read enough"
    assert "location" not in nobody.headers


# ── the page ──────────────────────────────────────────────────────────────────


def test_a_client_without_a_name_is_called_so(world: World) -> None:
    for name in ("", "  "):
        page = world.consent_page(world.ask(world.register(client_name=name)["client_id"]))
        assert "Allow a program without a name in?" in page.text


def test_who_says_no_is_believed(world: World) -> None:
    """Also of somebody who has not said who they are."""
    ask = world.ask(world.register()["client_id"])
    for answer in map(answer_in, (world.cancel(ask), world.consent(ask, decision="deny"))):
        assert (answer["error"], answer["state"], answer["iss"]) == ("access_denied", "the state", ISSUER)


@pytest.mark.parametrize("decision", ["", "ALLOW", "yes"])
def test_only_allow_allows(world: World, decision: str) -> None:
    answer = answer_in(world.consent(world.ask(world.register()["client_id"]), decision=decision))
    assert answer["error"] == "access_denied"


def test_a_scope_that_was_unticked_is_not_granted(world: World) -> None:
    client_id = world.register()["client_id"]
    code = answer_in(world.consent(world.ask(client_id), scope=["mcp:tools:sentiment"]))["code"]
    assert world.redeem(client_id, code).json()["scope"] == "mcp:tools:sentiment"


def test_a_scope_asked_twice_is_granted_once(world: World) -> None:
    client_id = world.register()["client_id"]
    code = answer_in(world.consent(world.ask(client_id, scope="mcp:tools:sentiment mcp:tools:sentiment")))["code"]
    assert world.redeem(client_id, code).json()["scope"] == "mcp:tools:sentiment"


def test_allowing_nothing_is_a_no(world: World) -> None:
    assert answer_in(world.consent(world.ask(world.register()["client_id"]), scope=[]))["error"] == "access_denied"


def test_the_form_cannot_widen_what_was_asked(world: World) -> None:
    client_id = world.register()["client_id"]
    more = ["mcp:tools:sentiment", "mcp:exec:workflows:rebalance", "admin"]
    changes = {"scope": more, "client_id": "evil", "redirect_uri": "https://evil.example", "resource": "evil"}
    redirect = world.consent(world.ask(client_id, scope="mcp:tools:sentiment"), **changes)
    assert redirect.headers["location"].startswith(CALLBACK)
    assert world.redeem(client_id, answer_in(redirect)["code"]).json()["scope"] == "mcp:tools:sentiment"


@pytest.mark.parametrize("username", ["alice", "bob", "nobody", "", "é\x00", "ａlice"])
def test_a_wrong_password_asks_again(world: World, username: str) -> None:
    again = world.wrong_password(world.ask(world.register()["client_id"]), username=username, password="wrong é")
    assert again.status_code == 403
    assert "do not belong together" in again.text


@pytest.mark.of_steps("the finished server asks for password and decision on two pages")
def test_a_wrong_password_keeps_what_was_ticked(world: World) -> None:
    again = world.wrong_password(world.ask(world.register()["client_id"]), scope=["mcp:tools:sentiment"])
    assert 'value="mcp:tools:sentiment" checked' in again.text
    assert 'value="mcp:resources:customer-data:read" checked' not in again.text


@pytest.mark.parametrize("username", ["alice", "nobody", ""])
def test_no_password_is_a_wrong_password(world: World, username: str) -> None:
    ask = world.ask(world.register()["client_id"])
    assert world.wrong_password(ask, username=username, password="").status_code == 403


@pytest.mark.parametrize("decision", ["allow", "deny"])
def test_a_page_is_answered_once(world: World, decision: str) -> None:
    form = world.page(world.ask(world.register()["client_id"])) | ALICE | {"decision": decision}
    assert world.auth.post("/consent", data=form).status_code == 303
    again = world.auth.post("/consent", data=form)
    assert again.status_code == 400
    assert "location" not in again.headers


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"content": b"", "headers": {"Content-Type": "application/x-www-form-urlencoded"}}, 400),
        ({"data": {"request": "guessed", "decision": "allow"}}, 400),
        ({"data": {"request": ["a", "b"]}}, 400),
        ({"json": {}}, 415),
        ({"files": {"request": b"x"}}, 415),
        ({"content": b"request=%ff", "headers": {"Content-Type": "application/x-www-form-urlencoded"}}, 400),
        ({"content": b"request=\xff", "headers": {"Content-Type": "application/x-www-form-urlencoded"}}, 400),
        ({"data": {"request": "x" * 1_000_000}}, 413),
    ],
)
def test_a_consent_that_is_none_shows_a_page(world: World, options: dict, status: int) -> None:
    answer = world.auth.post("/consent", **options)
    assert answer.status_code == status
    assert "This request was stopped" in answer.text
