"""Step 07 on the wire: what a patient attacker tries next, and what is written down about it."""

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import httpx2
import pytest

from attacks.hostile import PRM_URL, client_of, honest_net, metadata, metadata_url, walk
from attacks.world import BASIC, ELSEWHERE, REBALANCE
from shared.addresses import NEIGHBOUR, UPSTREAM
from shared.browser import waiting_for_redirect
from tests import scratch
from tests.processes import logs_in
from tests.test_errors import BOTH, INVALID_REQUEST, INVALID_TOKEN, says, too_little
from tests.test_resource_metadata import CHALLENGE
from tests.test_token import refused
from tests.world import CALLBACK, ISSUER, LIST_TOOLS, MCP_HEADERS, RESOURCE, World, answer_in

pytestmark = [pytest.mark.since("07"), pytest.mark.wire]

SENTIMENT, READ = BASIC.split()
EVIL = "https://evil.example"
ALICE = {"username": "alice", "password": "wonderland", "decision": "allow"}
WRONG = ALICE | {"password": "wrong"}


def stopped(answer: httpx2.Response, status: int, why: str, error: str = "invalid_request") -> None:
    assert (answer.status_code, answer.json()) == (status, {"error": error, "error_description": why})
    assert answer.headers["cache-control"] == "no-store"
    assert "www-authenticate" not in answer.headers


def page_says(answer: httpx2.Response, words: str, status: int = 400) -> None:
    assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html; charset=utf-8")
    assert words in answer.text
    assert "location" not in answer.headers


# ── the browser that was shown the page ───────────────────────────────────────

COOKIE = r"consent-[0-9a-f]{16}=[A-Za-z0-9_-]{43}; HttpOnly; Max-Age=600; Path=/; SameSite=lax"


def asked(world: World, **changes: str) -> dict[str, str]:
    return world.ask(world.register()["client_id"], **changes)


def test_every_page_brings_a_cookie_of_its_own(world: World) -> None:
    ask, browser = asked(world), world.browser()
    answers = [browser.get("/authorize", params=ask) for _ in range(3)]
    cookies = [answer.headers.get_list("set-cookie") for answer in answers]
    assert all(len(some) == 1 and re.fullmatch(COOKIE, some[0]) for some in cookies), cookies
    assert len({some[0].partition("=")[0] for some in cookies}) == len({some[0] for some in cookies}) == 3


@pytest.mark.of_steps("the finished server is told by its settings: tests/test_auth_pages.py")
def test_where_there_is_tls_nothing_else_carries_the_cookie(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = asked(world)
    monkeypatch.setattr(world.auth_server, "ISSUER", "https://as.example")
    assert re.fullmatch("__Host-" + COOKIE + "; Secure", world.auth.get("/authorize", params=ask).headers["set-cookie"])


def test_two_pages_can_be_open_at_once(world: World) -> None:
    client_id = world.register()["client_id"]
    pages = [world.page(world.ask(client_id, state=state)) for state in ("first", "second")]
    answers = [answer_in(world.auth.post("/consent", data=page | ALICE)) for page in reversed(pages)]
    assert [answer["state"] for answer in answers] == ["second", "first"]
    assert all(world.redeem(client_id, answer["code"]).status_code == 200 for answer in answers)


@pytest.mark.parametrize("decision", ["allow", "deny"])
def test_another_browser_cannot_answer_and_spoils_nothing(world: World, decision: str) -> None:
    ask = asked(world)
    form, other = world.page(ask) | ALICE, world.browser()
    world.page(ask, other)  # it has a cookie too, for a page of its own
    page_says(other.post("/consent", data=form | {"decision": decision}), "This page was shown in another browser.")
    assert "code" in answer_in(world.auth.post("/consent", data=form))


def cookies_of_pages(browser: httpx2.Client) -> dict[str, str]:
    return {cookie.name: cookie.value for cookie in browser.cookies.jar if cookie.name.startswith("consent-")}


def test_the_cookie_must_be_the_one_of_this_page(world: World) -> None:
    ask = asked(world)
    form = world.page(ask) | ALICE
    [(name, value)] = cookies_of_pages(world.auth).items()
    world.page(ask)
    [(other, others)] = cookies_of_pages(world.auth).items() - {(name, value)}
    session = "".join(f"; {name}={value}" for name, value in world.auth.cookies.items() if name == "session")

    def answered_with(cookie: str) -> httpx2.Response:
        return world.browser().post("/consent", data=form, headers={"Cookie": (cookie + session).encode("latin-1")})

    for wrong in (others, "", value[:-1], value + "x", "é", value.swapcase()):
        page_says(answered_with(f"{name}={wrong}"), "another browser")
    page_says(answered_with(f"{other}={value}"), "another browser")
    assert "code" in answer_in(answered_with(f"{name}={value}"))


def test_once_answered_the_cookie_is_gone(world: World) -> None:
    form = world.page(asked(world))
    [name] = cookies_of_pages(world.auth)
    gone = world.auth.post("/consent", data=form | ALICE).headers["set-cookie"]
    assert gone.startswith(f'{name}=""; ') and "Max-Age=0; Path=/" in gone
    assert cookies_of_pages(world.auth) == {}


def test_a_page_is_open_for_ten_minutes_and_a_wrong_password_does_not_prolong_it(world: World) -> None:
    early, late = world.page(asked(world)), world.browser()
    page = late.get("/authorize", params=asked(world))
    world.clock.ahead += 595
    assert world.sign_in(page, late, WRONG).status_code == 403
    assert "code" in answer_in(world.auth.post("/consent", data=early | ALICE))
    world.clock.ahead += 6
    page_says(world.sign_in(page, late, ALICE), "This page is too old.")


# ── what pages say to browsers ────────────────────────────────────────────────

ON_EVERY_PAGE = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


def test_every_page_every_error_and_every_redirect_is_protected(world: World) -> None:
    ask, form = asked(world), world.page(asked(world))
    answers = {
        "the page": (200, world.auth.get("/authorize", params=ask)),
        "an unknown client": (400, world.auth.get("/authorize", params=ask | {"client_id": "nobody"})),
        "a scope nobody has": (303, world.auth.get("/authorize", params=ask | {"scope": "admin"})),
        "nobody signed in": (200, world.browser().get("/authorize", params=ask)),
        "a wrong password": (403, world.wrong_password(ask)),
        "an unknown page": (400, world.auth.post("/consent", data=form | {"request": "x"})),
        "no form": (415, world.auth.post("/consent", json={})),
        "a large form": (413, world.auth.post("/consent", data={"request": "x" * 20_000})),
        "another browser": (400, world.browser().post("/consent", data=form | ALICE)),
        "allowed": (303, world.auth.post("/consent", data=form | ALICE)),
        "denied": (303, world.consent(ask, decision="deny")),
        "denied by nobody": (303, world.cancel(ask)),
    }
    for what, (status, answer) in answers.items():
        assert answer.status_code == status, what
        assert {name: answer.headers.get(name) for name in ON_EVERY_PAGE} == ON_EVERY_PAGE, what
        assert "<script" not in answer.text and "style=" not in answer.text, what


def test_the_clients_own_page_is_protected_too(world: World) -> None:
    own = ON_EVERY_PAGE | {
        "content-security-policy": ON_EVERY_PAGE["content-security-policy"].replace("'self'", "'unsafe-inline'")
    }
    with waiting_for_redirect() as callback:
        arrived = httpx2.get(callback.uri + "?code=x")
        for answer in (arrived, httpx2.get(callback.uri.replace("/callback", arrived.headers["location"]))):
            assert {name: answer.headers.get(name) for name in ON_EVERY_PAGE} == own
    assert arrived.headers["location"] == "/done", "the code does not stay in the address"


def test_before_anybody_has_signed_in_nobody_is_sent_to_a_strangers_site(world: World) -> None:
    web = world.register(redirect_uris=["https://web.example/back"], application_type="web")["client_id"]
    ask = world.ask(web, redirect_uri="https://web.example/back")
    for wrong in ({"scope": "admin"}, {"resource": "x"}, {"response_type": "token"}, {"code_challenge": "x"}):
        page_says(world.auth.get("/authorize", params=ask | wrong), "It came from web.example, and ends here")
        assert "error" in answer_in(world.auth.get("/authorize", params=asked(world) | wrong)), "this computer may"
    page_says(world.cancel(ask), "It came from web.example, and ends here")
    assert world.consent(ask).headers["location"].startswith("https://web.example/back?code="), "signed in, so sent"


# ── for us, and from nobody's page ────────────────────────────────────────────


def test_a_request_for_another_host_is_misdirected_whoever_sends_it(world: World) -> None:
    doors = ((world.auth, ISSUER, "/token"), (world.mcp, RESOURCE.removesuffix("/mcp"), "/mcp"))
    token = world.access_token()
    for server, own, path in doors:
        port = own.rpartition(":")[2]
        why = f"This server is {own}: ask for it by that name."
        for host in (
            "evil.example",
            f"evil.example:{port}",
            "localhost",
            f"127.0.0.1:{port}",
            f"localhost:{port}.evil",
        ):
            stopped(server.post(path, headers={"Host": host, "Authorization": f"Bearer {token}"}), 421, why)
            stopped(server.get("/.well-known/x", headers={"Host": host}), 421, why)
        two = [("Host", f"localhost:{port}"), ("Host", f"localhost:{port}")]
        stopped(server.post(path, headers=two), 421, why)


@pytest.mark.parametrize(
    "origin", [EVIL, "null", "", NEIGHBOUR.removesuffix("/mcp"), f"{ISSUER}.evil.example", "https://localhost:8000"]
)
def test_a_page_of_another_website_may_ask_nothing(world: World, origin: str) -> None:
    why, header = "Pages of other websites may not send requests here.", {"Origin": origin}
    token = world.access_token()
    for server, path in (
        (world.auth, "/token"),
        (world.auth, "/register"),
        (world.auth, "/revoke"),
        (world.mcp, "/mcp"),
    ):
        stopped(server.post(path, headers=header), 403, why)
    stopped(world.auth.get("/authorize", params=asked(world), headers=header), 403, why)
    stopped(with_token(world, token, header), 403, why)
    form = world.page(asked(world)) | ALICE
    if origin != "null":
        stopped(world.auth.post("/consent", data=form, headers=header), 403, why)
    answer = world.auth.post("/consent", data=form, headers={"Origin": "null"})
    assert "code" in answer_in(answer), "our own form sends no referrer, so its browser says null"


def with_token(world: World, token: str, headers: dict[str, str]) -> httpx2.Response:
    return world.mcp.post("/mcp", json=LIST_TOOLS, headers=MCP_HEADERS | {"Authorization": f"Bearer {token}"} | headers)


def test_a_link_may_lead_here_and_a_picture_in_a_strangers_page_may_not(world: World) -> None:
    why, ask = "Pages of other websites may not send requests here.", asked(world)
    for site in ("cross-site", "same-site"):
        for mode in ("no-cors", "cors"):
            picture = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode}
            stopped(world.auth.get("/authorize", params=ask, headers=picture), 403, why)
        link = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate"}
        assert world.auth.get("/authorize", params=ask, headers=link).status_code == 200
    own = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}
    assert world.auth.get("/authorize", params=ask, headers=own).status_code == 200


def test_our_own_pages_may(world: World) -> None:
    own = {"Origin": RESOURCE.removesuffix("/mcp")}
    assert with_token(world, world.access_token(), own).status_code == 200
    form = world.page(asked(world)) | ALICE
    assert "code" in answer_in(world.auth.post("/consent", data=form, headers={"Origin": ISSUER}))
    assert world.auth.post("/register", json={}, headers={"Origin": ISSUER}).status_code == 400


def test_a_second_token_in_the_body_is_one_too_many(world: World) -> None:
    headers = MCP_HEADERS | {"Authorization": f"Bearer {world.access_token()}"}
    for value in ("a.b.c", "", None, world.access_token("bob")):
        answer = world.mcp.post("/mcp", json=LIST_TOOLS | {"access_token": value}, headers=headers)
        says(answer, 400, INVALID_REQUEST.format("The token stands in the header, and only there"))


# ── limits ────────────────────────────────────────────────────────────────────

TOO_MUCH = "that was too much for one minute"


@pytest.fixture
def still(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world in which time stands still until somebody turns the clock."""
    monkeypatch.setattr(world.clock, "monotonic", lambda: 1000.0 + world.clock.ahead)
    return world


def throttled(answer: httpx2.Response, seconds: int) -> None:
    stopped(answer, 429, TOO_MUCH, "temporarily_unavailable")
    assert answer.headers["retry-after"] == str(seconds)


def test_nobody_guesses_for_long_and_others_do_not_wait(still: World) -> None:
    client_id = still.register()["client_id"]
    code = still.code(client_id)
    for number in range(20):
        still.clock.ahead += 1
        refused(still.redeem(client_id, f"guess {number}"), "invalid_grant")
    throttled(still.redeem(client_id, "one more"), 42)
    throttled(still.redeem(client_id, code), 42)
    other = still.browser(ELSEWHERE)
    refused(other.post("/token", data={"grant_type": "x", "client_id": client_id}), "unsupported_grant_type")
    assert still.auth.get("/authorize", params=still.ask(client_id)).status_code == 200, "only this path is closed"
    still.clock.ahead += 40
    throttled(still.redeem(client_id, code), 2)
    still.clock.ahead += 1
    refused(still.redeem(client_id, "one more"), "invalid_grant")
    throttled(still.redeem(client_id, code), 2)


@pytest.mark.parametrize(("path", "status"), [("/consent", 400), ("/revoke", 401)])
def test_failures_are_limited_wherever_something_can_be_guessed(still: World, path: str, status: int) -> None:
    bad = {"token": "guessed", "request": "guessed"}
    assert [still.auth.post(path, data=bad).status_code for _ in range(20)] == [status] * 20
    throttled(still.auth.post(path, data=bad), 61)
    still.clock.ahead += 60
    assert still.auth.post(path, data=bad).status_code == status


def test_passwords_are_among_what_can_be_guessed(still: World) -> None:
    page = still.auth.get("/authorize", params=asked(still))
    assert [still.sign_in(page, still.auth, WRONG).status_code for _ in range(20)] == [403] * 20
    throttled(still.sign_in(page, still.auth, ALICE), 61)
    still.clock.ahead += 60
    assert still.sign_in(page, still.auth, ALICE).status_code == 303


@pytest.mark.parametrize(("path", "method"), [("/register", "POST"), ("/authorize", "GET")])
def test_what_fills_our_memory_is_limited_even_if_it_is_honest(still: World, path: str, method: str) -> None:
    assert all(still.auth.request(method, path).status_code in (400, 415) for _ in range(99))
    whole = {"json": {"redirect_uris": [CALLBACK], "application_type": "native"}} if path == "/register" else {}
    assert still.auth.request(method, path, **whole).status_code != 429
    throttled(still.auth.request(method, path), 61)


def test_what_succeeds_is_not_counted(still: World) -> None:
    client_id, tokens = still.with_refresh()
    for _ in range(25):
        tokens = still.refresh(client_id, tokens["refresh_token"]).raise_for_status().json()
    for _ in range(19):
        refused(still.refresh(client_id, "guess"), "invalid_grant")
    assert still.refresh(client_id, tokens["refresh_token"]).status_code == 200
    refused(still.refresh(client_id, "guess"), "invalid_grant")
    throttled(still.refresh(client_id, "guess"), 61)


def test_a_flood_from_many_addresses_does_not_fill_the_memory(world: World) -> None:
    world.most_addresses(5)
    for number in range(20):
        world.browser((f"203.0.113.{number}", 1)).post("/token", data={"code": "guess"})
        world.browser((f"203.0.113.{number}", 1)).get(f"/nowhere/{number}")
    counted = world.counted()
    assert len(counted) <= 6
    assert {path for path, _ in counted} == {"/token"}, "and addresses that lead nowhere are not even counted"
    assert ("/token", "203.0.113.19") in counted, "who came first is forgotten first"


# ── used twice ────────────────────────────────────────────────────────────────


def family(world: World) -> tuple[str, str, str]:
    """A client, a code that it has used, and the refresh token that the code has bought."""
    client_id = world.register(grant_types=BOTH)["client_id"]
    code = world.code(client_id)
    return client_id, code, world.redeem(client_id, code).json()["refresh_token"]


def test_a_code_used_twice_ends_all_that_it_has_bought(world: World) -> None:
    client_id, code, bought = family(world)
    newest = world.refresh(client_id, bought).json()
    untouched = world.tokens(client_id)["refresh_token"]
    refused(world.redeem(client_id, code), "invalid_grant")
    refused(world.refresh(client_id, newest["refresh_token"]), "invalid_grant")
    assert world.refresh(client_id, untouched).status_code == 200, "another consent is another family"
    assert world.list_tools(f"Bearer {newest['access_token']}").status_code == 200, "until it expires"


def test_a_guess_is_no_replay(world: World) -> None:
    client_id, code, bought = family(world)
    stranger = world.register()["client_id"]
    refused(world.redeem(client_id, code, code_verifier="a" * 43), "invalid_grant")
    refused(world.redeem(client_id, code, code_verifier=None), "invalid_grant")
    refused(world.redeem(client_id, code, redirect_uri="http://127.0.0.1:1/callback"), "invalid_grant")
    refused(world.redeem(client_id, code, resource=NEIGHBOUR), "invalid_target")
    refused(world.redeem(client_id, code, client_secret="x"), "invalid_client", 401)
    refused(world.redeem(stranger, code), "invalid_grant")
    assert world.refresh(client_id, bought).status_code == 200


def test_a_refresh_token_used_twice_ends_its_family(world: World) -> None:
    client_id, _, first = family(world)
    second = world.refresh(client_id, first).json()["refresh_token"]
    third = world.refresh(client_id, second).json()["refresh_token"]
    untouched = world.tokens(client_id)["refresh_token"]
    refused(world.refresh(client_id, first), "invalid_grant")
    refused(world.refresh(client_id, third), "invalid_grant")
    assert world.refresh(client_id, untouched).status_code == 200


def test_only_its_own_client_can_end_a_family(world: World) -> None:
    client = world.register(grant_types=BOTH, token_endpoint_auth_method="client_secret_post")
    client_id, proof = client["client_id"], {"client_secret": client["client_secret"]}
    first = world.redeem(client_id, world.code(client_id), **proof).json()["refresh_token"]
    second = world.refresh(client_id, first, **proof).json()["refresh_token"]
    stranger = world.register(grant_types=BOTH)["client_id"]
    refused(world.refresh(stranger, first), "invalid_grant")
    refused(world.refresh(client_id, first, client_secret="wrong"), "invalid_client", 401)
    refused(world.refresh(client_id, first), "invalid_client", 401)
    assert world.refresh(client_id, second, **proof).status_code == 200


# ── given back ────────────────────────────────────────────────────────────────


def revoke(world: World, client_id: str | None, token: object, **more: object) -> httpx2.Response:
    form = {"client_id": client_id, "token": token} | more
    return world.auth.post("/revoke", data={name: value for name, value in form.items() if value is not None})


def given_back(answer: httpx2.Response) -> None:
    assert (answer.status_code, answer.content, answer.headers["cache-control"]) == (200, b"", "no-store")


@pytest.mark.parametrize("hint", [None, "refresh_token", "access_token", "nonsense"])
def test_a_refresh_token_is_given_back_with_all_its_family(world: World, hint: str | None) -> None:
    client_id, _, first = family(world)
    second = world.refresh(client_id, first).json()["refresh_token"]
    untouched = world.tokens(client_id)["refresh_token"]
    given_back(revoke(world, client_id, second, token_type_hint=hint))
    refused(world.refresh(client_id, second), "invalid_grant")
    given_back(revoke(world, client_id, second))
    assert world.refresh(client_id, untouched).status_code == 200


def test_a_spent_refresh_token_ends_the_family_too(world: World) -> None:
    client_id, _, first = family(world)
    second = world.refresh(client_id, first).json()["refresh_token"]
    given_back(revoke(world, client_id, first))
    refused(world.refresh(client_id, second), "invalid_grant")


def test_nobody_learns_whether_a_token_exists(world: World) -> None:
    client_id, _, bought = family(world)
    stranger = world.register()["client_id"]
    for token in (bought, "guessed", "é", world.code(client_id)):
        given_back(revoke(world, stranger, token))
    assert world.refresh(client_id, bought).status_code == 200


def test_who_gives_back_says_who_they_are_and_what(world: World) -> None:
    client = world.register(grant_types=BOTH, token_endpoint_auth_method="client_secret_post")
    client_id, secret = client["client_id"], client["client_secret"]
    bought = world.redeem(client_id, world.code(client_id), client_secret=secret).json()["refresh_token"]
    refused(revoke(world, None, bought), "invalid_client", 401)
    refused(revoke(world, "nobody", bought), "invalid_client", 401)
    refused(revoke(world, client_id, bought), "invalid_client", 401)
    refused(revoke(world, client_id, bought, client_secret="wrong"), "invalid_client", 401)
    refused(revoke(world, client_id, None, client_secret=secret), "invalid_request")
    refused(revoke(world, client_id, [bought, bought], client_secret=secret), "invalid_request")
    assert world.refresh(client_id, bought, client_secret=secret).status_code == 200
    answer = world.auth.get("/revoke")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


@pytest.mark.of_steps("whoever asks the finished server about the token is told: tests/test_auth_server.py")
def test_an_access_token_cannot_be_given_back_and_nobody_claims_so(world: World) -> None:
    client_id = world.register()["client_id"]
    token = world.tokens(client_id)["access_token"]
    refused(revoke(world, client_id, token), "unsupported_token_type")
    assert world.list_tools(f"Bearer {token}").status_code == 200


def test_the_metadata_says_where(world: World) -> None:
    announced = world.announced()
    assert announced["revocation_endpoint"] == f"{ISSUER}/revoke"
    assert announced["revocation_endpoint_auth_methods_supported"] == announced["token_endpoint_auth_methods_supported"]


# ── what is written down ──────────────────────────────────────────────────────

ALWAYS = {"time", "request", "what", "from", "outcome", "status"}


@pytest.fixture
def written(world: World, caplog: pytest.LogCaptureFixture) -> Iterator[object]:
    """The lines of the audit log since it was last read, as objects."""
    caplog.set_level("INFO", logger="audit")

    def read() -> list[dict]:
        lines = [record.getMessage() for record in caplog.records if record.name == "audit"]
        caplog.clear()
        assert not any("\n" in line for line in lines)
        return [json.loads(line) for line in lines]

    yield read


def test_a_wrong_password_is_written_down_with_the_name_of_somebody_who_is_here(world: World, written: object) -> None:
    ask = asked(world)
    client = {"client": ask["client_id"]}
    for username in ("alice", "wonderland"):
        world.wrong_password(ask, username=username)
    lines = [line for line in written() if line.get("reason") == "wrong password"]
    assert [(line["outcome"], line["status"]) for line in lines] == [("refused", 403)] * 2
    about = [{name: line[name] for name in line.keys() - ALWAYS - {"reason"}} for line in lines]
    assert about == [client | {"who": "alice"}, client], "a name that nobody has may be a password"


def test_who_got_what_and_who_did_not_is_written_down(world: World, written: object) -> None:
    client_id = world.register(grant_types=BOTH)["client_id"]
    code = answer_in(world.consent(world.ask(client_id)))["code"]
    allowed = written()[-1]
    assert (allowed["client"], allowed["who"], allowed["outcome"]) == (client_id, "alice", "done")
    world.consent(world.ask(client_id), decision="deny")
    denied = written()[-1]
    assert (denied["client"], denied["outcome"]) == (client_id, "refused")
    assert denied["reason"] == "access_denied: the user did not allow it"
    world.redeem(client_id, code)
    world.redeem(client_id, "guess")
    world.redeem("nobody", "guess")
    world.auth.get("/jwks", headers={"Origin": EVIL})
    names = ("what", "outcome", "status", "who", "reason")
    assert [tuple(line.get(name) for name in names) for line in written()] == [
        ("POST /token", "done", 200, "alice", None),
        ("POST /token", "refused", 400, None, "invalid_grant: there is no such code for this client"),
        ("POST /token", "refused", 401, None, "invalid_client: client authentication failed"),
        ("GET /jwks", "refused", 403, None, "invalid_request"),
    ]


@pytest.mark.of_steps("the finished server has a line more for whoever signs in: tests/test_auth_server.py")
def test_one_line_for_each_decision(world: World, written: object) -> None:
    world.clock.ahead += 1000
    client_id = world.register(grant_types=BOTH)["client_id"]
    form, other = world.page(world.ask(client_id)), world.page(world.ask(client_id))
    world.auth.post("/consent", data=form | WRONG)
    world.auth.post("/consent", data=form | WRONG | {"username": "wonderland"})
    code = answer_in(world.auth.post("/consent", data=form | ALICE))["code"]
    world.auth.post("/consent", data=other | {"decision": "deny"})
    world.redeem(client_id, code)
    world.redeem(client_id, "guess")
    world.redeem("nobody", "guess")
    world.auth.get("/authorize", params=world.ask("nobody"))
    world.auth.get("/authorize", params=world.ask(client_id, scope="admin"))
    world.auth.get("/jwks", headers={"Origin": EVIL})
    world.auth.get("/health")
    world.auth.get("/style.css")
    lines = written()
    ours, hers = {"client": client_id}, {"client": client_id, "who": "alice"}
    unknown = "There is no such program"
    wanted = [
        ("POST /register", "done", 201, ours),
        ("GET /authorize", "done", 200, ours),
        ("GET /authorize", "done", 200, ours),
        ("POST /consent", "refused", 403, hers | {"reason": "wrong password"}),
        ("POST /consent", "refused", 403, ours | {"reason": "wrong password"}),
        ("POST /consent", "done", 303, hers),
        ("POST /consent", "refused", 303, ours | {"reason": "access_denied: the user did not allow it"}),
        ("POST /token", "done", 200, hers),
        ("POST /token", "refused", 400, ours | {"reason": "invalid_grant: there is no such code for this client"}),
        ("POST /token", "refused", 401, {"reason": "invalid_client: client authentication failed"}),
        ("GET /authorize", "refused", 400, None),
        ("GET /authorize", "refused", 303, None),
        ("GET /jwks", "refused", 403, {"reason": "invalid_request"}),
    ]
    assert unknown not in str(lines)
    assert [(line["what"], line["outcome"], line["status"]) for line in lines] == [row[:3] for row in wanted]
    for line, (*_, about) in zip(lines, wanted, strict=True):
        assert about is None or {name: line[name] for name in line.keys() - ALWAYS} == about
        assert ALWAYS <= set(line)
        assert line["from"] == "127.0.0.1"
        assert abs(line["time"] - world.clock.time()) < 60
    assert "No program is registered" in lines[10]["reason"] and "invalid_scope" in lines[11]["reason"]
    assert len({line["request"] for line in lines}) == len(lines)


def test_the_mcp_server_writes_down_who_and_why(world: World, written: object) -> None:
    token = world.signed(world.claims(scope=SENTIMENT))
    world.list_tools(f"Bearer {token}")
    says(world.list_tools(), 401, CHALLENGE)
    says(world.list_tools("Bearer a.b.c"), 401, INVALID_TOKEN)
    says(world.call(token, "rebalance", portfolio={}), 403, too_little(REBALANCE))
    with_token(world, token, {"Origin": EVIL})
    with_token(world, token, {"Host": "evil.example"})
    lines = [line for line in written() if line["what"] == "POST /mcp"]
    alice = {"who": "alice", "client": "some client"}
    besides = {"time", "request", "from", "what", "rule"}  # the finished server also says which rule said no
    assert [{name: line[name] for name in line.keys() - besides} for line in lines] == [
        {"outcome": "done", "status": 200, "operation": "tools/list"} | alice,
        {"outcome": "refused", "status": 401, "reason": "no token"},
        {"outcome": "refused", "status": 401, "reason": "invalid_token"},
        {"outcome": "refused", "status": 403, "reason": "insufficient_scope", "operation": "tools/call rebalance"}
        | alice,
        {"outcome": "refused", "status": 403, "reason": "invalid_request"},
        {"outcome": "refused", "status": 421, "reason": "invalid_request"},
    ]


def test_no_secret_and_no_line_break_of_a_stranger_is_written(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    client_id, first = world.with_refresh()
    world.refresh(client_id, first["refresh_token"])
    world.refresh(client_id, first["refresh_token"])
    revoke(world, client_id, first["refresh_token"])
    confidential = world.register(token_endpoint_auth_method="client_secret_post")
    proof = {name: confidential[name] for name in ("client_id", "client_secret")}
    world.redeem(proof["client_id"], world.code(client_id), client_secret=proof["client_secret"])
    form = world.page(world.ask(client_id))
    world.wrong_password(world.ask(client_id), username="wonderland", password="alice")
    world.browser().post("/consent", data=form | ALICE)
    world.read(first["access_token"], "customers://c-1")
    world.list_tools(f"Bearer {first['access_token']}x")
    world.mcp.post("/mcp%0a%7B%22time%22: 1%7D?access_token=" + first["access_token"])
    said_by = ("audit", "http", "auth_server", "mcp_server")
    ours = [record.getMessage() for record in caplog.records if record.name in said_by]
    lines = [json.loads(record.getMessage()) for record in caplog.records if record.name == "audit"]
    assert not any("\n" in record.getMessage() for record in caplog.records if record.name == "audit")
    set_cookies = " ".join(answer.headers.get("set-cookie", "") for answer in world.exchanges)
    cookies = set(re.findall(r"\b(?:consent-\w+|session)=([\w-]{43})", set_cookies)) | {form["request"][0]}
    secrets = world.secrets | cookies | {world.upstream_token}
    assert len(secrets) > 10 and len(lines) > 15
    assert [secret for secret in secrets if any(secret in line for line in ours)] == []


@pytest.mark.thorough
def test_a_real_walk_writes_it_into_files_and_no_secret_into_any(tmp_path: Path) -> None:
    upstream = "only-the-mcp-server-knows"
    ran = scratch.make(tmp_path).steps("run", "07", REVEAL="1", UPSTREAM_TOKEN=upstream)
    assert (ran.code, ran.err) == (0, "")
    logs = logs_in(tmp_path / "out" / "step-07")
    audits = {"auth_server.audit.jsonl", "mcp_server.audit.jsonl"}
    assert set(logs) == audits | {"auth_server.log", "mcp_server.log", "upstream.log"}
    for name in audits:
        lines = [json.loads(line) for line in logs[name].splitlines()]
        assert all(ALWAYS <= set(line) for line in lines)
        assert {line["outcome"] for line in lines} == {"done", "refused"}
        assert any(line.get("who") == "alice" and "client" in line for line in lines)
    revealed = re.findall(
        r'(?:code|verifier|token|secret|password)"?(?: = |: ")([^\s"]{20,})|Bearer (\S{20,})', ran.out
    )
    revealed += re.findall(r"[?&](?:code|state)=([^&\s]{20,})", ran.out)
    secrets = {secret for found in revealed for secret in ([found] if isinstance(found, str) else found) if secret}
    assert len(secrets) >= 10 and any(secret.startswith("eyJ") for secret in secrets)
    everything = "".join(logs.values())
    assert [secret for secret in secrets | {"wonderland", "eyJ", upstream} if secret in everything] == []
    assert json.loads((tmp_path / "out" / "tokens.json").read_text()) == {}, "given back and gone"


# ── the token file ────────────────────────────────────────────────────────────

of_their_file = pytest.mark.of_steps("it is their file; the finished client's: tests/test_client_store.py")
POSIX_ONLY = pytest.mark.skipif(sys.platform == "win32", reason="Windows has other rights")


OURS = {"client_id": "c-1"}


@pytest.fixture
def file(world: World) -> ModuleType:
    return client_of(world).token_file


@of_their_file
@POSIX_ONLY
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_the_tokens_are_for_their_owner_alone(file: ModuleType, umask: int) -> None:
    before = os.umask(umask)
    try:
        file.keep(ISSUER, OURS, {"access_token": "x"})
        assert file.TOKEN_FILE.stat().st_mode & 0o777 == 0o600
        file.TOKEN_FILE.chmod(0o644)
        file.keep(ISSUER, OURS, {"access_token": "y"})
        assert file.TOKEN_FILE.stat().st_mode & 0o777 == 0o600, "also if it was there with other rights"
    finally:
        os.umask(before)
    assert file.kept(ISSUER) == (OURS, {"access_token": "y"})
    assert list(file.TOKEN_FILE.parent.iterdir()) == [file.TOKEN_FILE], "nothing lies beside it"


@of_their_file
@POSIX_ONLY
def test_a_link_that_somebody_put_there_leads_the_tokens_nowhere(file: ModuleType) -> None:
    elsewhere = file.TOKEN_FILE.with_name("elsewhere")
    elsewhere.write_text("mine")
    file.TOKEN_FILE.symlink_to(elsewhere)
    file.keep(ISSUER, OURS, {"access_token": "x"})
    assert elsewhere.read_text() == "mine"
    assert not file.TOKEN_FILE.is_symlink()


@of_their_file
@POSIX_ONLY
def test_what_somebody_has_put_beside_it_is_not_written_to(file: ModuleType) -> None:
    elsewhere = file.TOKEN_FILE.with_name("elsewhere")
    file.TOKEN_FILE.with_suffix(f".{os.getpid()}").symlink_to(elsewhere)
    file.keep(ISSUER, OURS, {"access_token": "x"})
    assert not elsewhere.exists() and not file.TOKEN_FILE.is_symlink()
    assert file.TOKEN_FILE.stat().st_mode & 0o777 == 0o600


@of_their_file
def test_tokens_are_kept_for_the_server_that_made_them(file: ModuleType) -> None:
    assert file.kept(ISSUER) == ({}, {})
    file.keep(ISSUER, OURS, {"access_token": "x"})
    file.keep(EVIL, {"client_id": "c-2"}, {"access_token": "y"})
    assert file.kept(ISSUER) == (OURS, {"access_token": "x"})
    assert file.kept(EVIL) == ({"client_id": "c-2"}, {"access_token": "y"})
    assert file.kept(ISSUER + "/") == file.kept("") == ({}, {})
    file.forget(ISSUER)
    assert file.kept(ISSUER) == ({}, {})
    assert file.kept(EVIL) != ({}, {})


@of_their_file
@pytest.mark.parametrize(
    "found", [b"\xff", b"", b"[]", b"null", b"5", b'{"%s": []}', b'{"%s": {"client": 5, "tokens": {}}}', b'{"%s": {}}']
)
def test_a_file_that_makes_no_sense_is_like_none(file: ModuleType, found: bytes) -> None:
    file.TOKEN_FILE.write_bytes(found.replace(b"%s", ISSUER.encode()))
    assert file.kept(ISSUER) == ({}, {})
    file.keep(ISSUER, OURS, {"access_token": "x"})
    assert file.kept(ISSUER) == (OURS, {"access_token": "x"})


# ── where the client goes ─────────────────────────────────────────────────────

ADDRESSES = [
    "http://169.254.169.254/token",
    "http://10.0.0.1/token",
    "http://localhost.evil.example/token",
    "http://localhost@evil.example/token",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "//evil.example/token",
    "https:///token",
    "",
]


@pytest.mark.parametrize("address", ADDRESSES)
def test_the_client_goes_nowhere_in_the_clear_but_on_this_computer(world: World, address: str) -> None:
    for name in ("token_endpoint", "authorization_endpoint", "revocation_endpoint"):
        net = honest_net().at(metadata_url(), metadata(**{name: address}))
        assert walk(world, net).startswith(f"We do not go to {address!r}: it is neither https nor on this computer.")
        assert net.visited == []
    net = honest_net()
    net.at(RESOURCE, {}, 401, **{"WWW-Authenticate": f'Bearer resource_metadata="{address}"'})
    walk(world, net)
    assert address not in net.urls()
    assert PRM_URL not in net.urls() or not address, "it stops there, and does not look elsewhere"


# ── the API behind ────────────────────────────────────────────────────────────


def test_the_api_behind_knows_one_caller(world: World) -> None:
    upstream, _ = world.upstream()
    own, users = world.upstream_token, world.access_token()
    for wrong in (None, "", f"Bearer {users}", "Bearer", f"Basic {own}", own, f"Bearer {own}x", "Bearer é", "Bearer  "):
        header = {} if wrong is None else {"Authorization": wrong.encode("latin-1")}
        for id in ("c-1", "c-9"):
            answer = upstream.get(f"/customers/{id}", headers=header)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Bearer realm="customers"')
    known = {"Authorization": f"Bearer {own}"}
    assert upstream.get("/customers/c-1", headers=known).json()["name"] == "Ada Brook"
    assert upstream.get("/customers/c-9", headers=known).status_code == 404


def test_the_mcp_server_shows_its_own_token_and_never_the_users(world: World) -> None:
    _, heard = world.upstream()
    token = world.signed(world.claims(scope=f"{BASIC} {REBALANCE}"))
    assert "Ada Brook" in world.read(token, "customers://c-1").text
    for elsewhere in ("..", ".", "", "../c-1", "c-1?x", "c-1#y", "%2e%2e", "c-1/c-2", "c-1\n", "é", "c" * 41):
        assert world.call(token, "rebalance_customer", id=elsewhere).json()["result"]["isError"] is True
    assert [str(request.url) for request in heard] == [f"{UPSTREAM}/customers/c-1"], "our token goes nowhere else"
    for request in heard:
        assert request.headers["authorization"] == f"Bearer {world.upstream_token}"
        assert token not in str(request.headers)


def test_a_person_gets_at_their_own_customers_and_learns_of_no_others(world: World) -> None:
    alice, bob = (world.signed(world.claims(sub=who, scope=f"{BASIC} {REBALANCE}")) for who in ("alice", "bob"))
    assert "Cem Dal" in world.read(bob, "customers://c-2").text
    for token, id in ((alice, "c-2"), (bob, "c-1")):
        others, nobodys = world.read(token, f"customers://{id}"), world.read(token, "customers://c-9")
        assert others.json()["error"]["code"] == nobodys.json()["error"]["code"] == -32602
        assert others.text.replace(id, "c-9") == nobodys.text
        called = [world.call(token, "rebalance_customer", id=some).text for some in (id, "c-9")]
        assert '"isError":true' in called[0] and called[0].replace(id, "c-9") == called[1]


# ── handles ───────────────────────────────────────────────────────────────────


def text_of(answer: httpx2.Response) -> str:
    return answer.json()["result"]["content"][0]["text"]


def test_a_handle_is_a_name_and_no_key(world: World) -> None:
    alice, bob = (world.signed(world.claims(sub=who)) for who in ("alice", "bob"))
    handle = text_of(world.call(alice, "keep_watchlist", companies=["ACME"]))
    assert len(handle) >= 22, "128 random bits or more"
    assert text_of(world.call(alice, "watchlist", handle=handle)) == "ACME"
    for token, name in ((bob, handle), (alice, "guessed")):
        answer = world.call(token, "watchlist", handle=name)
        assert answer.json()["result"]["isError"] is True
        assert text_of(answer) == "Error executing tool watchlist: unknown handle"


def test_a_person_keeps_ten_lists_and_takes_no_place_of_others(world: World) -> None:
    alice, bob = (world.signed(world.claims(sub=who)) for who in ("alice", "bob"))
    bobs = text_of(world.call(bob, "keep_watchlist", companies=["GLOBEX"]))
    handles = [text_of(world.call(alice, "keep_watchlist", companies=[f"C{n}"])) for n in range(12)]
    found = [text_of(world.call(alice, "watchlist", handle=handle)) for handle in handles]
    assert found == ["Error executing tool watchlist: unknown handle"] * 2 + [f"C{n}" for n in range(2, 12)]
    assert text_of(world.call(bob, "watchlist", handle=bobs)) == "GLOBEX"


# ── what is forgotten ─────────────────────────────────────────────────────────


def test_pages_that_nobody_answers_are_forgotten(world: World) -> None:
    for _ in range(5):
        world.page(asked(world))
    assert len(world.pending()) == 5
    world.clock.ahead += 601
    world.page(asked(world))
    world.forget()
    assert len(world.pending()) == 1


@pytest.mark.of_steps("it counts what they store; for the finished server: tests/test_auth_storage.py")
def test_codes_and_refresh_tokens_are_forgotten_when_they_could_not_be_used_any_more(world: World) -> None:
    client_id, first = world.with_refresh()
    world.refresh(client_id, first["refresh_token"])
    for _ in range(5):
        world.code(client_id)
    room = world.token_room
    assert [len(store) for store in (room.grants, room.spent_codes, room.refreshable, room.spent)] == [5, 1, 1, 1]
    world.clock.ahead += 61
    world.tokens(client_id)
    assert [len(store) for store in (room.grants, room.spent_codes, room.refreshable, room.spent)] == [0, 1, 2, 1]
    world.clock.ahead += 86_401
    world.tokens(client_id)
    assert [len(store) for store in (room.grants, room.spent_codes, room.refreshable, room.spent)] == [0, 1, 1, 0]
