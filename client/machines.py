"""Machines: no person, no browser. What they hold belongs to one issuer, and no MCP server tells them otherwise."""

from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from mcp.client.auth.extensions.client_credentials import (
    ClientCredentialsOAuthProvider,
    PrivateKeyJWTOAuthProvider,
    SignedJWTParameters,
)

from shared.stop import Stop

from .belongings import Belongings
from .options import Options
from .provider import Supervised

ONE_MINUTE = 60  # seconds


class WithSecret(Supervised, ClientCredentialsOAuthProvider):
    """client_secret_basic."""


class WithKey(Supervised, PrivateKeyJWTOAuthProvider):
    """private_key_jwt: an assertion for this issuer alone, good for a minute. RFC 7523 §3"""


def machine(options: Options, storage: Belongings, say: Callable[[str], object]) -> Supervised:
    """The provider for a machine that holds a secret or a key. Raises `Stop` for a key that cannot be used."""
    known = {"storage": storage, "say": say, "client_id": options.client_id, "issuer": options.issuer}
    if not options.private_key:
        return WithSecret(options, client_secret=options.client_secret, **known)
    try:
        pem = options.private_key.read_bytes()
        key = load_pem_private_key(pem, None)
    except (OSError, ValueError, TypeError) as error:
        raise Stop(f"{options.private_key} holds no key that can be used: {type(error).__name__}.") from None
    is_rsa = isinstance(key, RSAPrivateKey)
    if not is_rsa and not (isinstance(key, EllipticCurvePrivateKey) and key.curve.name == "secp256r1"):
        raise Stop(f"The key in {options.private_key} is neither one for RS256 nor one for ES256.")
    signing = SignedJWTParameters(
        issuer=options.client_id,
        subject=options.client_id,
        signing_key=pem.decode(),
        signing_algorithm="RS256" if is_rsa else "ES256",
        lifetime_seconds=ONE_MINUTE,
    )
    return WithKey(options, assertion_provider=signing.create_assertion_provider(), **known)
