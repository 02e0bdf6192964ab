"""Importing this fills the catalogue."""

from attacks import code_and_pkce, discovery  # noqa: F401
