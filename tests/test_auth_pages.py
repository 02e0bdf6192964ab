"""Sign in, look, decide, take it back: the finished authorization server's pages, over the wire and in a browser."""

import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unicodedata import normalize
from unittest import mock
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx2
import pytest
from playwright.sync_api import Browser, Page
from starlette.testclient import TestClient

from attacks.loaded import cheap_keys
from auth_server import accounts, browsers, consents
from auth_server import app as finished
from auth_server.client_documents import Documents
from auth_server.context import AuthServer
from auth_server.demo import PEOPLE
from auth_server.fetching import Fetched
from auth_server.settings import Settings
from shared.addresses import ISSUER, RESOURCE
from shared.browser import Form, waiting_for_redirect
from tests.world import CHALLENGE, VERIFIER, answer_in, served

READ = "mcp:tools:sentiment mcp:resources:customer-data:read"
WEB = {"client_name": "A web app", "redirect_uris": ["https://app.example/cb"]}
NATIVE = {"client_name": "A desktop app", "application_type": "native", "redirect_uris": ["http://127.0.0.1/callback"]}
GRANTS = ["authorization_code", "refresh_token"]
REDIRECTS = {"A web app": "https://app.example/cb", "A desktop app": "http://127.0.0.1:4567/callback"}
ON_EVERY_PAGE = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


class Desk:
    """One server in this process, and a browser in front of it."""

    def __init__(self, data: Path, **changes: object):
        usual = {"demo": True, "data": str(data), "audit": str(data / "audit.log")}
        settings = replace(Settings(), **usual | changes)
        with cheap_keys(), mock.patch.object(accounts, "MEMORY", 8):
            self.app = finished.create_app(settings)
        self.server: AuthServer = self.app.state.server
        self.origin = self.server.settings.origin
        self.browser = self.another_browser()

    def another_browser(self) -> TestClient:
        return TestClient(self.app, base_url=self.origin, follow_redirects=False)

    def client(self, about: dict = WEB, **changes: object) -> dict:
        wanted = about | {"grant_types": GRANTS, "token_endpoint_auth_method": "none"} | changes
        return self.another_browser().post("/register", json=wanted).raise_for_status().json()

    def ask(self, client: dict, **changes: str) -> dict[str, str]:
        return {
            "response_type": "code",
            "client_id": client["client_id"],
            "redirect_uri": REDIRECTS.get(client["client_name"], client["redirect_uris"][0]),
            "scope": READ,
            "state": "the state",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
            "resource": RESOURCE,
        } | changes

    def open(self, client: dict, browser: TestClient | None = None, **changes: str) -> httpx2.Response:
        return (browser or self.browser).get("/authorize", params=self.ask(client, **changes))

    def sign_in(self, page: httpx2.Response, username: str = "alice", headers: dict | None = None) -> httpx2.Response:
        """What comes of the login page: a redirect, or the page again."""
        form = fields(page) | {"username": username, "password": PEOPLE[username], "decision": "allow"}
        return (self.another_browser() if headers else self.browser).post("/login", data=form, headers=headers)

    def consent_page(self, client: dict, username: str = "alice", **changes: str) -> httpx2.Response:
        page = self.open(client, **changes)
        if "<h1>Sign in</h1>" in page.text:
            page = self.browser.get(self.sign_in(page, username).headers["location"])
        assert page.status_code == 200, (page.status_code, page.headers, page.text)
        return page

    def allow(self, page: httpx2.Response, **changes: object) -> httpx2.Response:
        return self.browser.post("/consent", data=fields(page) | {"decision": "allow"} | changes)

    def tokens(self, client: dict, code: str) -> dict:
        form = {"grant_type": "authorization_code", "code": code, "code_verifier": VERIFIER}
        answer = self.another_browser().post("/token", data=form | {"client_id": client["client_id"]})
        return answer.raise_for_status().json()

    def refresh(self, client: dict, token: str) -> httpx2.Response:
        form = {"grant_type": "refresh_token", "refresh_token": token, "client_id": client["client_id"]}
        return self.another_browser().post("/token", data=form)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def fields(page: httpx2.Response) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in Form(page.text).fields:
        found.setdefault(name, []).append(value)
    return found


def is_login(page: httpx2.Response) -> bool:
    return "<h1>Sign in</h1>" in page.text


def stopped(answer: httpx2.Response, why: str, status: int = 400) -> None:
    assert answer.status_code == status and "location" not in answer.headers
    assert why in answer.text and "This request was stopped" in answer.text


# ── from the request to the code ──────────────────────────────────────────────────────────────────


def test_sign_in_then_decide_then_home_with_a_code(desk: Desk) -> None:
    client = desk.client()
    page = desk.open(client)
    assert page.status_code == 200 and is_login(page) and "A web app" in page.text
    onwards = desk.sign_in(page)
    assert onwards.status_code == 303 and onwards.headers["location"].startswith("/consent?request=")
    page = desk.browser.get(onwards.headers["location"])
    assert page.status_code == 200 and "Allow A web app in?" in page.text
    home = desk.allow(page)
    answer = answer_in(home)
    assert set(answer) == {"code", "state", "iss"} and answer["state"] == "the state" and answer["iss"] == ISSUER
    assert desk.tokens(client, answer["code"])["scope"] == READ


def test_who_has_a_session_only_decides(desk: Desk) -> None:
    desk.consent_page(desk.client())
    page = desk.open(desk.client(NATIVE))
    assert page.status_code == 200 and "Allow A desktop app in?" in page.text


def test_the_page_says_who_asks_for_what_and_where_the_answer_goes(desk: Desk) -> None:
    text = desk.consent_page(desk.client(), scope=READ + " offline_access").text
    for words in (
        "A web app",
        "<strong>Market mood</strong>",
        RESOURCE,
        "<strong>app.example</strong>",
        "It registered itself; its name is not verified.",
        "Score the mood of headlines",
        "Read customers and their portfolios",
        "Stay connected when you are away",
        "signed in as <strong>alice</strong>",
        "Not you?",
    ):
        assert words in text
    assert "program on this computer" not in text
    assert "This is a program on this computer" in desk.open(desk.client(NATIVE)).text


def test_who_unticks_a_scope_does_not_give_it(desk: Desk) -> None:
    client = desk.client()
    home = desk.allow(desk.consent_page(client), scope="mcp:tools:sentiment")
    assert desk.tokens(client, answer_in(home)["code"])["scope"] == "mcp:tools:sentiment"


def test_what_was_not_asked_cannot_be_ticked(desk: Desk) -> None:
    client = desk.client()
    page = desk.consent_page(client, scope="mcp:tools:sentiment")
    home = desk.allow(page, scope=["mcp:tools:sentiment", "mcp:exec:workflows:rebalance"])
    assert desk.tokens(client, answer_in(home)["code"])["scope"] == "mcp:tools:sentiment"


def test_scopes_come_once_and_in_the_order_of_the_resource(desk: Desk) -> None:
    client = desk.client()
    twice = "mcp:resources:customer-data:read mcp:tools:sentiment mcp:resources:customer-data:read"
    assert desk.tokens(client, answer_in(desk.allow(desk.consent_page(client, scope=twice)))["code"])["scope"] == READ


@pytest.mark.parametrize("ticked", [True, False])
def test_offline_access_is_a_box_of_its_own(desk: Desk, ticked: bool) -> None:
    client = desk.client()
    page = desk.consent_page(client, scope="mcp:tools:sentiment offline_access")
    home = desk.allow(page, scope=["mcp:tools:sentiment", *(["offline_access"] if ticked else [])])
    tokens = desk.tokens(client, answer_in(home)["code"])
    assert ("refresh_token" in tokens) is ticked


@pytest.mark.parametrize("changes", [{"decision": "deny"}, {"scope": []}, {"scope": "offline_access"}])
def test_no_is_said_to_the_client(desk: Desk, changes: dict) -> None:
    home = desk.allow(desk.consent_page(desk.client(), scope=READ + " offline_access"), **changes)
    answer = answer_in(home)
    assert (answer["error"], answer["state"], answer["iss"]) == ("access_denied", "the state", ISSUER)
    assert "code" not in answer


def test_to_cancel_takes_no_password(desk: Desk) -> None:
    page = desk.open(desk.client(NATIVE))
    home = desk.browser.post("/login", data=fields(page) | {"decision": "deny"})
    assert answer_in(home)["error"] == "access_denied"
    page = desk.open(desk.client())  # but a stranger's page gets nobody who has not signed in
    stopped(desk.browser.post("/login", data=fields(page) | {"decision": "deny"}), "It came from app.example")


def test_errors_before_signing_in_stay_here_and_afterwards_travel_home(desk: Desk) -> None:
    client = desk.client()
    stopped(desk.open(client, scope="nonsense"), "we send nobody there who has not signed in")
    assert answer_in(desk.open(desk.client(NATIVE), scope="nonsense"))["error"] == "invalid_scope"
    desk.consent_page(client)
    assert answer_in(desk.open(client, scope="nonsense"))["error"] == "invalid_scope"


# ── signing in ────────────────────────────────────────────────────────────────────────────────────


WRONG = [("alice", "wrong"), ("nobody", "wonderland"), ("", ""), ("alice", ""), ("a\0b", "x" * 9999)]


@pytest.mark.parametrize("who", WRONG)
def test_a_wrong_name_or_password_is_the_same_no(desk: Desk, who: tuple[str, str]) -> None:
    page = desk.open(desk.client())
    form = fields(page) | {"username": who[0], "password": who[1], "decision": "allow"}
    again = desk.browser.post("/login", data=form)
    assert again.status_code == 403 and is_login(again)
    assert "This name and this password do not belong together." in again.text
    assert "session" not in again.headers.get("set-cookie", "")
    assert desk.sign_in(again).status_code == 303, "the page can be tried again"


def test_a_session_is_new_with_every_sign_in(desk: Desk) -> None:
    sessions = ["planted-by-somebody-else"]
    for username in ("alice", "bob"):
        page = desk.another_browser().get("/account")
        cookies = dict(page.cookies) | {"session": sessions[-1]}
        shown = {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}
        sessions.append(desk.sign_in(page, username, shown).cookies["session"])
    assert len(set(sessions)) == 3 and all(len(session) >= 43 for session in sessions[1:])
    alive = [bool(desk.server.directory.session(session, time.time())) for session in sessions]
    assert alive == [False, False, True], "what was planted never counts, and the old one is gone"


def test_cookies_are_for_us_alone(desk: Desk, tmp_path: Path) -> None:
    page = desk.open(desk.client())
    for answer in (page, desk.sign_in(page)):
        for cookie in answer.headers.get_list("set-cookie"):
            assert "; HttpOnly" in cookie and "; Path=/" in cookie and "; SameSite=lax" in cookie
            assert "Domain" not in cookie and "Secure" not in cookie
    safe = Desk(tmp_path / "safe", issuer="https://localhost:9000")
    page = safe.open(safe.client())
    for answer in (page, safe.sign_in(page)):
        for cookie in answer.headers.get_list("set-cookie"):
            assert cookie.startswith("__Host-") and "; Secure" in cookie


def test_two_issuers_on_one_host_do_not_sign_each_others_users_out(tmp_path: Path) -> None:
    desks = [Desk(tmp_path / path, issuer=f"https://localhost:9000/{path}") for path in "ab"]
    names = [[cookie.partition("=")[0] for cookie in sign_in_at(desk)] for desk in desks]
    assert not set(names[0]) & set(names[1])
    assert all(name.startswith("__Host-") for both in names for name in both)


def sign_in_at(desk: Desk) -> list[str]:
    page = desk.browser.get(f"{desk.server.settings.issuer}/account")
    form = fields(page) | {"username": "alice", "password": "wonderland"}
    answer = desk.browser.post(f"{desk.server.settings.issuer}/login", data=form)
    assert answer.status_code == 303
    return page.headers.get_list("set-cookie") + answer.headers.get_list("set-cookie")


def test_another_browser_cannot_answer(desk: Desk) -> None:
    page = desk.open(desk.client())
    form = fields(page) | {"username": "alice", "password": "wonderland", "decision": "allow"}
    stopped(desk.another_browser().post("/login", data=form), "This page was shown in another browser.")
    page = desk.consent_page(desk.client())
    stopped(desk.another_browser().post("/consent", data=fields(page)), "This page was shown in another browser.")
    request = fields(page)["request"][0]
    stopped(desk.another_browser().get(f"/consent?request={request}"), "This page was shown in another browser.")


def test_a_page_is_answered_once(desk: Desk) -> None:
    page = desk.consent_page(desk.client())
    assert desk.allow(page).status_code == 303
    stopped(desk.allow(page), "This page has been answered already, or never was.")


@pytest.mark.parametrize("path", ["/login", "/consent"])
def test_a_page_that_never_was_cannot_be_answered(desk: Desk, path: str) -> None:
    for form in ({"decision": "allow"}, {"request": "made up"}):
        stopped(desk.browser.post(path, data=form), "This page has been answered already, or never was.")
    stopped(desk.browser.get("/consent?approve=1"), "This page has been answered already, or never was.")


def test_a_page_grows_old(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    page = desk.consent_page(desk.client())
    monkeypatch.setattr(browsers, "time", type("Later", (), {"time": lambda: time.time() + 601}))
    stopped(desk.allow(page), "This page is too old. Start again in the program you came from.")


def test_without_a_session_a_yes_leads_to_the_login_page_and_back(desk: Desk) -> None:
    page = desk.consent_page(desk.client())
    del desk.browser.cookies["session"]
    again = desk.allow(page)
    assert again.status_code == 403 and is_login(again) and "Sign in first." in again.text
    onwards = desk.sign_in(again)
    assert "Allow A web app in?" in desk.browser.get(onwards.headers["location"]).text


def test_not_you_signs_out_and_asks_who_else(desk: Desk) -> None:
    page = desk.consent_page(desk.client())
    session = desk.browser.cookies["session"]
    onwards = desk.browser.post("/logout", data=fields(page))
    assert onwards.status_code == 303 and desk.server.directory.session(session, time.time()) is None
    page = desk.browser.get(onwards.headers["location"])
    assert is_login(page) and "A web app" in page.text
    page = desk.browser.get(desk.sign_in(page, "bob").headers["location"])
    assert "signed in as <strong>bob</strong>" in page.text


def test_a_page_made_for_somebody_else_is_shown_again_first(desk: Desk) -> None:
    """Alice looked, bob signed in meanwhile in another tab: he has not seen what he would allow."""
    page = desk.consent_page(desk.client())
    assert desk.browser.post("/logout", data={"form": fields(page)["form"][0]}).status_code == 303
    assert desk.sign_in(desk.browser.get("/account"), "bob").status_code == 303
    again = desk.allow(page, scope="mcp:tools:sentiment")
    assert again.status_code == 403 and "Somebody else was signed in" in again.text
    assert "signed in as <strong>bob</strong>" in again.text
    assert fields(again)["scope"] == ["mcp:tools:sentiment"], "what was ticked stays ticked"
    assert "code" in answer_in(desk.allow(again))


# ── asked once ────────────────────────────────────────────────────────────────────────────────────


def test_what_was_allowed_is_not_asked_again(desk: Desk) -> None:
    client = desk.client()
    desk.allow(desk.consent_page(client))
    answer = answer_in(desk.open(client, scope="mcp:tools:sentiment"))
    assert desk.tokens(client, answer["code"])["scope"] == "mcp:tools:sentiment"


def test_signing_in_again_is_enough_for_what_was_allowed_before(desk: Desk) -> None:
    client = desk.client()
    desk.allow(desk.consent_page(client))
    del desk.browser.cookies["session"]
    onwards = desk.sign_in(desk.open(client))
    assert "code" in answer_in(desk.browser.get(onwards.headers["location"]))


@pytest.mark.parametrize(
    "changes",
    [
        {"prompt": "consent"},
        {"prompt": "login consent"},
        {"scope": READ + " mcp:exec:workflows:rebalance"},
        {"scope": READ + " offline_access"},
        {"resource": RESOURCE.replace("8000", "8001")},
    ],
)
def test_anything_else_is_asked(desk: Desk, changes: dict) -> None:
    client = desk.client()
    desk.allow(desk.consent_page(client))
    assert "Allow A web app in?" in desk.open(client, **changes).text


def test_a_program_on_this_computer_is_asked_about_every_time(desk: Desk) -> None:
    client = desk.client(NATIVE)
    desk.allow(desk.consent_page(client))
    assert "Allow A desktop app in?" in desk.open(client).text


def test_what_somebody_allowed_nobody_else_has(desk: Desk) -> None:
    client = desk.client()
    page = desk.consent_page(client)
    desk.allow(page)
    desk.browser.post("/logout", data={"form": fields(page)["form"][0]})
    page = desk.browser.get(desk.sign_in(desk.open(client), "bob").headers["location"])
    assert "Allow A web app in?" in page.text


# ── taken back ────────────────────────────────────────────────────────────────────────────────────


def test_the_account_page_takes_a_sign_in_and_comes_back(desk: Desk) -> None:
    page = desk.browser.get("/account")
    assert page.status_code == 200 and is_login(page) and "Cancel" not in page.text
    onwards = desk.sign_in(page)
    assert onwards.headers["location"] == "/account"
    assert "What you have allowed" in desk.browser.get("/account").text


@pytest.mark.parametrize("about", [WEB, NATIVE])
def test_what_is_withdrawn_works_no_more_and_is_asked_again(desk: Desk, about: dict) -> None:
    client = desk.client(about)
    tokens = desk.tokens(client, answer_in(desk.allow(desk.consent_page(client)))["code"])
    page = desk.browser.get("/account")
    for words in (about["client_name"], "Market mood", RESOURCE, "Score the mood of headlines", "since"):
        assert words in page.text
    form = {"form": fields(page)["form"][0], "client_id": client["client_id"], "resource": RESOURCE}
    assert desk.browser.post("/account/withdraw", data=form).headers["location"] == "/account"
    assert desk.refresh(client, tokens["refresh_token"]).json()["error"] == "invalid_grant"
    assert client["client_id"] not in desk.browser.get("/account").text
    assert f"Allow {about['client_name']} in?" in desk.open(client).text


def test_others_cannot_withdraw_or_sign_anybody_out(desk: Desk) -> None:
    client = desk.client()
    desk.allow(desk.consent_page(client))
    for form in ("", "made up", browsers.form_of(""), browsers.form_of("another session")):
        about = {"form": form, "client_id": client["client_id"], "resource": RESOURCE}
        stopped(desk.browser.post("/account/withdraw", data=about), "Somebody else was signed in", 403)
        stopped(desk.browser.post("/logout", data={"form": form}), "Somebody else was signed in", 403)
    assert "code" in answer_in(desk.open(client))


def test_signing_out_ends_the_session(desk: Desk) -> None:
    page = desk.consent_page(desk.client())
    assert desk.browser.post("/logout", data={"form": fields(page)["form"][0]}).headers["location"] == "/account"
    assert is_login(desk.browser.get("/account"))


def test_a_stranger_does_not_get_far(desk: Desk) -> None:
    for path in ("/account/withdraw", "/logout"):
        assert desk.browser.post(path, data={"form": ""}).headers["location"] == "/account"


# ── documents ─────────────────────────────────────────────────────────────────────────────────────


def with_document(data: Path, url: str = "https://editor.example/client.json", **changes: object) -> tuple[Desk, dict]:
    import json

    about = {"client_id": url, "client_name": "An editor", "redirect_uris": ["https://editor.example/cb"]} | changes
    desk = Desk(data, loopback_documents=url.startswith("http://"))

    async def fetch(asked: str, loopback_only: bool) -> Fetched:
        return Fetched({"content-type": "application/json"}, json.dumps(about).encode())

    desk.server.documents = Documents(desk.server.settings, fetch)
    return desk, about


def test_a_document_is_a_client_and_the_page_says_where_it_is(tmp_path: Path) -> None:
    desk, client = with_document(tmp_path)
    page = desk.consent_page(client)
    assert "Its document is at editor.example; its name is not verified." in page.text
    assert "setting for development" not in page.text
    assert desk.tokens(client, answer_in(desk.allow(page))["code"])["scope"] == READ
    assert "code" in answer_in(desk.open(client)), "a website can be told apart, so it is remembered"
    assert "editor.example" in desk.browser.get("/account").text


def test_a_document_on_this_computer_is_never_remembered_and_said_to_be_there(tmp_path: Path) -> None:
    desk, client = with_document(tmp_path, "http://localhost:9299/client.json")
    page = desk.consent_page(client)
    assert "Its document is at localhost:9299" in page.text and "a setting for development" in page.text
    desk.allow(page)
    assert "Allow An editor in?" in desk.open(client).text


def test_a_document_that_cannot_be_used_is_a_page_and_no_redirect(tmp_path: Path) -> None:
    desk, client = with_document(tmp_path, client_secret="known to all")
    stopped(desk.open(client), "The document at this client_id cannot be used: it must have no client_secret")


def test_an_unknown_url_reads_like_an_unknown_name(desk: Desk) -> None:
    nobody = {"client_name": "x", "redirect_uris": ["https://a.example/"]}
    pages = [
        desk.open(nobody | {"client_id": name}) for name in ("nobody", "http://evil.example/x", "https://1.1.1.1/x")
    ]
    assert len({page.text for page in pages}) == 1
    stopped(pages[0], "No program is registered under this client_id.")


# ── every page ────────────────────────────────────────────────────────────────────────────────────


def every_page(desk: Desk) -> Iterator[httpx2.Response]:
    yield desk.open(desk.client())
    yield desk.consent_page(desk.client())
    yield desk.browser.get("/account")
    yield desk.open({"client_id": "nobody", "client_name": "", "redirect_uris": [""]})
    yield desk.browser.post("/login", data={})
    yield desk.browser.post("/login", content=b"%ff=%ff", headers={"Content-Type": "application/x-www-form-urlencoded"})
    yield desk.browser.post("/consent", json={})
    yield desk.browser.post("/logout", data={"form": "x" * 20_000})
    yield desk.browser.get("/consent", params={"request": "\udcff".encode("utf-8", "surrogatepass")})
    yield desk.allow(desk.consent_page(desk.client()))


def test_every_page_has_its_headers(desk: Desk) -> None:
    for page in every_page(desk):
        assert page.status_code in (200, 303, 400, 413, 415), page.text
        assert {name: page.headers.get(name) for name in ON_EVERY_PAGE} == ON_EVERY_PAGE


def test_markup_in_a_name_is_text(desk: Desk) -> None:
    page = desk.consent_page(desk.client(client_name="<script>alert(1)</script>"))
    desk.allow(page)
    for text in (page.text, desk.browser.get("/account").text):
        assert "<script" not in text and "&lt;script&gt;" in text


def test_an_issuer_with_a_path_has_its_pages_there(tmp_path: Path) -> None:
    desk = Desk(tmp_path, issuer=f"{ISSUER}/tenant")
    made = desk.browser.post("/tenant/register", json=WEB | {"token_endpoint_auth_method": "none"}).json()
    page = desk.browser.get("/tenant/authorize", params=desk.ask(made))
    assert 'action="/tenant/login"' in page.text and 'href="/tenant/style.css"' in page.text
    form = fields(page) | {"username": "alice", "password": "wonderland"}
    onwards = desk.browser.post("/tenant/login", data=form).headers["location"]
    assert onwards.startswith("/tenant/consent?")
    home = desk.browser.post("/tenant/consent", data=fields(desk.browser.get(onwards)) | {"decision": "allow"})
    assert answer_in(home)["iss"] == f"{ISSUER}/tenant"


def test_the_passwords_are_on_the_page_in_a_demo_alone(desk: Desk, tmp_path: Path) -> None:
    assert "wonderland" in desk.browser.get("/account").text
    assert "wonderland" not in Desk(tmp_path / "b", demo=False).browser.get("/account").text


def test_nobody_guesses_a_password_for_long_whether_the_name_exists_or_not(desk: Desk) -> None:
    for username in ("alice", "nobody"):
        answers = []
        for _ in range(desk.server.settings.failures_per_window + 1):
            desk.app.middleware_stack = None  # as if each guess came from an address of its own
            page = desk.open(desk.client())
            answers.append(desk.browser.post("/login", data=fields(page) | {"username": username, "password": "wrong"}))
        assert {answer.status_code for answer in answers[:-1]} == {403}
        assert (answers[-1].status_code, answers[-1].headers["retry-after"].isdigit()) == (429, True)


def test_who_could_not_be_looked_at_has_not_guessed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    page = desk.open(desk.client())
    form = fields(page) | {"username": "alice", "password": "wonderland"}
    with monkeypatch.context() as busy:
        busy.setattr(accounts, "MOST_WAITING", 0)
        assert {desk.browser.post("/login", data=form).status_code for _ in range(25)} == {503}
    assert desk.browser.post("/login", data=form).status_code == 303


def test_a_name_that_nobody_can_have_is_not_kept(desk: Desk) -> None:
    page = desk.open(desk.client())
    for name in ("x" * 5000, "x" * 201, "a\nb", "\x00"):
        form = fields(page) | {"username": name, "password": "wonderland"}
        assert desk.browser.post("/login", data=form).status_code == 403
    assert list(desk.server.guesses.times) == ["password of "]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_accents_are_the_same_whichever_way_a_keyboard_makes_them(desk: Desk, form: str) -> None:
    name, password = "Zoë", "ångström ﬁne"
    people = accounts.Accounts(desk.server.directory)
    desk.server.directory.put_person(accounts.as_name(name), people.hash(accounts.as_password(password)), time.time())
    about = {"username": normalize(form, name), "password": normalize(form, password)}
    assert desk.browser.post("/login", data=fields(desk.open(desk.client())) | about).status_code == 303


def test_a_rule_that_is_taken_out_no_longer_holds(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tuples are the policy: they are read when a request comes."""
    client = desk.client(NATIVE)
    monkeypatch.setattr(consents, "REMEMBERED", ())
    desk.allow(desk.consent_page(client))
    assert "code" in answer_in(desk.open(client))


# ── in a real browser ─────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def page(browser: Browser, desk: Desk) -> Iterator[Page]:
    with served(desk.app) as origin:
        desk.origin = origin
        context = browser.new_context(base_url=origin)
        context.set_default_timeout(10_000)
        page = context.new_page()
        page.problems = []
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        page.on("console", lambda message: page.problems.append(message.text) if message.type == "error" else None)
        yield page
        context.close()


def sign_in(page: Page, username: str = "alice", password: str = "wonderland") -> None:
    page.get_by_label("Name").fill(username)
    page.get_by_label("Password").fill(password)
    page.keyboard.press("Enter")


def test_a_person_signs_in_decides_and_takes_it_back(page: Page, desk: Desk) -> None:
    client = desk.client(NATIVE)
    with waiting_for_redirect() as callback:
        page.goto("/authorize?" + urlencode(desk.ask(client, redirect_uri=callback.uri)))
        sign_in(page)
        page.get_by_role("heading", name="Allow A desktop app in?").wait_for()
        page.get_by_label("Read customers").focus()
        page.keyboard.press("Space")
        page.get_by_role("button", name="Allow").click()
        page.get_by_text("You can close this page").wait_for()
        code = dict(parse_qsl(urlsplit(callback.wait()).query))["code"]
    tokens = desk.tokens(client, code)
    assert tokens["scope"] == "mcp:tools:sentiment"
    page.goto("/account")
    assert "A desktop app may use Market mood" in page.inner_text("main")
    page.get_by_role("button", name="Withdraw what A desktop app may do").click()
    page.get_by_text("Nothing.").wait_for()
    assert desk.refresh(client, tokens["refresh_token"]).json()["error"] == "invalid_grant"
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("heading", name="Sign in").wait_for()
    assert page.problems == []


def test_enter_allows_and_not_you_is_a_button_away(page: Page, desk: Desk) -> None:
    with waiting_for_redirect() as callback:
        page.goto("/authorize?" + urlencode(desk.ask(desk.client(NATIVE), redirect_uri=callback.uri)))
        sign_in(page, "bob", "builder")
        page.get_by_role("button", name="Not you?").click()
        sign_in(page, "alice", "wrong")
        page.get_by_role("alert").wait_for()
        sign_in(page)
        page.get_by_text("signed in as alice").wait_for()
        page.get_by_label("Score").focus()
        page.keyboard.press("Enter")
        page.get_by_text("You can close this page").wait_for()
        assert "code=" in callback.wait()


@pytest.mark.parametrize("width", [320, 400, 1200])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pages_fit_and_can_be_read(page: Page, desk: Desk, width: int, scheme: str) -> None:
    page.set_viewport_size({"width": width, "height": 700})
    page.emulate_media(color_scheme=scheme)
    name = "A program with a remarkablylongandunbreakablenamethatgoesonandonandonandonandon"
    page.goto("/authorize?" + urlencode(desk.ask(desk.client(client_name=name), redirect_uri="https://app.example/cb")))
    fits(page, width)
    sign_in(page)
    page.get_by_text("signed in as alice").wait_for()
    fits(page, width)
    page.route("https://app.example/**", lambda route: route.fulfill(body="arrived"))
    page.get_by_role("button", name="Allow").click()
    page.get_by_text("arrived").wait_for()
    page.goto("/account")
    fits(page, width)


def fits(page: Page, width: int) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "nothing to scroll sideways for"
    for button in page.get_by_role("button").all():
        assert button.bounding_box()["height"] >= 40, "large enough for a thumb"
    text = "getComputedStyle(document.body).color + getComputedStyle(document.querySelector('main')).backgroundColor"
    ink, paper = (sum(map(int, rgb.split(",")[:3])) for rgb in re.findall(r"rgb\(([^)]+)\)", page.evaluate(text)))
    assert abs(ink - paper) > 450, "ink on paper"
