"""What PyJWT says about tokens."""

import functools
import json
import time
from collections.abc import Callable

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from attacks.site import Site
from exhibits.core import group
from exhibits.logs import line_of
from exhibits.stage import free_port
from shared.addresses import ISSUER, NEIGHBOUR, RESOURCE

exhibit = group("PyJWT: tokens that a server does not believe")
TRACEBACK = "In a traceback, or in the server's log; the client should only see 401 `invalid_token`."
new_key = functools.partial(rsa.generate_private_key, 65537, 2048)
our_key = functools.cache(new_key)


def token(key: object = None, algorithm: str = "RS256", kid: str = "1", **changes: object) -> str:
    """As the authorization server would make it, with these changes; None leaves a claim out."""
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": RESOURCE, "sub": "alice", "iat": now, "exp": now + 600} | changes
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(claims, key or our_key(), algorithm, {"typ": "at+jwt", "kid": kid})


def decoded(raw: str, **changes: object) -> str:
    """As a server should decode it: with key, algorithms, audience, issuer and the claims that it needs."""
    known = {"algorithms": ["RS256"], "audience": RESOURCE, "issuer": ISSUER}
    known |= {"options": {"require": ["exp", "iat", "sub"]}}
    return attempt(lambda: jwt.decode(raw, our_key().public_key(), **known | changes))


def attempt(what: Callable[[], object]) -> str:
    try:
        return str(what())
    except (jwt.PyJWTError, ValueError) as error:
        return line_of(error)


@exhibit(
    "audience-does-not-match",
    "jwt.exceptions.InvalidAudienceError: Audience doesn't match",
    seen=TRACEBACK,
    cause="`aud` in the token is another resource than this server: the client did not send `resource` (RFC "
    "8707), the authorization server ignores it, or the token was stolen from another server. A slash more or "
    "less is another resource.",
    cure="Decode the token and compare `aud` with the `resource` in your metadata. Never switch `verify_aud` off.",
    step="05",
)
def audience_does_not_match() -> str:
    return decoded(token(aud=NEIGHBOUR))


@exhibit(
    "invalid-audience",
    "jwt.exceptions.InvalidAudienceError: Invalid audience",
    seen=TRACEBACK,
    cause="The token has an `aud`, and `jwt.decode` was called without `audience`. PyJWT refuses to ignore it.",
    cure="Pass `audience=` with the string that your metadata names as `resource`.",
    step="05",
)
def invalid_audience() -> str:
    return decoded(token(), audience=None)


@exhibit(
    "invalid-issuer",
    "jwt.exceptions.InvalidIssuerError: Invalid issuer",
    seen=TRACEBACK,
    cause="`iss` is not, character by character, the issuer that the server trusts. Often it is only a slash at "
    "the end, or `127.0.0.1` for `localhost`.",
    cure="Use the `issuer` of the authorization server's metadata, as text.",
    step="05",
)
def invalid_issuer() -> str:
    return decoded(token(iss=f"{ISSUER}/"))


@exhibit(
    "signature-has-expired",
    "jwt.exceptions.ExpiredSignatureError: Signature has expired",
    seen=TRACEBACK,
    cause="`exp` is in the past. Access tokens live for minutes; or the clocks of the two servers differ.",
    cure="Let the client refresh the token when it sees 401 `invalid_token`. Give `leeway=` some seconds for the "
    "clocks.",
    step="06",
)
def signature_has_expired() -> str:
    return decoded(token(iat=int(time.time()) - 900, exp=int(time.time()) - 300))


@exhibit(
    "not-yet-valid",
    "jwt.exceptions.ImmatureSignatureError: The token is not yet valid (iat)",
    seen=TRACEBACK,
    cause="`iat` is in the future: the clock of the authorization server is ahead of the clock here.",
    cure="Set both clocks by NTP, and give `leeway=` some seconds.",
    step="05",
)
def not_yet_valid() -> str:
    return decoded(token(iat=int(time.time()) + 60))


@exhibit(
    "missing-claim",
    'jwt.exceptions.MissingRequiredClaimError: Token is missing the "exp" claim',
    seen=TRACEBACK,
    cause="A claim that the server requires is not there. A token without `exp` would be good forever.",
    cure="Let the authorization server put in what RFC 9068 §2.2 requires. It may also be an ID token, or a token "
    "of another kind.",
    step="05",
)
def missing_claim() -> str:
    return decoded(token(exp=None))


@exhibit(
    "alg-not-allowed",
    "jwt.exceptions.InvalidAlgorithmError: The specified alg value is not allowed",
    seen=TRACEBACK,
    cause="The header of the token names an algorithm that is not in `algorithms`: the server signs with another "
    "one (ES256, EdDSA), or somebody tries `none`, or HS256 with the public key as the secret (RFC 8725 §3.1).",
    cure="List the algorithms that your authorization server really uses. Never take the list from the token.",
    step="05",
)
def alg_not_allowed() -> str:
    return decoded(token("a secret that is long enough for HS256", "HS256"))


@exhibit(
    "algorithms-argument",
    'It is required that you pass in a value for the "algorithms" argument when calling decode().',
    seen=TRACEBACK,
    cause="`jwt.decode` was called without `algorithms`, as old examples do. Without it the token would choose "
    "how it is verified.",
    cure='Pass `algorithms=["RS256"]`, or whatever your authorization server signs with.',
    step="05",
)
def algorithms_argument() -> str:
    return decoded(token(), algorithms=None)


@exhibit(
    "signature-verification-failed",
    "jwt.exceptions.InvalidSignatureError: Signature verification failed",
    seen=TRACEBACK,
    cause="The key did not sign these bytes: the token was changed, is a forgery, or the authorization server was "
    "restarted with a new key under the same `kid`.",
    cure="Fetch the keys again, once. If it still fails, the token is not from your authorization server.",
    step="05",
)
def signature_verification_failed() -> str:
    return decoded(token(new_key()))


@exhibit(
    "not-enough-segments",
    "jwt.exceptions.DecodeError: Not enough segments",
    seen=TRACEBACK,
    cause="This is not a JWT, which has three parts: an opaque token, an empty string, `Bearer ` still before the "
    "token, or the word `undefined`.",
    cure="Look at its first characters: a JWT begins with `eyJ`. An opaque token is verified by introspection "
    "(RFC 7662). Some authorization servers make JWTs only if the request names an audience or `resource`.",
    step="05",
)
def not_enough_segments() -> str:
    return decoded("2YotnFZFEjr1zCsicMWpAA")


@exhibit(
    "subject-must-be-string",
    "jwt.exceptions.InvalidSubjectError: Subject must be a string",
    seen=TRACEBACK,
    cause="`sub` is a number, as a primary key often is. RFC 7519 §4.1.2 wants a string.",
    cure="Let the authorization server write `str(user.id)`.",
    step="05",
)
def subject_must_be_string() -> str:
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": RESOURCE, "sub": 42, "iat": now, "exp": now + 600}
    return decoded(jwt.PyJWS().encode(json.dumps(claims).encode(), our_key(), "RS256"))


def key_set(site: Site) -> str:
    found = jwt.algorithms.RSAAlgorithm.to_jwk(our_key().public_key(), as_dict=True)
    return site.at("/jwks", {"keys": [found | {"kid": "1", "use": "sig", "alg": "RS256"}]})


@exhibit(
    "unable-to-find-key",
    "jwt.exceptions.PyJWKClientError: Unable to find a signing key that matches: …",
    seen=TRACEBACK,
    cause="The `kid` in the token's header is not among the keys at `jwks_uri`: the keys were changed, the token "
    "is from another server (or another environment of it), or `jwks_uri` is wrong.",
    cure="Fetch the metadata of the token's `iss` and compare. After a restart of a demo server, get a new token.",
    step="05",
)
def unable_to_find_key() -> str:
    with Site() as site:
        keys = jwt.PyJWKClient(key_set(site))
        return attempt(lambda: keys.get_signing_key_from_jwt(token(kid="2")))


@exhibit(
    "fail-to-fetch-keys",
    'jwt.exceptions.PyJWKClientConnectionError: Fail to fetch data from the url, err: "<urlopen error …',
    seen=TRACEBACK,
    cause="The MCP server cannot reach `jwks_uri`: the authorization server is down, or is called `localhost`, "
    "which inside a container is the container itself.",
    cure="Ask for the address with curl from where the MCP server runs. Answer the client with 503, not 401: its "
    "token may be fine.",
    step="05",
)
def fail_to_fetch_keys() -> str:
    keys = jwt.PyJWKClient(f"http://127.0.0.1:{free_port()}/jwks")
    return attempt(lambda: keys.get_signing_key_from_jwt(token()))
