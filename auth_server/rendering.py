"""Pages for people, in the look that the steps have too. They load nothing but that."""

from pathlib import Path

from jinja2 import FileSystemLoader
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from shared import pages

from .settings import Settings

FOLDER = Path(__file__).parent / "templates"
ON_PAGES = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Frame-Options": "DENY",  # RFC 9700 §4.16
    "X-Content-Type-Options": "nosniff",
}
templates = pages.templates.overlay(loader=FileSystemLoader([FOLDER, pages.FOLDER]), auto_reload=False)
LOOK = (pages.FOLDER / "style.css").read_bytes()


def page(settings: Settings, template: str, status: int = 200, **values: object) -> Response:
    """`values` are what the template names; `path`, where our endpoints live, is among them always."""
    text = templates.get_template(template).render(values, path=settings.path, may_have_an_icon=False)
    return HTMLResponse(text, status, ON_PAGES)


async def style(_: Request) -> Response:
    headers = {"Cache-Control": "public, max-age=3600", "X-Content-Type-Options": "nosniff"}
    return Response(LOOK, media_type="text/css", headers=headers)
