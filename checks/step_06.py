"""What step 06 promises: every no says what to do next."""

from urllib.parse import parse_qs, parse_qsl, urlsplit

import httpx2

from attacks.core import NotHere
from attacks.hostile import TOKENS, Net, ended, give_a_browser, honest_net, metadata
from attacks.world import BASIC, MCP_HEADERS, World
from checks.core import check, client, expect, expect_denied, expect_outside, expect_status, expect_stopped
from shared.addresses import ISSUER, RESOURCE

WHOLE = "mcp:resources:customer-data"
EXPIRED = httpx2.Response(401, headers={"WWW-Authenticate": 'Bearer realm="mcp", error="invalid_token"'})
OLD = TOKENS | {"access_token": "an-old-access-token", "refresh_token": "an-old-refresh-token"}
NEW = TOKENS | {"access_token": "a-new-access-token", "refresh_token": "a-new-refresh-token"}
NO_SESSION = (
    "client.py needs a Session(server, client, scopes, tokens) and call(http, session, tool, …): one is missing."
)
TOKEN_ENDPOINT = f"{ISSUER}/token"


def refreshable(world: World) -> tuple[str, dict]:
    """A client that may refresh, and the answer of /token with its first refresh token."""
    try:
        return world.with_refresh()
    except NotHere:
        expect(False, "A client that registered for refresh_token was given no refresh token.")


@check(
    "06",
    "A client that registered for it gets a refresh token, as announced, which buys a token that opens the door.",
    section="OAuth 2.1 §4.3.1, §3.2.3",
    rule="tokens_for",
    file="tokens.py",
    hints=(
        "Look at GRANT_TYPES, refresh and tokens_for in tokens.py, and at grant_types_supported in auth_server.py.",
        "Both grants end in the same answer: access token, lifetime, scope, and a refresh token if the client "
        "registered that grant. The metadata lists the grants that the token endpoint knows.",
    ),
)
def refreshed(world: World) -> None:
    client_id, found = refreshable(world)
    answer = world.refresh(client_id, found["refresh_token"])
    expect_status(answer, 200)
    expect(answer.json().get("scope"), "The answer to a refresh does not say which scope the new token has.")
    expect_status(world.list_tools(f"Bearer {answer.json()['access_token']}"), 200)
    announced = world.announced().get("grant_types_supported", [])
    expect("refresh_token" in announced, "The metadata does not list refresh_token among grant_types_supported.")


@check(
    "06",
    "A refresh token works once; the answer brings the next one.",
    section="OAuth 2.1 §4.3.1",
    rule="refresh",
    file="tokens.py",
    hints=(
        "Look at refresh in tokens.py: what becomes of the refresh token that was used?",
        "Take the old one out of the store once all rules are kept, and put a new one into the answer.",
    ),
)
def once(world: World) -> None:
    client_id, found = refreshable(world)
    second = world.refresh(client_id, found["refresh_token"])
    expect_status(second, 200)
    expect("refresh_token" in second.json(), "The answer to a refresh brings no next refresh token.")
    expect(second.json()["refresh_token"] != found["refresh_token"], "The next refresh token is the old one.")
    expect_denied(world.refresh(client_id, found["refresh_token"]), (400, "invalid_grant"))


@check(
    "06",
    "A refresh cannot widen what the user allowed, and a try costs the honest client nothing.",
    section="OAuth 2.1 §4.3.1",
    rule="no_wider_scope",
    file="tokens.py",
    hints=(
        "Look at REFRESH_RULES in tokens.py: which of them reads scope?",
        "What is asked must be a part of what was allowed; else invalid_scope. The rules come before the refresh "
        "token is used up.",
    ),
)
def not_wider(world: World) -> None:
    refreshable(world)
    expect_stopped(world, "ATK-100")


@check(
    "06",
    "A refresh token works for its own client only, and for its own resource.",
    section="OAuth 2.1 §4.3.1, RFC 8707 §2.2",
    rule="same_resource",
    file="tokens.py",
    hints=(
        "Look at refresh and REFRESH_RULES in tokens.py: whose refresh token is it, and for which door?",
        "Another client hears invalid_grant, as if there were no such token; another resource is invalid_target.",
    ),
)
def own_token_only(world: World) -> None:
    refreshable(world)
    expect_stopped(world, "ATK-103", "ATK-049")


@check(
    "06",
    "A refresh token that nobody used for long enough works no more.",
    section="OAuth 2.1 §4.3.3",
    rule="still_fresh",
    file="tokens.py",
    hints=(
        "Look at tokens_for in tokens.py, where a refresh token is stored, and at REFRESH_RULES.",
        "Store until when it is good, REFRESH_LIFETIME from now, and let a rule compare that with the time.",
    ),
)
def refresh_expires(world: World) -> None:
    refreshable(world)
    expect_stopped(world, "ATK-104")


@check(
    "06",
    "Who has not registered the grant gets no refresh token and cannot use one.",
    section="OAuth 2.1 §3.2.4",
    rule="GRANT_TYPES",
    file="tokens.py",
    hints=(
        "Look at token in tokens.py: between who asks and what for, something is missing.",
        "A grant type that this client did not register is unauthorized_client, before any grant is looked at.",
    ),
)
def not_registered(world: World) -> None:
    refreshable(world)
    expect_stopped(world, "ATK-106")


@check(
    "06",
    "What a token does not allow stays shut, and the 403 names all scopes of the operation.",
    section="OAuth 2.1 §5.3.2",
    rule="enough_scope",
    file="scopes.py",
    hints=(
        "Look at SCOPE_RULES in scopes.py, at `needed`, and at too_little in mcp_server.py.",
        "Ask for the scopes of the operation that the message names. If one is missing, answer 403 "
        "insufficient_scope with all of them in one challenge.",
    ),
)
def scopes_by_operation(world: World) -> None:
    expect_stopped(world, "ATK-083")


@check(
    "06",
    "A broader scope is enough: the whole allows its parts.",
    section="MCP 2026-07-28, authorization",
    rule="allows",
    file="scopes.py",
    hints=(
        "Look at allows in scopes.py, and at SCOPES in clients.py.",
        f"{WHOLE} allows {WHOLE}:read, and nothing that only begins with the same letters.",
    ),
)
def whole_allows_parts(world: World) -> None:
    client_id, scope = world.register()["client_id"], f"mcp:tools:sentiment {WHOLE}"
    page = world.auth.get("/authorize", params=world.ask(client_id, scope=scope))
    expect(page.status_code == 200, f"Nobody can ask for {WHOLE}: /authorize answered {page.status_code}.")
    answer = world.read(world.tokens(client_id, scope=scope)["access_token"], "customers://c-1")
    expect(answer.status_code == 200, f"With {WHOLE}, reading a customer was answered {answer.status_code}.")


@check(
    "06",
    "The message decides: headers that announce something else are refused.",
    section="MCP 2026-07-28, transports",
    rule="name_as_announced",
    file="scopes.py",
    hints=(
        "Look at ANNOUNCEMENT_RULES in scopes.py: what does each of them compare?",
        "Every Mcp-Method and every Mcp-Name must say what the body says; if not, 400 and JSON-RPC error -32020.",
    ),
)
def headers_announce(world: World) -> None:
    expect_stopped(world, "ATK-086")


@check(
    "06",
    "A body that is not one JSON object is 400, with a challenge that says so.",
    section="OAuth 2.1 §5.3.2",
    rule="checked",
    file="mcp_server.py",
    hints=(
        "Look at checked in mcp_server.py: what does it do with a body that cannot be read?",
        "Read the body before judging it; if it is not one JSON object: 400 invalid_request, as for a bad header.",
    ),
)
def odd_body(world: World) -> None:
    token = world.access_token()
    headers = MCP_HEADERS | {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    for content in ("{", "[]", '"text"'):
        answer = world.mcp.post("/mcp", content=content, headers=headers)
        expect_outside(answer, 400, "invalid_request")


# ── the client ────────────────────────────────────────────────────────────────────────────────────


class InTurn(Net):
    """Honest servers; but these addresses answer one thing after the other, and the last one for ever."""

    def __init__(self, **turns: list[httpx2.Response]) -> None:
        super().__init__()
        self.answers |= honest_net().answers
        self.turns = {{"resource": RESOURCE, "token": TOKEN_ENDPOINT}[name]: list(turns[name]) for name in turns}

    def answer(self, request: httpx2.Request) -> httpx2.Response:
        usual, turns = super().answer(request), self.turns.get(str(request.url))
        return (turns.pop(0) if len(turns) > 1 else turns[0]) if turns else usual

    def forms(self) -> list[dict[str, str]]:
        """What the token endpoint was sent."""
        sent = [request for request in self.asked if str(request.url) == TOKEN_ENDPOINT]
        return [dict(parse_qsl(request.content.decode())) for request in sent]


def calls_a_tool(world: World, net: Net) -> str:
    """The client calls a tool with tokens of long ago. How it stopped; empty if it came to an answer."""
    program = client(world)
    expect(hasattr(program, "Session") and hasattr(program, "call"), NO_SESSION)
    give_a_browser(program, net)
    program.registrations.clear()
    program.registrations[ISSUER] = {"client_id": "c-old"}
    session = program.Session(metadata(), {"client_id": "c-old"}, set(BASIC.split()), dict(OLD))
    return ended(lambda: program.call(net.http, session, "score_headline", headline="ACME soars"))


@check(
    "06",
    "When its token has expired, the client refreshes, and registers again if it has been forgotten.",
    section="OAuth 2.1 §4.3.1, RFC 7591 §3.1",
    rule="refresh",
    file="client.py",
    hints=(
        "Look at call and refresh in client.py: which error leads where?",
        "invalid_token asks for a refresh, and the call is tried again with what that brings. invalid_client there "
        "means a new registration and a new consent; invalid_grant a new consent.",
    ),
)
def client_refreshes(world: World) -> None:
    good = httpx2.Response(200, json={})
    net = InTurn(resource=[EXPIRED, good], token=[httpx2.Response(200, json=NEW)])
    words = calls_a_tool(world, net)
    expect(not words, f"The client stopped: {words}")
    used = [form.get("refresh_token") for form in net.forms() if form.get("grant_type") == "refresh_token"]
    expect(used == [OLD["refresh_token"]], "After invalid_token the client did not send its refresh token, once.")
    expect(not net.visited, "The client asked the user, though a refresh was enough.")
    last = net.asked[-1].headers.get("authorization")
    expect(last == f"Bearer {NEW['access_token']}", "The client did not try again with its new token.")
    forgotten = httpx2.Response(401, json={"error": "invalid_client"})
    net = InTurn(resource=[EXPIRED, good], token=[forgotten, httpx2.Response(200, json=NEW)])
    words = calls_a_tool(world, net)
    expect(not words, f"Forgotten by the authorization server, the client stopped: {words}")
    names = [parse_qs(urlsplit(url).query).get("client_id") for url in net.visited]
    expect(names == [["c-1"]], "The client was forgotten, and did not ask the user once more under its new name.")


@check(
    "06",
    "The client asks the user for more when that is needed: for what it had and what is new, and twice at most.",
    section="MCP 2026-07-28, step-up",
    rule="step_up",
    file="client.py",
    hints=(
        "Look at step_up in client.py: what is asked for, and how often?",
        "Ask for the union of old and new scopes, count by operation, stop with a sentence after STEP_UPS times.",
    ),
)
def client_steps_up(world: World) -> None:
    program = client(world)
    expect(hasattr(program, "Session") and hasattr(program, "call"), NO_SESSION)
    expect(hasattr(program, "step_up"), "client.py has no step_up.")
    expect_stopped(world, "ATK-107")
