"""What was asked, what should have come, and what came: a line or two for whoever built the server."""

import json
import re
from collections.abc import Iterator
from urllib.parse import parse_qsl

import httpx2

from attacks.core import answer_in, json_object
from attacks.world import BASIC, CALLBACK, CHALLENGE, NATIVE, VERIFIER
from shared.addresses import ISSUER, RESOURCE
from shared.shortening import first_words, taken_apart, without_tokens

JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
LONGEST = 120  # characters of what a server said, or of one value that it was sent
USUAL = {  # what an honest client says, and nobody needs to be told; None: whatever it is
    "/register": {name: json.dumps(value) for name, value in NATIVE.items()} | {"client_name": None},
    "/authorize": {
        "response_type": "code",
        "client_id": None,
        "redirect_uri": CALLBACK,
        "scope": BASIC,
        "state": None,
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        "resource": RESOURCE,
    },
    "/consent": {"request": None, "username": None, "password": None, "scope": None, "decision": "allow"},
    "/token": {"client_id": None, "resource": RESOURCE, "client_assertion_type": JWT_BEARER},
}
OF_A_CODE = {"grant_type": "authorization_code", "code": None, "code_verifier": VERIFIER}
OPTIONAL = ("scope", "state", "client_name", "client_assertion_type")
SECRETS = ("client_secret", "client_assertion", "refresh_token", "code", "password", "request", "token")
HEADER, CLAIMS = {"typ": "at+jwt", "alg": "RS256"}, {"iss": ISSUER, "aud": RESOURCE}
TEXTS, MOMENTS = ("sub", "client_id", "jti"), ("iat", "exp")
OURS = re.compile(r"loaded_\d+\.(\w+)|work\.step-\d\d\.(\w+)")


def one_line(text: str) -> str:
    printable = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(without_tokens(printable).split())[:LONGEST]


def without_our_names(said: str) -> str:
    """How we load a student's programs is not for them to know: theirs are files."""
    said = re.sub(r" \([^()]*\.py\)", "", said)  # the whole path, which Python adds
    said = re.sub(r"(?:partially initialized )?module '(?=loaded_|work\.step)", "'", said)
    said = OURS.sub(lambda found: f"{found[1] or found[2]}.py", said)
    return re.sub(r"ModuleNotFoundError: No module named '(\w+\.py)'", r"There is no \1.", said)


# ── what was asked ────────────────────────────────────────────────────────────────────────────────


def asked(answer: httpx2.Response) -> str:
    """`POST /token with code_verifier=too-short`: the request, and in it what an honest client would not say."""
    request = answer.request
    what = ", ".join(unusual(request))
    return f"{request.method} {request.url.path}" + (f" with {what}" if what else "")


def unusual(request: httpx2.Request) -> Iterator[str]:
    path = request.url.path
    if path == "/mcp":
        yield from about_tokens(request.headers.get_list("authorization"))
        return
    pairs = pairs_of(request)
    names = [name for name, _ in pairs]
    of_a_code = ("grant_type", "authorization_code") in pairs
    usual = USUAL.get(path, {}) | (OF_A_CODE if of_a_code else {})
    for name, value in pairs:
        if usual.get(name, "") not in (value, None):
            yield f"{name}=…" if name in SECRETS else f"{name}={one_line(value)}"
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1 and (path, name) != ("/consent", "scope")]
    yield from (f"two values of {name}" for name in twice)
    if of_a_code or path == "/authorize" or (path == "/register" and "grant_types" not in names):
        optional = (*OPTIONAL, "resource") if of_a_code else OPTIONAL
        yield from (f"no {name}" for name in usual if name not in (*names, *optional))


def pairs_of(request: httpx2.Request) -> list[tuple[str, str]]:
    """What it says, by name: in its query, its form, or its JSON."""
    content = request.content.decode("utf-8", "replace")
    if request.headers.get("content-type", "").startswith("application/json"):
        try:
            found = json.loads(content)
        except ValueError:
            return []
        return [(name, json.dumps(value)) for name, value in found.items()] if isinstance(found, dict) else []
    return parse_qsl(request.url.query.decode("ascii", "replace") or content, keep_blank_values=True)


def about_tokens(headers: list[str]) -> Iterator[str]:
    """What the token says that no honest one would; nothing but that there is one, if all is as usual."""
    if len(headers) != 1:
        yield f"{len(headers) or 'no'} Authorization header{'s' * (len(headers) > 1)}"
        return
    parts = taken_apart(headers[0].partition(" ")[2])
    if parts is None:
        yield "a token that is no JWT"
        return
    header, claims = parts
    odd = [f"{name} is {value_of(header, name)}" for name in ("typ", "alg") if header.get(name) != HEADER[name]]
    odd += [f"crit is {value_of(header, 'crit')}"] * ("crit" in header)
    odd += [f"{name} is {value_of(claims, name)}" for name, usual in CLAIMS.items() if claims.get(name) != usual]
    odd += [f"{name} is {value_of(claims, name)}" for name in TEXTS if not isinstance(claims.get(name) or None, str)]
    odd += [f"{name} is {value_of(claims, name)}" for name in MOMENTS if type(claims.get(name)) not in (int, float)]
    yield f"a token whose {', '.join(odd)}" if odd else "a token"


def value_of(found: dict, name: str) -> str:
    return one_line(json.dumps(found[name])) if name in found else "missing"


# ── what came ─────────────────────────────────────────────────────────────────────────────────────


def came(answer: httpx2.Response) -> str:
    """`400 invalid_grant (the code has expired)`: the status, and the error in it, wherever it stands."""
    found = json_object(answer) | answer_in(answer)
    challenge = answer.headers.get("www-authenticate", "")
    found |= {name: value for name, value in re.findall(r'(error|error_description)="([^"]*)"', challenge)}
    error, why = (str(found[name]) if name in found else "" for name in ("error", "error_description"))
    if answer.has_redirect_location and not error:
        error = f"to {answer.headers['location'].partition('?')[0]}"
    if not error and "text/html" in answer.headers.get("content-type", ""):
        why = f"a page: {first_words(answer.text).partition('. ')[0]}"
    return one_line(f"{answer.status_code} {error}{f' ({why})' if why else ''}")
