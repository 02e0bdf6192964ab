"""Every way in which it can go wrong, as one sentence. A bug stays a traceback."""

import httpx2
from mcp import MCPError
from mcp.client.auth import OAuthFlowError

from shared.stop import Stop

from .wire import readable

SENTENCES = {  # of several errors at once, the first kind says most
    Stop: "{why}",
    OAuthFlowError: "{why}",
    MCPError: "The MCP server says no: {why}.",
    httpx2.ConnectError: "{who} does not answer: {why}.",
    httpx2.TimeoutException: "{who} takes too long to answer.",
    httpx2.HTTPError: "{who} hung up, or sent what is no HTTP: {why}.",
}


def sentence(error: BaseException) -> str | None:
    """What to tell the user, or None if this is a bug."""
    found = causes(error)
    for kind, told in SENTENCES.items():
        for cause in found:
            if isinstance(cause, kind):
                return told.format(who=place(cause), why=readable(cause, 1000).rstrip("." if "{why}." in told else ""))
    return None


def causes(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [cause for one in error.exceptions for cause in causes(one)]
    return [error]


def place(error: BaseException) -> str:
    try:
        return f"{error.request.url.scheme}://{error.request.url.netloc.decode()}"
    except (AttributeError, RuntimeError):  # nobody knows any more which request it was
        return "The server"
