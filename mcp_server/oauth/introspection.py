"""Opaque tokens: only the authorization server knows what they mean, so we ask it (RFC 7662)."""

import asyncio
import logging
from urllib.parse import quote_plus

from .config import Settings
from .errors import unavailable
from .keys import PATIENCE, Web

log = logging.getLogger("mcp_server")


async def introspect(raw: str, settings: Settings, web: Web) -> dict:
    """The claims that the answer makes, to be judged by the rules. Raises Refused (503) if there is none."""
    own = quote_plus(settings.introspection_client_id), quote_plus(settings.introspection_client_secret)
    form = {"token": raw, "token_type_hint": "access_token"}
    try:
        async with asyncio.timeout(PATIENCE):
            found = await web.json(settings.introspection_endpoint, "POST", data=form, auth=own)  # RFC 6749 §2.3.1
            return {"iss": settings.issuer, "iat": 0, "jti": "opaque"} | found  # what it may leave out: §2.2
    except Exception as error:  # whatever is wrong with what they sent, we know nothing
        log.warning("no answer from the introspection endpoint: %r", error)
        raise unavailable() from None
