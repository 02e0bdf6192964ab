"""The tests are about the usual ports and the usual Ctrl-C, whatever this terminal has set."""

import os
import signal

for name in ("AS_PORT", "MCP_PORT", "NEIGHBOUR_PORT", "UPSTREAM_PORT", "OUT", "PAUSE", "MINE", "TRACE", "REVEAL"):
    os.environ.pop(name, None)

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a job that runs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)
