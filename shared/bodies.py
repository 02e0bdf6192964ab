"""Read what was sent, up to a limit. What cannot be read is a `BadBody`: a sentence and a status."""

import json
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request

LIMIT = 16_000  # bytes


class BadBody(Exception):
    """The body is too large (413), of the wrong media type (415), or not what its media type says (400)."""

    def __init__(self, error: str, why: str, status: int = 400):
        self.error, self.why, self.status = error, why, status


async def read_json(request: Request, error: str) -> dict:
    try:
        found = json.loads(await read(request, "application/json", error))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise BadBody(error, "send one JSON object")
    return found


async def read_form(request: Request) -> list[tuple[str, str]]:
    error = "invalid_request"
    try:
        body = (await read(request, "application/x-www-form-urlencoded", error)).decode("ascii")
        return parse_qsl(body, keep_blank_values=True, errors="strict")
    except ValueError:
        raise BadBody(error, "send a form in percent-encoded UTF-8") from None


async def read(request: Request, media_type: str, error: str) -> bytes:
    body = b""
    try:
        async for chunk in request.stream():
            body = (body + chunk)[: LIMIT + 1]  # read to the end, keep little: so the sender can read our answer
    except ClientDisconnect:
        raise BadBody(error, "the body ended early") from None
    if len(body) > LIMIT:
        raise BadBody(error, f"send {LIMIT} bytes at most", 413)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != media_type:
        raise BadBody(error, f"send {media_type}", 415)
    return body
