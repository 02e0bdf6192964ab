"""For each check a line that breaks exactly its promise: the file, what stands there once, what takes its place."""

MUTATIONS: dict[str, tuple[str, str, str]] = {
    # ── 01 ────────────────────────────────────────────────────────────────────
    "01-1": ("bearer.py", "return Refused(401, resource_metadata", "return Refused(403, resource_metadata"),
    "01-2": ("bearer.py", "Refused(401, resource_metadata=METADATA_URL, scope=", "Refused(401, scope="),
    "01-3": ("bearer.py", "Refused(401, resource", 'Refused(401, error="invalid_token", resource'),
    "01-4": ("mcp_server.py", '        Route(METADATA_PATH + "/mcp", resource_metadata),\n', ""),
    "01-5": ("mcp_server.py", "        Route(METADATA_PATH, resource_metadata),\n", ""),
    "01-6": ("mcp_server.py", '"resource": RESOURCE,', '"resource": RESOURCE + "/",'),
    "01-7": ("mcp_server.py", '"authorization_servers": [ISSUER],', '"authorization_servers": [],'),
    "01-8": ("discovery.py", 'challenges.get("bearer", {})', "next(iter(challenges.values()), {})"),
    "01-9": ("discovery.py", 'list(dict.fromkeys([root + parts.path.rstrip("/") + query, root]))', "[root]"),
    "01-10": ("discovery.py", "    describes_this_resource,\n", ""),
    "01-11": ("discovery.py", "    names_authorization_servers,\n", ""),
    # ── 02 ────────────────────────────────────────────────────────────────────
    "02-1": ("auth_server.py", "/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"),
    "02-2": ("auth_server.py", '"issuer": ISSUER,', '"issuer": ISSUER + "/",'),
    "02-3": ("auth_server.py", '        "token_endpoint": f"{ISSUER}/token",\n', ""),
    "02-4": ("auth_server.py", '        Route("/token", not_yet, methods=["POST"]),\n', ""),
    "02-5": ("auth_server.py", '["S256"]', '["S256", "plain"]'),
    "02-6": ("auth_server.py", '        "protected_resources": RESOURCES,\n', ""),
    "02-7": (
        "discovery.py",
        'f"{origin}/.well-known/oauth-authorization-server{path}"',
        'f"{origin}{path}/.well-known/oauth-authorization-server"',
    ),
    "02-8": ("discovery.py", "    same_issuer,\n", ""),
    "02-9": ("discovery.py", "    offers_s256,\n", ""),
    "02-10": ("discovery.py", "    names_endpoints,\n", ""),
    # ── 03 ────────────────────────────────────────────────────────────────────
    "03-1": ("clients.py", "JSONResponse(client, 201, NO_STORE)", "JSONResponse(client, 201)"),
    "03-2": ("auth_server.py", '        "registration_endpoint": f"{ISSUER}/register",\n', ""),
    "03-3": ("clients.py", "    well_formed,\n", ""),
    "03-4": ("clients.py", "    https_or_loopback,\n", ""),
    "03-5": ("clients.py", "    fits_application_type,\n", ""),
    "03-6": ("clients.py", "    known_auth_method,\n", ""),
    "03-7": ("clients.py", 'if client["token_endpoint_auth_method"] != "none":', "if True:"),
    "03-8": ("clients.py", "    one_key_source,\n", ""),
    "03-9": ("clients.py", "    code_grant,\n", ""),
    "03-10": ("clients.py", "metadata[name] for name in REGISTRABLE}", "metadata[name] for name in metadata}"),
    "03-11": ("client.py", '    "application_type": "native",\n', ""),
    "03-12": (
        "client.py",
        'if answer.status_code != 201 or not isinstance(client.get("client_id"), str):',
        "if False:",
    ),
    # ── 04 ────────────────────────────────────────────────────────────────────
    "04-1": ("bearer.py", 'subject=str(token.claims.get("sub"))', 'subject=str(token.claims.get("client_id"))'),
    "04-2": ("auth_server.py", "SHOW_THE_USER = (known_client, exact_redirect_uri)", "SHOW_THE_USER = (known_client,)"),
    "04-3": ("auth_server.py", ' | ({"state": ask["state"]} if "state" in ask else {})', ""),
    "04-4": ("auth_server.py", "    s256_challenge,\n", ""),
    "04-5": ("auth_server.py", ' and ("scope", scope) in pairs]', "]"),
    "04-6": (
        "tokens.py",
        '    del grants[ask["code"]]  # before the rules: whoever fails one of them has used up the code\n',
        "",
    ),
    "04-7": ("tokens.py", "    s256_verifier,\n", ""),
    "04-8": ("tokens.py", "    same_redirect_uri,\n", ""),
    "04-9": ("tokens.py", "    still_fresh,\n", ""),
    "04-10": ("tokens.py", "    same_resource,\n", ""),
    "04-11": ("clients.py", "        if name in ask:\n", "        if False:\n"),
    "04-12": (
        "clients.py",
        'if not hmac.compare_digest(ask.get("client_secret", "").encode(), secret.encode()):',
        "if client is None:",
    ),
    "04-13": ("bearer.py", 'error="invalid_token", ', ""),
    "04-14": (
        "client.py",
        '"code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),',
        '"code_challenge": pending.code_verifier,',
    ),
    "04-15": ("client.py", "while not hmac.compare_digest(", "while False and not hmac.compare_digest("),
    "04-16": ("client.py", "    from_the_same_issuer,\n", ""),
}

ALSO: dict[str, tuple[str, str, str, str]] = {  # more that breaks a promise, and no other
    "any callback on this computer": (
        "04-2",
        "auth_server.py",
        'if without_loopback_port(ask.get("redirect_uri", "")) not in registered:',
        'if not ask.get("redirect_uri", "").startswith("http://127.0.0.1:") '
        'and without_loopback_port(ask.get("redirect_uri", "")) not in registered:',
    ),
    "a form with scopes that nobody asked for": (
        "04-5",
        "auth_server.py",
        'if scope in wanted and ("scope", scope) in pairs]',
        'if ("scope", scope) in pairs]',
    ),
    "a code that survives a wrong verifier": (
        "04-6",
        "tokens.py",
        '    del grants[ask["code"]]  # before the rules: whoever fails one of them has used up the code\n'
        "    for rule in CODE_RULES:\n        rule(grant, ask)\n",
        '    for rule in CODE_RULES:\n        rule(grant, ask)\n    del grants[ask["code"]]\n',
    ),
    "a verifier that is too short": ("04-7", "tokens.py", "{43,128}", "{1,128}"),
    "one audience, whatever was asked": ("04-10", "tokens.py", '"aud": grant["resource"],', '"aud": RESOURCE,'),
}
