"""Group F: more than was allowed, and for longer."""

import contextlib

import jwt

from attacks.core import (
    NotHere,
    Verdict,
    answer_in,
    attack,
    denied,
    denied_at_home,
    got_in,
    otherwise,
    worst,
)
from attacks.world import BASIC, REBALANCE, World

SENTIMENT, READ = BASIC.split()
HALF_A_YEAR = 180 * 86_400  # seconds


def scope_in(tokens: dict) -> set[str]:
    """What an answer of /token allows: what it says, and what the token says."""
    inside = jwt.decode(tokens["access_token"], options={"verify_signature": False})
    return set(tokens.get("scope", "").split()) | set(str(inside.get("scope", "")).split())


def still_refreshes(world: World, client_id: str, refresh_token: str) -> bool:
    return world.refresh(client_id, refresh_token).status_code == 200


@attack("ATK-097", "Scope beyond registration", "OAuth 2.1 §1.4.1, §4.1.2.1", "AS", stopped_from="04")
def beyond_registration(world: World) -> Verdict:
    """Neither by asking, nor by registering what nobody offers, nor by ticking more than was shown."""
    client_id = world.register(scope=f"{SENTIMENT} admin")["client_id"]
    wanted = (
        "admin",
        REBALANCE,
        f"{SENTIMENT} {REBALANCE}",
        f"{SENTIMENT}  admin",
        "mcp:tools:*",
        "*",
        f"{SENTIMENT}:x",
    )
    asks = [world.ask(client_id, scope=scope) for scope in wanted]
    asked = [denied_at_home(world.auth.get("/authorize", params=ask), "invalid_scope") for ask in asks]
    ticked = world.consent(world.ask(client_id, scope=SENTIMENT), scope=[SENTIMENT, READ, REBALANCE, "admin"])
    tokens = world.redeem(client_id, answer_in(ticked).get("code", "")).json()
    if "access_token" in tokens and scope_in(tokens) != {SENTIMENT}:
        return got_in(f"a token for {' '.join(sorted(scope_in(tokens)))}")
    return worst(*asked)


@attack("ATK-098", "User grants less", "OAuth 2.1 §3.2.3", "AS, C", stopped_from="04")
def grants_less(world: World) -> Verdict:
    """What was not ticked is not allowed, whatever the client says afterwards; and the answer tells it so."""
    client_id = world.register(grant_types=["authorization_code", "refresh_token"])["client_id"]
    code = answer_in(world.consent(world.ask(client_id, scope=f"{BASIC} {REBALANCE}"), scope=[READ]))["code"]
    tokens = world.redeem(client_id, code, scope=f"{BASIC} {REBALANCE}").raise_for_status().json()
    if scope_in(tokens) != {READ}:
        return got_in(f"a token for {' '.join(sorted(scope_in(tokens)))}")
    if tokens.get("scope") != READ:
        return otherwise("the client is not told")
    if "refresh_token" in tokens:
        again = world.refresh(client_id, tokens["refresh_token"]).raise_for_status().json()
        if scope_in(again) != {READ}:
            return got_in(f"refreshed to {' '.join(sorted(scope_in(again)))}")
    return denied_at_home(world.consent(world.ask(client_id), scope=[]), "access_denied")


@attack("ATK-100", "Scope escalation at refresh", "OAuth 2.1 §4.3.1", "AS", stopped_from="06")
def escalation(world: World) -> Verdict:
    """What a person allowed is the limit, and whoever tries for more loses nothing."""
    client_id, tokens = world.with_refresh(scope=SENTIMENT)
    wanted = (BASIC, f"{SENTIMENT} {REBALANCE}", REBALANCE, "admin", "mcp:tools", "*")
    answers = [world.refresh(client_id, tokens["refresh_token"], scope=scope) for scope in wanted]
    again = world.refresh(client_id, tokens["refresh_token"])
    if again.status_code != 200:
        return worst(*(denied(answer, (400, "invalid_scope")) for answer in answers), otherwise("it is used up"))
    if scope_in(again.json()) != {SENTIMENT}:
        return got_in(f"a token for {' '.join(sorted(scope_in(again.json())))}")
    return worst(*(denied(answer, (400, "invalid_scope")) for answer in answers))


@attack("ATK-101", "Refresh token reuse", "OAuth 2.1 §4.3.1, RFC 9700 §4.14.2", "AS", stopped_from="07")
def reuse(world: World) -> Verdict:
    """Two hold the same refresh token, and nobody knows which is the thief: both stop. Other consents go on."""
    client_id, first = world.with_refresh()
    untouched = world.tokens(client_id)["refresh_token"]
    second = world.refresh(client_id, first["refresh_token"]).raise_for_status().json()
    third = world.refresh(client_id, second["refresh_token"]).raise_for_status().json()
    replay = denied(world.refresh(client_id, first["refresh_token"]), (400, "invalid_grant"))
    newest = denied(world.refresh(client_id, third["refresh_token"]), (400, "invalid_grant"))
    if not still_refreshes(world, client_id, untouched):
        return worst(replay, newest, otherwise("another consent has ended too"))
    return worst(replay, newest)


@attack("ATK-103", "Refresh by another client", "OAuth 2.1 §4.3.1", "AS", stopped_from="06")
def another_client(world: World) -> Verdict:
    """It gets nothing, and it ends nothing: not even with a token that has been used."""
    client_id, first = world.with_refresh()
    thief, _ = world.with_refresh("bob")
    tokens = [first["refresh_token"]]
    early = denied(world.refresh(thief, tokens[0]), (400, "invalid_grant"))
    second = world.refresh(client_id, tokens[0])
    if second.status_code != 200:
        return worst(early, otherwise("the token is used up by somebody else's attempt"))
    tokens.append(second.json()["refresh_token"])
    late = [denied(world.refresh(thief, token), (400, "invalid_grant")) for token in tokens]
    if not still_refreshes(world, client_id, tokens[1]):
        return worst(early, *late, otherwise("somebody else's attempt ends the family"))
    return worst(early, *late)


@attack(
    "ATK-104",
    "Refresh after revoke, expiry, inactivity",
    "OAuth 2.1 §4.3.3, RFC 7009 §2.2",
    "AS",
    stopped_from="06",
)
def after_the_end(world: World) -> Verdict:
    """Given back, or not used for half a year."""
    metadata = world.auth.get("/.well-known/oauth-authorization-server").json()
    client_id, idle = world.with_refresh()
    verdicts = []
    for hint in (None, "refresh_token", "access_token") if "revocation_endpoint" in metadata else ():
        first = world.tokens(client_id)["refresh_token"]
        second = world.refresh(client_id, first).raise_for_status().json()["refresh_token"]
        form = {"client_id": client_id, "token": second} | ({"token_type_hint": hint} if hint else {})
        world.auth.post(metadata["revocation_endpoint"].removeprefix(world.issuer), data=form).raise_for_status()
        verdicts.append(denied(world.refresh(client_id, second), (400, "invalid_grant")))
    with contextlib.suppress(NotHere):
        world.later(HALF_A_YEAR)
        verdicts.append(denied(world.refresh(client_id, idle["refresh_token"]), (400, "invalid_grant")))
    if not verdicts:
        raise NotHere("no /revoke, and no clock to turn")
    return worst(*verdicts)


@attack("ATK-106", "Refresh without the registered grant", "OAuth 2.1 §3.2.4", "AS", stopped_from="06")
def unregistered_grant(world: World) -> Verdict:
    """Who has not registered for it is given no refresh token, and cannot use one."""
    client_id, tokens = world.with_refresh()
    other = world.register()["client_id"]
    if "refresh_token" in world.tokens(other):
        return otherwise("a refresh token that nobody asked for")
    answers = [world.refresh(other, token) for token in (tokens["refresh_token"], "x" * 43)]
    tries = [denied(answer, (400, "unauthorized_client")) for answer in answers]
    if not still_refreshes(world, client_id, tokens["refresh_token"]):
        return worst(*tries, otherwise("the token is used up by somebody else's attempt"))
    return worst(*tries)
