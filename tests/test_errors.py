"""Step 06 on the wire: every no says what to do next, and whoever does it gets in."""

import json
from collections.abc import Callable
from types import ModuleType
from urllib.parse import parse_qsl, urlsplit

import anyio
import httpx2
import jwt
import pytest
from starlette.requests import Request
from starlette.responses import Response

from attacks.hostile import TOKENS, Net, bringing, client_of, give_a_browser, metadata
from attacks.world import ACCEPT, BASIC, META, REBALANCE
from shared.addresses import NEIGHBOUR
from shared.stop import Stop
from tests import processes
from tests.test_resource_metadata import CHALLENGE, PRM
from tests.test_token import refused
from tests.world import ISSUER, LIST_TOOLS, MCP_HEADERS, RESOURCE, World
from tools.catalogue import FINISHED

pytestmark = [pytest.mark.since("06"), pytest.mark.wire]

SENTIMENT, READ = BASIC.split()
BOTH = ["authorization_code", "refresh_token"]
EVEN = {"portfolio": {"ACME": 1.0, "GLOBEX": 3.0}}
OLD = "2025-11-25"


def token_for(world: World, scope: str) -> str:
    return world.signed(world.claims(scope=scope))


def ran(answer: httpx2.Response) -> bool:
    return answer.status_code == 200 and answer.json().get("result", {}).get("isError") is not True


# ── what the door says ────────────────────────────────────────────────────────

INVALID_REQUEST = 'Bearer realm="mcp", error="invalid_request", error_description="{}", resource_metadata="' + PRM + '"'
INVALID_TOKEN = (
    'Bearer realm="mcp", error="invalid_token", error_description="The access token is invalid or expired", '
    f'resource_metadata="{PRM}"'
)


def too_little(scope: str) -> str:
    return (
        f'Bearer realm="mcp", error="insufficient_scope", scope="{scope}", resource_metadata="{PRM}", '
        'error_description="This operation needs more than the token allows"'
    )


def says(answer: httpx2.Response, status: int, challenge: str) -> None:
    assert (answer.status_code, answer.headers.get_list("www-authenticate")) == (status, [challenge])
    assert answer.headers["cache-control"] == "no-store"
    assert answer.content == b""


def test_nothing_was_wrong_so_no_error_is_named(world: World) -> None:
    says(world.list_tools(), 401, CHALLENGE)
    says(world.list_tools("Basic YWxpY2U6d29uZGVybGFuZA=="), 401, CHALLENGE)
    says(world.mcp.post(f"/mcp?access_token={world.access_token()}", json=LIST_TOOLS), 401, CHALLENGE)


def test_a_token_that_is_not_good_is_an_invalid_token(world: World) -> None:
    token = world.access_token()
    world.clock.ahead += 631
    says(world.list_tools(f"Bearer {token}"), 401, INVALID_TOKEN)
    says(world.list_tools("Bearer a.b.c"), 401, INVALID_TOKEN)


def test_a_request_that_cannot_be_read_is_an_invalid_request(world: World) -> None:
    good = f"Bearer {world.access_token()}"
    says(world.list_tools("Bearer a b"), 400, INVALID_REQUEST.format("After Bearer comes one token and nothing else"))
    says(world.list_tools(good, good), 400, INVALID_REQUEST.format("There is more than one Authorization header"))


ARRAY, DEEP, LARGE = json.dumps([LIST_TOOLS]), "[" * 10_000, json.dumps(LIST_TOOLS | {"x": "x" * 16_000})


def sent(world: World, content: str, media_type: str = "application/json", token: str = "") -> httpx2.Response:
    headers = MCP_HEADERS | {"Content-Type": media_type} | ({"Authorization": f"Bearer {token}"} if token else {})
    return world.mcp.post("/mcp", content=content.encode(), headers=headers)


@pytest.mark.parametrize("content", ["", "not JSON", "null", ARRAY, DEEP], ids=["", "text", "null", "array", "deep"])
def test_what_is_not_one_json_object_is_an_invalid_request(world: World, content: str) -> None:
    says(sent(world, content, token=world.access_token()), 400, INVALID_REQUEST.format("send one JSON object"))
    says(sent(world, content), 401, CHALLENGE)


@pytest.mark.parametrize(
    ("content", "media_type", "status", "why"),
    [
        (json.dumps(LIST_TOOLS), "text/plain", 415, "send application/json"),
        (LARGE, "application/json", 413, "send 16000 bytes at most"),
    ],
    ids=["media type", "large"],
)
def test_what_no_other_token_would_help_is_no_challenge(
    world: World, content: str, media_type: str, status: int, why: str
) -> None:
    answer = sent(world, content, media_type, world.access_token())
    assert (answer.status_code, answer.json()["error"], answer.headers["cache-control"]) == (
        status,
        "invalid_request",
        "no-store",
    )
    assert why in answer.text
    assert "www-authenticate" not in answer.headers
    says(sent(world, content, media_type), 401, CHALLENGE)


# ── what an operation needs ───────────────────────────────────────────────────

OPERATIONS: list[tuple[str, list[str], Callable[[World, str], httpx2.Response]]] = [
    ("tools/list", [SENTIMENT], lambda world, token: world.send(token, "tools/list")),
    ("resources/list", [READ], lambda world, token: world.send(token, "resources/list")),
    ("resources/templates/list", [READ], lambda world, token: world.send(token, "resources/templates/list")),
    ("resources/read", [READ], lambda world, token: world.read(token, "customers://c-1")),
    ("score_headline", [SENTIMENT], lambda world, token: world.call(token, "score_headline", headline="profit")),
    ("rebalance", [REBALANCE], lambda world, token: world.call(token, "rebalance", **EVEN)),
    ("rebalance_customer", [READ, REBALANCE], lambda world, token: world.call(token, "rebalance_customer", id="c-1")),
    ("whoami", [], lambda world, token: world.call(token, "whoami")),
]


@pytest.mark.parametrize(("needed", "does"), [row[1:] for row in OPERATIONS], ids=[row[0] for row in OPERATIONS])
def test_an_operation_needs_its_scopes_and_names_all_of_them(world: World, needed: list[str], does: Callable) -> None:
    assert ran(does(world, token_for(world, " ".join(needed))))
    for missing in needed:
        others = {SENTIMENT, READ, REBALANCE} - {missing}
        says(does(world, token_for(world, " ".join(others))), 403, too_little(" ".join(needed)))
    if needed:
        says(does(world, token_for(world, "")), 403, too_little(" ".join(needed)))


@pytest.mark.parametrize("held", ["mcp:resources:customer-data", "mcp:resources", READ])
def test_the_whole_allows_its_parts(world: World, held: str) -> None:
    assert ran(world.read(token_for(world, held), "customers://c-1"))


@pytest.mark.parametrize(
    "held",
    [
        "mcp:resources:customer-datax",
        "mcp:resources:customer-dat",
        "mcp:resources:customer-data:",
        f"{READ}:more",
        f"{READ}x",
        READ.upper(),
        "*",
        ":",
    ],
)
def test_what_only_looks_alike_allows_nothing(world: World, held: str) -> None:
    says(world.read(token_for(world, held), "customers://c-1"), 403, too_little(READ))


@pytest.mark.of_steps("for the finished server it stands for what begins so")
def test_a_star_is_a_letter_like_any_other(world: World) -> None:
    says(world.read(token_for(world, "mcp:resources:*"), "customers://c-1"), 403, too_little(READ))


def test_whoever_was_allowed_the_whole_reads_with_it(world: World) -> None:
    token = world.access_token(scope="mcp:resources:customer-data")
    assert ran(world.read(token, "customers://c-1"))
    says(world.list_tools(f"Bearer {token}"), 403, too_little(SENTIMENT))


def test_every_tool_needs_a_scope_but_the_one_that_says_who_you_are(world: World) -> None:
    everything = token_for(world, f"{BASIC} {REBALANCE}")
    tools = {tool["name"] for tool in world.send(everything, "tools/list").json()["result"]["tools"]}
    assert tools >= {"score_headline", "rebalance", "rebalance_customer", "whoami"}
    open_to_all = {name for name in tools if world.call(token_for(world, ""), name).status_code != 403}
    assert open_to_all == {"whoami"}
    assert world.send(everything, "prompts/list").json()["result"]["prompts"] == [], "they would need scopes too"


@pytest.mark.of_steps("it looks into their table; what nobody declares: tests/test_mcp_oauth.py")
def test_every_tool_and_every_resource_has_its_scopes(world: World) -> None:
    server, scopes = world.mcp_server.mcp, world.loaded.module("scopes")
    tools = {tool.name for tool in anyio.run(server.list_tools)}
    assert {name for method, name in scopes.needed if method == "tools/call"} == tools >= {"rebalance", "whoami"}
    methods = {method for method, _ in scopes.needed} - {"tools/call"}
    assert methods == {"tools/list", "resources/list", "resources/templates/list", "resources/read"}
    assert anyio.run(server.list_prompts) == [], "prompts would need scopes of their own"
    assert {scope for some in scopes.needed.values() for scope in some} <= set(world.loaded.module("clients").SCOPES)


# ── what is announced, what is judged, what runs ──────────────────────────────


def contradicts(answer: httpx2.Response, id: object = 1) -> None:
    why = "Mcp-Method or Mcp-Name announces something else than the body"
    assert answer.json() == {"jsonrpc": "2.0", "id": id, "error": {"code": -32020, "message": why}}
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/json")
    assert answer.headers["cache-control"] == "no-store"
    assert "www-authenticate" not in answer.headers


@pytest.mark.parametrize("version", ["2026-07-28", OLD, None])
def test_a_header_that_announces_something_else_is_refused(world: World, version: str | None) -> None:
    """Whoever stands before us and reads only headers must not have let in another message than we run."""
    token, about = token_for(world, f"{BASIC} {REBALANCE}"), {"MCP-Protocol-Version": version}
    for wrong in ({"Mcp-Name": "whoami"}, {"Mcp-Name": ""}, {"Mcp-Method": "tools/list"}, {"Mcp-Method": ""}):
        contradicts(world.call(token, "rebalance", about | wrong, **EVEN))
    contradicts(world.read(token, "customers://c-1", about | {"Mcp-Name": "customers://c-2"}))
    contradicts(world.send(token, "tools/list", "", about | {"Mcp-Method": "Tools/List"}))


@pytest.mark.parametrize("name", ["Mcp-Method", "Mcp-Name"])
def test_of_two_announcements_none_may_be_wrong(world: World, name: str) -> None:
    message = {"jsonrpc": "2.0", "id": "seven", "method": "tools/call"}
    message["params"] = {"name": "whoami", "arguments": {}, "_meta": META}
    right = {"Mcp-Method": "tools/call", "Mcp-Name": "whoami"}
    headers = list((MCP_HEADERS | right | {"Authorization": f"Bearer {token_for(world, '')}"}).items())
    assert ran(world.mcp.post("/mcp", json=message, headers=headers))
    for pair in ([(name, "x"), *headers], [*headers, (name, "x")]):
        contradicts(world.mcp.post("/mcp", json=message, headers=pair), "seven")


def test_a_name_may_be_announced_in_base64(world: World) -> None:
    token = token_for(world, READ)
    assert ran(world.read(token, "customers://c-1", {"Mcp-Name": "=?base64?Y3VzdG9tZXJzOi8vYy0x?="}))
    contradicts(world.read(token, "customers://c-2", {"Mcp-Name": "=?base64?Y3VzdG9tZXJzOi8vYy0x?="}))


def test_the_old_protocol_announces_nothing_and_has_the_same_scopes(world: World) -> None:
    def say(token: str, method: str, **params: object) -> httpx2.Response:
        headers = about | {"Authorization": f"Bearer {token}"}
        return world.mcp.post(
            "/mcp", json={"jsonrpc": "2.0", "id": 1, "method": method, "params": params}, headers=headers
        )

    about, little, much = ACCEPT | {"MCP-Protocol-Version": OLD}, token_for(world, ""), token_for(world, REBALANCE)
    who = {"protocolVersion": OLD, "capabilities": {}, "clientInfo": {"name": "a test", "version": "0"}}
    about["Mcp-Session-Id"] = say(much, "initialize", **who).headers["mcp-session-id"]
    says(say(little, "tools/list"), 403, too_little(SENTIMENT))
    says(say(little, "resources/list"), 403, too_little(READ))
    says(say(little, "resources/read", uri="customers://c-1"), 403, too_little(READ))
    says(say(little, "tools/call", name="rebalance", arguments=EVEN), 403, too_little(REBALANCE))
    assert ran(say(much, "tools/call", name="rebalance", arguments=EVEN))


NAMED_TWICE = '{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "%s", "name": "%s"}}'
METHOD_TWICE = '{"jsonrpc": "2.0", "method": "%s", "method": "%s", "id": 1, "params": {"name": "rebalance"}}'


@pytest.mark.parametrize(
    ("body", "allowed"),
    [
        (NAMED_TWICE % ("rebalance", "whoami"), True),
        (NAMED_TWICE % ("whoami", "rebalance"), False),
        (METHOD_TWICE % ("tools/call", "ping"), True),
        (METHOD_TWICE % ("ping", "tools/call"), False),
        ((NAMED_TWICE % ("whoami", "whoami")).encode("utf-16"), True),
        ((NAMED_TWICE % ("rebalance", "rebalance")).encode("utf-16"), False),
    ],
)
def test_what_was_judged_is_what_runs(world: World, body: str | bytes, allowed: bool) -> None:
    """Two readers may take different ones of two. So the second reader gets what the first one understood."""
    arrived: list[bytes] = []

    async def behind(scope: dict, receive: Callable, send: Callable) -> None:
        arrived.append(await Request(scope, receive).body())
        await Response()(scope, receive, send)

    world.put_behind_the_door(behind)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token_for(world, '')}"}
    answer = world.mcp.post("/mcp", content=body, headers=headers)
    if isinstance(body, bytes) and world.number == FINISHED.number:  # RFC 8259 §8.1: JSON travels in UTF-8
        assert (arrived, answer.status_code) == ([], 400)
        return
    if not allowed:
        assert arrived == []
        return says(answer, 403, too_little(REBALANCE))
    read = body.decode("utf-16") if isinstance(body, bytes) else body
    assert len(arrived) == 1
    assert json.loads(arrived[0], object_pairs_hook=list) == json.loads(
        json.dumps(json.loads(read)), object_pairs_hook=list
    ), "each name once"


def test_whoever_is_not_let_in_is_not_even_read(world: World) -> None:
    says(world.mcp.post("/mcp", content=b"\xff" * 100_000), 401, CHALLENGE)
    answer = world.call("a.b.c", "rebalance", {"Mcp-Name": "whoami"}, **EVEN)
    says(answer, 401, INVALID_TOKEN)


# ── refresh tokens ────────────────────────────────────────────────────────────


def inside(tokens: dict) -> dict:
    return jwt.decode(tokens["access_token"], options={"verify_signature": False})


def test_only_who_registered_for_it_gets_a_refresh_token(world: World) -> None:
    asked = world.register(grant_types=BOTH)
    assert asked["grant_types"] == BOTH
    assert set(world.tokens(asked["client_id"])) == {
        "access_token",
        "token_type",
        "expires_in",
        "scope",
        "refresh_token",
    }
    silent = world.register()
    assert silent["grant_types"] == ["authorization_code"]
    assert "refresh_token" not in world.tokens(silent["client_id"])
    assert world.announced()["grant_types_supported"][:2] == BOTH


def test_a_refresh_token_buys_the_next_tokens_and_is_spent(world: World) -> None:
    client_id, first = world.with_refresh()
    answer = world.refresh(client_id, first["refresh_token"])
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    second = answer.json()
    assert set(second) == set(first)
    assert (second["token_type"], second["expires_in"], second["scope"]) == ("Bearer", 600, BASIC)
    assert not {second["access_token"], second["refresh_token"]} & {first["access_token"], first["refresh_token"]}
    assert len(second["refresh_token"]) >= 43, "256 random bits"
    assert inside(second) | {"jti": "", "iat": 0, "exp": 0} == inside(first) | {"jti": "", "iat": 0, "exp": 0}
    assert ran(world.list_tools(f"Bearer {second['access_token']}"))
    assert world.refresh(client_id, second["refresh_token"]).status_code == 200
    refused(world.refresh(client_id, first["refresh_token"]), "invalid_grant")


@pytest.mark.steps("06")
def test_left_open_in_step_06_a_spent_one_harms_nobody(world: World) -> None:
    client_id, first = world.with_refresh()
    second = world.refresh(client_id, first["refresh_token"]).json()
    refused(world.refresh(client_id, first["refresh_token"]), "invalid_grant")
    assert world.refresh(client_id, second["refresh_token"]).status_code == 200


def test_a_mistake_costs_nothing(world: World) -> None:
    client_id, tokens = world.with_refresh()
    ours = tokens["refresh_token"]
    other = world.register(grant_types=BOTH)["client_id"]
    without = world.register()["client_id"]
    for wrong in ("", None, "guessed", "é", ours + "x", tokens["access_token"]):
        refused(world.refresh(client_id, wrong), "invalid_grant")
    refused(world.refresh(other, ours), "invalid_grant")
    refused(world.refresh(without, ours), "unauthorized_client")
    refused(world.refresh("nobody", ours), "invalid_client", 401)
    refused(world.refresh(client_id, ours, client_secret="x"), "invalid_client", 401)
    refused(world.refresh(client_id, [ours, ours]), "invalid_request")
    for wrong in (f"{BASIC} {REBALANCE}", REBALANCE, "admin", "mcp:tools", "mcp:resources:customer-data", "é", "*"):
        refused(world.refresh(client_id, ours, scope=wrong), "invalid_scope")
    world.clock.ahead += 61  # so many mistakes at once are too many for later steps
    for wrong in (NEIGHBOUR, RESOURCE + "/", "https://other.example", [RESOURCE, RESOURCE]):
        refused(world.refresh(client_id, ours, resource=wrong), "invalid_target")
    assert world.refresh(client_id, ours, resource=RESOURCE).status_code == 200


def test_a_client_with_a_secret_shows_it_when_it_refreshes(world: World) -> None:
    client = world.register(grant_types=BOTH, token_endpoint_auth_method="client_secret_post")
    client_id, secret = client["client_id"], client["client_secret"]
    ours = world.redeem(client_id, world.code(client_id), client_secret=secret).json()["refresh_token"]
    refused(world.refresh(client_id, ours), "invalid_client", 401)
    refused(world.refresh(client_id, ours, client_secret="wrong"), "invalid_client", 401)
    assert world.refresh(client_id, ours, client_secret=secret).status_code == 200


def test_less_can_be_asked_for_and_what_was_allowed_stays(world: World) -> None:
    client_id, tokens = world.with_refresh()
    less = world.refresh(client_id, tokens["refresh_token"], scope=READ).json()
    assert less["scope"] == inside(less)["scope"] == READ
    says(world.list_tools(f"Bearer {less['access_token']}"), 403, too_little(SENTIMENT))
    again = world.refresh(client_id, less["refresh_token"]).json()
    assert again["scope"] == inside(again)["scope"] == BASIC


def test_who_was_allowed_less_cannot_refresh_to_more(world: World) -> None:
    client_id = world.register(grant_types=BOTH)["client_id"]
    allowed = world.consent(world.ask(client_id), scope=[READ])
    code = dict(parse_qsl(urlsplit(allowed.headers["location"]).query))["code"]
    tokens = world.redeem(client_id, code).json()
    refused(world.refresh(client_id, tokens["refresh_token"], scope=BASIC), "invalid_scope")
    assert world.refresh(client_id, tokens["refresh_token"]).json()["scope"] == READ


def test_a_refresh_token_that_is_used_every_day_lives_on_and_one_that_rests_does_not(world: World) -> None:
    client_id, tokens = world.with_refresh()
    for _ in range(3):
        world.clock.ahead += world.refresh_lifetime - 100
        tokens = world.refresh(client_id, tokens["refresh_token"]).json()
    world.clock.ahead += world.refresh_lifetime + 1
    refused(world.refresh(client_id, tokens["refresh_token"]), "invalid_grant")


# ── lifetimes ─────────────────────────────────────────────────────────────────


@pytest.mark.of_steps("the finished server has settings: tests/test_auth_server.py")
def test_lifetimes_come_from_the_environment(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in {"CODE_LIFETIME": 1, "TOKEN_LIFETIME": 2, "REFRESH_LIFETIME": 9, "LEEWAY": 0}.items():
        monkeypatch.setenv(name, str(seconds))
    client_id, tokens = world.with_refresh()
    assert tokens["expires_in"] == inside(tokens)["exp"] - inside(tokens)["iat"] == 2
    assert ran(world.list_tools(f"Bearer {tokens['access_token']}"))
    late = world.code(client_id)
    world.clock.ahead += 2
    says(world.list_tools(f"Bearer {tokens['access_token']}"), 401, INVALID_TOKEN)
    refused(world.redeem(client_id, late), "invalid_grant")
    world.clock.ahead += 8
    refused(world.refresh(client_id, tokens["refresh_token"]), "invalid_grant")


@pytest.mark.of_steps("the finished server has settings: tests/test_auth_operator.py")
@pytest.mark.parametrize("value", ["abc", "0", "-1", "1.5", "1e3", "10 s", "１２", "9999999999"])
def test_a_lifetime_that_is_none_is_one_sentence(world: World, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("TOKEN_LIFETIME", value)
    with pytest.raises(SystemExit) as ended:
        world.loaded.module("auth_server")
    assert str(ended.value) == f"TOKEN_LIFETIME={value} is not a time: give whole seconds, 1 or more, like 600."


@pytest.mark.thorough
def test_who_starts_a_server_with_it_reads_that_sentence() -> None:
    ran = processes.run("run", "07", TOKEN_LIFETIME="abc")
    assert ran.code == 1
    assert "TOKEN_LIFETIME=abc is not a time: give whole seconds, 1 or more, like 600." in ran.err
    assert "Traceback" not in ran.out + ran.err


# ── the client does what it is told ───────────────────────────────────────────

of_their_client = pytest.mark.of_steps("it is their client; the finished one: tests/test_finished_client.py")
EXPIRED = (401, {}, INVALID_TOKEN)
NOT_ENOUGH = (403, {}, too_little(REBALANCE))
DONE = (200, {"jsonrpc": "2.0", "id": 1, "result": {}}, "")
NEW = TOKENS | {"access_token": "a new token", "refresh_token": "the next refresh token"}


class Story(Net):
    """A net on which every address answers in turn; the last answer stays."""

    def __init__(self) -> None:
        super().__init__()
        self.turns: dict[str, list[httpx2.Response]] = {}

    def tells(self, url: str, *turns: tuple[int, object, str] | tuple[int, object]) -> "Story":
        challenges = ({"WWW-Authenticate": turn[2]} if turn[2:] and turn[2] else {} for turn in turns)
        answers = [httpx2.Response(turn[0], json=turn[1], headers=more) for turn, more in zip(turns, challenges)]
        self.turns[url] = answers
        return self

    def answer(self, request: httpx2.Request) -> httpx2.Response:
        request.read()
        self.asked.append(request)
        turns = self.turns.get(str(request.url), [httpx2.Response(404)])
        return turns.pop(0) if len(turns) > 1 else turns[0]

    def forms(self) -> list[dict[str, str]]:
        """What /token was sent."""
        asked = [request for request in self.asked if str(request.url) == f"{ISSUER}/token"]
        return [dict(parse_qsl(request.content.decode())) for request in asked]

    def tokens(self) -> list[str]:
        """What the door was shown."""
        return [request.headers["authorization"] for request in self.asked if str(request.url) == RESOURCE]

    def scopes(self) -> list[str]:
        """What the user was asked for."""
        return [dict(parse_qsl(urlsplit(url).query))["scope"] for url in self.visited]


def story(*door: tuple[int, object, str], token: tuple = ((200, NEW),)) -> Story:
    net = Story().tells(RESOURCE, *door).tells(f"{ISSUER}/token", *token)
    return net.tells(f"{ISSUER}/register", (201, {"client_id": "c-2"}))


@pytest.fixture
def client(world: World) -> ModuleType:
    return client_of(world)


def session(client: ModuleType, net: Net, *visits: object) -> object:
    """What somebody holds who has been here for a while; whenever they ask the user, these visits come back."""
    give_a_browser(client, net, *visits)
    held = TOKENS | {"access_token": "an old token", "refresh_token": "a refresh token"}
    return client.Session(metadata(), {"client_id": "c-1"}, {SENTIMENT}, held)


@of_their_client
def test_an_expired_token_is_refreshed_and_the_call_sent_again(client: ModuleType) -> None:
    net = story(EXPIRED, DONE)
    held = session(client, net)
    assert client.call(net.http, held, "rebalance", **EVEN).status_code == 200
    assert [str(request.url) for request in net.asked] == [RESOURCE, f"{ISSUER}/token", RESOURCE]
    assert net.tokens() == ["Bearer an old token", "Bearer a new token"]
    assert net.forms() == [
        {
            "grant_type": "refresh_token",
            "client_id": "c-1",
            "refresh_token": "a refresh token",
            "resource": RESOURCE,
        }
    ]
    assert net.asked[0].content == net.asked[2].content, "the same call"
    assert net.visited == []
    assert held.tokens["refresh_token"] == "the next refresh token"


@of_their_client
def test_without_a_next_refresh_token_the_old_one_is_kept(client: ModuleType) -> None:
    net = story(EXPIRED, DONE, token=((200, {"access_token": "a new token", "token_type": "Bearer"}),))
    held = session(client, net)
    client.call(net.http, held, "rebalance", **EVEN)
    assert (held.tokens["access_token"], held.tokens["refresh_token"]) == ("a new token", "a refresh token")


@of_their_client
def test_when_the_refresh_token_is_worth_nothing_the_user_is_asked_again(client: ModuleType) -> None:
    net = story(EXPIRED, DONE, token=((400, {"error": "invalid_grant"}), (200, NEW)))
    assert client.call(net.http, session(client, net), "rebalance", **EVEN).status_code == 200
    assert [form["grant_type"] for form in net.forms()] == ["refresh_token", "authorization_code"]
    assert net.scopes() == [SENTIMENT]


@of_their_client
def test_a_forgotten_client_registers_again_once(client: ModuleType) -> None:
    net = story(EXPIRED, DONE, token=((401, {"error": "invalid_client"}), (200, NEW)))
    client.registrations[ISSUER] = {"client_id": "c-1"}
    held = session(client, net)
    assert client.call(net.http, held, "rebalance", **EVEN).status_code == 200
    assert net.urls() == [RESOURCE, f"{ISSUER}/token", f"{ISSUER}/register", f"{ISSUER}/token", RESOURCE]
    assert [form["client_id"] for form in net.forms()] == ["c-1", "c-2"]
    assert "client_id=c-2" in net.visited[0]
    assert held.client == client.registrations[ISSUER] == {"client_id": "c-2"}


@of_their_client
def test_a_client_that_stays_unknown_does_not_register_for_ever(client: ModuleType) -> None:
    net = story(EXPIRED, token=((401, {"error": "invalid_client"}),))
    with pytest.raises(Stop, match="invalid_client"):
        client.call(net.http, session(client, net), "rebalance", **EVEN)
    assert net.urls().count(f"{ISSUER}/register") == len(net.visited) == 1


@of_their_client
def test_the_user_is_asked_for_what_we_had_and_what_is_needed(client: ModuleType) -> None:
    net = story(NOT_ENOUGH, DONE)
    held = session(client, net)
    assert client.call(net.http, held, "rebalance", **EVEN).status_code == 200
    assert net.scopes() == [f"{REBALANCE} {SENTIMENT}"]
    assert net.tokens() == ["Bearer an old token", "Bearer a new token"]
    assert held.scopes == {SENTIMENT, REBALANCE}


@of_their_client
def test_a_user_is_asked_twice_for_an_operation_and_then_left_alone(client: ModuleType) -> None:
    net = story(NOT_ENOUGH)
    held = session(client, net)
    for _ in range(2):
        with pytest.raises(Stop, match="rebalance needs more than the user allows. We asked 2 times, and stop asking."):
            client.call(net.http, held, "rebalance", **EVEN)
        assert net.scopes() == [f"{REBALANCE} {SENTIMENT}"] * 2
    with pytest.raises(Stop):
        client.call(net.http, held, "rebalance_customer", id="c-1")
    assert len(net.visited) == 4, "another operation is another question"


@of_their_client
def test_a_user_who_denies_is_not_asked_again(client: ModuleType) -> None:
    net = story(NOT_ENOUGH)
    held = session(client, net, bringing(code=None, error="access_denied", error_description="not today"))
    with pytest.raises(Stop, match="not today"):
        client.call(net.http, held, "rebalance", **EVEN)
    assert (len(net.visited), net.forms()) == (1, [])
    assert held.tokens["access_token"] == "an old token", "what was allowed before is still there"


@of_their_client
def test_a_door_that_calls_every_token_expired_is_left_after_a_while(client: ModuleType) -> None:
    net = story(EXPIRED)
    with pytest.raises(Stop, match="refused 4 times"):
        client.call(net.http, session(client, net), "rebalance", **EVEN)
    assert (len(net.tokens()), net.visited) == (4, [])


@of_their_client
@pytest.mark.parametrize(
    "no",
    [(401, {}, CHALLENGE), (400, {}, INVALID_REQUEST), (403, {}, ""), (503, {}, ""), (401, {}, 'Bearer error="x"')],
)
def test_a_no_that_asks_for_nothing_gets_nothing(client: ModuleType, no: tuple[int, dict, str]) -> None:
    net = story(no)
    assert client.call(net.http, session(client, net), "rebalance", **EVEN).status_code == no[0]
    assert (net.urls(), net.visited) == ([RESOURCE], [])


@of_their_client
@pytest.mark.parametrize(
    "answer", [(500, {}), (200, {}), (200, []), (400, {"error": "temporarily_unavailable"}), (503, "down")]
)
def test_a_refresh_that_fails_in_another_way_is_one_sentence(client: ModuleType, answer: tuple[int, object]) -> None:
    net = story(EXPIRED, token=(answer,))
    held = session(client, net)
    with pytest.raises(Stop, match="gives no token"):
        client.call(net.http, held, "rebalance", **EVEN)
    assert net.visited == []
    assert held.tokens["refresh_token"] == "a refresh token", "it may still be good when the server is well again"
