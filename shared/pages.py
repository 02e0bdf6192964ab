"""Pages for people: one look for all of them, and every value escaped before it meets the markup."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import Route

FOLDER = Path(__file__).parent / "templates"
templates = Environment(
    loader=FileSystemLoader(FOLDER),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def page(template: str, status: int = 200, headers: dict[str, str] | None = None, **values: object) -> Response:
    icon = "Content-Security-Policy" not in (headers or {})  # an empty one, so that no browser asks for one
    text = templates.get_template(template).render(values, path="", may_have_an_icon=icon)
    return HTMLResponse(text, status, headers)


async def style(_: Request) -> Response:
    return FileResponse(FOLDER / "style.css", media_type="text/css")


STYLE = Route("/style.css", style)
