"""What this process sends: somebody may look at every request before it goes, and at every answer when it is in."""

import functools
from collections.abc import Callable

import httpx2

before: list[Callable[[httpx2.Request], None]] = []
after: list[Callable[[httpx2.Request, httpx2.Response], None]] = []


@functools.cache
def watch() -> None:
    """From now on they look, whichever client or library of this process sends."""
    send, send_async = httpx2.HTTPTransport.handle_request, httpx2.AsyncHTTPTransport.handle_async_request

    def watched(transport: httpx2.HTTPTransport, request: httpx2.Request) -> httpx2.Response:
        for look in before:
            look(request)
        answer = send(transport, request)
        if after and whole(answer):
            answer.read()
            for look in after:
                look(request, answer)
        return answer

    async def watched_async(transport: httpx2.AsyncHTTPTransport, request: httpx2.Request) -> httpx2.Response:
        for look in before:
            look(request)
        answer = await send_async(transport, request)
        if after and whole(answer):
            await answer.aread()
            for look in after:
                look(request, answer)
        return answer

    httpx2.HTTPTransport.handle_request = watched
    httpx2.AsyncHTTPTransport.handle_async_request = watched_async


def whole(answer: httpx2.Response) -> bool:
    """A stream of events has no end that one could wait for."""
    return not answer.headers.get("content-type", "").startswith("text/event-stream")
