"""A word on every header and claim that a specification of ours defines, and moments as a person says them."""

import datetime
import math
import time

from shared.console import CLAIMS

UNKNOWN = "not defined here"
MOMENTS = ("iat", "nbf", "exp", "auth_time", "updated_at")
HEADER_WORDS = {name: CLAIMS[name] for name in ("typ", "alg", "kid")} | {
    "jku": "where its keys are, if one believes the token: RFC 8725 §3.10 warns of it",
    "jwk": "the key to check it with, if one believes the token: anybody can enclose their own",
    "x5u": "where its certificate is, if one believes the token",
    "x5c": "the certificate of the key that signed it, and those above it",
    "x5t": "which certificate signed it, as a SHA-1 hash",
    "x5t#S256": "which certificate signed it, as a SHA-256 hash",
    "crit": "extensions that whoever reads it must understand: RFC 7515 §4.1.11",
    "cty": "what kind of content this is; JWT means there is another token inside",
    "b64": "whether the content is base64url: RFC 7797 §3",
    "enc": "how it is encrypted: RFC 7516 §4.1.2",
    "zip": "how it is compressed: RFC 7516 §4.1.3",
}
WORDS = {name: word for name, word in CLAIMS.items() if name not in HEADER_WORDS} | {
    "auth_time": "when the person signed in",
    "acr": "how surely the person was known: OpenID Connect Core §2",
    "amr": "how the person signed in, password or otherwise: RFC 8176 §2",
    "azp": "which program an ID token was made for: OpenID Connect Core §2",
    "nonce": "ties an ID token to one request: OpenID Connect Core §2",
    "at_hash": "ties an ID token to an access token: OpenID Connect Core §3.1.3.6",
    "c_hash": "ties an ID token to a code: OpenID Connect Core §3.3.2.11",
    "sid": "which session at the issuer it belongs to",
    "act": "who acts on behalf of the subject: RFC 8693 §4.1",
    "may_act": "who may act on behalf of the subject: RFC 8693 §4.4",
    "cnf": "which key its bearer must hold: RFC 7800 §3.1",
    "authorization_details": "what it may be used for, in detail: RFC 9396 §9.1",
    "roles": "the roles of the subject: RFC 9068 §2.2.3.1",
    "groups": "the groups of the subject: RFC 9068 §2.2.3.1",
    "entitlements": "what the subject may do: RFC 9068 §2.2.3.1",
    "htm": "the method of the one request it proves: RFC 9449 §4.2",
    "htu": "the address of the one request it proves: RFC 9449 §4.2",
    "ath": "ties a proof to an access token: RFC 9449 §4.2",
    "events": "what has happened, in a security event token: RFC 8417 §2.2",
    "name": "what the person is called",
    "preferred_username": "what the person likes to be called; may change, so it identifies nobody",
    "email": "an address; it may change hands, so it identifies nobody",
    "email_verified": "whether the issuer has tried that address",
    "updated_at": "when this about the person last changed",
    "scp": "some servers' own name for scope",
    "tid": "some servers' own name for the tenant",
    "oid": "some servers' own name for the person",
}
UNITS = ((90, 1, "second"), (90 * 60, 60, "minute"), (36 * 3600, 3600, "hour"), (math.inf, 86_400, "day"))
MILLISECONDS = 1_000_000_000_000  # one that is later than 2001; as seconds, a year with five digits


def moment(value: object) -> str:
    """A NumericDate (RFC 7519 §2) in local time, and how far away it is."""
    if type(value) not in (int, float):
        return "no moment: it must be a number of seconds"
    try:
        local = datetime.datetime.fromtimestamp(value).astimezone()
        return f"{local:%Y-%m-%d %H:%M:%S}, {away(value)}"
    except (OverflowError, OSError, ValueError):
        return "on no calendar" + (": milliseconds instead of seconds?" if value > MILLISECONDS else "")


def away(value: float, now: float | None = None) -> str:
    """`in 9 minutes`, `3 minutes ago`; from now, if no other moment is named."""
    try:
        seconds = value - (time.time() if now is None else now)
        how_far = abs(seconds)
        size, unit = next((size, unit) for limit, size, unit in UNITS if how_far < limit)
    except (OverflowError, StopIteration):
        return "at no time"
    if how_far < 1:
        return "now"
    number = round(how_far / size)
    how_long = f"{number} {unit}{'s' * (number != 1)}"
    return f"in {how_long}" if seconds > 0 else f"{how_long} ago"
