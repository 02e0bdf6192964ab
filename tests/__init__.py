"""The tests are about the usual ports and the usual Ctrl-C, whatever this terminal, or make, has set."""

import os
import signal

PORTS = ("AS_PORT", "MCP_PORT", "NEIGHBOUR_PORT", "UPSTREAM_PORT")
for name in (*PORTS, "OUT", "PAUSE", "MINE", "TRACE", "REVEAL", "MAKELEVEL", "MAKEFLAGS", "MFLAGS"):
    os.environ.pop(name, None)

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a job that runs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)
