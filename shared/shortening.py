"""What others may see: of a secret its beginning and its length, of a token what it says and not its signature.

`REVEAL=1` shows everything whole.
"""

import base64
import html
import json
import re
from urllib.parse import parse_qsl, urlencode

from shared.addresses import switched_on

REVEAL = switched_on("REVEAL")
SECRETS = {
    "access_token",
    "refresh_token",
    "client_secret",
    "client_assertion",
    "registration_access_token",
    "token",
    "code",
    "code_verifier",
    "password",
}
LOOKS_LIKE_A_JWT = re.compile(r"eyJ[\w-]*\.[\w-]+\.[\w-]*")
SHORT = 200  # characters


def shortened(secret: str) -> str:
    if REVEAL:
        return secret
    return f"{secret[:6] if len(secret) >= 20 else ''}… ({len(secret)} characters)"


def shortened_url(url: str) -> str:
    if REVEAL:
        return url
    return re.sub(rf"([?&](?:{'|'.join(SECRETS)})=[^&#]{{0,6}})[^&#]*", r"\1…", url)


def without_secrets(value: object) -> object:
    """The same JSON value, with every member shortened that is a secret by its name, or a token by its look."""
    if isinstance(value, dict):
        return {
            name: shortened(inner) if name in SECRETS and isinstance(inner, str) else without_secrets(inner)
            for name, inner in value.items()
        }
    if isinstance(value, list):
        return [without_secrets(inner) for inner in value]
    return without_tokens(value) if isinstance(value, str) else value


def without_tokens(text: str) -> str:
    return LOOKS_LIKE_A_JWT.sub(lambda found: shortened(found[0]), text)


def shown_header(name: str, value: str) -> str:
    if name == "authorization":
        scheme, _, credentials = value.partition(" ")
        return f"{scheme} {shortened(credentials)}"
    if name in ("cookie", "set-cookie"):
        return re.sub(r"(?<==)[^;]+", lambda found: shortened(found[0]), value, count=0 if name == "cookie" else 1)
    return without_tokens(shortened_url(value))


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
        pairs = [(name, shortened(value) if name in SECRETS else value) for name, value in parse_qsl(text, True)]
        return without_tokens(urlencode(pairs))
    if page := first_words(text):
        return f"(a page: {page})"
    if kind == "text/plain" and len(text) < SHORT:
        return without_tokens(text)
    return f"({len(content)} bytes of {kind or 'something'})"


def first_words(page: str) -> str:
    """The heading of a page and the paragraph below it, or nothing."""
    found = re.search(r"<h1>(.*?)</h1>\s*(?:<p>(.*?)</p>)?", page, re.S)
    texts = [re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", part)).strip() for part in found.groups("")] if found else []
    return html.unescape(". ".join(filter(None, texts)))


def taken_apart(token: str) -> tuple[dict, dict] | None:
    """The header and the claims of a JWT, unverified; None for anything else."""
    try:
        header, claims = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in token.split(".")[:2])
    except (ValueError, RecursionError):
        return None
    return (header, claims) if isinstance(header, dict) and isinstance(claims, dict) else None
