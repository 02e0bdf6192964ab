"""What in our authorization server takes how long: clocks around its parts, read at /where. For measurements alone."""

import functools
import json
import time
from collections.abc import Callable
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

SQL, SIGNING, PAGES = "SQL", "signing", "pages"


class Clocks:
    """Seconds of processor time by part. A part inside another one counts for itself alone."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}
        self.inner = 0.0

    def around(self, owner: type, name: str, part: str) -> None:
        """Put a clock around a method that waits for nobody."""
        method = getattr(owner, name)
        self.spent.setdefault(part, 0.0)

        @functools.wraps(method)
        def timed(*given: Any, **named: Any) -> Any:
            outer, self.inner, began = self.inner, 0.0, time.thread_time()
            try:
                return method(*given, **named)
            finally:
                took = time.thread_time() - began
                self.spent[part] += took - self.inner
                self.inner = outer + took

        setattr(owner, name, timed)

    def read(self) -> dict[str, float]:
        """And begin anew."""
        found, self.spent = self.spent, dict.fromkeys(self.spent, 0.0)
        return found


def watched(create_app: Callable[[], ASGIApp]) -> ASGIApp:
    """The app, and a page /where that says what its parts took since it was last asked."""
    import jinja2

    from auth_server.directory import Directory
    from auth_server.keys import Keys
    from auth_server.storage import Store

    clocks = Clocks()
    for owner in (Store, Directory):
        for name, method in list(vars(owner).items()):
            if callable(method) and not name.startswith("_") and name not in ("took", "remember_consent"):
                clocks.around(owner, name, SQL)
    clocks.around(Keys, "sign", SIGNING)
    clocks.around(jinja2.Template, "render", PAGES)
    app = create_app()
    clocks.spent["app"] = 0.0

    async def outermost(scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("path") == "/where":
            return await answer(clocks.read(), send)
        began = time.thread_time()
        try:
            await app(scope, receive, send)
        finally:
            if scope["type"] == "http":
                clocks.spent["app"] += time.thread_time() - began

    return outermost


async def answer(found: dict[str, float], send: Send) -> None:
    body = json.dumps(found).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
