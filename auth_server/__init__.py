"""An OAuth 2.1 authorization server for MCP servers that can be left running. `python -m auth_server --help`."""
