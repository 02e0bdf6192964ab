"""The finished, protected MCP server: `oauth` protects any server, `market` is the one that runs here."""
