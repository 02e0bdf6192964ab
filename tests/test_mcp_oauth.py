"""The finished MCP server: keys that come and go, tokens remembered, opaque tokens, scopes, browsers, settings."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import anyio
import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server import MCPServer
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.mcpserver import Context
from starlette.testclient import TestClient

from attacks.world import ACCEPT, LIST_TOOLS, MCP_HEADERS, META
from mcp_server import __main__ as program
from mcp_server.market import create_app
from mcp_server.oauth import Protected, Settings, TokenVerifier
from mcp_server.oauth.keys import MOST, Web
from mcp_server.oauth.scopes import Needs, allows, subjects_of
from shared import audit
from shared.addresses import ISSUER, RESOURCE
from shared.audit import Trail
from shared.stop import Stop
from tests.finished_mcp import BASIC, Finished, finished, one_ec, one_rsa
from tests.world import served

SENTIMENT, READ = BASIC.split()
REBALANCE = "mcp:exec:workflows:rebalance"
EVEN = {"ACME": 1.0, "GLOBEX": 3.0}
APP = "https://app.example"
PRM = "http://localhost:8000/.well-known/oauth-protected-resource/mcp"
CHALLENGE = f'Bearer realm="mcp", resource_metadata="{PRM}", scope="{BASIC}"'

HELLO = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "a test", "version": "0"}}


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch) -> Iterator[Finished]:
    with finished(monkeypatch) as running:
        yield running


def refused(answer: httpx2.Response, status: int = 401, error: str = "invalid_token") -> None:
    assert (answer.status_code, f'error="{error}"' in answer.headers["www-authenticate"]) == (status, True)


def rule_of_the_last(door: Finished) -> str:
    return door.trail.lines[-1].get("rule", "")


# ── tokens ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kid", ["the RSA key", "the EC key"])
def test_both_algorithms_open_the_door(door: Finished, kid: str) -> None:
    assert door.opens(door.token(kid))


def test_a_key_has_one_algorithm_and_the_token_no_choice(door: Finished) -> None:
    door.issuer.private["another"] = one_ec(1)
    refused(door.list_tools(door.token("another", {"kid": "the RSA key"})))
    door.issuer.private["a third"] = one_rsa(1)
    refused(door.list_tools(door.token("a third", {"kid": "the EC key"})))
    assert rule_of_the_last(door) == "signed_by_our_issuer"


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"exp": 1}, "within_its_time"),
        ({"nbf": int(time.time()) + 900}, "within_its_time"),
        ({"aud": "http://localhost:8001/mcp"}, "made_for_us"),
        ({"iss": "https://evil.example"}, "from_our_issuer"),
        ({"sub": ""}, "has_all_claims"),
        ({"exp": 10**400}, "has_all_claims"),
        ({"exp": float("inf")}, "has_all_claims"),
        ({"exp": float("nan")}, "has_all_claims"),
    ],
)
def test_all_are_told_the_same_and_only_we_know_why(door: Finished, changes: dict, rule: str) -> None:
    answers = [door.list_tools(door.token(**changes)), door.list_tools("a.b.c")]
    refused(answers[0])
    assert answers[0].headers["www-authenticate"] == answers[1].headers["www-authenticate"]
    assert [line["rule"] for line in door.trail.lines] == [rule, "malformed"]
    assert door.number(f'mcp_auth_refusals_total{{reason="invalid_token",rule="{rule}"}}') == 1


def test_a_token_is_verified_once_and_then_remembered(door: Finished) -> None:
    token = door.token()
    assert all(door.opens(token) for _ in range(5))
    assert door.number('mcp_auth_token_cache_total{result="miss"}') == 1
    assert door.number('mcp_auth_token_cache_total{result="hit"}') == 4
    assert door.number('mcp_auth_key_cache_total{result="miss"}') == 1 == door.issuer.asked
    assert door.number('mcp_auth_validation_seconds_count{how="jwt"}') == 1
    door.later(61)
    assert door.opens(token)
    assert door.number('mcp_auth_validation_seconds_count{how="jwt"}') == 2
    assert all(isinstance(name, bytes) and len(name) == 32 for name in door.memory), "by hash"


def test_what_is_remembered_ends_with_the_token(door: Finished) -> None:
    now = int(time.time())
    token = door.token(exp=now + 10)
    assert door.opens(token)
    door.later(37)
    assert door.opens(token), "within the leeway"
    door.later(4)
    refused(door.list_tools(token))


def test_memory_is_bounded(door: Finished) -> None:
    door.start(token_cache_size=3)
    assert all(door.opens(door.token(jti=str(number))) for number in range(10))
    assert len(door.memory) == 3


def test_it_is_also_a_verifier_for_the_sdk(door: Finished) -> None:
    async def judge() -> None:
        verifier = TokenVerifier(door.settings, http=door.web)
        good = await verifier.verify_token(door.token())
        assert (good.subject, good.client_id, good.scopes, good.resource) == ("alice", "c", BASIC.split(), RESOURCE)
        assert good.claims["iss"] == ISSUER
        for bad in ("", "x", "é", "a.b.c", door.token(exp=1)):
            assert await verifier.verify_token(bad) is None
        door.issuer.status = 500
        assert await TokenVerifier(door.settings, http=door.web).verify_token(door.token()) is None

    asyncio.run(judge())


# ── keys ──────────────────────────────────────────────────────────────────────


def test_keys_are_asked_for_when_they_are_old_and_not_before(door: Finished) -> None:
    for seconds, asked in ((0, 1), (299, 1), (2, 2)):
        door.later(seconds)
        assert door.opens(door.token(jti=str(seconds)))
        assert door.issuer.asked == asked


def test_a_new_key_is_learned_at_once_and_a_cool_down_bounds_how_often_we_ask(door: Finished) -> None:
    assert door.opens(door.token())
    door.issuer.publish("the next key", one_rsa(2))
    assert door.opens(door.token("the next key")) and door.issuer.asked == 2
    for number in range(5):
        refused(door.list_tools(door.token(header={"kid": f"unknown {number}"})))
    assert door.issuer.asked == 2
    door.later(61)
    refused(door.list_tools(door.token(header={"kid": "unknown"})))
    assert door.issuer.asked == 3


def test_a_withdrawn_key_takes_its_tokens_along_remembered_or_not(door: Finished) -> None:
    old = door.token()
    assert door.opens(old)
    door.issuer.withdraw("the RSA key")
    door.issuer.publish("the next key", one_rsa(2))
    assert door.opens(old), "nobody has told us yet"
    assert door.opens(door.token("the next key")), "which makes us ask"
    refused(door.list_tools(old))


def test_another_key_under_the_old_name_is_another_key(door: Finished) -> None:
    old = door.token()
    assert door.opens(old)
    door.issuer.withdraw("the RSA key")
    door.issuer.publish("the RSA key", one_rsa(2))
    refused(door.list_tools(door.token(header={"kid": "unknown"})))
    refused(door.list_tools(old))


def test_a_remembered_token_lives_no_longer_than_the_keys_are_fresh(door: Finished) -> None:
    assert door.opens(door.token())
    door.later(290)
    token = door.token()
    assert door.opens(token)
    door.issuer.withdraw("the RSA key")
    door.later(11)
    refused(door.list_tools(token))


def test_while_the_authorization_server_is_down_old_keys_are_used_and_then_none(door: Finished) -> None:
    assert door.opens(door.token())
    door.issuer.status = 500
    door.later(301)
    asked = door.issuer.asked
    assert door.opens(door.token(jti="2")) and door.number("mcp_auth_old_keys") == 1
    assert all(door.opens(door.token(jti=str(number))) for number in range(5))
    assert door.issuer.asked <= asked + 1, "and it is left in peace meanwhile"
    assert door.list_tools(door.token(header={"kid": "unknown"})).status_code == 503, "it may be a new key's"
    door.later(900)
    answer = door.list_tools(door.token(jti="3"))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["error"] == "temporarily_unavailable"
    assert door.mcp.get("/ready").status_code == 503 and door.mcp.get("/health").status_code == 200
    door.issuer.status = 200
    door.later(2)
    assert door.opens(door.token(jti="4")) and door.number("mcp_auth_old_keys") == 0
    assert door.mcp.get("/ready").json() == {"status": "ready"}


def test_all_who_come_at_once_share_one_question(door: Finished) -> None:
    async def many() -> list:
        verifier = TokenVerifier(door.settings, http=door.web)
        return await asyncio.gather(*(verifier.verify_token(door.token(jti=str(number))) for number in range(20)))

    assert all(asyncio.run(many()))
    assert door.issuer.asked == 1


@pytest.mark.filterwarnings("ignore:The RSA key is 1024")
def test_odd_keys_are_left_out_and_the_others_count(door: Finished) -> None:
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    door.issuer.publish("weak", weak)
    door.issuer.publish("of another use", one_rsa(2), use="enc")
    door.issuer.publish("of another algorithm", one_rsa(2), alg="RS512")
    door.issuer.publish("another curve", ec.generate_private_key(ec.SECP384R1()))
    door.issuer.keys += [5, {}, {"kty": "RSA", "kid": [1]}, {"kty": ["RSA"], "kid": "x"}, {"kty": "RSA", "kid": "y"}]
    assert door.opens(door.token())
    for kid in ("weak", "of another use", "of another algorithm"):
        refused(door.list_tools(door.token(kid)))


def test_keys_that_the_settings_name_need_no_metadata(door: Finished) -> None:
    door.issuer.metadata = {}
    door.start(jwks_uri=f"{ISSUER}/jwks")
    assert door.opens(door.token())


@pytest.mark.parametrize("changes", [{"issuer": "x"}, {"jwks_uri": "http://evil.example/jwks"}, {"jwks_uri": 5}])
def test_metadata_of_another_issuer_or_over_http_is_none(door: Finished, changes: dict) -> None:
    door.issuer.metadata |= changes
    assert door.list_tools(door.token()).status_code == 503
    assert door.issuer.asked == 0


def test_an_answer_without_end_is_not_read_to_its_end() -> None:
    sent = []

    async def flood() -> AsyncIterator[bytes]:
        while len(sent) < 100:
            sent.append(1)
            yield b" " * 100_000

    there = httpx2.MockTransport(lambda _: httpx2.Response(200, content=flood()))
    with pytest.raises(ValueError, match="more than"):
        asyncio.run(Web(httpx2.AsyncClient(transport=there)).json(f"{ISSUER}/jwks"))
    assert len(sent) == MOST // 100_000 + 1


# ── opaque tokens ─────────────────────────────────────────────────────────────

ASKING = {
    "introspection_endpoint": f"{ISSUER}/introspect",
    "introspection_client_id": "the mcp server",
    "introspection_client_secret": "its:secret",
}


def activated(door: Finished, token: str = "opaque", **changes: object) -> str:
    door.issuer.active[token] = {"active": True} | door.claims(jti=None, iat=None, **changes)
    return token


def test_without_introspection_an_opaque_token_is_none(door: Finished) -> None:
    refused(door.list_tools(activated(door)))


def test_an_opaque_token_is_asked_about_once_in_a_while(door: Finished) -> None:
    door.start(**ASKING)
    token = activated(door)
    assert all(door.opens(token) for _ in range(3))
    [asked] = door.issuer.asked_about
    assert (asked["token"], asked["token_type_hint"]) == ("opaque", "access_token")
    assert asked["authorization"] == "Basic dGhlK21jcCtzZXJ2ZXI6aXRzJTNBc2VjcmV0"
    del door.issuer.active[token]
    door.later(61)
    refused(door.list_tools(token))
    assert door.opens(door.token()), "and a JWT is still judged here"
    assert len(door.issuer.asked_about) == 2


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"active": "true"}, "is_active"),
        ({"aud": None}, "made_for_us"),
        ({"aud": ISSUER}, "made_for_us"),
        ({"iss": "https://evil.example"}, "from_our_issuer"),
        ({"exp": 1}, "within_its_time"),
        ({"exp": None}, "has_all_claims"),
        ({"sub": None}, "has_all_claims"),
        ({"client_id": 5}, "has_all_claims"),
    ],
)
def test_what_the_answer_says_is_judged_too(door: Finished, changes: dict, rule: str) -> None:
    door.start(**ASKING)
    refused(door.list_tools(activated(door, **changes)))
    assert rule_of_the_last(door) == rule


def test_who_cannot_ask_does_not_guess(door: Finished) -> None:
    door.start(**ASKING)
    token, door.issuer.status = activated(door), 500
    answer = door.list_tools(token)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    door.issuer.status = 200
    assert door.opens(token)


# ── scopes ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("held", "wanted", "enough"),
    [
        ("a:b", "a:b", True),
        ("a:b", "a:b:c", True),
        ("a:b:*", "a:b:c", True),
        ("a:b:*", "a:b:c:d", True),
        ("a:b:*", "a:b", False),
        ("a:b:*", "a:bc", False),
        ("a:b", "a:bc", False),
        ("a:b:c", "a:b", False),
        ("*", "a:b", False),
        (":*", "a:b", False),
        ("a:*:c", "a:b:c", False),
        ("A:B", "a:b", False),
    ],
)
def test_what_a_scope_allows(held: str, wanted: str, enough: bool) -> None:
    assert allows(held, wanted) is enough


def test_lists_show_what_the_token_may_use_and_are_private(door: Finished) -> None:
    shown = {}
    for scope in (BASIC, f"{BASIC} {REBALANCE}", f"{BASIC} mcp:exec:workflows:*"):
        result = door.list_tools(door.token(scope=scope)).json()["result"]
        shown[scope] = [tool["name"] for tool in result["tools"]]
        assert result["cacheScope"] == "private"
    basic = ["score_headline", "whoami", "keep_watchlist", "watchlist"]
    everything = ["score_headline", "rebalance", "whoami", "rebalance_customer", "keep_watchlist", "watchlist"]
    assert list(shown.values()) == [basic, everything, everything]


def test_what_is_hidden_is_not_callable_and_the_wildcard_calls_it(door: Finished) -> None:
    answer = door.call("rebalance_customer", door.token(), id="c-1")
    refused(answer, 403, "insufficient_scope")
    assert f'scope="{READ} {REBALANCE}"' in answer.headers["www-authenticate"]
    wide = door.token(scope=f"{BASIC} mcp:exec:workflows:*")
    assert "ACME" in door.call("rebalance", wide, portfolio=EVEN).text


def own_server(door: Finished) -> MCPServer:
    """An adopter's: some of it declared through `Protected`, some not."""
    mcp = MCPServer("mine", log_level="WARNING")
    protected = Protected(mcp, door.settings, http=door.web, trail=door.trail)
    mcp.tool()(old_tool)
    protected.tool("a:b", name="renamed")(old_tool)
    protected.resource("notes://{id}", "notes:read")(note)
    protected.resource("notes://secret", "notes:secret")(secret_note)
    protected.prompt("prompts:use")(greeting)
    door.start(protected.app(json_response=True))
    return mcp


def old_tool() -> str:
    """A tool."""
    return "done"


def note(id: str) -> str:
    """One of many."""
    return f"note {id}"


def secret_note() -> str:
    """One of its own."""
    return "the secret one"


def greeting() -> str:
    """A prompt."""
    return "Hello"


def test_any_server_is_protected(door: Finished) -> None:
    own_server(door)
    assert door.mcp.get("/.well-known/oauth-protected-resource").json()["resource_name"] == "mine"
    little = door.token(scope="a:b notes:read")
    refused(door.call("old_tool", little), 403, "insufficient_scope")
    assert "done" in door.call("renamed", little).text
    assert "done" in door.call("old_tool", door.token()).text, "nobody declared it: the basic scopes will do"
    assert [tool["name"] for tool in door.list_tools(little).json()["result"]["tools"]] == ["renamed"]
    assert "note 1" in door.send("resources/read", "notes://1", little, uri="notes://1").text
    hidden = door.send("resources/read", "notes://secret", little, uri="notes://secret")
    refused(hidden, 403, "insufficient_scope")
    refused(door.send("prompts/get", "greeting", little, name="greeting"), 403, "insufficient_scope")
    lists = {"resources/list": "resources", "resources/templates/list": "resourceTemplates", "prompts/list": "prompts"}
    found = {method: door.send(method, "", little).json()["result"][where] for method, where in lists.items()}
    assert [len(some) for some in found.values()] == [0, 1, 0]
    assert "Hello" in door.send("prompts/get", "greeting", door.token(scope="prompts:use"), name="greeting").text


def test_without_basic_scopes_nobody_uses_what_nobody_declared(door: Finished) -> None:
    door.settings = replace(door.settings, required_scopes=())
    mcp = MCPServer("mine", log_level="WARNING")
    protected = Protected(mcp, door.settings, http=door.web, trail=door.trail)
    mcp.tool()(old_tool)
    protected.tool(name="for everybody")(old_tool)
    door.start(protected.app(json_response=True), required_scopes=())
    wide = door.token(scope="a:b * :* :")
    refused(door.call("old_tool", wide), 403, "insufficient_scope")
    assert [tool["name"] for tool in door.list_tools(wide).json()["result"]["tools"]] == ["for everybody"]
    assert "done" in door.call("for everybody", wide).text


def test_what_is_about_a_resource_needs_what_the_resource_needs() -> None:
    needs = Needs(("basic",))
    needs.declare("resources/read", "notes://{id}", ("notes:read",))
    needs.declare("resources/read", "notes://{+path}", ("notes:all",))
    needs.declare("prompts/get", "greeting", ("prompts:use",))
    for message, scopes in (
        ({"method": "resources/read", "params": {"uri": "notes://1"}}, ("notes:read", "notes:all")),
        ({"method": "resources/subscribe", "params": {"uri": "notes://1/2"}}, ("notes:all",)),
        ({"method": "resources/read", "params": {"uri": 5}}, ("basic",)),
        ({"method": "completion/complete", "params": {"ref": {"uri": "notes://{id}"}}}, ("notes:read",)),
        ({"method": "completion/complete", "params": {"ref": {"name": "greeting"}}}, ("prompts:use",)),
        ({"method": "tools/call", "params": {"name": ["x"]}}, ("basic",)),
        ({"method": "tools/call"}, ("basic",)),
        ({"method": ["tools/call"]}, ()),
        ({"method": "ping"}, ()),
        (
            {"method": "subscriptions/listen", "params": {"notifications": {"resourceSubscriptions": ["notes://1"]}}},
            ("notes:read", "notes:all"),
        ),
    ):
        assert needs.of(subjects_of(message)) == scopes, message


NAMED_TWICE = '{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "%s", "name": "%s", "_meta": %s}}'


@pytest.mark.parametrize(("first", "second", "status"), [("whoami", "rebalance", 403), ("rebalance", "whoami", 200)])
def test_what_was_judged_is_what_runs(door: Finished, first: str, second: str, status: int) -> None:
    arrived: list[bytes] = []
    real = door.app.user_middleware[0].kwargs["mcp"]

    async def behind(scope: dict, receive: Callable, send: Callable) -> None:
        message = await receive()
        arrived.append(message["body"])
        again = [message]

        async def replay() -> dict:
            return again.pop() if again else await receive()

        await real(scope, replay, send)

    door.app.user_middleware[0].kwargs["mcp"] = behind
    door.app.middleware_stack = None
    headers = MCP_HEADERS | {"Mcp-Method": "tools/call", "Mcp-Name": second, "Authorization": f"Bearer {door.token()}"}
    body = NAMED_TWICE % (first, second, json.dumps(META))
    for content, expected in ((body.encode(), status), (body.encode("utf-16"), 400)):  # RFC 8259 §8.1
        answer = door.mcp.post("/mcp", content=content, headers=headers | {"Content-Type": "application/json"})
        assert answer.status_code == expected
    once = json.dumps(json.loads(body), separators=(",", ":")).encode()
    assert arrived == ([once] if status == 200 else []), "each name once"


@pytest.mark.parametrize("mode", ["2026-07-28", "legacy"])
def test_the_sdks_client_gets_in_also_where_answers_are_streams(door: Finished, mode: str) -> None:
    mcp = MCPServer("mine", log_level="WARNING")
    protected = Protected(mcp, door.settings, http=door.web, trail=door.trail)
    protected.tool(SENTIMENT)(counting)
    protected.tool(REBALANCE)(old_tool)

    async def visit(origin: str) -> tuple[list[str], list[float], str]:
        heard: list[float] = []

        async def hear(progress: float, total: float | None, message: str | None) -> None:
            heard.append(progress)

        async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {door.token()}"}) as http:
            async with Client(streamable_http_client(f"{origin}/mcp", http_client=http), mode=mode) as client:
                names = [tool.name for tool in (await client.list_tools()).tools]
                answer = await client.call_tool("counting", {"to": 3}, progress_callback=hear)
                return names, heard, answer.content[0].text

    with served(protected.app()) as origin:
        assert anyio.run(visit, origin) == (["counting"], [1, 2, 3], "alice counted")


async def counting(to: int, ctx: Context) -> str:
    """Says how far it is."""
    for number in range(to):
        await ctx.report_progress(number + 1)
    return f"{get_access_token().subject} counted"


def test_in_an_old_session_every_request_shows_what_its_own_token_allows(door: Finished) -> None:
    old = ACCEPT | {"MCP-Protocol-Version": "2025-11-25"}

    def say(scope: str, method: str, params: dict, **headers: str) -> httpx2.Response:
        shown = {"Authorization": f"Bearer {door.token(scope=scope)}"}
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        return door.mcp.post("/mcp", json=message, headers=old | shown | headers)

    wide = f"{BASIC} {REBALANCE}"
    session = {"Mcp-Session-Id": say(wide, "initialize", HELLO).headers["mcp-session-id"]}
    counts = [len(say(scope, "tools/list", {}, **session).json()["result"]["tools"]) for scope in (wide, BASIC, wide)]
    assert counts == [6, 4, 6]


def hello(door: Finished, who: str) -> httpx2.Response:
    message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": HELLO}
    return door.mcp.post("/mcp", json=message, headers=ACCEPT | {"Authorization": f"Bearer {door.token(sub=who)}"})


def test_nobody_takes_all_the_sessions_of_the_old_protocol(door: Finished) -> None:
    answers = [hello(door, "mallory") for _ in range(101)]
    assert [answer.status_code for answer in answers] == [200] * 100 + [429]
    assert 60 < int(answers[-1].headers["retry-after"]) <= 1801
    assert hello(door, "alice").status_code == 200
    ended = {"Authorization": f"Bearer {door.token(sub='mallory')}"}
    session = {"Mcp-Session-Id": answers[0].headers["mcp-session-id"]}
    statuses = [door.mcp.delete("/mcp", headers=ACCEPT | ended | session).status_code for _ in range(3)]
    assert statuses == [200, 404, 404], "who ends one may begin another"
    assert [hello(door, "mallory").status_code for _ in range(2)] == [200, 429]
    door.later(1801)
    assert hello(door, "mallory").status_code == 200


LISTEN = {"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen"}
LISTEN["params"] = {"notifications": {"toolsListChanged": True}, "_meta": META}
LISTENING = MCP_HEADERS | {"Mcp-Method": "subscriptions/listen"}


def test_who_listens_does_so_no_longer_than_the_token_lasts(
    door: Finished, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    mcp = MCPServer("mine", log_level="WARNING")
    app = Protected(mcp, replace(door.settings, leeway=0), http=door.web, trail=door.trail).app()
    with served(app) as origin, httpx2.Client(base_url=origin, timeout=10) as http:
        message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": HELLO}
        began = http.post("/mcp", json=message, headers=ACCEPT | {"Authorization": f"Bearer {door.token()}"})
        old = ACCEPT | {"Mcp-Session-Id": began.headers["mcp-session-id"]}
        for about in (("GET", None, old), ("GET", None, old), ("POST", LISTEN, LISTENING)):
            ends = int(time.time()) + 2
            method, body, headers = about
            headers = headers | {"Authorization": f"Bearer {door.token(exp=ends)}"}
            with http.stream(method, "/mcp", json=body, headers=headers) as answer:
                assert answer.status_code == 200
                answer.read()  # raises if it ends in the middle
            assert ends - 0.1 <= time.time() <= ends + 2
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


# ── browsers ──────────────────────────────────────────────────────────────────

PREFLIGHT = {
    "Origin": APP,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization, mcp-method, mcp-param-region",
}


def test_without_configured_origins_no_other_page_gets_anything(door: Finished) -> None:
    answer = door.mcp.options("/mcp", headers=PREFLIGHT)
    assert answer.status_code == 403
    assert not any(name.startswith("access-control") for name in answer.headers)


def test_a_browser_asks_first_and_reads_the_challenge(door: Finished) -> None:
    door.start(cors_origins=(APP,))
    answer = door.mcp.options("/mcp", headers=PREFLIGHT)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == APP
    allowed = answer.headers["access-control-allow-headers"].split(", ")
    assert {"authorization", "mcp-method", "mcp-param-region"} <= set(allowed)
    assert "POST" in answer.headers["access-control-allow-methods"]
    for answer, status in ((door.list_tools(Origin=APP), 401), (door.list_tools(door.token(), Origin=APP), 200)):
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (status, APP)
        assert "WWW-Authenticate" in answer.headers["access-control-expose-headers"]
        assert answer.headers["vary"] == "Origin"
    prm = door.mcp.get("/.well-known/oauth-protected-resource/mcp", headers={"Origin": APP})
    assert prm.headers["access-control-allow-origin"] == APP
    for answer in (
        door.mcp.options("/mcp", headers=PREFLIGHT | {"Origin": "https://evil.example"}),
        door.list_tools(door.token(), Origin="https://evil.example"),
    ):
        assert answer.status_code in (400, 403) and "access-control-allow-origin" not in answer.headers
    assert "access-control-allow-origin" not in door.list_tools(door.token()).headers
    assert door.mcp.options("/mcp").headers["www-authenticate"] == CHALLENGE


# ── limits ────────────────────────────────────────────────────────────────────


def test_nobody_guesses_for_long_and_good_tokens_do_not_count(door: Finished) -> None:
    door.start(failures_per_minute=3)
    assert all(door.opens(door.token(jti=str(number))) for number in range(9))
    known = door.token()
    assert door.opens(known)
    for _ in range(3):
        refused(door.list_tools("a.b.c"))
    answer = door.list_tools(door.token(jti="not seen yet"))
    assert door.opens(known), "whoever we know does not wait for the failures of others"
    assert door.list_tools().headers["www-authenticate"] == CHALLENGE
    assert (answer.status_code, answer.json()["error"]) == (429, "temporarily_unavailable")
    assert 0 < int(answer.headers["retry-after"]) <= 61
    door.later(61)
    assert door.opens(door.token())


def test_newcomers_under_way_are_no_failures(door: Finished) -> None:
    door.start(failures_per_minute=3)
    door.issuer.takes = 0.5
    with ThreadPoolExecutor(6) as many:
        answers = list(many.map(door.list_tools, [door.token(jti=str(number)) for number in range(6)]))
    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 429, 429, 429]
    assert {answer.headers["retry-after"] for answer in answers if answer.status_code == 429} == {"1"}
    assert all(door.opens(door.token(jti=str(number))) for number in range(6, 12))


def test_calls_can_be_limited_by_person_and_client(door: Finished) -> None:
    door.start(calls_per_minute=2)
    assert [door.list_tools(door.token()).status_code for _ in range(3)] == [200, 200, 429]
    assert door.opens(door.token(sub="bob"))


def test_bodies_are_limited_and_read_in_pieces(door: Finished) -> None:
    door.start(body_limit=1000)
    headers = {"Authorization": f"Bearer {door.token()}", "Content-Type": "application/json"}
    pieces = (piece for piece in [b'{"a":"', b"x" * 2000, b'"}'])
    assert door.mcp.post("/mcp", content=pieces, headers=headers).status_code == 413
    assert door.mcp.post("/mcp", content=(p for p in [b"{", b"]"]), headers=headers).status_code == 400


# ── what is written down ──────────────────────────────────────────────────────


def test_every_decision_is_one_line_and_none_has_a_secret(door: Finished) -> None:
    token = door.token()
    door.call("score_headline", token, headline="up")
    door.list_tools()
    door.list_tools(token, Host="evil.example")
    door.mcp.get("/health")
    first, second, third = door.trail.lines
    about = {"who": "alice", "client": "c", "operation": "tools/call score_headline", "outcome": "done", "status": 200}
    assert first | about == first
    assert (second["outcome"], second["status"], second["reason"]) == ("refused", 401, "no token")
    assert (third["status"], third["rule"]) == (421, "own_host")
    assert token not in str(door.trail.lines)
    assert token.split(".")[2] not in door.mcp.get("/metrics").text
    assert door.number('mcp_auth_calls_total{key="",kind="oauth"}') == 1


LINE = Trail.line  # worlds of other tests put another in its place


def test_no_line_is_lost_when_it_stops(door: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Trail, "line", LINE)
    monkeypatch.setattr(audit, "EVERY", 60)  # seconds
    path = tmp_path / "audit.log"
    with TestClient(create_app(door.settings, door.web, Trail(path)), door.settings.origin) as mcp:
        mcp.post("/mcp")
    assert json.loads(path.read_text())["reason"] == "no token"


# ── addresses ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", ["/mcp%0A", "/mcp%0a", "/mcp/", "//mcp", "/MCP", "/mcp%00", "/%2Fmcp"])
def test_no_other_spelling_of_the_path_leads_past_the_door(door: Finished, path: str) -> None:
    headers = MCP_HEADERS | {"MCP-Protocol-Version": "2025-11-25"}
    assert door.mcp.post(path, json=LIST_TOOLS, headers=headers).status_code == 404


@pytest.mark.parametrize(
    ("audience", "host", "status"),
    [
        ("http://localhost:8604/mcp", "LocalHost:8604", 200),
        ("http://localhost:80/mcp", "localhost", 200),
        ("http://localhost/mcp", "localhost:80", 200),
        ("https://mcp.example/mcp", "mcp.example:443", 200),
        ("https://mcp.example/mcp", "mcp.example:80", 421),
        ("http://localhost:8604/mcp", "localhost", 421),
        ("http://localhost/mcp", "localhost:80:80", 421),
        ("http://localhost/mcp", "", 421),
    ],
)
def test_our_own_name_has_several_spellings(door: Finished, audience: str, host: str, status: int) -> None:
    door.start(audience=audience)
    assert door.list_tools(door.token(aud=audience), Host=host).status_code == status


def test_pages_of_our_own_may_call_us_at_the_default_port(door: Finished) -> None:
    door.start(audience="http://localhost:80/mcp")
    token = door.token(aud="http://localhost:80/mcp")
    assert door.list_tools(token, Origin="http://localhost").status_code == 200  # as browsers spell it


@pytest.mark.parametrize("path", ["/mcp", "/mcp/", "/a/b/", "/"])
def test_a_slash_at_the_end_stays_where_it_is(door: Finished, path: str) -> None:
    audience = f"http://localhost:8604{path}"
    door.start(audience=audience)
    challenge = door.mcp.post(path).headers["www-authenticate"]
    where = "/.well-known/oauth-protected-resource" + path.removesuffix("/" if path == "/" else "")
    assert f'resource_metadata="http://localhost:8604{where}"' in challenge
    assert door.mcp.get(where).json()["resource"] == audience


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"X-Forwarded-For": "192.0.2.1"}])
def test_metrics_are_not_for_pages_and_not_for_whoever_is_behind_a_proxy(door: Finished, headers: dict) -> None:
    door.start(metrics_token="x" * 22)
    assert door.mcp.get("/metrics").status_code == 200
    assert door.mcp.get("/metrics", headers=headers).status_code == 403
    assert door.mcp.get("/metrics", headers=headers | {"Authorization": f"Bearer {'x' * 22}"}).status_code == 200


# ── settings ──────────────────────────────────────────────────────────────────


def test_without_any_variable_it_is_the_demo() -> None:
    assert Settings.from_environment({}) == Settings()
    assert (Settings().issuer, Settings().audience) == (ISSUER, RESOURCE)
    assert Settings().origin + Settings().metadata_paths[0] == PRM


def test_each_mistake_is_a_sentence_and_all_are_told_at_once() -> None:
    wrong = {
        "OAUTH_ISSUER": "http://as.example",
        "OAUTH_AUDIENCE": "mcp.example",
        "OAUTH_JWKS_URI": "http://localhost:65999/jwks",
        "OAUTH_INTROSPECTION_ENDPOINT": "https://as.example/introspect",
        "OAUTH_REQUIRED_SCOPES": 'a "b"',
        "AUTH_MODE": "none",
        "API_KEY_DEPRECATION_WARNING": "soon",
        "LEEWAY": "-1",
        "TRUSTED_PROXY": "everybody",
        "CORS_ORIGINS": "https://app.example/x",
        "BODY_LIMIT": "1e9",
        "JWKS_SECONDS": "0",
    }
    with pytest.raises(Stop) as stop:
        Settings.from_environment(wrong)
    sentences = str(stop.value).splitlines()
    assert len(sentences) == len(wrong)
    for name in wrong:
        assert any(sentence.startswith(name) and sentence.endswith(".") for sentence in sentences), name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OAUTH_AUDIENCE", "http://localhost:65999/mcp"),
        ("OAUTH_AUDIENCE", "http://localhost:0/mcp"),
        ("OAUTH_AUDIENCE", "http://localhost:08604/mcp"),
        ("OAUTH_AUDIENCE", "http://[::::]/mcp"),
        ("OAUTH_AUDIENCE", "http://LocalHost:8604/mcp"),
        ("OAUTH_AUDIENCE", "http://localhost:8604/m%20cp"),
        ("OAUTH_ISSUER", "http://localhost:x"),
        ("TRUSTED_PROXY", "dead"),
        ("TRUSTED_PROXY", "10.0.0.7/8"),
        ("TRUSTED_PROXY", "10.0.0.7,"),
        ("API_KEY_DEPRECATION_WARNING", "2027-02-31"),
    ],
)
def test_what_would_never_work_is_a_sentence(name: str, value: str) -> None:
    with pytest.raises(Stop) as stop:
        Settings.from_environment({name: value})
    assert str(stop.value).startswith(f"{name}={value} must ") and "\n" not in str(stop.value)


def test_an_address_for_others_needs_an_issuer_for_others() -> None:
    public = {"OAUTH_AUDIENCE": "https://mcp.example/mcp"}
    with pytest.raises(Stop, match="OAUTH_ISSUER=.* must be set"):
        Settings.from_environment(public)
    assert Settings.from_environment(public | {"AUTH_MODE": "api_key"}).oauth is False
    assert Settings.from_environment(public | {"OAUTH_ISSUER": "https://as.example"}).issuer == "https://as.example"


@pytest.mark.parametrize("listen", ["0.0.0.0:8605", "[::]:8605", "192.0.2.1:8605", "localhost.evil.example:8605"])
def test_nobody_lets_others_in_without_tls(monkeypatch: pytest.MonkeyPatch, listen: str) -> None:
    served: list[str] = []
    monkeypatch.setattr(program, "serve", lambda app, url, **more: served.append(more["listen"]))
    monkeypatch.setattr(program, "say_what_happens", lambda name: None)
    with pytest.raises(Stop, match="lets others in without TLS"):
        program.main(["--listen", listen], standalone_mode=False)
    monkeypatch.setenv("TRUSTED_PROXY", "192.0.2.7")
    program.main(["--listen", listen], standalone_mode=False)
    monkeypatch.delenv("TRUSTED_PROXY")
    for here in ("localhost:8605", "127.0.0.1:8605", "[::1]:8605"):
        program.main(["--listen", here], standalone_mode=False)
    assert served[0] == listen and len(served) == 4


@pytest.mark.parametrize("name", ["OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET", "OAUTH_TOKEN_URL", "API_KEY_OPENAI"])
def test_names_that_others_use_are_left_to_them(name: str) -> None:
    assert Settings.from_environment({name: "x"}) == Settings()


def test_a_misspelt_name_is_a_mistake_too_and_the_nearest_is_named() -> None:
    with pytest.raises(Stop) as stop:
        Settings.from_environment({"OAUTH_AUDENCE": "https://mcp.example/mcp", "API_KEY_FILES": "x", "OTHER": "1"})
    assert str(stop.value).splitlines() == [
        "OAUTH_AUDENCE is no setting. Is OAUTH_AUDIENCE meant?",
        "API_KEY_FILES is no setting. Is API_KEY_FILE meant?",
    ]


def test_http_leaves_this_computer_only_behind_a_named_proxy() -> None:
    public = {"OAUTH_AUDIENCE": "http://mcp.example/mcp"}
    with pytest.raises(Stop, match="must be https"):
        Settings.from_environment(public)
    public["OAUTH_ISSUER"] = "https://as.example"
    assert Settings.from_environment(public | {"TRUSTED_PROXY": "10.0.0.0/8"}).origin == "http://mcp.example"
    assert Settings.from_environment(public | {"OAUTH_AUDIENCE": "https://mcp.example"}).metadata_paths == (
        "/.well-known/oauth-protected-resource",
    )


def test_a_secret_is_not_shown() -> None:
    assert "hush" not in repr(Settings(introspection_client_secret="hush"))
    with pytest.raises(Stop) as stop:
        Settings.from_environment({"METRICS_TOKEN": "hush", "OAUTH_INTROSPECTION_CLIENT_SECRET": "hush\nhush"})
    assert len(str(stop.value).splitlines()) == 2 and "hush" not in str(stop.value)
