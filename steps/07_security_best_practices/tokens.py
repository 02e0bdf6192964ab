"""Step 07 · what a patient attacker tries next, and why it does not work.

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

from shared.addresses import ISSUER, NEIGHBOUR, RESOURCE, seconds_from_environment
from shared.bodies import read_form

from .clients import NO_STORE, OAuthError, authenticated_client, clients, once_each
from .hardening import write_down

# ── what we remember ──────────────────────────────────────────────────────────

RESOURCES = (
    RESOURCE,
    NEIGHBOUR,
)
CODE_LIFETIME = seconds_from_environment("CODE_LIFETIME", 60)
TOKEN_LIFETIME = seconds_from_environment("TOKEN_LIFETIME", 600)
REFRESH_LIFETIME = seconds_from_environment("REFRESH_LIFETIME", 86_400)
GRANT_NAMES = "grant_type client_id client_secret client_assertion code code_verifier redirect_uri resource".split()
GRANT_NAMES += ["refresh_token", "scope"]
REVOKE_NAMES = "token token_type_hint client_id client_secret client_assertion".split()
grants: dict[str, dict] = {}  # by code: what was asked, narrowed to what a person allowed
refreshable: dict[str, dict] = {}  # by refresh token: the same
spent_codes: dict[str, dict] = {}  # those that have been used, for as long as they would have lived
spent: dict[str, dict] = {}  # the same for refresh tokens
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
        raise OAuthError("invalid_grant", "it has expired")  # OAuth 2.1 §4.1.2, §4.3.3


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


def no_wider_scope(grant: dict, ask: dict[str, str]) -> None:
    if not set(ask.get("scope", grant["scope"]).split(" ")) <= set(grant["scope"].split(" ")):
        raise OAuthError("invalid_scope", "a refresh cannot widen what was allowed")  # OAuth 2.1 §4.3.1


REFRESH_RULES = (
    still_fresh,
    same_resource,
    no_wider_scope,
)


def code_used_once(client: dict, ask: dict[str, str]) -> None:
    """Two know this code and its verifier, and one of them is a thief: neither can refresh what it bought."""
    grant = spent_codes.get(ask.get("code", ""))
    if grant and grant["client_id"] == client["client_id"]:
        for rule in CODE_RULES:
            rule(grant, ask)  # a guess is not a replay: whoever cannot prove it ends nothing
        end_family(grant["family"])
        raise OAuthError("invalid_grant", "this code has been used")  # OAuth 2.1 §4.1.3, §7.5.3


def refresh_token_used_once(client: dict, ask: dict[str, str]) -> None:
    grant = spent.get(ask.get("refresh_token", ""))
    if grant and grant["client_id"] == client["client_id"]:
        end_family(grant["family"])
        raise OAuthError("invalid_grant", "this refresh token has been used")  # OAuth 2.1 §4.3.1


CODE_REPLAY_RULES = (
    code_used_once,
)
REFRESH_REPLAY_RULES = (
    refresh_token_used_once,
)

# ── endpoints ─────────────────────────────────────────────────────────────────


async def token(request: Request) -> Response:
    """OAuth 2.1 §3.2: a grant comes in, a token goes out."""
    ask = once_each(await read_form(request), GRANT_NAMES)
    client = authenticated_client(request, ask)
    if ask.get("grant_type") not in GRANT_TYPES:
        error = "unsupported_grant_type" if "grant_type" in ask else "invalid_request"
        raise OAuthError(error, f"grant_type must be one of: {', '.join(GRANT_TYPES)}")  # OAuth 2.1 §3.2.4
    if ask["grant_type"] not in client["grant_types"]:
        raise OAuthError("unauthorized_client", "this client did not register this grant type")  # OAuth 2.1 §3.2.4
    return JSONResponse(GRANT_TYPES[ask["grant_type"]](client, ask), headers=NO_STORE)


async def revoke(request: Request) -> Response:
    """RFC 7009 §2.1: a client has no more use for a token. Nobody learns here whether somebody else's exists."""
    ask = once_each(await read_form(request), REVOKE_NAMES)
    client = authenticated_client(request, ask)
    if "token" not in ask:
        raise OAuthError("invalid_request", "token is missing")
    if ask["token"].count(".") == 2:
        why = "an access token is checked without asking us, so it ends when it expires"
        raise OAuthError("unsupported_token_type", why)  # RFC 7009 §2.2.1
    grant = refreshable.get(ask["token"]) or spent.get(ask["token"])
    if grant and grant["client_id"] == client["client_id"]:
        end_family(grant["family"])
    return Response(status_code=200, headers=NO_STORE)


async def jwks(_: Request) -> Response:
    """RFC 7517 §5: the public half of our key, for whoever checks our tokens."""
    public = jwt.algorithms.RSAAlgorithm.to_jwk(signing_key.public_key(), as_dict=True)
    key = {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": key_id, "n": public["n"], "e": public["e"]}
    return JSONResponse({"keys": [key]}, headers={"Cache-Control": "public, max-age=300"})


# ── tokens ────────────────────────────────────────────────────────────────────


def redeem_code(client: dict, ask: dict[str, str]) -> dict:
    """OAuth 2.1 §4.1.3: a code works once, and only for the client it was given to."""
    for rule in CODE_REPLAY_RULES:
        rule(client, ask)
    grant = grants.get(ask.get("code", ""))
    if grant is None or grant["client_id"] != client["client_id"]:
        raise OAuthError("invalid_grant", "there is no such code for this client")
    del grants[ask["code"]]  # before the rules: whoever fails one of them has used up the code
    for rule in CODE_RULES:
        rule(grant, ask)
    spent_codes[ask["code"]] = grant
    return tokens_for(client, grant, grant["scope"])


def refresh(client: dict, ask: dict[str, str]) -> dict:
    """OAuth 2.1 §4.3.1: a refresh token works once; the answer brings the next one."""
    for rule in REFRESH_REPLAY_RULES:
        rule(client, ask)
    grant = refreshable.get(ask.get("refresh_token", ""))
    if grant is None or grant["client_id"] != client["client_id"]:
        raise OAuthError("invalid_grant", "there is no such refresh token for this client")
    for rule in REFRESH_RULES:
        rule(grant, ask)
    del refreshable[ask["refresh_token"]]  # after the rules: a mistake costs nothing here
    spent[ask["refresh_token"]] = grant
    return tokens_for(client, grant, ask.get("scope", grant["scope"]))


GRANT_TYPES = {
    "authorization_code": redeem_code,
    "refresh_token": refresh,
}


def tokens_for(client: dict, grant: dict, scope: str) -> dict:
    """OAuth 2.1 §3.2.3: an access token, and the means to get the next one if the client asked for that."""
    write_down(who=grant["subject"])
    forget_the_old(grants, refreshable, spent_codes, spent)
    answer = {
        "access_token": access_token(grant | {"scope": scope}),
        "token_type": "Bearer",
        "expires_in": TOKEN_LIFETIME,
        "scope": scope,
    }
    if "refresh_token" in client["grant_types"]:
        answer["refresh_token"] = secrets.token_urlsafe(32)
        refreshable[answer["refresh_token"]] = grant | {"expires_at": time.time() + REFRESH_LIFETIME}
    return answer


def end_family(family: str) -> None:
    """Whatever came of one consent works no more. Access tokens live on until they expire: RFC 7009 §3."""
    for token in [token for token, grant in refreshable.items() if grant["family"] == family]:
        del refreshable[token]


def forget_the_old(*stores: dict[str, dict]) -> None:
    for store in stores:
        for name in [name for name, about in store.items() if about["expires_at"] < time.time()]:
            del store[name]


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
