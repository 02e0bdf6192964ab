"""The rules of step 05, each asked about one token, with the sentence of why."""

import inspect
import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Protocol

import httpx2

from attacks.loaded import Loaded
from tools import lens_door
from tools.catalogue import step_named
from tools.clock import Clock
from tools.lens_door import Door, find_issuer, find_time
from tools.lens_words import away

OK, REFUSED, CANNOT_TELL = "ok", "refused", "cannot tell"
Rule = Callable[[object], Awaitable[bool]]


class Token(Protocol):
    raw: str
    header: dict
    claims: dict


@dataclass(frozen=True)
class Verdict:
    rule: str
    state: str
    why: str
    section: str = ""


class NotAsked(Exception):
    """The rule would have to fetch keys, and nobody has any."""


# ── the rules ─────────────────────────────────────────────────────────────────────────────────────


async def judge(token: Token, door: Door) -> list[Verdict]:
    """Every rule in its order. At the door the first that refuses ends it; here each is heard."""
    with Loaded(step_named("05")) as loaded:
        bearer = loaded.module("bearer")
        bearer.ISSUER, bearer.RESOURCE = door.issuer, door.resource
        async with httpx2.AsyncClient(timeout=lens_door.PATIENCE) as http:
            bearer.log = logging.Logger("lens", logging.CRITICAL)
            bearer.http = http
            await find_issuer(http, door)
            await find_time(http, door)
            bearer.LEEWAY, bearer.time = door.leeway, Clock()
            bearer.time.ahead = door.ahead
            if door.metadata_url:
                bearer.SERVER_METADATA = door.metadata_url
            else:
                bearer.key_named = nobody_has_keys
            verdicts = [shape(token, bearer)]
            for rule in bearer.BEARER_RULES:
                verdicts.append(await asked(rule, token, bearer))
        return verdicts


async def nobody_has_keys(_: str) -> None:
    raise NotAsked


async def asked(rule: Rule, token: Token, bearer: ModuleType) -> Verdict:
    """One rule's verdict. The rule decides; the sentence only says what it saw."""
    name, section = rule.__name__, section_of(rule)
    sentence = SENTENCES.get(name, lambda *_: inspect.getdoc(rule) or "")
    try:
        state = OK if await rule(token) else REFUSED
    except NotAsked:
        algorithm = token.header.get("alg")
        if algorithm != "RS256":
            return Verdict(name, REFUSED, f"alg is {said(algorithm)}, and only RS256 counts, whatever the key", section)
        return Verdict(name, CANNOT_TELL, "that needs the issuer's keys, and nobody answers there", section)
    except bearer.Refused:
        return Verdict(
            name, CANNOT_TELL, "the authorization server answers, but shows no keys that can be used", section
        )
    except (KeyError, TypeError):
        return Verdict(
            name, CANNOT_TELL, "it reads a claim that is missing or odd: an earlier rule refuses that", section
        )
    return Verdict(name, state, sentence(token, bearer, state == OK), section)


def shape(token: Token, bearer: ModuleType) -> Verdict:
    rule = bearer.take_apart
    try:
        rule(token.raw)
    except bearer.Refused:
        length = len(token.raw)
        why = f"it has {length} characters, and {bearer.TOKEN_LIMIT} are read" if length > bearer.TOKEN_LIMIT else ""
        return Verdict("take_apart", REFUSED, why or "a part is empty or no JSON object", section_of(rule))
    return Verdict("take_apart", OK, "three parts, and the first two are JSON objects", section_of(rule))


def section_of(rule: Callable) -> str:
    """The section that the rule cites itself, so that there is one place that can be wrong."""
    found = re.search(r"RFC \d+ §[\d.]*\d(?:, (?:RFC \d+ )?§[\d.]*\d)*", inspect.getsource(rule))
    return found[0] if found else ""


# ── sentences ─────────────────────────────────────────────────────────────────────────────────────


def said(value: object) -> str:
    return "missing" if value is None else f'"{value}"' if isinstance(value, str) else str(value)


def of_type(token: Token, _: ModuleType, ok: bool) -> str:
    typ = said(token.header.get("typ"))
    return f"typ is {typ}: an access token" if ok else f"typ is {typ}; only at+jwt is an access token"


def of_extensions(token: Token, _: ModuleType, ok: bool) -> str:
    return "no crit" if ok else f"crit is {token.header['crit']}: extensions that must be understood, and are not"


def of_signature(token: Token, bearer: ModuleType, ok: bool) -> str:
    kid, algorithm, known = token.header.get("kid"), token.header.get("alg"), bearer.issuer_keys.known
    if ok:
        return f"the issuer's key {said(kid)} signed exactly this"
    if unsigned(token):
        return f"alg is {said(algorithm)}: nobody signed this"
    if not isinstance(kid, str):
        return f"kid is {said(kid)}: it does not say which key signed it"
    if known and kid not in known:
        return f"the issuer shows no key {said(kid)}; it shows {', '.join(map(said, known))}"
    if algorithm != "RS256":
        return f"alg is {said(algorithm)}, and only RS256 counts, whatever the token says"
    return "the issuer's key did not sign this: it was changed afterwards, or somebody else made it"


def unsigned(token: Token) -> bool:
    """RFC 7519 §6: an unsecured JWT. Whoever wants to can write one."""
    return str(token.header.get("alg", "")).lower() == "none"


def of_claims(token: Token, _: ModuleType, ok: bool) -> str:
    if ok:
        return "all that an access token must say is there"
    claims = token.claims
    odd = [
        name for name in ("iss", "sub", "client_id", "jti") if not isinstance(claims.get(name), str) or not claims[name]
    ]
    odd += [name for name in ("exp", "iat") if type(claims.get(name)) not in (int, float)]
    odd += ["nbf"] * (type(claims.get("nbf", 0)) not in (int, float))
    missing = [name for name in odd if name not in claims]
    wrong = [name for name in odd if name in claims]
    parts = [f"missing: {', '.join(missing)}"] * bool(missing)
    parts += [f"of the wrong type or empty: {', '.join(wrong)}"] * bool(wrong)
    return "; ".join(parts)


def of_issuer(token: Token, bearer: ModuleType, ok: bool) -> str:
    if ok:
        return "iss is the one issuer that this server believes"
    return f"iss is {said(token.claims['iss'])}, and this server believes only {bearer.ISSUER}, to the letter"


def of_audience(token: Token, bearer: ModuleType, ok: bool) -> str:
    audience = token.claims.get("aud")
    if ok:
        return "aud is this door"
    if isinstance(audience, list) and bearer.RESOURCE in audience:
        return f"aud names other doors too: {audience}; whoever stands behind one of them could use it here"
    return f"aud is {said(audience)}: it was made for another door than {bearer.RESOURCE}"


def of_time(token: Token, bearer: ModuleType, ok: bool) -> str:
    now, begins = bearer.time.time(), max(token.claims["iat"], token.claims.get("nbf", 0))
    ends, leeway = away(token.claims["exp"], now), f"two clocks may differ by {bearer.LEEWAY} seconds"
    if ok:
        return f"it expires {ends}" if token.claims["exp"] > now else f"it expired {ends}; {leeway}"
    if begins - bearer.LEEWAY > now:
        return f"it begins {away(begins, now)}; {leeway}"
    return f"it expired {ends}; {leeway}"


SENTENCES: dict[str, Callable[[Token, ModuleType, bool], str]] = {
    "is_access_token": of_type,
    "without_extensions": of_extensions,
    "signed_by_our_issuer": of_signature,
    "has_all_claims": of_claims,
    "from_our_issuer": of_issuer,
    "made_for_us": of_audience,
    "within_its_time": of_time,
}
