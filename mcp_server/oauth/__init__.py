"""Protects an MCP server with OAuth 2.1: `Protected` around an `MCPServer`, `Settings` from the environment."""

from .config import Settings
from .protected import Protected
from .tokens import TokenVerifier

__all__ = ["Protected", "Settings", "TokenVerifier"]
