"""What the doctor looks at in the network of this computer: the ports, the name localhost, the proxies."""

from __future__ import annotations  # so that an old Python can read this far, and be told

import contextlib
import errno
import ipaddress
import os
import re
import socket
import sys
import time
import urllib.request
from pathlib import Path

from tools.doctor import MIND, OK, WRONG, Row

SLOW = 0.3  # seconds
ADDED = ["localhost", "127.0.0.1", "::1"]  # what shared/addresses.py puts at the end of NO_PROXY
IS_ADDED = "shared.addresses" in sys.modules
NO_PROXY = [os.environ.get(name, "").split(",") for name in ("NO_PROXY", "no_proxy")]


def ports():
    try:
        from shared import addresses
    except SystemExit as odd:
        yield Row(WRONG, "ports", str(odd), "Set it to a number, or not at all.")
        return
    for name in ("AS_PORT", "MCP_PORT", "NEIGHBOUR_PORT", "UPSTREAM_PORT"):
        port = getattr(addresses, name)
        taken = [host for host in addresses.LOOPBACK_HOSTS if is_taken(host, port)]
        holder, is_ours = holder_of(port)
        if not taken and not holder:
            yield Row(OK, f"port {port}", f"is free, for {name}")
        elif is_ours:
            yield Row(MIND, f"port {port}", f"is held by a server of ours: {holder}", "Ctrl-C where it runs ends it.")
        else:
            who = holder or "a program that we cannot see (perhaps of another user, of Docker or WSL)"
            way_out = f"End that program, or choose another port: {name}={port + 10}"
            yield Row(WRONG, f"port {port}", f"is held by {who}", way_out)


def is_taken(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
        only_us = getattr(socket, "SO_EXCLUSIVEADDRUSE", socket.SO_REUSEADDR)  # the first is how Windows says it
        listener.setsockopt(socket.SOL_SOCKET, only_us, 1)
        try:
            listener.bind((host, port))
            listener.listen(1)
        except OSError as error:
            return error.errno in (errno.EADDRINUSE, errno.EACCES)  # anything else: no IPv6 here
        return False


def holder_of(port: int) -> tuple[str, bool]:
    """The name and the number of the process that listens on this port, and whether it is one of the course."""
    try:
        import psutil
    except ImportError:
        return "", False
    for process in listeners(psutil, port):
        with contextlib.suppress(psutil.Error):
            words = " ".join(process.cmdline())
            if found := re.search(r"\b(?:steps|work)[./\\](?:step-)?(\d\d)\w*[./\\](\w+)", words):
                return f"{found[2]} of step {found[1]} (pid {process.pid})", True
            return f"{process.name()} (pid {process.pid})", False
    return "", False


def listeners(psutil, port: int):
    """On a Mac only root sees the connections of all processes at once; our own we may look at one by one."""
    try:
        found = {c.pid for c in psutil.net_connections("tcp") if listens(psutil, c, port) and c.pid}
        return [psutil.Process(pid) for pid in found]
    except psutil.AccessDenied:
        return list(own_listeners(psutil, port))


def own_listeners(psutil, port: int):
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if any(listens(psutil, connection, port) for connection in process.net_connections("tcp")):
                yield process


def listens(psutil, connection, port: int) -> bool:
    return connection.status == psutil.CONN_LISTEN and connection.laddr.port == port


def localhost():
    began = time.monotonic()
    way_out = f"{hosts_file()} must say: 127.0.0.1 localhost"
    try:
        answers = socket.getaddrinfo("localhost", None, type=socket.SOCK_STREAM)
    except OSError as error:
        yield Row(WRONG, "localhost", f"does not resolve: {error}", way_out)
        return
    took = time.monotonic() - began
    found = list(dict.fromkeys(answer[4][0].partition("%")[0] for answer in answers))
    strange = [address for address in found if not ipaddress.ip_address(address).is_loopback]
    if strange or not {"127.0.0.1", "::1"} & set(found):
        yield Row(WRONG, "localhost", f"is {', '.join(found)}: not this computer's own address", way_out)
    elif took > SLOW:
        yield Row(MIND, "localhost", f"is {', '.join(found)}, which took {took:.1f} seconds to find out", way_out)
    else:
        yield Row(OK, "localhost", f"is {', '.join(found)}")
    odd = list(odd_hosts(hosts_file()))
    if odd:
        yield Row(MIND, "hosts file", f"{hosts_file()} says {'; '.join(odd)}", way_out)


def hosts_file() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("SystemRoot", r"C:\Windows")) / "System32" / "drivers" / "etc" / "hosts"
    return Path("/etc/hosts")


def odd_hosts(path: Path):
    """Lines that call something localhost that is not this computer, or call nothing localhost at all."""
    rows = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    for row in rows:
        address, *names = row.partition("#")[0].split() or [""]
        with contextlib.suppress(ValueError):
            if "localhost" in names and not ipaddress.ip_address(address.partition("%")[0]).is_loopback:
                yield f"localhost is {address}"


def proxies():
    """Our programs go around a proxy for localhost; curl, browsers and the Inspector go by NO_PROXY."""
    found = {name: value for name, value in urllib.request.getproxies().items() if name != "no" and value}
    if not found:
        yield Row(OK, "proxy", "none")
        return
    said = ", ".join(f"{name}: {without_password(value)}" for name, value in sorted(found.items()))
    by_hand = [names[: -len(ADDED)] if IS_ADDED and names[-len(ADDED) :] == ADDED else names for names in NO_PROXY]
    names = {name.strip() for names in by_hand for name in names}
    if "*" in names or {"localhost", "127.0.0.1"} <= names:
        yield Row(OK, "proxy", f"{said}; not for localhost")
    else:
        way_out = "Our programs go around it. For curl and others: NO_PROXY=localhost,127.0.0.1,::1"
        yield Row(MIND, "proxy", f"{said}; NO_PROXY leaves out localhost or 127.0.0.1", way_out)


def without_password(url: str) -> str:
    return re.sub(r"(?<=//)[^/@]*@|^[^/@]*@", "", url)
