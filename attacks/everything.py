"""Importing this fills the catalogue."""

from attacks import (  # noqa: F401
    assertions,
    audience,
    beyond,
    beyond_client,
    client_authentication,
    client_rows,
    code_and_pkce,
    deputy,
    discovery,
    documents,
    endpoints,
    jwt_checks,
    operations,
    pages,
    redirects,
    registration,
    scope_and_refresh,
    transport,
)
