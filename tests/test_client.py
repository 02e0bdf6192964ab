"""The client of each step against servers that lie: what it asks, in which order, and where it stops."""

import json
import threading
from collections.abc import Callable
from types import ModuleType
from urllib.parse import parse_qsl, urlsplit

import httpx2
import pytest

from attacks.loaded import Loaded
from shared.browser import Callback
from shared.stop import Stop
from tests.world import ISSUER, RESOURCE, s256
from tools.catalogue import step_named

PRM_PATH = "http://localhost:8000/.well-known/oauth-protected-resource/mcp"
PRM_ROOT = "http://localhost:8000/.well-known/oauth-protected-resource"
PRM = {"resource": RESOURCE, "authorization_servers": [ISSUER]}
AS_URL = f"{ISSUER}/.well-known/oauth-authorization-server"
METADATA = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/authorize",
    "token_endpoint": f"{ISSUER}/token",
    "registration_endpoint": f"{ISSUER}/register",
    "code_challenge_methods_supported": ["S256"],
    "authorization_response_iss_parameter_supported": True,
}


@pytest.fixture
def client(step: str) -> ModuleType:
    """Both files of it under one name."""
    loaded = Loaded(step_named(step))
    client = loaded.module("client")
    for name, value in vars(loaded.module("discovery")).items():
        vars(client).setdefault(name, value)
    return client


class Net:
    """Answers by URL, everything else is 404; it remembers who was asked for what."""

    def __init__(self, **_: object):
        self.answers: dict[str, httpx2.Response] = {}
        self.asked: list[str] = []
        self.http = httpx2.Client(transport=httpx2.MockTransport(self.answer))

    def answer(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(str(request.url))
        return self.answers.get(str(request.url), httpx2.Response(404))

    def locked(self, challenge: str = "Bearer") -> "Net":
        self.answers[RESOURCE] = httpx2.Response(401, headers={"WWW-Authenticate": challenge})
        return self

    def at(self, url: str, document: object, status: int = 200) -> "Net":
        self.answers[url] = httpx2.Response(status, json=document)
        return self


# ── the challenge ─────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([f'Bearer realm="mcp", resource_metadata="{PRM_PATH}"'], PRM_PATH),
        ([f"Bearer resource_metadata={PRM_PATH}"], PRM_PATH),
        ([f'bearer RESOURCE_METADATA = "{PRM_PATH}"'], PRM_PATH),
        ([f'Basic realm="a, Bearer b=c", Bearer resource_metadata="{PRM_PATH}"'], PRM_PATH),
        ([f'Bearer resource_metadata="{PRM_PATH}", Basic realm="x"'], PRM_PATH),
        (['Basic realm="x"', f'Bearer resource_metadata="{PRM_PATH}"'], PRM_PATH),
        ([f'Negotiate, Bearer error="x", resource_metadata="{PRM_PATH}"'], PRM_PATH),
        ([f'Negotiate abc==, DPoP algs="ES256 RS256", Bearer resource_metadata="{PRM_PATH}"'], PRM_PATH),
        ([r'Bearer resource_metadata="a\"b\\c"'], r'a"b\c'),
        (['Basic resource_metadata="http://evil.example"'], None),
        (["Bearer"], None),
        ([""], None),
        ([], None),
        (['Bearer resource_metadata="unclosed'], None),
    ],
)
def test_the_bearer_challenge_is_found_among_others(
    client: ModuleType, headers: list[str], expected: str | None
) -> None:
    answer = httpx2.Response(401, headers=[("WWW-Authenticate", header) for header in headers])
    assert client.bearer_challenge(answer).get("resource_metadata") == expected


@pytest.mark.parametrize(
    ("resource", "urls"),
    [
        ("https://mcp.example.com", ["https://mcp.example.com/.well-known/oauth-protected-resource"]),
        ("https://mcp.example.com/", ["https://mcp.example.com/.well-known/oauth-protected-resource"]),
        (
            "https://mcp.example.com/public/mcp",
            [
                "https://mcp.example.com/.well-known/oauth-protected-resource/public/mcp",
                "https://mcp.example.com/.well-known/oauth-protected-resource",
            ],
        ),
        (
            "https://mcp.example.com:8443/mcp?t=1",
            [
                "https://mcp.example.com:8443/.well-known/oauth-protected-resource/mcp?t=1",
                "https://mcp.example.com:8443/.well-known/oauth-protected-resource",
            ],
        ),
    ],
)
def test_resource_metadata_stands_under_the_path_then_at_the_root(
    client: ModuleType, resource: str, urls: list[str]
) -> None:
    assert client.resource_metadata_urls(resource) == urls


# ── the metadata of the MCP server ────────────────────────────────────────────


def test_the_url_in_the_challenge_is_used_and_no_other(client: ModuleType) -> None:
    net = Net().locked('Bearer resource_metadata="http://localhost:8000/elsewhere"')
    net.at("http://localhost:8000/elsewhere", PRM)
    assert client.find_resource(net.http, RESOURCE)[0] == PRM
    assert net.asked == [RESOURCE, "http://localhost:8000/elsewhere"]


def test_without_one_the_path_is_tried_and_then_the_root(client: ModuleType) -> None:
    net = Net().locked().at(PRM_ROOT, PRM)
    assert client.find_resource(net.http, RESOURCE)[0] == PRM
    assert net.asked == [RESOURCE, PRM_PATH, PRM_ROOT]


@pytest.mark.parametrize(
    "document",
    [
        PRM | {"resource": RESOURCE + "/"},
        PRM | {"resource": "http://localhost:8000"},
        PRM | {"resource": "https://evil.example/mcp"},
        PRM | {"resource": [RESOURCE]},
        {"authorization_servers": [ISSUER]},
        {"resource": RESOURCE},
        PRM | {"authorization_servers": []},
        PRM | {"authorization_servers": ISSUER},
        PRM | {"authorization_servers": [5]},
        PRM | {"authorization_servers": None},
        [],
        "text",
        None,
    ],
)
def test_metadata_that_does_not_fit_ends_the_walk(client: ModuleType, document: object) -> None:
    net = Net().locked().at(PRM_PATH, document).at(PRM_ROOT, PRM)
    with pytest.raises(Stop):
        client.find_resource(net.http, RESOURCE)
    assert net.asked == [RESOURCE, PRM_PATH]


@pytest.mark.parametrize("status", [301, 302, 400, 401, 403, 500, 503])
def test_only_404_leads_to_the_next_place(client: ModuleType, status: int) -> None:
    net = Net().locked().at(PRM_PATH, PRM, status).at(PRM_ROOT, PRM)
    with pytest.raises(Stop, match="JSON document"):
        client.find_resource(net.http, RESOURCE)
    assert net.asked == [RESOURCE, PRM_PATH]


@pytest.mark.parametrize("page", ["<html>hello</html>", "[" * 200_000, "", "\ud800"])
def test_a_web_page_is_no_metadata(client: ModuleType, page: str) -> None:
    net = Net().locked()
    net.answers[PRM_PATH] = httpx2.Response(200, content=page.encode("utf-8", "surrogatepass"))
    with pytest.raises(Stop):
        client.find_resource(net.http, RESOURCE)


def test_no_metadata_anywhere_ends_the_walk(client: ModuleType) -> None:
    with pytest.raises(Stop, match="no metadata"):
        client.find_resource(Net().locked().http, RESOURCE)


def test_an_open_door_is_said_to_be_one(client: ModuleType) -> None:
    with pytest.raises(Stop, match="not protected"):
        client.find_resource(Net().at(RESOURCE, {}).http, RESOURCE)


# ── the metadata of the authorization server ──────────────────────────────────


@pytest.mark.since("02")
@pytest.mark.parametrize("issuer", ["https://auth.example.com", "https://auth.example.com/"])
def test_an_issuer_has_its_metadata_in_two_places(client: ModuleType, issuer: str) -> None:
    assert client.server_metadata_urls(issuer) == [
        "https://auth.example.com/.well-known/oauth-authorization-server",
        "https://auth.example.com/.well-known/openid-configuration",
    ]


@pytest.mark.since("02")
@pytest.mark.parametrize("issuer", ["https://auth.example.com/tenant1", "https://auth.example.com/tenant1/"])
def test_an_issuer_with_a_path_in_three_and_never_at_the_root(client: ModuleType, issuer: str) -> None:
    assert client.server_metadata_urls(issuer) == [
        "https://auth.example.com/.well-known/oauth-authorization-server/tenant1",
        "https://auth.example.com/.well-known/openid-configuration/tenant1",
        "https://auth.example.com/tenant1/.well-known/openid-configuration",
    ]


@pytest.mark.since("02")
def test_openid_connect_discovery_is_the_second_place(client: ModuleType) -> None:
    net = Net().at(f"{ISSUER}/.well-known/openid-configuration", METADATA)
    assert client.find_server(net.http, ISSUER) == METADATA
    assert net.asked == [AS_URL, f"{ISSUER}/.well-known/openid-configuration"]


@pytest.mark.since("02")
@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": ISSUER + "/"},
        {"issuer": ISSUER.upper()},
        {"issuer": "https://honest.example"},
        {"issuer": [ISSUER]},
        {"issuer": None},
        {"code_challenge_methods_supported": None},
        {"code_challenge_methods_supported": []},
        {"code_challenge_methods_supported": ["plain"]},
        {"code_challenge_methods_supported": "plain"},
        {"code_challenge_methods_supported": "xS256"},
        {"code_challenge_methods_supported": 5},
        {"authorization_endpoint": None},
        {"token_endpoint": None},
        {"token_endpoint": ["https://a.example"]},
    ],
)
def test_a_server_that_lies_or_has_no_s256_is_left_alone(client: ModuleType, changes: dict) -> None:
    net = Net().at(AS_URL, METADATA | changes)
    with pytest.raises(Stop):
        client.find_server(net.http, ISSUER)
    assert net.asked == [AS_URL]


# ── registration ──────────────────────────────────────────────────────────────


@pytest.mark.since("03")
def test_what_we_register_as_is_a_native_public_client(client: ModuleType) -> None:
    net = Net().at(f"{ISSUER}/register", {"client_id": "abc"}, 201)
    assert client.register(net.http, METADATA) == {"client_id": "abc"}
    assert (client.ABOUT_US["application_type"], client.ABOUT_US["token_endpoint_auth_method"]) == ("native", "none")


@pytest.mark.since("03")
def test_a_name_belongs_to_the_server_that_gave_it(client: ModuleType) -> None:
    other = METADATA | {"issuer": "https://other.example", "registration_endpoint": "https://other.example/register"}
    net = Net().at(f"{ISSUER}/register", {"client_id": "abc"}, 201)
    net.at("https://other.example/register", {"client_id": "xyz"}, 201)
    for _ in range(2):
        assert client.register(net.http, METADATA)["client_id"] == "abc"
        assert client.register(net.http, other)["client_id"] == "xyz"
    assert net.asked == [f"{ISSUER}/register", "https://other.example/register"]


@pytest.mark.since("03")
def test_a_refused_registration_is_told_with_its_reason(client: ModuleType) -> None:
    net = Net().at(f"{ISSUER}/register", {"error": "invalid_redirect_uri"}, 400)
    with pytest.raises(Stop, match="invalid_redirect_uri"):
        client.register(net.http, METADATA)


@pytest.mark.since("03")
@pytest.mark.parametrize("endpoint", [None, 5, []])
def test_a_server_without_registration_is_told(client: ModuleType, endpoint: object) -> None:
    with pytest.raises(Stop, match="offers no dynamic registration"):
        client.register(Net().http, METADATA | {"registration_endpoint": endpoint})


@pytest.mark.since("03")
@pytest.mark.parametrize("answer", [{}, [], None, {"client_id": None}, {"client_id": 5}])
def test_a_registration_without_a_name_is_none(client: ModuleType, answer: object) -> None:
    with pytest.raises(Stop, match="does not register us"):
        client.register(Net().at(f"{ISSUER}/register", answer, 201).http, METADATA)


# ── the answer that the browser brings ────────────────────────────────────────


@pytest.fixture
def browser(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[dict[str, str]]]:
    """A browser that brings whatever answers a test wants, in order; what it was asked to open is kept."""
    opened: list[dict[str, str]] = []

    def brings(*answers: Callable[[dict], dict | list]) -> list[dict[str, str]]:
        def send_user_to(callback: Callback, url: str) -> None:
            opened.append(dict(parse_qsl(urlsplit(url).query)))

            def visits() -> None:
                for answer in answers:
                    page = httpx2.get(callback.uri, params=answer(opened[-1]))
                    assert "script" not in page.text

            threading.Thread(target=visits, daemon=True).start()

        monkeypatch.setattr(Callback, "send_user_to", send_user_to)
        return opened

    return brings


def good(ask: dict[str, str]) -> dict[str, str]:
    return {"code": "the code", "state": ask["state"], "iss": ISSUER}


def but(**changes: str | None) -> Callable[[dict], dict]:
    return lambda ask: {name: value for name, value in (good(ask) | changes).items() if value is not None}


CLIENT = {"client_id": "abc"}


@pytest.mark.since("04")
def test_the_request_has_everything_and_a_new_secret_each_time(client: ModuleType, browser: Callable) -> None:
    opened = browser(good)
    for _ in range(2):
        pending, code = client.authorize(METADATA, CLIENT, RESOURCE, "mcp:tools:sentiment")
        assert code == "the code"
        ask = opened[-1]
        assert (ask["response_type"], ask["client_id"], ask["resource"]) == ("code", "abc", RESOURCE)
        assert (ask["scope"], ask["code_challenge_method"]) == ("mcp:tools:sentiment", "S256")
        assert ask["code_challenge"] == s256(pending.code_verifier)
        assert ask["redirect_uri"] == pending.redirect_uri
        assert len(pending.code_verifier) == 43
        assert pending.code_verifier not in str(opened)
    assert opened[0]["state"] != opened[1]["state"]
    assert opened[0]["code_challenge"] != opened[1]["code_challenge"]


@pytest.mark.since("04")
def test_an_endpoint_keeps_its_query_and_what_is_not_known_is_not_sent(client: ModuleType, browser: Callable) -> None:
    opened = browser(good)
    client.authorize(METADATA | {"authorization_endpoint": f"{ISSUER}/authorize?tenant=1"}, CLIENT, RESOURCE, "")
    assert opened[0]["tenant"] == "1"
    assert "scope" not in opened[0]


@pytest.mark.since("04")
@pytest.mark.parametrize("state", [None, "", "another", "é"])
def test_an_answer_with_a_foreign_state_is_dropped_and_the_honest_one_still_works(
    client: ModuleType, browser: Callable, state: str | None, capsys: pytest.CaptureFixture
) -> None:
    browser(but(state=state, code="of an attacker"), but(state=state, error="<script>", code=None), good)
    assert client.authorize(METADATA, CLIENT, RESOURCE, "x")[1] == "the code"
    assert "of an attacker" not in capsys.readouterr().out


@pytest.mark.since("04")
@pytest.mark.parametrize("answer", [but(iss=None), but(iss=""), but(iss="https://evil.example"), but(iss=ISSUER + "/")])
def test_an_answer_of_another_issuer_is_refused(client: ModuleType, browser: Callable, answer: Callable) -> None:
    browser(answer)
    with pytest.raises(Stop, match="does not come from"):
        client.authorize(METADATA, CLIENT, RESOURCE, "x")


@pytest.mark.since("04")
def test_where_no_iss_is_promised_none_is_needed_but_a_wrong_one_is_refused(
    client: ModuleType, browser: Callable
) -> None:
    silent = {k: v for k, v in METADATA.items() if k != "authorization_response_iss_parameter_supported"}
    for accepted in (but(iss=None), good):
        browser(accepted)
        assert client.authorize(silent, CLIENT, RESOURCE, "x")[1] == "the code"
    browser(but(iss="https://evil.example"))
    with pytest.raises(Stop, match="does not come from"):
        client.authorize(silent, CLIENT, RESOURCE, "x")


@pytest.mark.since("04")
def test_a_denial_is_a_sentence(client: ModuleType, browser: Callable) -> None:
    browser(but(code=None, error="access_denied", error_description="the user said no"))
    with pytest.raises(Stop, match="the user said no"):
        client.authorize(METADATA, CLIENT, RESOURCE, "x")


@pytest.mark.since("04")
def test_an_error_of_another_issuer_is_not_even_shown(client: ModuleType, browser: Callable) -> None:
    browser(but(code=None, error="access_denied", error_description="call 555", iss="https://evil.example"))
    with pytest.raises(Stop) as stopped:
        client.authorize(METADATA, CLIENT, RESOURCE, "x")
    assert "555" not in str(stopped.value)


@pytest.mark.since("04")
def test_two_codes_in_one_answer_are_dropped(client: ModuleType, browser: Callable) -> None:
    browser(lambda ask: [("code", "a"), ("code", "b"), ("state", ask["state"]), ("iss", ISSUER)], good)
    assert client.authorize(METADATA, CLIENT, RESOURCE, "x")[1] == "the code"


@pytest.mark.since("04")
@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"error": "invalid_grant"}),
        (200, {}),
        (200, {"access_token": "x", "token_type": "mac"}),
        (200, {"access_token": 5, "token_type": "Bearer"}),
        (200, {"token_type": "Bearer"}),
        (200, []),
        (500, None),
    ],
)
def test_no_token_is_a_sentence(client: ModuleType, browser: Callable, status: int, body: object) -> None:
    browser(good)
    pending, code = client.authorize(METADATA, CLIENT, RESOURCE, "x")
    with pytest.raises(Stop, match="no token"):
        client.redeem(Net().at(f"{ISSUER}/token", body, status).http, METADATA, CLIENT, pending, code)


@pytest.mark.since("04")
def test_the_code_goes_to_the_token_endpoint_with_the_verifier(client: ModuleType, browser: Callable) -> None:
    browser(good)
    pending, code = client.authorize(METADATA, CLIENT, RESOURCE, "x")
    seen: list[dict] = []

    def token_endpoint(request: httpx2.Request) -> httpx2.Response:
        seen.append(dict(parse_qsl(request.content.decode())))
        return httpx2.Response(200, content=json.dumps({"access_token": "x", "token_type": "bearer"}))

    http = httpx2.Client(transport=httpx2.MockTransport(token_endpoint))
    assert client.redeem(http, METADATA, CLIENT, pending, code)["access_token"] == "x"
    assert seen == [
        {
            "grant_type": "authorization_code",
            "client_id": "abc",
            "code": "the code",
            "code_verifier": pending.code_verifier,
            "redirect_uri": pending.redirect_uri,
            "resource": RESOURCE,
        }
    ]
