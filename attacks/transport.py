"""Group E: how a token travels, and which message it pays for."""

import contextlib
import json
import re

import httpx2

from attacks.core import (
    NotHere,
    Verdict,
    as_specified,
    attack,
    denied_at_the_door,
    got_in,
    json_object,
    otherwise,
    worst,
)
from attacks.world import ACCEPT, BASIC, LIST_TOOLS, MCP_HEADERS, META, NATIVE, REBALANCE, World

SENTIMENT, READ = BASIC.split()
PORTFOLIO = {"ACME": 1.0, "GLOBEX": 3.0}
OLD = "2025-11-25"  # the last protocol with sessions, and without headers that repeat the body


def message(method: str, **params: object) -> dict:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


def old_session(world: World, token: str) -> dict[str, str]:
    """The headers of somebody who speaks the old protocol; none if it is not spoken here."""
    about = ACCEPT | {"MCP-Protocol-Version": OLD, "Authorization": f"Bearer {token}"}
    who = {"protocolVersion": OLD, "capabilities": {}, "clientInfo": {"name": "a test", "version": "0"}}
    hello = world.mcp.post("/mcp", json=message("initialize", **who), headers=about)
    session = hello.headers.get("mcp-session-id")
    return (about | ({"Mcp-Session-Id": session} if session else {})) if ran(hello) else {}


def in_old_words(world: World, old: dict[str, str], tool: str, *headers: tuple[str, str]) -> list[httpx2.Response]:
    """A tool call in the old protocol, if it is spoken here."""
    body = message("tools/call", name=tool, arguments={"portfolio": PORTFOLIO})
    return [world.mcp.post("/mcp", json=body, headers=[*old.items(), *headers])] if old else []


def naming_two(*tools: str) -> str:
    """A tool call that names two tools. Which one it means depends on who reads it."""
    names = ", ".join(f'"name": "{tool}"' for tool in tools)
    call = f'"method": "tools/call", "params": {{{names}, "arguments": {json.dumps({"portfolio": PORTFOLIO})}}}'
    return f'{{"jsonrpc": "2.0", "id": 1, {call}}}'


def ran(answer: httpx2.Response) -> bool:
    """Whether something was done, and not only an error reported."""
    result = json_object(answer).get("result")
    return answer.status_code == 200 and isinstance(result, dict) and result.get("isError") is not True


def text_of(answer: httpx2.Response) -> str:
    content = json_object(answer).get("result", {}).get("content") or [{}]
    return str(content[0].get("text", ""))


def turned_away(answer: httpx2.Response, *statuses: int) -> Verdict:
    if answer.status_code < 400:
        return got_in(f"{answer.request.url.path} answered {answer.status_code}")
    return (as_specified if answer.status_code in statuses else otherwise)(str(answer.status_code))


# ── the token ─────────────────────────────────────────────────────────────────────────────────────


@attack("ATK-076", "No token", "OAuth 2.1 §5.3.2, RFC 9728 §5.1", "MCP", stopped_from="04")
def no_token(world: World) -> Verdict:
    """The challenge says where to go and what to ask for; nothing was wrong, so it names no error."""
    answers = [world.list_tools(), world.list_tools("Basic YWxpY2U6d29uZGVybGFuZA=="), world.mcp.post("/mcp")]
    for answer in answers:
        challenge = answer.headers.get("www-authenticate", "")
        if answer.status_code == 401 and not ("realm=" in challenge and "scope=" in challenge):
            return otherwise(challenge)
    return worst(*(denied_at_the_door(answer, 401) for answer in answers))


@attack("ATK-077", "Token in the query string", "OAuth 2.1 §5.1", "MCP", stopped_from="04")
def token_in_query(world: World) -> Verdict:
    """Addresses are written down everywhere. (Also in our logs? Whoever runs this looks.)"""
    query = {"access_token": world.access_token()}
    return denied_at_the_door(world.mcp.post("/mcp", params=query, json=LIST_TOOLS, headers=MCP_HEADERS), 401)


@attack("ATK-079", "Two Authorization headers", "OAuth 2.1 §5.3.2, RFC 9110 §5.3", "MCP", stopped_from="05")
def two_headers(world: World) -> Verdict:
    """Somebody before us may have looked at the other one."""
    good, bad = f"Bearer {world.access_token()}", "Bearer bad"
    answers = [world.list_tools(*pair) for pair in ((good, bad), (bad, good), (good, good), ("Basic eA==", good))]
    return worst(*(denied_at_the_door(answer, 400, "invalid_request") for answer in answers))


@attack("ATK-080", "Header plus body or query token", "OAuth 2.1 §5.1, §5.3.2", "MCP", stopped_from="07")
def header_and_more(world: World) -> Verdict:
    """A token in the body is one too many, and never counts; one in the query is not even seen."""
    own, bobs = world.access_token(), world.access_token("bob")
    headers = MCP_HEADERS | {"Authorization": f"Bearer {own}"}
    form = world.mcp.post("/mcp", data={"access_token": own}, headers=ACCEPT)
    who = message("tools/call", name="whoami", arguments={}, _meta=META)
    named = headers | {"Mcp-Method": "tools/call", "Mcp-Name": "whoami"}
    queried = world.mcp.post("/mcp", params={"access_token": bobs}, json=who, headers=named)
    if "bob" in text_of(queried):
        return got_in("the token in the query counts")
    if "alice" not in text_of(queried):
        return otherwise("a token in the query disturbs")
    verdicts = [denied_at_the_door(form, 401)]
    for token in (own, bobs, "bad"):
        answer = world.mcp.post("/mcp", json=LIST_TOOLS | {"access_token": token}, headers=headers)
        unnoticed = otherwise("a token in the body goes unnoticed")
        verdicts.append(unnoticed if ran(answer) else denied_at_the_door(answer, 400, "invalid_request"))
    return worst(*verdicts)


@attack("ATK-082", "Scheme case (must work)", "OAuth 2.1 §5.1.1", "MCP", stopped_from="04")
def scheme_case(world: World) -> Verdict:
    token = world.access_token()
    refused = [s for s in ("bearer", "BEARER", "bEARER") if world.list_tools(f"{s} {token}").status_code != 200]
    return otherwise(f"{' and '.join(refused)} stays outside") if refused else as_specified("200")


# ── scope ─────────────────────────────────────────────────────────────────────────────────────────


@attack("ATK-083", "Insufficient scope", "OAuth 2.1 §5.3.2", "MCP", stopped_from="06")
def insufficient_scope(world: World) -> Verdict:
    """The no names all that the operation needs, so that one more consent is enough."""
    basic, sentiment, read = (world.access_token(scope=scope) for scope in (BASIC, SENTIMENT, READ))
    tries = [
        (world.call(basic, "rebalance", portfolio=PORTFOLIO), {REBALANCE}),
        (world.read(sentiment, "customers://c-1"), {READ}),
        (world.send(sentiment, "resources/templates/list"), {READ}),
        (world.send(sentiment, "resources/list"), {READ}),
        (world.list_tools(f"Bearer {read}"), {SENTIMENT}),
        (world.call(read, "score_headline", headline="ACME soars"), {SENTIMENT}),
        (world.call(sentiment, "rebalance_customer", id="c-1"), {READ, REBALANCE}),
        (world.call(basic, "rebalance_customer", id="c-1"), {READ, REBALANCE}),
    ]
    with contextlib.suppress(NotHere):
        for scope in ("mcp:exec:workflows:rebal", f"{REBALANCE}:x", REBALANCE.upper(), "", None):
            near = world.signed(world.claims(scope=scope))
            tries.append((world.call(near, "rebalance", portfolio=PORTFOLIO), {REBALANCE}))
    return worst(*(insufficient(answer, needed) for answer, needed in tries))


def insufficient(answer: httpx2.Response, needed: set[str]) -> Verdict:
    named = re.search(r'\bscope="([^"]*)"', answer.headers.get("www-authenticate", ""))
    if answer.status_code == 403 and (not named or set(named[1].split()) != needed):
        return otherwise("the 403 does not name exactly what is needed")
    return denied_at_the_door(answer, 403, "insufficient_scope")


@attack("ATK-085", "Tool hidden but callable", "MCP server/tools", "MCP", stopped_from="06")
def hidden_tool(world: World) -> Verdict:
    """Who sees no tool runs no tool, however its name is spelled and whichever protocol is spoken."""
    token = world.access_token(scope=READ)
    old = old_session(world, token)
    answers = [world.call(token, "rebalance", portfolio=PORTFOLIO)]
    for name in ("rebalance", "Rebalance", "REBALANCE", " rebalance", "rebalance ", "rebalance\0", "ｒebalance"):
        answers += in_old_words(world, old, name)
    for names in (("whoami", "rebalance"), ("rebalance", "whoami")) if old else ():
        as_json = old | {"Content-Type": "application/json"}
        answers.append(world.mcp.post("/mcp", content=naming_two(*names), headers=as_json))
    for answer in answers:
        if ran(answer) and "GLOBEX" in answer.text:
            return got_in("a tool ran")
        if answer.status_code not in (200, 400, 403):
            return otherwise(str(answer.status_code))
    return as_specified(str(answers[0].status_code))


@attack("ATK-086", "Policy by header, execution by body", "MCP transports, SEP-2243", "MCP", stopped_from="06")
def announced_otherwise(world: World) -> Verdict:
    """What runs is the body. Whoever looks at headers only, here or on the way, must not be fooled by them."""
    lie, answers = {"Mcp-Method": "tools/list"}, []
    full = world.access_token(scope=f"{BASIC} {REBALANCE}")
    for token in (world.access_token(), full):
        old = old_session(world, token)
        for told in (lie, lie | {"Mcp-Name": None}, {"Mcp-Name": "score_headline"}, {"Mcp-Name": "whoami"}):
            answers.append(world.call(token, "rebalance", told, portfolio=PORTFOLIO))
            answers += in_old_words(world, old, "rebalance", *(pair for pair in told.items() if pair[1]))
        answers += in_old_words(world, old, "rebalance", ("Mcp-Name", "rebalance"), ("Mcp-Name", "whoami"))
    no_text = json.dumps(LIST_TOOLS | {"id": "\ud800", "method": "ping"})  # JSON can carry what UTF-8 cannot
    headers = MCP_HEADERS | {"Authorization": f"Bearer {full}", "Content-Type": "application/json"}
    unreadable = world.mcp.post("/mcp", content=no_text, headers=headers)
    if unreadable.status_code == 400 and "www-authenticate" in unreadable.headers:
        return worst(*map(contradicted, answers), denied_at_the_door(unreadable, 400, "invalid_request"))
    return worst(*map(contradicted, [*answers, unreadable]))


def contradicted(answer: httpx2.Response) -> Verdict:
    if ran(answer):
        return got_in("the body ran under another name")
    code = json_object(answer).get("error", {}).get("code")
    if (answer.status_code, code) != (400, -32020):
        return otherwise(f"{answer.status_code} {code or ''}".strip())
    return as_specified("400 -32020")


# ── state ─────────────────────────────────────────────────────────────────────────────────────────


@attack("ATK-088", "State handle of another user", "MCP security best practices", "MCP", stopped_from="07")
def others_handle(world: World) -> Verdict:
    """A handle is a name, no key: in other hands it is as unknown as one that never was."""
    alice, bob = world.access_token(), world.access_token("bob")
    kept = world.call(alice, "keep_watchlist", companies=["ACME", "GLOBEX"])
    if not ran(kept):
        raise NotHere("no state handles")
    handle = text_of(kept)
    stolen, invented = world.call(bob, "watchlist", handle=handle), world.call(bob, "watchlist", handle="x" * 22)
    if ran(stolen) or "ACME" in stolen.text:
        return got_in("another person's data")
    if text_of(stolen).replace(handle, "") != text_of(invented).replace("x" * 22, ""):
        return otherwise("it tells that there is such a handle")
    if "ACME" not in world.call(alice, "watchlist", handle=handle).text or len(handle) < 22:
        return otherwise("its owner cannot use it, or everybody can guess it")
    return (as_specified if "unknown handle" in text_of(stolen) else otherwise)(text_of(stolen))


@attack("ATK-089", "requestState replayed or altered", "MCP multi round-trip requests", "MCP", stopped_from="04")
def altered_state(world: World) -> Verdict:
    """The state of a second round comes back from the client: it must be what this server gave to this person."""
    alice, bob = (world.access_token(who, scope=f"{BASIC} {REBALANCE}") for who in ("alice", "bob"))
    name, state = asked_back(world, alice)
    half = len(state) // 2
    tries = [
        (alice, name, wrong) for wrong in ("", "e30", "v1.AAAA", 5, {"step": 2}, state[:half] + "A" + state[half:])
    ]
    tries += [(bob, name, state), (alice, "score_headline", state)] if state else []
    for token, tool, wrong in tries:
        params = {"name": tool, "arguments": {}, "requestState": wrong, "inputResponses": {}}
        answer = world.send(token, "tools/call", tool, **params)
        if ran(answer):
            return got_in("a round that nobody was asked for")
        if not json_object(answer).get("error"):
            return otherwise(f"{answer.status_code} {text_of(answer)}")
    return as_specified("" if state else "what is invented is refused; no tool gives out a real one")


def asked_back(world: World, token: str) -> tuple[str, str]:
    """A tool that needs a second round, and its state for that; any tool and no state if there is none."""
    for tool in json_object(world.list_tools(f"Bearer {token}"))["result"]["tools"]:
        result = json_object(world.call(token, tool["name"])).get("result", {})
        if result.get("requestState"):
            return tool["name"], result["requestState"]
    return "whoami", ""


# ── the connection ────────────────────────────────────────────────────────────────────────────────


@attack("ATK-091", "DNS rebinding by Origin", "MCP transports", "MCP", stopped_from="07")
def evil_origin(world: World) -> Verdict:
    """A page of somebody else learns nothing, not even whether its token is any good."""
    token, own = world.access_token(), world.resource.removesuffix("/mcp")
    verdicts = []
    for origin in ("http://evil.example", "null", f"{own}.evil.example", "http://localhost:9999"):
        for who in (None, f"Bearer {token}", "Bearer bad"):
            answer = world.send("", "tools/list", "", {"Origin": origin, "Authorization": who})
            verdicts.append(turned_away(answer, 403))
    if world.send(token, "tools/list", "", {"Origin": own}).status_code != 200:
        verdicts.append(otherwise("its own origin is refused too"))
    return worst(*verdicts)


@attack("ATK-092", "DNS rebinding by Host", "MCP security best practices", "MCP, AS", stopped_from="07")
def evil_host(world: World) -> Verdict:
    """The attacker's name points to this computer now, and a victim's browser takes us for their site."""
    token, ask = world.access_token(), world.ask(world.register()["client_id"])
    answers = []
    for name in ("evil.example", "evil.example:8000", "localhost.evil.example:9000"):
        host = {"Host": name}
        answers += [
            world.send(token, "tools/list", "", host | {"Authorization": who}) for who in (None, f"Bearer {token}")
        ]
        answers.append(world.mcp.get("/.well-known/oauth-protected-resource/mcp", headers=host))
        answers.append(world.auth.get("/.well-known/oauth-authorization-server", headers=host))
        answers.append(world.auth.get("/authorize", params=ask, headers=host))
        answers.append(world.auth.post("/register", json=NATIVE, headers=host))
    return worst(*(turned_away(answer, 421, 400, 403) for answer in answers))


@attack("ATK-095", "Batch or GET smuggling", "MCP transports", "MCP", stopped_from="04")
def smuggled(world: World) -> Verdict:
    """What is no single POST of one message: outside without a token, and with one there is nothing to find."""
    token = world.access_token()
    inside = MCP_HEADERS | {"Authorization": f"Bearer {token}"}
    batches = [LIST_TOOLS], [LIST_TOOLS, LIST_TOOLS], []
    outside = [world.mcp.post("/mcp", json=batch, headers=MCP_HEADERS) for batch in batches]
    verdicts = [denied_at_the_door(answer, 401) for answer in outside]
    for headers in filter(None, (inside, old_session(world, token))):
        verdicts += [turned_away(world.mcp.post("/mcp", json=batch, headers=headers), 400) for batch in batches]
    for method in ("GET", "DELETE", "PUT", "OPTIONS", "HEAD"):
        verdicts.append(denied_at_the_door(world.mcp.request(method, "/mcp", headers=MCP_HEADERS), 401))
        verdicts.append(turned_away(world.mcp.request(method, "/mcp", headers=inside), 405))
    return worst(*verdicts)
