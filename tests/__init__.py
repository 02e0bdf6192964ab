"""The tests are about the usual ports, whatever this terminal has set."""

import os

for name in ("AS_PORT", "MCP_PORT", "NEIGHBOUR_PORT", "UPSTREAM_PORT", "OUT", "PAUSE", "MINE", "TRACE", "REVEAL"):
    os.environ.pop(name, None)
