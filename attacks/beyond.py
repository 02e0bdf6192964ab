"""What only the finished programs have: remembered consents, an account page, settings, introspection, API keys."""

from dataclasses import dataclass
from pathlib import Path

import httpx2
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from attacks.core import (
    NotHere,
    Verdict,
    as_specified,
    attack,
    denied,
    denied_at_the_door,
    denied_for_now,
    denied_with_page,
    got_in,
    let_in,
    otherwise,
    worst,
)
from attacks.programs import Finished
from attacks.world import BASIC, ELSEWHERE, LIST_TOOLS, MCP_HEADERS, REBALANCE, World
from shared.addresses import NEIGHBOUR
from shared.stop import Stop

SENTIMENT = BASIC.split()[0]
WEB = {"redirect_uris": ["https://app.example/callback"], "application_type": "web"}
TO_WEB = {"redirect_uri": WEB["redirect_uris"][0], "scope": SENTIMENT}
NOWHERE = {"Origin": "null"}  # what a page says that does not want to say where it is from
GUESSES = 5  # that one address has in a minute, at a door of ours
IN_THE_OPEN = "https://as.example"
OVER_TLS = "https://localhost:9000"
PROXY = {"issuer": IN_THE_OPEN, "proxies": "10.0.0.1"}
CARELESS = (
    {"issuer": "http://as.example"},
    {"issuer": "http://localhost.as.example:9000"},
    {"issuer": "as.example"},
    {"issuer": "http://localhost:9000?tenant=1"},
    {"issuer": "http://localhost:9000/#x"},
    {"issuer": "http://alice@localhost:9000"},
    {"issuer": "http://localhost:9000/"},
    {"issuer": IN_THE_OPEN},
    {"issuer": IN_THE_OPEN, "certificate": "as.pem"},
    {"listen": "0.0.0.0:9000"},
    {"listen": "[::]:9000"},
    {"listen": ":9000"},
    PROXY | {"demo": True},
    PROXY | {"issuer": OVER_TLS, "listen": "0.0.0.0:9000", "demo": True},
    PROXY | {"proxies": "*"},
    {"signing_algorithm": "none"},
    {"signing_algorithm": "HS256"},
    {"code_lifetime": 86_400},
    {"token_lifetime": 0},
    {"initial_access_token": "secret"},
    {"metrics_token": "0123456789"},
    {"surprise": True},
    {"demo": "no"},
)
CARELESS_DOORS = (
    {"OAUTH_ISSUER": "http://as.example"},
    {"OAUTH_AUDIENCE": "http://mcp.example/mcp"},
    {"OAUTH_JWKS_URI": "http://as.example/jwks"},
    {"OAUTH_INTROSPECTION_ENDPOINT": "https://as.example/introspect"},
    {"AUTH_MODE": "none"},
    {"LEEWAY": "forever"},
    {"CORS_ORIGINS": "*"},
)


def finished(world: World) -> Finished:
    if not isinstance(world, Finished):
        raise NotHere("only the finished programs promise it, and only from inside can it be tried")
    return world


# ── consents that are remembered ──────────────────────────────────────────────────────────────────


def remembered(world: World) -> tuple[httpx2.Client, dict[str, str]]:
    """A browser in which alice allowed something, and the request that she is not asked about any more."""
    browser, ask = world.browser(), world.ask(world.register(**WEB)["client_id"], **TO_WEB)
    if not let_in(world.consent(ask, browser=browser)):
        raise AssertionError("alice could not allow it")
    if not let_in(browser.get("/authorize", params=ask)) or "location" not in world.exchanges[-1].headers:
        raise NotHere("nothing is remembered")
    return browser, ask


@attack("ATK-213", "A remembered consent used for more", "OAuth 2.1 §7.3", "AS", stopped_from="finished")
def more_than_allowed(world: World) -> Verdict:
    """What was allowed is not asked again. What goes beyond it is, and whatever the client itself wants asked."""
    browser, ask = remembered(world)
    more = [{"scope": f"{SENTIMENT} {REBALANCE}"}, {"scope": REBALANCE}, {"resource": NEIGHBOUR}]
    more += [{"client_id": world.register(**WEB)["client_id"]}, {"prompt": "consent"}, {"prompt": "login consent"}]
    return worst(*(asked_first(browser.get("/authorize", params=ask | changes)) for changes in more))


def asked_first(answer: httpx2.Response) -> Verdict:
    if answer.has_redirect_location:
        return got_in("alice was not asked")
    return as_specified("alice is asked") if let_in(answer) else otherwise(f"{answer.status_code}, and no page")


@attack("ATK-214", "Our own form in a stranger's page", "RFC 6749 §10.12", "AS", stopped_from="finished")
def foreign_form(world: World) -> Verdict:
    """It is sent by a browser in which alice is signed in, and it would sign her out, take back, or allow."""
    browser, ask = remembered(world)
    theirs = world.page(ask, world.browser(), "bob")["form"][0]
    withdrawn = {"client_id": ask["client_id"], "resource": ask["resource"]}
    wanted = ask | {"scope": f"{SENTIMENT} {REBALANCE}"}
    tries = []
    for form in ({}, {"form": ""}, {"form": "é"}, {"form": theirs}):
        allowed = world.consent(wanted, browser=browser, **({"form": ""} | form))
        sent = [
            browser.post(path, data=about | form, headers=NOWHERE)
            for path, about in (("/account/withdraw", withdrawn), ("/logout", {"stay": "no"}))
        ]
        tries += [denied_with_page(answer, 403) for answer in (allowed, *sent)]
    return worst(*tries, as_specified() if let_in(browser.get("/authorize", params=ask)) else got_in("alice is out"))


# ── for those who operate it ──────────────────────────────────────────────────────────────────────


@attack("ATK-215", "Metrics read by a stranger", "own", "AS, MCP", stopped_from="finished")
def watched(world: World) -> Verdict:
    """How many sign in, how many fail to, and who calls how often is nobody's business."""
    strangers = world.browser(ELSEWHERE), world.caller(ELSEWHERE)
    if world.auth.get("/metrics").status_code == 404:
        raise NotHere("no metrics")
    shown = ("", "Bearer ", "Bearer None", f"Bearer {world.access_token()}", "Bearer é")
    headers = [{"Authorization": one.encode()} for one in shown] + [{"X-Forwarded-For": "127.0.0.1"}]
    answers = [stranger.get("/metrics", headers=one) for stranger in strangers for one in headers]
    if any(answer.status_code == 200 for answer in answers):
        return got_in("reads them")
    return worst(*(denied(answer, (403, "access_denied")) for answer in answers))


@attack("ATK-216", "An address that fills the memory", "RFC 9110 §4.1", "AS", stopped_from="finished")
def endless_address(world: World) -> Verdict:
    """What a request asks for is kept until a person has answered. So nobody may ask for a book."""
    ask = finished(world).ask(world.register()["client_id"])
    longest = [world.auth.get("/authorize", params=ask | {name: "x" * 20_000}) for name in ("state", "surprise")]
    if world.auth.get("/authorize", params=ask | {"state": "x" * 4000}).status_code != 200:
        return otherwise("not even a long one")
    return worst(*(denied(answer, (414, "invalid_request")) for answer in longest))


@attack("ATK-217", "A careless operator", "OAuth 2.1 §1.5, §4.1.2", "AS, MCP", stopped_from="finished")
def careless_operator(world: World) -> Verdict:
    """Nobody has to attack what stands open. Whoever starts it learns in one sentence what is wrong."""
    here = finished(world).loaded
    server, door = here.module("auth_server.settings").Settings, here.module("mcp_server.oauth.config").Settings
    fine = server.load({}, **PROXY | {"code_lifetime": 600})
    tries = [told_the_operator(lambda: server.load({}, **careless), careless) for careless in CARELESS]
    tries += [told_the_operator(lambda: door.from_environment(careless), careless) for careless in CARELESS_DOORS]
    return worst(*tries, as_specified() if fine.secure else otherwise("a good one"))


def told_the_operator(start: object, careless: dict[str, object]) -> Verdict:
    name = list(careless)[-1]
    try:
        start()
    except Stop as why:
        return as_specified("a sentence") if name in str(why) or "https" in str(why) else otherwise(str(why))
    return got_in(f"{name} = {careless[name]!r} is taken")


@attack("ATK-226", "Past the proxy that speaks TLS", "OAuth 2.1 §1.5", "AS", stopped_from="finished")
def past_the_proxy(world: World) -> Verdict:
    """Whoever finds the server behind it speaks http there, and so would all who were sent that way."""
    with Finished(loaded=finished(world).loaded, issuer=OVER_TLS, proxies="10.0.0.1") as house:
        origins = OVER_TLS, OVER_TLS.replace("https:", "http:")
        honest, past = (house.client(house.auth_server.app, origin, ELSEWHERE) for origin in origins)
        ask = house.ask(honest.post("/register", json=WEB).json().get("client_id", ""), **TO_WEB)
        if not let_in(honest.get("/authorize", params=ask)):
            return otherwise("not even over TLS")
        answers = [past.post("/register", json=WEB), past.get("/authorize", params=ask), past.get("/jwks")]
        return worst(*(denied(answer, (421, "invalid_request")) for answer in answers))


# ── introspection ─────────────────────────────────────────────────────────────────────────────────


@dataclass
class Oracle:
    """The issuer as an MCP server sees it that asks about tokens: it says this of every one."""

    says: dict

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await JSONResponse(self.says)(scope, receive, send)


def shown(door: httpx2.Client, *headers: tuple[str, str]) -> httpx2.Response:
    sent = [(name, value.encode()) for name, value in (*MCP_HEADERS.items(), *headers)]
    return door.post("/mcp", json=LIST_TOOLS, headers=sent)


def bearing(door: httpx2.Client, token: str) -> httpx2.Response:
    return shown(door, ("Authorization", f"Bearer {token}"))


@attack("ATK-218", "Introspection answer half read", "RFC 7662 §2.2, RFC 9068 §4", "MCP", stopped_from="finished")
def half_read(world: World) -> Verdict:
    """The token says nothing, so all depends on the answer: on each word of it."""
    oracle = Oracle(finished(world).claims(active=True))
    own = {"OAUTH_INTROSPECTION_CLIENT_ID": "rs-1", "OAUTH_INTROSPECTION_CLIENT_SECRET": "a secret"}
    door = world.second_door(oracle, OAUTH_INTROSPECTION_ENDPOINT=f"{world.issuer}/introspect", **own)
    if bearing(door, "a-good-one").status_code != 200:
        return otherwise("a good token does not count either")
    past, later = (int(world.clock.time()) + seconds for seconds in (-600, 600))
    lies: list[dict] = [{"active": value} for value in (False, "true", 1, None)]
    lies += [{name: value} for name in ("sub", "client_id") for value in ("", 5, None)]
    lies += [{"exp": value} for value in (None, str(later), past, -1, True, 1e300)]
    lies += [{"aud": value} for value in (None, NEIGHBOUR, [world.resource, NEIGHBOUR], [])]
    lies += [{"iss": "https://evil.example"}, {"nbf": later}, {"iat": later}]
    tries = []
    for number, lie in enumerate(lies):
        oracle.says = world.claims(**{"active": True} | lie)
        tries.append(denied_at_the_door(bearing(door, f"opaque-{number}"), 401, "invalid_token"))
    return worst(*tries)


# ── guesses ───────────────────────────────────────────────────────────────────────────────────────


@attack("ATK-219", "Tokens guessed at the MCP server", "OAuth 2.1 §7.7", "MCP", stopped_from="finished")
def guessing_tokens(world: World) -> Verdict:
    """Whoever guesses has to wait. Whoever is known already does not, not even at the same address."""
    token = finished(world).access_token()
    door = world.second_door(FAILURES_PER_MINUTE=str(GUESSES))
    known = [bearing(door, token)]
    wrong = [bearing(door, world.signed(world.claims(aud=NEIGHBOUR, jti=str(n)))) for n in range(GUESSES + 2)]
    known.append(bearing(door, token))
    if any(answer.status_code != 200 for answer in known):
        return otherwise("those who are known cannot get in any more")
    guessed = [denied_at_the_door(answer, 401, "invalid_token") for answer in wrong[:GUESSES]]
    if any(answer.status_code == 401 for answer in wrong[GUESSES:]):
        return got_in("guesses as often as they like")
    return worst(*guessed, *map(denied_for_now, wrong[GUESSES:]))


@attack("ATK-220", "API keys: guessed, revoked, overstretched", "own", "MCP", stopped_from="finished")
def wrong_keys(world: World) -> Verdict:
    """While both are taken: a key opens what it was made for, until it is revoked, and only in its own header."""
    path = Path(finished(world).folder) / "keys.txt"
    keys = world.loaded.module("mcp_server.oauth.api_keys").ApiKeys(path)
    good, old = keys.add("partner", [SENTIMENT]), keys.add("old-partner", [SENTIMENT])
    world.secrets |= {good, old}
    door, bearer = world.second_door(AUTH_MODE="both", API_KEY_FILE=str(path)), f"Bearer {world.access_token()}"
    opened = [shown(door, ("X-API-Key", key)) for key in (good, old)]
    path.write_text(path.read_text(encoding="utf-8").splitlines()[0], encoding="utf-8")  # the old one is revoked
    world.later(2)  # seconds: running servers notice within one
    guesses = (old, good[:-1], good + "x", good.upper(), "", "é", "mcpk_" + "x" * 10_000)
    tries = [denied_at_the_door(shown(door, ("X-API-Key", key)), 401) for key in guesses]
    twice = ((("Authorization", bearer), ("X-API-Key", good)), (("X-API-Key", good), ("X-API-Key", good)))
    tries += [denied_at_the_door(shown(door, *both), 400, "invalid_request") for both in twice]
    tries.append(denied_at_the_door(bearing(door, good), 401, "invalid_token"))
    tries.append(denied_at_the_door(shown(world.mcp, ("X-API-Key", good)), 401))  # where keys are not taken at all
    rebalance = LIST_TOOLS | {"method": "tools/call", "params": LIST_TOOLS["params"] | {"name": "rebalance"}}
    headers = MCP_HEADERS | {"Mcp-Method": "tools/call", "Mcp-Name": "rebalance", "X-API-Key": good}
    tries.append(denied_at_the_door(door.post("/mcp", json=rebalance, headers=headers), 403, "insufficient_scope"))
    return worst(*tries, *(as_specified() if a.status_code == 200 else otherwise("a good key") for a in opened))
