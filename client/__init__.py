"""A client for any protected MCP server: the SDK's own, wired properly. `python -m client --help` says the rest."""
