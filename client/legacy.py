"""The ways of 2025-03-26, for MCP servers that have never heard of Protected Resource Metadata.

Such a server is its own authorization server: the metadata stands at its origin, and where there is none either, the
three endpoints have fixed names. Newer revisions have neither way; so this is said aloud whenever it happens. PKCE with
S256 is used all the same: that revision required it too.
"""

NO_RESOURCE_METADATA = (
    "{origin} publishes no protected resource metadata: an old server. Its own origin is asked instead (2025-03-26)."
)
NO_METADATA_AT_ALL = (
    "{origin} publishes no metadata at all. We use /authorize, /token and /register there (2025-03-26), with S256."
)


def default_metadata(origin: str) -> dict:
    """What a server at this origin would publish, if it did (MCP 2025-03-26)."""
    return {
        "issuer": origin,
        "authorization_endpoint": f"{origin}/authorize",
        "token_endpoint": f"{origin}/token",
        "registration_endpoint": f"{origin}/register",
        "code_challenge_methods_supported": ["S256"],
    }
