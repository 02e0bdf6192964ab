"""What others may see: of a secret its beginning and its length, of a token what it says and not its signature.

`REVEAL=1` shows everything whole.
"""

import base64
import html
import json
import math
import re
from urllib.parse import parse_qsl, quote, unquote, urlencode

from shared.addresses import switched_on

REVEAL = switched_on("REVEAL")
SECRETS = {
    "access_token",
    "refresh_token",
    "id_token",
    "id_token_hint",
    "subject_token",
    "actor_token",
    "registration_access_token",
    "token",
    "client_secret",
    "client_assertion",
    "assertion",
    "code",
    "code_verifier",
    "device_code",
    "password",
    "request",  # the number of a question that a person has not answered yet
}
KEYS = ("x-api-key", "api-key", "x-auth-token")  # headers that are nothing but a secret
JWT = re.compile(r"(?<![\w-])e[yw][\w-]{8,}(?:\.[\w-]*){2,4}")
CREDENTIALS = re.compile(r"\b(Bearer|Basic|DPoP) ((?=\S{0,80}\d)[^\s\"']{12,})", re.I)
PARAMETER = re.compile(r"(?<=[?&#;])([^=?&#;]{1,80})=([^&#;\s]*)")
USERINFO = re.compile(r"(?<=://)[^/@\s]{1,200}(?=@)")
OPAQUE = re.compile(r"(?=[\w-]*\d)(?=[\w-]*[A-Za-z])[\w-]{20,}")
SHORT = 200  # characters
DEEP = 4  # addresses within addresses
BEGINNING = 4000  # characters of a page


def secret(name: str) -> bool:
    """Whether what goes by this name is a secret, however the name is spelled."""
    return re.sub(r"[^a-z]", "", unquote(name).lower()) in BARE


BARE = {re.sub(r"[^a-z]", "", name) for name in SECRETS}


def shortened(text: str) -> str:
    if REVEAL:
        return text
    return f"{text[:6] if len(text) >= 20 else ''}… ({len(text)} characters)"


def shortened_url(url: str, deep: int = DEEP) -> str:
    """An address, or a text in which there may be some, without the secrets that travel in addresses."""
    if REVEAL:
        return url
    if not deep:
        return "…"

    def one(found: re.Match) -> str:
        name, value = found[1], found[2]
        if secret(name):
            return f"{name}={value[:6] if len(value) >= 20 else ''}…"
        inner = unquote(value)
        if inner == value and "=" not in value:
            return found[0]
        shorter = shortened_url(inner, deep - 1)
        if shorter == inner:
            return found[0]
        return f"{name}={shorter if inner == value else quote(shorter, safe='…')}"

    return without_tokens(USERINFO.sub("…", PARAMETER.sub(one, url)))


def without_tokens(text: str) -> str:
    text = JWT.sub(lambda found: shortened(found[0]), text)
    return CREDENTIALS.sub(lambda found: f"{found[1]} {shortened(found[2])}", text)


def without_secrets(value: object) -> object:
    """The same JSON value, with every member shortened that is a secret by its name, or a token by its look."""
    if isinstance(value, dict):
        return {without_tokens(name): member(name, inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [without_secrets(inner) for inner in value]
    return text_without_secrets(value) if isinstance(value, str) else value


def member(name: str, value: object) -> object:
    if not secret(name) or isinstance(value, (int, float)) or value is None:
        return without_secrets(value)
    return shortened(value if isinstance(value, str) else json.dumps(value))


def text_without_secrets(text: str) -> str:
    """JSON may stand in a JSON string, too."""
    if text[:1] in ("{", "[") and not REVEAL:
        try:
            inner = json.loads(text)
            return text if without_secrets(inner) == inner else json.dumps(without_secrets(inner), ensure_ascii=False)
        except (ValueError, RecursionError):
            pass
    return shortened_url(text)


def form_without_secrets(text: str) -> list[tuple[str, str]]:
    pairs = parse_qsl(text, keep_blank_values=True)
    return [(name, shortened(value) if secret(name) else shortened_url(value)) for name, value in pairs]


def shown_header(name: str, value: str) -> str:
    if name in ("authorization", "proxy-authorization"):
        usual = re.fullmatch(r"(Bearer|Basic|DPoP) (\S+)", value, re.I)
        return f"{usual[1]} {shortened(usual[2])}" if usual else value if value.isalpha() else shortened(value)
    if name in KEYS:
        return shortened(value)
    if name in ("cookie", "set-cookie"):
        first, *rest = value.split(";")
        return ";".join([cookie(first), *(map(cookie, rest) if name == "cookie" else rest)])
    return shortened_url(value)


def cookie(pair: str) -> str:
    name, equals, value = pair.partition("=")
    return f"{name}={shortened(value)}" if equals else shortened(name)


def shown_body(content: bytes, content_type: str) -> str:
    """The text of a body, as far as it says something; of a page what a person reads first."""
    kind = content_type.partition(";")[0].strip().lower()
    text = content.decode("utf-8", errors="replace")
    if REVEAL or not content:
        return text
    if kind == "application/json":
        try:
            return json.dumps(without_secrets(json.loads(text)), ensure_ascii=False)
        except (ValueError, RecursionError):
            return f"({len(content)} bytes that are not JSON, whatever the content type says)"
    if kind == "application/x-www-form-urlencoded":
        return urlencode(form_without_secrets(text))
    if page := first_words(text):
        return f"(a page: {for_people(page)})"
    if kind == "text/plain" and len(text) < SHORT:
        return for_people(text_without_secrets(text))
    return f"({len(content)} bytes of {kind or 'something'})"


def for_people(text: str) -> str:
    """A sentence has no long words with digits in them. What looks like one was not made up by a person."""
    return OPAQUE.sub(lambda found: shortened(found[0]), shortened_url(f"?{text}")[1:])


def first_words(page: str) -> str:
    """The heading of a page and the paragraph below it, or nothing."""
    found = re.search(r"<h1>(.*?)</h1>\s*(?:<p>(.*?)</p>)?", page[:BEGINNING], re.S)
    texts = [re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", part)).strip() for part in found.groups("")] if found else []
    return html.unescape(". ".join(filter(None, texts)))


def taken_apart(token: str) -> tuple[dict, dict] | None:
    """The header and the claims of a JWT, unverified; None for anything else."""
    try:
        header, claims = (
            json.loads(base64.urlsafe_b64decode(part + "=="), parse_constant=no_number, parse_float=finite)
            for part in token.split(".")[:2]
        )
    except (ValueError, RecursionError):
        return None
    return (header, claims) if isinstance(header, dict) and isinstance(claims, dict) else None


def no_number(text: str) -> None:
    raise ValueError(f"{text} is not JSON")


def finite(text: str) -> float | str:
    return float(text) if math.isfinite(float(text)) else text
