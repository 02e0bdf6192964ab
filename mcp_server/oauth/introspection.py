"""Opaque tokens: only the authorization server knows what they mean, so we ask it (RFC 7662)."""

import asyncio
import base64
import logging
from urllib.parse import quote_plus

from .config import Settings
from .errors import unavailable
from .fetching import PATIENCE, Web

log = logging.getLogger("mcp_server")


async def introspect(raw: str, settings: Settings, web: Web) -> dict:
    """The claims that the answer makes, to be judged by the rules. Raises Refused (503) if there is none."""
    pair = f"{quote_plus(settings.introspection_client_id)}:{quote_plus(settings.introspection_client_secret)}"
    own = "Basic " + base64.b64encode(pair.encode()).decode()  # RFC 6749 §2.3.1
    form = {"token": raw, "token_type_hint": "access_token"}
    try:
        async with asyncio.timeout(PATIENCE):
            found = await web.json(settings.introspection_endpoint, form, Authorization=own)
    except Exception as error:  # whatever is wrong with what they sent, we know nothing
        log.warning("no answer from the introspection endpoint: %r", error)
        why = "The authorization server does not say whether your token is good; it may be, so try again soon"
        raise unavailable(why) from None
    return {"iss": settings.issuer, "iat": 0, "jti": "opaque"} | found  # what it may leave out: §2.2
