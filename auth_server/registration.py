"""Registration: a client says who it is and gets a name, on our terms. RFC 7591."""

import re
import secrets
import time
from typing import Any

import jwt
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from shared.audit import write_down
from shared.bodies import read_json

from .context import AuthServer, OAuthError, server_of
from .database import sha256
from .directory import Resource
from .parameters import OFFLINE_ACCESS, is_short_text, shows_token
from .settings import ALGORITHMS, Settings
from .storage import A_DAY, Client

AUTH_METHODS = ("none", "client_secret_post", "client_secret_basic", "private_key_jwt")
LOOPBACK = r"(127\.0\.0\.1|localhost|\[::1\])(?![A-Za-z0-9.-])"  # and not localhost.evil.example
ORIGIN = rf"(https://[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*|http://{LOOPBACK})(:[0-9]{{1,5}})?"
REDIRECT_URI = rf"{ORIGIN}(/[A-Za-z0-9._~!$&'()+,;=:@%/?-]*)?"
GRANTS = ("authorization_code", "refresh_token")
REGISTRABLE = {  # what a client may say of itself, and what its silence means: RFC 7591 §2
    "redirect_uris": [],
    "token_endpoint_auth_method": "client_secret_basic",
    "grant_types": ["authorization_code"],
    "response_types": ["code"],
    "application_type": "web",
    "client_name": "a program without a name",
    "scope": "",  # in its place: everything that our resources know
}
PUBLIC_MEMBERS = ("kty", "kid", "alg", "use", "n", "e", "crv", "x", "y")  # of a key: no other is kept
MOST_KEYS = 5


def well_formed(metadata: dict[str, Any]) -> None:
    for name, usual in REGISTRABLE.items():
        texts = metadata[name] if isinstance(usual, list) else [metadata[name]]
        if not isinstance(texts, list) or len(texts) > 10 or not all(map(is_short_text, texts)):
            error = "invalid_redirect_uri" if name == "redirect_uris" else "invalid_client_metadata"
            raise OAuthError(error, f"{name} must be printable text, or a short list of it")


def https_or_loopback(metadata: dict[str, Any]) -> None:
    for uri in metadata["redirect_uris"] or [""]:  # none at all is refused too
        if not re.fullmatch(REDIRECT_URI, uri):
            why = "redirect_uris: https, or http on a loopback host; no fragment, userinfo or wildcard"
            raise OAuthError("invalid_redirect_uri", why)  # RFC 9700 §2.6


def fits_application_type(metadata: dict[str, Any]) -> None:
    if metadata["application_type"] not in ("native", "web"):
        raise OAuthError("invalid_client_metadata", "application_type must be native or web")
    loopback = any(re.match(rf"https?://{LOOPBACK}", uri) for uri in metadata["redirect_uris"])
    if metadata["application_type"] == "web" and loopback:
        why = "a web client has no loopback redirect_uri: say application_type native"
        raise OAuthError("invalid_redirect_uri", why)  # OpenID Connect Registration §2


def known_auth_method(metadata: dict[str, Any]) -> None:
    if metadata["token_endpoint_auth_method"] not in AUTH_METHODS:
        why = f"token_endpoint_auth_method must be one of: {', '.join(AUTH_METHODS)}"
        raise OAuthError("invalid_client_metadata", why)  # RFC 7591 §2


def one_key_source(metadata: dict[str, Any]) -> None:
    if "jwks" in metadata and "jwks_uri" in metadata:
        raise OAuthError("invalid_client_metadata", "jwks and jwks_uri exclude each other")  # RFC 7591 §2


def code_grant(metadata: dict[str, Any]) -> None:
    if "authorization_code" not in metadata["grant_types"] or "code" not in metadata["response_types"]:
        why = "only grant type authorization_code with response type code can be registered here"
        raise OAuthError("invalid_client_metadata", why)  # RFC 7591 §2.1


def shows_its_keys(metadata: dict[str, Any]) -> None:
    if metadata["token_endpoint_auth_method"] == "private_key_jwt" and not usable_keys(metadata.get("jwks")):
        why = f"private_key_jwt takes jwks: public keys with kid and alg, one of {', '.join(ALGORITHMS)}"
        raise OAuthError("invalid_client_metadata", why)  # RFC 7591 §2


REGISTRATION_RULES = (
    well_formed,
    https_or_loopback,
    fits_application_type,
    known_auth_method,
    one_key_source,
    code_grant,
    shows_its_keys,
)


def registered_by_the_operator(metadata: dict[str, Any]) -> None:
    if not metadata["by_the_operator"]:
        why = "a program that acts for itself is registered by the operator, with an initial access token"
        raise OAuthError("invalid_client_metadata", why)


def sends_nobody_anywhere(metadata: dict[str, Any]) -> None:
    if metadata["redirect_uris"]:
        raise OAuthError("invalid_redirect_uri", "a program that acts for itself has no redirect_uris")


def proves_itself(metadata: dict[str, Any]) -> None:
    if metadata["token_endpoint_auth_method"] == "none":
        raise OAuthError("invalid_client_metadata", "only a confidential client acts for itself")  # OAuth 2.1 §4.2


MACHINE_RULES = (
    registered_by_the_operator,
    well_formed,
    sends_nobody_anywhere,
    known_auth_method,
    proves_itself,
    one_key_source,
    shows_its_keys,
)


def usable_keys(jwks: object) -> dict[str, jwt.PyJWK]:
    """By `kid`; none at all if one of them is odd, weak, or private."""
    found: dict[str, jwt.PyJWK] = {}
    try:
        for key in jwks["keys"]:
            if key["alg"] not in ALGORITHMS or {"d", "p", "q", "k"} & set(key) or len(found) == MOST_KEYS:
                return {}
            if not all(map(is_short_text, (key[name] for name in PUBLIC_MEMBERS if name in key))):
                return {}
            found[key["kid"]] = jwt.PyJWK(key)
            if key["kty"] == "RSA" and found[key["kid"]].key.key_size < 2048:  # RFC 7518 §3.3
                return {}
    except (jwt.PyJWTError, KeyError, TypeError, ValueError, AttributeError):
        return {}
    return found


async def register(request: Request) -> Response:
    """RFC 7591 §3: 201 and the client as it is registered, which may be less than it wished. Raises `OAuthError`."""
    server = server_of(request)
    metadata, operator = await read_json(request, "invalid_client_metadata"), by_the_operator(request, server)
    resources = await server.directory.ask(server.directory.resources)
    client, secret = new_client(metadata, resources, by_the_operator=operator)
    now = time.time()
    until = None if operator else now + min(A_DAY, server.settings.unused_client_lifetime)  # a token lengthens it
    await server.store.ask(server.store.add_client, client, now, until)
    write_down(client=client.client_id)
    told_once = {"client_secret": secret, "client_secret_expires_at": 0} if secret else {}
    return JSONResponse(client.registered | told_once, 201)  # RFC 7591 §3.2.1


def new_client(
    metadata: dict[str, Any], resources: dict[str, Resource], *, by_the_operator: bool = False
) -> tuple[Client, str]:
    """What somebody says of a client, checked; and its secret, empty if its method takes none. Nothing is stored.

    Raises `OAuthError` with a code of RFC 7591 §3.2.2.
    """
    known = all_scopes(resources)
    metadata = REGISTRABLE | {"scope": " ".join(known)} | metadata | {"by_the_operator": by_the_operator}
    grants = metadata["grant_types"] if isinstance(metadata["grant_types"], list) else []
    for_itself = "client_credentials" in grants and "authorization_code" not in grants
    for rule in MACHINE_RULES if for_itself else REGISTRATION_RULES:
        rule(metadata)
    registered = {name: metadata[name] for name in REGISTRABLE}  # the rest is ignored, as the answer shows
    registered |= {"client_id": secrets.token_urlsafe(16), "client_id_issued_at": int(time.time())}
    registered |= {"grant_types": known_grants(metadata), "response_types": ["code"]}
    registered |= {"grant_types": ["client_credentials"], "response_types": []} if for_itself else {}
    wanted = metadata["scope"].split(" ")
    registered |= {"scope": " ".join(scope for scope in (*known, OFFLINE_ACCESS) if scope in wanted)}
    if metadata["token_endpoint_auth_method"] == "private_key_jwt":
        keys = [{name: key[name] for name in PUBLIC_MEMBERS if name in key} for key in metadata["jwks"]["keys"]]
        registered |= {"jwks": {"keys": keys}}
    secret = secrets.token_urlsafe(32) if registered["token_endpoint_auth_method"].startswith("client_secret") else ""
    kind = "operator" if by_the_operator else "dynamic"
    return Client(registered["client_id"], registered, sha256(secret) if secret else None, kind), secret


def known_grants(metadata: dict[str, Any]) -> list[str]:
    return [grant for grant in GRANTS if grant in metadata["grant_types"]]


def all_scopes(resources: dict[str, Resource]) -> list[str]:
    """Those of all resources, each once."""
    return list(dict.fromkeys(scope for resource in resources.values() for scope in resource.scopes))


def may_register(settings: Settings) -> bool:
    """Whether there is anybody who may."""
    return settings.open_registration or bool(settings.initial_access_token)


def by_the_operator(request: Request, server: AuthServer) -> bool:
    """Whether they showed that they are. Raises `OAuthError` (401) if they must be, or say so and are not."""
    if len(request.headers.getlist("authorization")) > 1:
        raise OAuthError("invalid_request", "there is more than one Authorization header")
    if shows_token(request, server.settings.initial_access_token):
        return True
    if "authorization" in request.headers or not server.settings.open_registration:
        raise OAuthError("invalid_token", "this is not the operator's initial access token", 401)  # RFC 7591 §3
    return False
