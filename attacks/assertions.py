"""Group G, second half: programs that prove themselves with a key."""

import contextlib
import functools
import json
import time

import jwt
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from attacks.core import NotHere, Verdict, attack, denied, worst
from attacks.machines import (
    ASSERTION_TYPE,
    NOBODY,
    OURS,
    THEIRS,
    ask_with,
    assertion,
    claims_of,
    forged,
    key,
    machine_with,
    public_key,
)
from attacks.world import World

A_YEAR = 365 * 24 * 3600  # seconds


@attack("ATK-121", "Assertion replay", "RFC 7523 §3", "AS", stopped_from="08")
def assertion_replay(world: World) -> Verdict:
    """Sent twice, numbered twice, not numbered, made for another server: each time it is not for here and now."""
    client_id = machine_with(world)
    proof = assertion(world, client_id, jti="a number")
    ask_with(world, proof).raise_for_status()
    tries = [denied(ask_with(world, proof), NOBODY)]
    tries.append(denied(ask_with(world, assertion(world, client_id, jti="a number", nbf=0)), NOBODY))
    tries += [denied(ask_with(world, assertion(world, client_id, jti=jti)), NOBODY) for jti in (None, "")]
    others = (
        "https://as.example",
        f"{world.issuer}/token",
        f"{world.issuer}/",
        [world.issuer, "https://as.example"],
        None,
    )
    tries += [denied(ask_with(world, assertion(world, client_id, aud=other)), NOBODY) for other in others]
    with contextlib.suppress(NotHere):
        world.later(70)  # some clocks differ: is its number forgotten before it is too old?
        tries.append(denied(ask_with(world, proof), NOBODY))
    return worst(*tries)


@attack("ATK-122", "Assertion expired, no exp, or lifetime of a year", "RFC 7523 §3", "AS", stopped_from="08")
def assertion_lifetime(world: World) -> Verdict:
    """A proof that lives long is a password."""
    client_id = machine_with(world)
    now = int(time.time() + world.clock.ahead)
    odd = [
        {"iat": now - 400, "exp": now - 200},
        {"exp": None},
        {"exp": now + A_YEAR},
        {"iat": now + A_YEAR, "exp": now + A_YEAR + 60},
        {"iat": None, "exp": now + A_YEAR},
        {"exp": str(now + 60)},
        {"exp": float("inf")},
        {"iat": float("inf")},
    ]
    return worst(*(denied(ask_with(world, assertion(world, client_id, **changes)), NOBODY) for changes in odd))


@attack(
    "ATK-124", "Assertion signed by another key, alg none, HS256", "RFC 7523 §3, RFC 8414 §2", "AS", stopped_from="08"
)
def assertion_signature(world: World) -> Verdict:
    """Only a client's own keys speak for it, and only as signatures."""
    victim, thief = machine_with(world), machine_with(world, THEIRS)
    claims = functools.partial(claims_of, world, victim)
    pem = key(OURS).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    mac_keys = (pem, json.dumps(public_key(OURS)).encode(), b"")
    proofs = [assertion(world, victim, signer=THEIRS), assertion(world, victim, signer=THEIRS, kid=OURS)]
    proofs += [assertion(world, thief, THEIRS, sub=victim), assertion(world, thief, THEIRS, iss=victim)]
    proofs += [forged(claims(), {"alg": alg, "kid": OURS}) for alg in ("none", "nOnE", "RS256", "ES256", "PS999")]
    proofs += [forged(claims(), {"alg": "HS256", "kid": OURS}, mac_key) for mac_key in mac_keys]
    own_key = {"alg": "ES256", "kid": OURS, "jwk": public_key(THEIRS)}
    proofs.append(jwt.encode(claims(), key(THEIRS), "ES256", own_key))
    tries = [denied(ask_with(world, proof), NOBODY) for proof in proofs]
    tries += [denied(ask_with(world, "a.b.c"), NOBODY), denied(ask_with(world, "a proof, not a JWT: é"), NOBODY)]
    borrowed = ask_with(world, assertion(world, thief, THEIRS), client_id=victim)
    return worst(*tries, denied(borrowed, NOBODY, (400, "invalid_request")))


@attack("ATK-125", "Wrong client_assertion_type", "RFC 7521 §4.2", "AS", stopped_from="08")
def assertion_type(world: World) -> Verdict:
    client_id = machine_with(world)
    saml = "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"
    tries = [
        denied(ask_with(world, assertion(world, client_id), client_assertion_type=wrong), NOBODY)
        for wrong in ("foo", saml, ASSERTION_TYPE + "x", ASSERTION_TYPE.upper())
    ]
    missing = ask_with(world, assertion(world, client_id), client_assertion_type=None)
    return worst(*tries, denied(missing, NOBODY, (400, "invalid_request")))
