"""Group D: what an access token says, and who says it."""

import base64
import contextlib
import functools
import hmac
import json

import httpx2
import jwt
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from attacks.core import (
    NotHere,
    Outcome,
    Verdict,
    as_specified,
    attack,
    denied,
    denied_at_the_door,
    json_object,
    otherwise,
    worst,
)
from attacks.endpoints import ended_for_whoever_asks
from attacks.hostile import EVIL, standing_in
from attacks.world import REBALANCE, InProcess, World

# ── tools of a forger ─────────────────────────────────────────────────────────────────────────────


@functools.cache
def own_key() -> rsa.RSAPrivateKey:
    """The attacker's."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def raw(header: dict, claims: dict, signature: bytes = b"") -> str:
    """Three parts, whatever a library thinks of them."""
    return ".".join(b64(part) for part in (json.dumps(header).encode(), json.dumps(claims).encode(), signature))


def seen(world: World) -> tuple[dict, dict]:
    """Header and claims of a real token: an attacker has one, if only their own."""
    token = world.access_token()
    return jwt.get_unverified_header(token), jwt.decode(token, options={"verify_signature": False})


def rs256(header: dict, claims: dict, key: rsa.RSAPrivateKey | None = None) -> str:
    """Signed correctly, by the attacker's key if no other is given."""
    unsigned = raw(header | {"alg": "RS256"}, claims).rstrip(".")
    signature = (key or own_key()).sign(unsigned.encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{unsigned}.{b64(signature)}"


def hs256(header: dict, claims: dict, secret: bytes) -> str:
    unsigned = raw(header | {"alg": "HS256"}, claims).rstrip(".")
    return f"{unsigned}.{b64(hmac.digest(secret, unsigned.encode(), 'sha256'))}"


def by_issuer(world: World, claims: dict, **header: object) -> str:
    """As the issuer would sign it, if its library let it write such claims and such a header."""
    if not isinstance(world, InProcess):
        raise NotHere("needs the key of the authorization server")
    usual = jwt.get_unverified_header(world.signed(world.claims()))
    return rs256(usual | header, claims, world.signing_key)


def own_public_key(kid: str) -> dict:
    found = jwt.algorithms.RSAAlgorithm.to_jwk(own_key().public_key(), as_dict=True)
    return {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid, "n": found["n"], "e": found["e"]}


def published(world: World) -> list[dict]:
    """The issuer's public keys; none if it shows none."""
    metadata = world.auth.get("/.well-known/oauth-authorization-server").json()
    path = metadata.get("jwks_uri", "").removeprefix(world.issuer)
    return world.auth.get(path).json()["keys"] if path else []


def outside(world: World, *tokens: str) -> Verdict:
    """None of them opens the door, and the answer says that it is the token."""
    answers = (world.list_tools(f"Bearer {token}") for token in tokens)
    return worst(*(denied_at_the_door(answer, 401, "invalid_token") for answer in answers))


def too_long(world: World, *tokens: str) -> Verdict:
    """Like `outside`; but a server may have stopped reading before it knew that this is a token."""
    verdicts = []
    for token in tokens:
        try:
            answer = world.list_tools(f"Bearer {token}")
        except httpx2.TransportError as hung_up:
            verdicts.append(as_specified(type(hung_up).__name__))
            continue
        unread = answer.status_code in (400, 431) and not json_object(answer)
        verdicts.append(as_specified() if unread else denied_at_the_door(answer, 401, "invalid_token"))
    return worst(*verdicts)


# ── time ──────────────────────────────────────────────────────────────────────────────────────────


@attack("ATK-055", "Expired", "RFC 9068 §4, OAuth 2.1 §5.3.2", "MCP", stopped_from="05")
def expired(world: World) -> Verdict:
    """Half a minute is all that two clocks may differ."""
    answer = world.tokens(world.register()["client_id"])
    world.later(answer["expires_in"] + 31)
    refused = world.list_tools(f"Bearer {answer['access_token']}")
    verdict = denied_at_the_door(refused, 401, "invalid_token")
    said = "expired" in refused.headers.get("www-authenticate", "")
    return verdict if said else worst(verdict, otherwise("nothing says: expired"))


@attack("ATK-056", "Not yet valid", "RFC 7519 §4.1.5", "MCP", stopped_from="05")
def not_yet_valid(world: World) -> Verdict:
    soon = world.claims()["iat"] + 600
    early = (world.claims(nbf=soon), world.claims(iat=soon, exp=soon + 600))
    return outside(world, *(world.signed(claims) for claims in early))


# ── signature ─────────────────────────────────────────────────────────────────────────────────────


@attack("ATK-058", "alg none", "RFC 8725 §2.1, §3.1, RFC 9068 §4", "MCP", stopped_from="05")
def alg_none(world: World) -> Verdict:
    header, claims = seen(world)
    claims |= {"sub": "mallory"}
    tokens = [raw(header | {"alg": name}, claims) for name in ("none", "None", "nOnE", "NONE", "")]
    return outside(world, *tokens, raw(header | {"alg": "none"}, claims, b"signature"))


@attack("ATK-059", "HS256 keyed with the public key", "RFC 8725 §2.1", "MCP", stopped_from="05")
def public_key_as_secret(world: World) -> Verdict:
    """Whatever form of the public key a careless server might take for its secret."""
    header, claims = seen(world)
    secrets = [b""]
    for found in published(world):
        key = jwt.PyJWK(found).key
        secrets += [json.dumps(found).encode(), json.dumps(found, separators=(",", ":")).encode()]
        forms = [serialization.PublicFormat.SubjectPublicKeyInfo]
        forms += [serialization.PublicFormat.PKCS1] * (found["kty"] == "RSA")
        for form in forms:
            pem = key.public_bytes(serialization.Encoding.PEM, form)
            secrets += [pem, pem.strip(), key.public_bytes(serialization.Encoding.DER, form)]
    return outside(world, *(hs256(header, claims | {"sub": "mallory"}, secret) for secret in secrets))


@attack("ATK-061", "Unknown kid", "RFC 7515 §4.1.4, RFC 8725 §3.10", "MCP", stopped_from="05")
def unknown_kid(world: World) -> Verdict:
    """Neither a key inside the token nor one that it points to is believed, and asking about it costs little."""
    header, claims = seen(world)
    with standing_in(world, published(world)) as issuer:
        tokens = [rs256(header | {"kid": f"unknown {number}"}, claims) for number in range(5)]
        tokens.append(rs256(header | {"kid": "mine", "jwk": own_public_key("mine")}, claims))
        tokens.append(rs256(header | {"kid": "mine", "jku": f"{EVIL}/jwks", "x5u": f"{EVIL}/x"}, claims))
        verdict = outside(world, *tokens)
    if issuer.asked > 2:  # once because the keys had become old, and once for all the unknown
        return worst(verdict, otherwise(f"the issuer was asked {issuer.asked} times"))
    return verdict


@attack("ATK-062", "kid as injection", "RFC 8725 §3.10", "MCP", stopped_from="05")
def kid_as_injection(world: World) -> Verdict:
    header, claims = seen(world)
    texts = ("../../etc/passwd", "' OR 1=1 --", "*", "", "é", "\0", "../" * 8 + "dev/null")
    odd = (5, 0, True, None, [header.get("kid")], {"kid": header.get("kid")}, [])
    tokens = [rs256(header | {"kid": kid}, claims) for kid in (*texts, *odd)]
    tokens.append(hs256(header | {"kid": "../../../../dev/null"}, claims, b""))
    return worst(
        outside(world, *tokens),
        too_long(world, rs256(header | {"kid": "x" * 1_000_000}, claims)),
    )


@attack("ATK-064", "crit with unknown extension", "RFC 7515 §4.1.11", "MCP", stopped_from="05")
def critical_extension(world: World) -> Verdict:
    """The issuer says: whoever does not understand this must not believe the token."""
    named = {"b64": True, "x-unknown": 1}
    odd = (["x-unknown"], [], ["b64"], ["exp"], "b64", None)
    return outside(world, *(by_issuer(world, world.claims(), **named, crit=critical) for critical in odd))


@attack("ATK-067", "Tampered payload", "RFC 7515 §5.2", "MCP", stopped_from="05")
def tampered(world: World) -> Verdict:
    header, claims, signature = world.access_token().split(".")
    known = json.loads(base64.urlsafe_b64decode(claims + "=="))
    changes = ({"sub": "bob"}, {"scope": f"{known['scope']} {REBALANCE}"}, {"exp": known["exp"] + 9999})
    return outside(
        world,
        *(f"{header}.{b64(json.dumps(known | change).encode())}.{signature}" for change in changes),
        f"{b64(json.dumps({'typ': 'at+jwt', 'alg': 'RS256'}).encode())}.{claims}.{signature}",
    )


@attack("ATK-068", "Signature stripped or truncated", "RFC 8725 §3.3", "MCP", stopped_from="05")
def stripped(world: World) -> Verdict:
    header, claims, signature = world.access_token().split(".")
    jwe = raw({"typ": "at+jwt", "alg": "dir", "enc": "A256GCM"}, {}).split(".")[0]
    return outside(
        world,
        f"{header}.{claims}.",
        f"{header}.{claims}",
        f"{header}.{claims}.{signature[:-10]}",
        f"{header}.{claims}.{signature[:4]}",
        f"{header}.{claims}.{signature}.{signature}",
        f"{jwe}..{claims}.{claims}.{signature}",
        f"{header}.{claims}.{claims}.{claims}.{signature}",
    )


# ── kind and claims ───────────────────────────────────────────────────────────────────────────────


@attack("ATK-065", "typ confusion", "RFC 9068 §4, RFC 8725 §3.11", "MCP", stopped_from="05")
def another_kind(world: World) -> Verdict:
    """Whatever else the issuer signs: even with all claims of an access token it is none."""
    for kind in ("at+jwt", "AT+JWT", "application/at+jwt"):
        if world.list_tools(f"Bearer {world.signed(world.claims(), typ=kind)}").status_code != 200:
            return otherwise(f"an access token of typ {kind} stays outside")
    kinds = ("JWT", "client-authentication+jwt", "rt+jwt", "logout+jwt", "dpop+jwt", "secevent+jwt", "at", "", None)
    return outside(world, *(world.signed(world.claims(), typ=kind) for kind in kinds))


@attack("ATK-070", "Required claim missing", "RFC 9068 §2.2", "MCP", stopped_from="05")
def claim_missing(world: World) -> Verdict:
    """Or there, but not what it should be."""
    missing = [{name: None} for name in ("iss", "sub", "client_id", "jti", "iat", "exp", "aud")]
    empty = [{name: ""} for name in ("sub", "client_id", "jti", "aud")]
    odd = [
        {"iss": EVIL},
        {"iss": f"{world.issuer}/"},
        {"sub": ["alice"]},
        {"client_id": 5},
        {"exp": "9999999999"},
        {"iat": True},
        {"iat": "0"},
        {"nbf": "0"},
    ]
    return outside(world, *(by_issuer(world, world.claims(**change)) for change in missing + empty + odd))


@attack("ATK-071", "Oversized token", "RFC 6585 §5", "MCP", stopped_from="05")
def oversized(world: World) -> Verdict:
    """Even from the issuer: nobody reads without end what a stranger sends."""
    header, claims = seen(world)
    tokens = [rs256(header, claims | {"padding": "x" * size}) for size in (100_000, 5_000_000)]
    with contextlib.suppress(NotHere):
        tokens += [world.signed(world.claims(padding="x" * size)) for size in (10_000, 100_000)]
    return too_long(world, *tokens)


# ── tokens and keys that are taken back ───────────────────────────────────────────────────────────


@attack("ATK-073", "Revoked token", "RFC 7009 §3", "MCP", stopped_from="07")
def revoked(world: World) -> Verdict:
    """A server that only reads tokens cannot know. Then nobody may be told that it does, and life is short."""
    metadata = world.auth.get("/.well-known/oauth-authorization-server").json()
    if "revocation_endpoint" not in metadata:
        raise NotHere("no /revoke")
    client_id = world.register()["client_id"]
    tokens = world.tokens(client_id)
    form = {"client_id": client_id, "token": tokens["access_token"], "token_type_hint": "access_token"}
    answer = world.auth.post(metadata["revocation_endpoint"].removeprefix(world.issuer), data=form)
    used = world.list_tools(f"Bearer {tokens['access_token']}")
    if used.status_code != 200:
        return denied_at_the_door(used, 401, "invalid_token")
    if tokens["expires_in"] > 900:
        return otherwise("it opens the door for more than another quarter of an hour")
    if answer.status_code == 200:
        return ended_for_whoever_asks(world, tokens["access_token"])
    return denied(answer, (400, "unsupported_token_type"))


@attack("ATK-074", "Rotated or withdrawn signing key", "RFC 8725 §3.10, RFC 7517 §5", "MCP", stopped_from="05")
def withdrawn_key(world: World) -> Verdict:
    """A key is believed as long as it is published, and little longer."""
    withdrawn = own_public_key("old")
    token = world.signed(world.claims(exp=world.claims()["exp"] + 3600), own_key(), kid="old")
    with standing_in(world, published(world)) as issuer:
        issuer.keys = [*issuer.keys, withdrawn]
        world.later(61)  # so that the server asks again
        before = world.list_tools(f"Bearer {token}")
        issuer.keys = [key for key in issuer.keys if key != withdrawn]
        world.later(901)
        after = outside(world, token)
    if before.status_code != 200 and after.outcome == Outcome.AS_SPECIFIED:
        return otherwise("a key that is published is not believed")
    return after
