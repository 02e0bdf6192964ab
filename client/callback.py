"""Send a person to the authorization server, and catch the one redirect that brings the answer back. RFC 8252 §7.3"""

import contextlib
import hmac
import io
import os
import queue
import socket
import sys
import threading
import webbrowser
from collections.abc import Callable
from urllib.parse import parse_qsl, urlsplit

import anyio
import uvicorn
from starlette.responses import HTMLResponse, RedirectResponse
from starlette.types import Receive, Scope, Send

from shared.stop import Stop

FIVE_MINUTES = 300  # seconds
A_MOMENT = 1  # second
DONE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Done</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>:root{color-scheme:light dark}body{max-width:31rem;margin:10vh auto;padding:1rem;font:1rem/1.5 system-ui}</style>
</head><body><h1>Back to your program</h1><p>You can close this page and go back to the terminal.</p></body></html>"""
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Callback:
    """One page on 127.0.0.1 that exists for one question. It listens from the beginning until `close`.

    `port` is where it would like to be, 0 for anywhere. Without `browser` the address can be pasted instead.
    """

    def __init__(self, say: Callable[[str], object], browser: bool = True, port: int = 0) -> None:
        self.say, self.browser, self.state = say, browser, b""
        self.answers: queue.Queue[dict[str, str]] = queue.Queue()
        self.answered = False
        self.said_goodbye = threading.Event()
        try:
            listener = socket.create_server(("127.0.0.1", port))
        except OSError:  # somebody else is there now
            listener = socket.create_server(("127.0.0.1", 0))
        self.uri = f"http://127.0.0.1:{listener.getsockname()[1]}/callback"
        quiet = {"log_config": None, "access_log": False, "server_header": False}
        self.server = uvicorn.Server(uvicorn.Config(self._page, interface="asgi3", lifespan="off", ws="none", **quiet))
        threading.Thread(target=self.server.run, args=([listener],), daemon=True).start()

    async def send(self, url: str) -> None:
        """Open `url`, which has been checked, in the person's browser, or show it to be opened elsewhere."""
        self.state = dict(parse_qsl(urlsplit(url).query)).get("state", "").encode()
        if self.browser and has_screen():
            self.say("Your browser opens now. If it does not, open this address yourself:")
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
        else:
            self.say("Open this address in a browser:")
        self.say(url)
        if not self.browser:
            self.say("If that browser is on another computer, paste the address here that it ends up at:")
            threading.Thread(target=self._read_pasted, daemon=True).start()

    async def wait(self) -> dict[str, str]:
        """The parameters of the answer with our `state`, each once. Raises `Stop` after five minutes."""
        with anyio.move_on_after(FIVE_MINUTES):
            while self.answers.empty():
                await anyio.sleep(0.05)
            return self.answers.get_nowait()
        raise Stop("Nobody answered within five minutes. If the page showed an error, `logout --forget` and try again.")

    def take(self, url: str) -> bool:
        """Whether this address brings the answer; if not, we go on waiting. RFC 9700 §4.7"""
        try:
            parts = urlsplit(url)
        except ValueError:
            return False
        pairs = parse_qsl(parts.query, keep_blank_values=True)
        answer = dict(pairs)
        might_be_ours = parts.path == "/callback" and len(answer) == len(pairs) and self.state
        if not might_be_ours or not hmac.compare_digest(answer.get("state", "").encode(), self.state):
            return False
        self.answered = True
        self.answers.put(answer)
        return True

    def _read_pasted(self) -> None:
        """Lines from standard input, past Python's own buffer: a thread that waits there must not hold up the end."""
        with contextlib.suppress(OSError, ValueError):
            for line in io.FileIO(0, closefd=False):
                url = line.decode(errors="replace").strip()
                if self.take(url):
                    return self.said_goodbye.set()
                if url:
                    self.say("That is not the address we wait for: it begins with http://127.0.0.1 and has our state.")

    async def _page(self, scope: Scope, receive: Receive, send: Send) -> None:
        url, is_done = scope["raw_path"] + b"?" + scope["query_string"], scope["path"] == "/done"
        if scope["method"] == "GET" and self.take(url.decode("latin-1")):
            page = RedirectResponse("/done", 303, HEADERS)  # an address without the answer in it, for the history
        elif is_done:
            page = HTMLResponse(DONE, headers=HEADERS)
        else:
            page = HTMLResponse("This answer does not belong to a question that was asked.", 404, HEADERS)
        await page(scope, receive, send)
        if is_done:
            self.said_goodbye.set()

    def close(self) -> None:
        if self.answered:
            self.said_goodbye.wait(A_MOMENT)  # a browser still has to fetch the page that says so
        self.server.should_exit = True


def has_screen() -> bool:
    """Whether a browser could be seen here; one in the terminal would be in the way."""
    return sys.platform in ("win32", "darwin") or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")))
