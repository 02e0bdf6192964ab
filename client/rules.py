"""What we believe of what others send: addresses, metadata, tokens, and the answer that a browser brings.

The SDK reads these documents too, and is more forgiving. Each rule raises `Stop` with a sentence for a person. The
tuples are read when they are used, so a test can take one rule out and see what it was good for.
"""

import ipaddress
import socket
from urllib.parse import SplitResult, urlsplit

from shared.stop import Stop

from .wire import readable

ON_THIS_COMPUTER = ("localhost", "127.0.0.1", "::1")
LONGEST_LIFE = 2**63  # seconds: a clock can still add it to now


def parts_of(url: str) -> SplitResult:
    """The parts of an address that others sent. Raises `Stop` for what is no address at all."""
    try:
        if url.isascii() and url.isprintable() and not set(url) & set(' "<>\\^`{|}'):
            parts = urlsplit(url)
            parts.port  # noqa: B018 - raises for a port that is none
            if "%" not in parts.netloc:  # a browser reads %31 as 1
                return parts
    except ValueError:
        pass
    raise Stop(f"{readable(url)!r} is not an address that can be asked.")


def https_or_this_computer(url: str, server: str) -> None:
    parts = parts_of(url)
    here = parts.scheme == "http" and parts.hostname in ON_THIS_COMPUTER
    if not parts.hostname or not (here or parts.scheme == "https"):
        raise Stop(f"We do not go to {readable(url)!r}: it is neither https nor on this computer.")  # OAuth 2.1 §1.5


def names_nobody(url: str, server: str) -> None:
    if "@" in parts_of(url).netloc or parts_of(url).fragment:
        raise Stop(f"We do not go to {readable(url)!r}: an address of theirs has no userinfo and no fragment.")


def no_way_inside(url: str, server: str) -> None:
    """A server out there has no business sending us to our own network, nor that one to this computer. RFC 9728 §7.7"""
    if inside(parts_of(url)) > inside(parts_of(server)):
        where = "is on this computer, or in a network of its own"
        raise Stop(f"We do not go to {readable(url)!r}: it {where}, and {server} is further out.")


ADDRESS_RULES = (https_or_this_computer, names_nobody, no_way_inside)


def inside(parts: SplitResult) -> int:
    """0 out there, 1 in a network of our own, 2 on this computer. Numbers are read as whoever connects reads them."""
    host = (parts.hostname or "").rstrip(".")
    try:
        address = ipaddress.ip_address(host if ":" in host else socket.inet_aton(host))
    except (OSError, ValueError):
        return 2 * f".{host}".endswith(".localhost")
    address = getattr(address, "ipv4_mapped", None) or address
    return 2 if address.is_loopback or address.is_unspecified else int(not address.is_global)


def check_address(url: object, server: str) -> None:
    """Raises `Stop` unless `url`, which we were told about, may be asked or opened. `server` is what the user named."""
    for rule in ADDRESS_RULES:
        rule(str(url), server)


def about_this_resource(document: dict, url: str, server: str) -> None:
    """RFC 9728 §3.3: it speaks of the address that was asked for, or of that into which its own path was put."""
    origin = origin_of(server)
    at_the_root = url == f"{origin}/.well-known/oauth-protected-resource"
    if document.get("resource") not in ([server, origin, f"{origin}/"] if at_the_root else [server]):
        said = readable(document.get("resource"))
        raise Stop(f"The metadata at {url} is about {said!r}, not {server}. If you meant that, give it as --server.")


RESOURCE_METADATA_RULES = (about_this_resource,)


def same_issuer(document: dict, issuer: str, server: str) -> None:
    if document.get("issuer") != issuer:
        raise Stop(f"We asked {issuer}, and {readable(document.get('issuer'))!r} answered.")  # RFC 8414 §3.3


def offers_s256(document: dict, issuer: str, server: str) -> None:
    methods = document.get("code_challenge_methods_supported")
    if not isinstance(methods, list) or "S256" not in methods:
        raise Stop(f"{issuer} does not offer PKCE with S256, so we do not start.")  # OAuth 2.1 §7.5.2


def safe_endpoints(document: dict, issuer: str, server: str) -> None:
    for name, url in document.items():
        if name.endswith("_endpoint"):
            check_address(url, server)


SERVER_METADATA_RULES = (same_issuer, offers_s256, safe_endpoints)
MACHINES_DO_WITHOUT = (offers_s256,)  # nobody is sent anywhere, so there is no code to protect


def from_the_same_issuer(answer: dict[str, str], document: dict) -> None:
    """Before anything else in it is believed or shown, an error too. RFC 9207 §2.4"""
    promised = document.get("authorization_response_iss_parameter_supported") is True
    if ("iss" in answer or promised) and answer.get("iss") != document["issuer"]:
        raise Stop("The answer does not come from the authorization server we asked.")


def carries_a_code(answer: dict[str, str], document: dict) -> None:
    if not answer.get("code"):
        why = answer.get("error_description") or answer.get("error") or "it sent no code"
        raise Stop(f"The authorization server says no: {readable(why)!r}.")  # OAuth 2.1 §4.1.2.1


ANSWER_RULES = (from_the_same_issuer, carries_a_code)


def carries_a_token(document: dict) -> None:
    token = document.get("access_token")
    if not isinstance(token, str) or not token or not token.isascii() or not token.isprintable() or " " in token:
        raise Stop("The authorization server answered without an access token.")


def is_for_bearers(document: dict) -> None:
    if str(document.get("token_type")).lower() != "bearer":
        raise Stop("The authorization server gives a token that is no Bearer token, and we can use no other.")


def lives_for_a_number(document: dict) -> None:
    lifetime = document.get("expires_in", 0)
    if type(lifetime) is not int or abs(lifetime) > LONGEST_LIFE:
        raise Stop("The authorization server does not say as a number how long its token lives.")


TOKEN_RULES = (carries_a_token, is_for_bearers, lives_for_a_number)


def origin_of(url: str) -> str:
    """The 2025-03-26 way to an authorization base URL, and where the root documents stand."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
