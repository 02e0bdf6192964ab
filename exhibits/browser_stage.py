"""Chromium, as a person would use it, and what it says."""

import contextlib
from collections.abc import Iterator

from playwright.sync_api import Error, Page, sync_playwright

from attacks.site import Site
from exhibits.core import chromium

CONSOLE = "In the browser's console (F12)."
ERROR_PAGE = "On the browser's error page."
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
HTML = {"Content-Type": "text/html"}
FETCH = """async ([url, options]) => {
    try { return "status " + (await fetch(url, options)).status } catch (error) { return String(error) }
}"""


@contextlib.contextmanager
def browser(*switches: str) -> Iterator[tuple[Page, list[str]]]:
    """A page, and what its console says."""
    with sync_playwright() as playwright:
        chrome = playwright.chromium.launch(executable_path=chromium(), args=[*QUIET, *switches])
        page, said = chrome.new_page(), []
        page.set_default_timeout(10_000)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(f"Uncaught {error.name}: {error.message}"))
        try:
            yield page, said
        finally:
            chrome.close()


def opened(url: str) -> str:
    """What a person reads who opens this address."""
    with browser() as (page, said):
        try:
            page.goto(url)
        except Error as error:
            said.append(str(error).partition("\n")[0])
        return "\n".join(said)


def fetched(url: str, **options: object) -> str:
    """A page of one website fetches something of another."""
    with Site() as site, browser() as (page, said):
        site.at("/", b"<h1>A client in a web page</h1>", **HTML)
        site.at("/favicon.ico", b"", 204)
        page.goto(site.origin)
        said.append(page.evaluate(FETCH, [url, options]))
        return "\n".join(said)
