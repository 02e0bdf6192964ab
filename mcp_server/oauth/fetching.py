"""What this server asks others for: JSON objects, of a bounded size."""

import httpx2
from pydantic_core import from_json

from shared.operating import may_be_http

PATIENCE = 3  # seconds, for everything that one decision needs
MOST = 1_000_000  # bytes of an answer


class Web:
    """One HTTP client for everything. It is made when it is first needed, because making it takes time."""

    def __init__(self, http: httpx2.AsyncClient | None = None):
        self.http = http

    def client(self) -> httpx2.AsyncClient:
        if self.http is None:
            self.http = httpx2.AsyncClient()
        return self.http

    async def json(self, url: str, form: dict[str, str] | None = None, **headers: str) -> dict:
        """GET, or POST if there is a form. Raises ValueError or httpx2.HTTPError, whose messages hold no secret."""
        if not may_be_http(url, ""):
            raise ValueError(f"{url} is not https")
        body, headers = b"", {"Accept": "application/json"} | headers
        async with self.client().stream("POST" if form else "GET", url, data=form, headers=headers) as answer:
            answer.raise_for_status()
            async for chunk in answer.aiter_bytes():
                body += chunk
                if len(body) > MOST:
                    raise ValueError(f"{url} sends more than {MOST} bytes")
        found = from_json(body)
        if not isinstance(found, dict):
            raise ValueError(f"{url} sends no JSON object")
        return found
