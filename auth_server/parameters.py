"""What was asked, made plain at the edge: after this every value is text, and there once."""

from collections.abc import Collection

from .errors import OAuthError


def once_each(pairs: list[tuple[str, str]], names: Collection[str]) -> dict[str, str]:
    """These names, each once, as plain text. An empty value is none; the rest is ignored. OAuth 2.1 §3.1, §3.2.

    Raises `OAuthError` if one of them appears more than once.
    """
    ask: dict[str, str] = {}
    for name, value in pairs:
        if name in ask:
            error = "invalid_target" if name == "resource" else "invalid_request"  # RFC 8707 §2
            raise OAuthError(error, "a parameter appears more than once")
        if name in names and value:
            ask[name] = value
    return ask


def is_short_text(value: object) -> bool:
    """Printable, and at most 2000 characters."""
    return isinstance(value, str) and value.isprintable() and len(value) <= 2000
