"""Send a person to a page, and catch the one redirect that brings the answer back.

Where there is nobody to send (no terminal, no display, CI, or `HEADLESS=1`) a small visitor goes instead. It
fetches the same page, fills in the same form as alice, and follows the same redirect.
"""

import contextlib
import os
import queue
import socket
import sys
import threading
import time
import webbrowser
from collections.abc import Iterator
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import urljoin, urlsplit

import httpx2

from shared import pace
from shared.addresses import ISSUER, switched_on
from shared.console import line, note
from shared.shortening import shortened_url
from shared.stop import Stop
from shared.tracing import BROWSER, page_was_visited

FIVE_MINUTES = 300  # seconds
A_MOMENT = 1  # second
visitor_presses = "allow"
GOODBYE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Done</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>:root{color-scheme:light dark}body{max-width:31rem;margin:10vh auto;padding:1rem;font:1rem/1.5 system-ui}</style>
</head><body><h1>Back to your program</h1>
<p>You can close this page and go back to the terminal.</p></body></html>"""
ON_THIS_PAGE = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Callback:
    """One page on 127.0.0.1. Its address is the `redirect_uri`; every visit to it is an answer, true or not."""

    def __init__(self) -> None:
        self.visits: queue.Queue[str | Exception] = queue.Queue()
        self.said_goodbye = threading.Event()
        self.server = HTTPServer(("127.0.0.1", 0), self.handler())
        self.uri = f"http://127.0.0.1:{self.server.server_port}/callback"

    def handler(self) -> type[BaseHTTPRequestHandler]:
        callback = self

        class OnePage(BaseHTTPRequestHandler):
            timeout = 5  # seconds a silent visitor may hold us up

            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                status = {"/callback": 303, "/done": 200}.get(path, 404)
                body = GOODBYE.encode() if path == "/done" else b""
                headers = ON_THIS_PAGE.copy()
                if path == "/callback":
                    headers["Location"] = "/done"  # an address without the answer in it, for the history
                page_was_visited(self, status, headers, body)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)
                if path == "/done":
                    callback.said_goodbye.set()
                if path == "/callback":
                    callback.visits.put(f"http://127.0.0.1:{callback.server.server_port}{self.path}")

            def log_message(self, *_: object) -> None:
                pass  # the path carries the code

        return OnePage

    def send_user_to(self, url: str) -> None:
        """Open `url` in the person's browser, or let the visitor go there."""
        if pace.wanted():
            line(shortened_url(url))
            pace.wait_for_enter("What will the browser show there, and with what will it come back?")
        if somebody_is_there():
            note("Your browser opens now. If it does not, open this address yourself:")
            if visitor_presses != "allow":
                note(f"This time, press {visitor_presses}.")
            line(url)
            note("Waiting for you, five minutes at most. Ctrl-C ends it.")
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
        else:
            and_then = "" if visitor_presses == "allow" else f", but presses {visitor_presses}"
            note(f"No browser here, so a small visitor goes there and fills in the form as alice{and_then}:")
            line(url)
            threading.Thread(target=self.visit, args=(url,), daemon=True).start()

    def visit(self, url: str) -> None:
        try:
            visit(url, press=visitor_presses)
        except Exception as error:
            self.visits.put(error)

    def wait(self) -> str:
        """The address of the next visit, with everything its query brings."""
        deadline = time.monotonic() + FIVE_MINUTES
        while time.monotonic() < deadline:
            with contextlib.suppress(queue.Empty):
                visit = self.visits.get(timeout=1)
                if isinstance(visit, Exception):
                    raise visit
                return visit
            check_still_there(ISSUER)
        raise Stop("Nobody answered within five minutes. Start again when you are ready.")


@contextlib.contextmanager
def the_visitor_presses(button: str) -> Iterator[None]:
    """For the length of the block, consent is answered this way."""
    global visitor_presses
    before, visitor_presses = visitor_presses, button
    try:
        yield
    finally:
        visitor_presses = before


@contextlib.contextmanager
def waiting_for_redirect() -> Iterator[Callback]:
    """Listen before anybody is sent away, stop listening when the answer is in."""
    callback = Callback()
    thread = threading.Thread(target=callback.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield callback
        callback.said_goodbye.wait(A_MOMENT)  # a browser still has to come to the page that says so
    finally:
        callback.server.shutdown()
        callback.server.server_close()


def somebody_is_there() -> bool:
    if switched_on("HEADLESS") or switched_on("CI") or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    if sys.platform not in ("win32", "darwin") and not any(
        map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))
    ):
        return False
    with contextlib.suppress(webbrowser.Error):
        return bool(webbrowser.get())
    return False


def check_still_there(url: str) -> None:
    """A person's browser would only show an error; we can say it here, where the person will look next."""
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname, parts.port), timeout=5).close()
    except OSError:
        raise Stop(f"The authorization server at {url} went away while we waited for the answer.") from None


# ── the visitor ───────────────────────────────────────────────────────────────────────────────────


class Form(HTMLParser):
    """The first form of a page: where it goes, and what a browser would send if every default were kept."""

    def __init__(self, html: str):
        super().__init__()
        self.action: str | None = None
        self.fields: list[tuple[str, str]] = []
        self.buttons: list[tuple[str, str]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        here = {name: value or "" for name, value in attributes}
        if tag == "form" and self.action is None:
            self.action = here.get("action", "")
        elif tag == "button":
            self.buttons.append((here.get("name", ""), here.get("value", "")))
        elif tag == "input" and (here.get("type") != "checkbox" or "checked" in here):
            self.fields.append((here.get("name", ""), here.get("value", "")))


def visit(url: str, username: str = "alice", password: str = "wonderland", press: str = "allow") -> httpx2.Response:
    """Do what a person with a browser would do: open the page, sign in, press the button, go where it leads."""
    with httpx2.Client(timeout=10, headers=BROWSER) as browser:
        page = browser.get(url)
        if page.has_redirect_location:
            line((f"browser is sent on at once: {shortened_url(page.headers['location'])}", "dim"))
            return browser.get(page.headers["location"], follow_redirects=True)
        form = Form(page.text)
        if form.action is None:
            raise Stop(f"The visitor found no form to fill in: {page.status_code}, {heading(page)}.")
        line((f"browser opens the page: {page.status_code}, {heading(page)}", "dim"))
        typed = {"username": username, "password": password}
        fields = [(name, typed.get(name, value)) for name, value in form.fields]
        fields += [button for button in form.buttons if button[1] == press]
        body: dict[str, list[str]] = {}
        for name, value in fields:
            body.setdefault(name, []).append(value)
        answer = browser.post(urljoin(str(page.url), form.action), data=body)
        line((f"browser sends the form, presses {press}: {answer.status_code}", "dim"))
        if not answer.has_redirect_location:
            raise Stop(f"The visitor was not sent back: {answer.status_code}, {heading(answer)}.")
        line((f"browser follows to {shortened_url(answer.headers['location'])}", "dim"))
        return browser.get(answer.headers["location"], follow_redirects=True)


def heading(page: httpx2.Response) -> str:
    _, _, rest = page.text.partition("<h1>")
    return rest.partition("</h1>")[0].strip() or page.text[:80]
