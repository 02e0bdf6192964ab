"""The tests are about the usual ports and the usual Ctrl-C, whatever this terminal, or make, has set."""

import os
import signal

PORTS = ("AS_PORT", "MCP_PORT", "NEIGHBOUR_PORT", "UPSTREAM_PORT")
for name in (*PORTS, "OUT", "PAUSE", "MINE", "ONLY", "HINT", "TRACE", "REVEAL", "MAKELEVEL", "MAKEFLAGS", "MFLAGS"):
    os.environ.pop(name, None)

# Nobody whom a test asks is certified by the world. To read its hundred certificates for every client that is made,
# here and in the servers that are started, was half of the time that the tests took.
for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
    os.environ.pop(name, None)
os.environ["SSL_CERT_DIR"] = os.devnull

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a job that runs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)
