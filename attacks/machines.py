"""What programs prove themselves with, and what they send when they ask for themselves."""

import base64
import contextlib
import functools
import hmac
import json
import secrets
import time
from urllib.parse import quote_plus

import httpx2
import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from attacks.core import NotHere, Verdict, denied, otherwise
from attacks.world import VERIFIER, World

NOBODY = (401, "invalid_client")
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
OURS, THEIRS = "our key", "their key"


def basic(client_id: str, secret: str) -> dict[str, str]:
    return basic_as_written(f"{quote_plus(client_id)}:{quote_plus(secret)}")


def basic_as_written(pair: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}".strip()}


def ask_for_itself(world: World, headers: dict | None = None, **form: str | None) -> httpx2.Response:
    """What a machine sends to /token; a value of None leaves the parameter out."""
    form = {"grant_type": "client_credentials", "resource": world.resource} | form
    return world.auth.post("/token", data={k: v for k, v in form.items() if v is not None}, headers=headers)


def redeem_with(world: World, code: str, headers: dict | None = None, **options: object) -> httpx2.Response:
    """A good code and its verifier, and nothing that says who sends them."""
    form = {"grant_type": "authorization_code", "code": code, "code_verifier": VERIFIER, "resource": world.resource}
    return world.auth.post("/token", data=form, headers=headers, **options)


def denied_basic(answer: httpx2.Response) -> Verdict:
    """Whoever tried Basic is told that it was Basic that failed."""
    challenge = answer.headers.get("www-authenticate", "")
    if answer.status_code == 401 and not challenge.startswith("Basic "):
        return otherwise(f"401 {challenge}")
    return denied(answer, NOBODY)


@functools.cache
def key(name: str) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def public_key(name: str) -> dict:
    jwk = jwt.algorithms.ECAlgorithm.to_jwk(key(name).public_key(), as_dict=True)
    return jwk | {"kid": name, "alg": "ES256", "use": "sig"}


def machine_with(world: World, key_name: str = OURS) -> str:
    """The client_id of a machine that proves itself with this key."""
    jwks = {"keys": [public_key(key_name)]}
    return world.register_machine(token_endpoint_auth_method="private_key_jwt", jwks=jwks)["client_id"]


def machines(world: World) -> list[dict]:
    """One for each way to authenticate; none where programs cannot ask for themselves."""
    with contextlib.suppress(NotHere):
        by_key = {"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [public_key(OURS)]}}
        by_secret = [{"token_endpoint_auth_method": f"client_secret_{way}"} for way in ("basic", "post")]
        return [world.register_machine(**changes) for changes in (*by_secret, by_key)]
    return []


def claims_of(world: World, client_id: str, **changes: object) -> dict:
    now = int(time.time() + world.clock.ahead)
    claims = {"iss": client_id, "sub": client_id, "aud": world.issuer, "iat": now, "exp": now + 60}
    claims |= {"jti": secrets.token_urlsafe(16)} | changes
    return {name: value for name, value in claims.items() if value is not None}


def assertion(world: World, client_id: str, signer: str = OURS, kid: str = "", **changes: object) -> str:
    return jwt.encode(claims_of(world, client_id, **changes), key(signer), "ES256", {"kid": kid or signer})


def forged(claims: dict, header: dict, mac_key: bytes = b"") -> str:
    """Three parts, whatever a library thinks of them."""
    parts = b".".join(without_padding(json.dumps(part).encode()) for part in (header, claims))
    signature = hmac.digest(mac_key, parts, "sha256") if mac_key else b""
    return (parts + b"." + without_padding(signature)).decode()


def without_padding(content: bytes) -> bytes:
    return base64.urlsafe_b64encode(content).rstrip(b"=")


def ask_with(world: World, proof: str, **form: str | None) -> httpx2.Response:
    world.secrets.add(proof)
    return ask_for_itself(world, **{"client_assertion_type": ASSERTION_TYPE, "client_assertion": proof} | form)
