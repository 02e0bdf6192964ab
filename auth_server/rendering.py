"""Pages for people: one look for all of them, and every value escaped before it meets the markup."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from .settings import Settings

FOLDER = Path(__file__).parent / "templates"
ON_PAGES = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Frame-Options": "DENY",  # RFC 9700 §4.16
    "X-Content-Type-Options": "nosniff",
}
templates = Environment(
    loader=FileSystemLoader(FOLDER),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
)
LOOK = (FOLDER / "style.css").read_bytes()


def page(settings: Settings, template: str, status: int = 200, **values: object) -> Response:
    """`values` are what the template names; `path`, where our endpoints live, is among them always."""
    text = templates.get_template(template).render(values, path=settings.path)
    return HTMLResponse(text, status, ON_PAGES)


async def style(_: Request) -> Response:
    headers = {"Cache-Control": "public, max-age=3600", "X-Content-Type-Options": "nosniff"}
    return Response(LOOK, media_type="text/css", headers=headers)
