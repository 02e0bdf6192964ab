"""Group K: what the token endpoint reads at all, and what the endpoints for introspection and revocation give away."""

import contextlib
from urllib.parse import urlsplit

import httpx2

from attacks.core import (
    NotHere,
    Verdict,
    as_specified,
    attack,
    denied,
    denied_this_way,
    got_in,
    json_object,
    otherwise,
    worst,
)
from attacks.machines import NOBODY
from attacks.world import VERIFIER, World
from shared.addresses import NEIGHBOUR

BOTH = ["authorization_code", "refresh_token"]


def endpoint(world: World, name: str, usual: str) -> str:
    """Its path, announced or not."""
    path = urlsplit(world.announced().get(name, f"{world.issuer}{usual}")).path
    if world.auth.post(path).status_code == 404:
        raise NotHere(f"no {name}")
    return path


def revoke(world: World, token: str, **form: str) -> httpx2.Response:
    path = endpoint(world, "revocation_endpoint", "/revoke")
    return world.auth.post(path, data={"token": token} | form)


def introspect(world: World, token: str, **form: str) -> httpx2.Response:
    path = endpoint(world, "introspection_endpoint", "/introspect")
    return world.auth.post(path, data={"token": token} | form)


# ── the token endpoint ────────────────────────────────────────────────────────────────────────────


def good_form(world: World) -> dict[str, str]:
    """All that /token needs for a token."""
    client_id = world.register()["client_id"]
    form = {"grant_type": "authorization_code", "client_id": client_id, "code": world.code(client_id)}
    return form | {"code_verifier": VERIFIER, "resource": world.resource}


@attack("ATK-175", "GET on the token endpoint", "OAuth 2.1 §3.2", "AS", stopped_from="04")
def get_token(world: World) -> Verdict:
    """What stands in a URL ends up in logs and histories."""
    return denied_this_way(world.auth.get("/token", params=good_form(world)), "POST")


@attack("ATK-176", "JSON body at the token endpoint", "OAuth 2.1 §3.2.2", "AS", stopped_from="04")
def json_for_token(world: World) -> Verdict:
    """Another reader of the same bytes is another chance to read them differently."""
    expected = ((415, "invalid_request"), (400, "invalid_request"))
    as_json = world.auth.post("/token", json=good_form(world))
    as_files = world.auth.post("/token", files={name: (None, value) for name, value in good_form(world).items()})
    in_url = world.auth.post("/token", params=good_form(world), json={})
    return worst(*(denied(answer, *expected) for answer in (as_json, as_files, in_url)))


# ── introspection ─────────────────────────────────────────────────────────────────────────────────


@attack("ATK-178", "Introspection by the wrong party", "RFC 7662 §2.2, §2.3", "AS", stopped_from="finished")
def curious_client(world: World) -> Verdict:
    """A token in the wrong hands must not tell whose it is."""
    confidential = world.register(token_endpoint_auth_method="client_secret_post")
    proof = {name: confidential[name] for name in ("client_id", "client_secret")}
    token, tries = world.access_token(), []
    for asker in ({}, {"client_id": world.register()["client_id"]}, proof):
        answer = introspect(world, token, **asker)
        told = json_object(answer)
        if told.get("active") or "sub" in told:
            return got_in("told about a token that is not theirs")
        silent = answer.status_code in (401, 403) or (answer.status_code == 200 and told == {"active": False})
        tries.append(as_specified(f"{answer.status_code}") if silent else otherwise(f"{answer.status_code} {told}"))
    return worst(*tries)


@attack("ATK-179", "Introspection of garbage, expired, revoked", "RFC 7662 §2.2", "AS", stopped_from="finished")
def introspect_garbage(world: World) -> Verdict:
    """Exactly one member, whatever is wrong with the token; and the same for one that is for somebody else."""
    endpoint(world, "introspection_endpoint", "/introspect")
    proof, client_id = world.resource_server(), world.register()["client_id"]
    good, ended, old = (world.tokens(client_id)["access_token"] for _ in range(3))
    if not introspect(world, good, **proof).json()["active"]:
        return otherwise("a good token is not active either")
    revoke(world, ended, client_id=client_id)
    elsewhere = world.tokens(client_id, resource=NEIGHBOUR)["access_token"]
    answers = [introspect(world, token, **proof) for token in ("garbage", "a.b.c", "é", good + "x", ended, elsewhere)]
    with contextlib.suppress(NotHere):
        world.later(1200)
        answers.append(introspect(world, old, **proof))
    if any(json_object(answer).get("active") for answer in answers):
        return got_in("active")
    return worst(*(as_specified() if a.json() == {"active": False} else otherwise(a.text[:80]) for a in answers))


# ── revocation ────────────────────────────────────────────────────────────────────────────────────


def confidential_with_refresh(world: World) -> tuple[dict[str, str], str]:
    """What a client with a secret authenticates with, and its refresh token."""
    client = world.register(token_endpoint_auth_method="client_secret_post", grant_types=BOTH)
    proof = {name: client[name] for name in ("client_id", "client_secret")}
    answer = world.redeem(proof["client_id"], world.code(proof["client_id"]), client_secret=proof["client_secret"])
    return proof, answer.raise_for_status().json()["refresh_token"]


@attack("ATK-181", "Revocation of an unknown token", "RFC 7009 §2.2", "AS", stopped_from="07")
def revoke_unknown(world: World) -> Verdict:
    """Garbage, and the token of somebody else: both are nothing to us, and the answer does not tell them apart."""
    endpoint(world, "revocation_endpoint", "/revoke")
    client_id, found = world.with_refresh()
    stranger = world.register(grant_types=BOTH)["client_id"]
    tokens = ("garbage", "é", found["refresh_token"])
    answers = [revoke(world, token, client_id=stranger) for token in tokens]
    if world.refresh(client_id, found["refresh_token"]).status_code != 200:
        return got_in("a stranger revoked the token")
    odd = [answer for answer in answers if answer.status_code != 200 or answer.content]
    return otherwise(f"{odd[0].status_code} {odd[0].text[:80]}") if odd else as_specified("200, empty")


@attack("ATK-182", "Revocation without client authentication", "RFC 7009 §2.1", "AS", stopped_from="07")
def revoke_as_anybody(world: World) -> Verdict:
    """A client with a secret must show it here too."""
    endpoint(world, "revocation_endpoint", "/revoke")
    proof, refresh_token = confidential_with_refresh(world)
    nameless = {"client_id": proof["client_id"]}
    tries = [
        denied(revoke(world, refresh_token, **asker), NOBODY)
        for asker in ({}, nameless, nameless | {"client_secret": "a guess"})
    ]
    if world.refresh(proof["client_id"], refresh_token, client_secret=proof["client_secret"]).status_code != 200:
        return got_in("the token is dead, and nobody proved to be its owner")
    return worst(*tries)


@attack("ATK-184", "Cascade", "RFC 7009 §2.1", "AS", stopped_from="07")
def cascade(world: World) -> Verdict:
    """Once revoked, nothing of the family buys anything; and nobody is told that a token is dead if it is not."""
    endpoint(world, "revocation_endpoint", "/revoke")
    client_id, first = world.with_refresh()
    second = world.refresh(client_id, first["refresh_token"]).raise_for_status().json()
    answer = revoke(world, second["refresh_token"], client_id=client_id, token_type_hint="access_token")
    tries = [as_specified() if answer.status_code == 200 else otherwise(f"{answer.status_code} {answer.text[:80]}")]
    for token in (second["refresh_token"], first["refresh_token"]):
        tries.append(denied(world.refresh(client_id, token), (400, "invalid_grant")))
    answer = revoke(world, second["access_token"], client_id=client_id)
    if answer.status_code != 200:
        return worst(*tries, denied(answer, (400, "unsupported_token_type")))
    return worst(*tries, ended_for_whoever_asks(world, second["access_token"]))


def ended_for_whoever_asks(world: World, access_token: str) -> Verdict:
    """A server that only reads tokens believes it until it expires; one that asks us does not: RFC 7009 §3."""
    found = introspect(world, access_token, **world.resource_server())
    return as_specified() if found.json() == {"active": False} else got_in("called revoked, and still active")
