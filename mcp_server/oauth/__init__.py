"""Protects an MCP server with OAuth 2.1: `Protected` around an `MCPServer`, `Settings` from the environment.

`TokenVerifier` alone fits into the SDK's own `token_verifier=`; what it cannot do there, this package's README says.
"""

from .config import Settings
from .protected import Protected
from .tokens import TokenVerifier

__all__ = ["Protected", "Settings", "TokenVerifier"]
