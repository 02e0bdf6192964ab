"""Step 05 · a token opens the door it was made for, and no other.

What they get: codes that work once, and the tokens they are traded for.
"""

import base64
import hashlib
import hmac
import re
import secrets
import time

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from shared.addresses import ISSUER, NEIGHBOUR, RESOURCE
from shared.bodies import read_form

from .clients import NO_STORE, OAuthError, authenticated_client, clients, once_each

# ── what we remember ──────────────────────────────────────────────────────────

RESOURCES = (
    RESOURCE,
    NEIGHBOUR,
)
CODE_LIFETIME = 60  # seconds
TOKEN_LIFETIME = 600  # seconds
GRANT_NAMES = "grant_type client_id client_secret client_assertion code code_verifier redirect_uri resource".split()
grants: dict[str, dict] = {}  # by code: what was asked, narrowed to what a person allowed
signing_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
key_id = secrets.token_urlsafe(8)

# ── rules ─────────────────────────────────────────────────────────────────────


def names_a_resource(ask: dict[str, str]) -> None:
    if ask.get("resource") not in RESOURCES:
        raise OAuthError("invalid_target", "resource must name a server we make tokens for")  # RFC 8707 §2


def registered_scope(ask: dict[str, str]) -> None:
    if not set(ask["scope"].split(" ")) <= set(clients[ask["client_id"]]["scope"].split()):
        raise OAuthError("invalid_scope", "scope must stay within what is registered")  # OAuth 2.1 §4.1.2.1


def still_fresh(grant: dict, ask: dict[str, str]) -> None:
    if time.time() > grant["expires_at"]:
        raise OAuthError("invalid_grant", "the code has expired")  # OAuth 2.1 §4.1.2


def same_redirect_uri(grant: dict, ask: dict[str, str]) -> None:
    if ask.get("redirect_uri", grant["redirect_uri"]) != grant["redirect_uri"]:
        raise OAuthError("invalid_grant", "redirect_uri has changed")  # OAuth 2.1 §10.2


def s256_verifier(grant: dict, ask: dict[str, str]) -> None:
    verifier = ask.get("code_verifier", "")
    if not re.fullmatch(r"[A-Za-z0-9._~-]{43,128}", verifier):
        raise OAuthError("invalid_grant", "code_verifier must be 43 to 128 characters")  # RFC 7636 §4.1
    digest = hashlib.sha256(verifier.encode()).digest()
    challenge = base64.urlsafe_b64encode(digest).rstrip(b"=")
    if not hmac.compare_digest(challenge, grant["code_challenge"].encode()):
        raise OAuthError("invalid_grant", "code_verifier does not fit code_challenge")  # RFC 7636 §4.6


def same_resource(grant: dict, ask: dict[str, str]) -> None:
    if ask.get("resource", grant["resource"]) != grant["resource"]:
        raise OAuthError("invalid_target", "resource is not the one that was allowed")  # RFC 8707 §2.2


CODE_RULES = (
    still_fresh,
    same_redirect_uri,
    s256_verifier,
    same_resource,
)

# ── endpoints ─────────────────────────────────────────────────────────────────


async def token(request: Request) -> Response:
    """OAuth 2.1 §3.2: a grant comes in, a token goes out."""
    ask = once_each(await read_form(request), GRANT_NAMES)
    client = authenticated_client(request, ask)
    if ask.get("grant_type") not in GRANT_TYPES:
        error = "unsupported_grant_type" if "grant_type" in ask else "invalid_request"
        raise OAuthError(error, f"grant_type must be one of: {', '.join(GRANT_TYPES)}")  # OAuth 2.1 §3.2.4
    return JSONResponse(GRANT_TYPES[ask["grant_type"]](client, ask), headers=NO_STORE)


async def jwks(_: Request) -> Response:
    """RFC 7517 §5: the public half of our key, for whoever checks our tokens."""
    public = jwt.algorithms.RSAAlgorithm.to_jwk(signing_key.public_key(), as_dict=True)
    key = {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": key_id, "n": public["n"], "e": public["e"]}
    return JSONResponse({"keys": [key]}, headers={"Cache-Control": "public, max-age=300"})


# ── tokens ────────────────────────────────────────────────────────────────────


def redeem_code(client: dict, ask: dict[str, str]) -> dict:
    """OAuth 2.1 §4.1.3: a code works once, and only for the client it was given to."""
    grant = grants.get(ask.get("code", ""))
    if grant is None or grant["client_id"] != client["client_id"]:
        raise OAuthError("invalid_grant", "there is no such code for this client")
    del grants[ask["code"]]  # before the rules: whoever fails one of them has used up the code
    for rule in CODE_RULES:
        rule(grant, ask)
    return {
        "access_token": access_token(grant),
        "token_type": "Bearer",
        "expires_in": TOKEN_LIFETIME,
        "scope": grant["scope"],
    }


GRANT_TYPES = {
    "authorization_code": redeem_code,
}


def access_token(grant: dict) -> str:
    """RFC 9068 §2: who made it, for whose door, on whose behalf, until when."""
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "aud": grant["resource"],  # RFC 9068 §3
        "sub": grant["subject"],
        "client_id": grant["client_id"],
        "scope": grant["scope"],
        "iat": now,
        "exp": now + TOKEN_LIFETIME,
        "jti": secrets.token_urlsafe(16),
    }
    return jwt.encode(claims, signing_key, "RS256", {"typ": "at+jwt", "kid": key_id})
