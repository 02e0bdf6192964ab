"""What a browser says about a page that a person opens. Here: Chromium."""

from urllib.parse import urlencode

from attacks.site import Site
from exhibits.browser_stage import CONSOLE, ERROR_PAGE, HTML, browser, opened
from exhibits.core import CHROMIUM, group
from exhibits.stage import free_port, served, servers, with_own_certificate

exhibit = group("Browsers: a page that a person opens")


@exhibit(
    "framing",
    """violates the following Content Security Policy directive: "frame-ancestors 'none'\"""",
    seen=CONSOLE,
    cause="A page tried to show the consent page in a frame. The authorization server forbids it: a transparent "
    "frame over a game would catch the click on Allow (clickjacking, RFC 9700 §4.16).",
    cure="Open the page in a window or a tab of its own, never in a frame or a web view.",
    step="07",
    needs=CHROMIUM,
    slow=True,
)
def framing() -> str:
    with servers() as world, served(world.auth_server.app) as origin, Site() as site, browser() as (page, said):
        world.auth.base_url = origin
        ask = urlencode(world.ask(world.register()["client_id"])).replace("&", "&amp;")
        site.at("/", f'<iframe src="{origin}/authorize?{ask}"></iframe>'.encode(), **HTML)
        page.goto(site.origin)
        return "\n".join(said)


@exhibit(
    "x-frame-options",
    "Refused to display '…' in a frame because it set 'X-Frame-Options' to 'deny'.",
    seen=CONSOLE,
    cause="The same rule in its older form: the page has the header `X-Frame-Options` and no `frame-ancestors`, "
    "which would come first. Many authorization servers' sign-in pages have it, so they do not open in a frame or "
    "a side panel.",
    cure="Open the page in a window or a tab of its own.",
    step="07",
    needs=CHROMIUM,
    slow=True,
)
def x_frame_options() -> str:
    with Site() as server, Site() as site, browser() as (page, said):
        consent = server.at("/authorize", b"<button>Allow</button>", **HTML | {"X-Frame-Options": "DENY"})
        site.at("/", f'<iframe src="{consent}"></iframe>'.encode(), **HTML)
        page.goto(site.origin)
        return "\n".join(said)


@exhibit(
    "form-action",
    """violates the following Content Security Policy directive: "form-action 'self'\"""",
    seen=CONSOLE + " The person presses Allow, and nothing happens.",
    cause="The consent page has the policy `form-action 'self'`, and the answer to its form is a redirect to the "
    "client. Chromium applies the policy to the redirect too.",
    cure="Leave `form-action` out of the policy of this page, as the authorization server here does, or name the "
    "client's address in it.",
    step="07",
    needs=CHROMIUM,
    slow=True,
)
def form_action() -> str:
    with Site() as client, Site() as server, browser() as (page, said):
        client.at("/callback", b"<h1>Back to your program</h1>", **HTML)
        form = b"<form action='/consent'><button>Allow</button></form>"
        server.at("/", form, **HTML | {"Content-Security-Policy": "form-action 'self'"})
        server.at("/consent?", b"", 303, Location=f"{client.origin}/callback")
        page.goto(server.origin)
        page.get_by_role("button").click()
        page.wait_for_timeout(200)
        return "\n".join(said)


@exhibit(
    "err-connection-refused",
    "ERR_CONNECTION_REFUSED",
    seen=ERROR_PAGE,
    cause="Nobody listens at this address. After consent it is the client's callback: the program ended, or "
    "waited on another port than the `redirect_uri` says, or runs on another computer than the browser.",
    cure="Open the listener before the browser, and keep it open until the answer is there. Over SSH, forward the "
    "port.",
    step="04",
    needs=CHROMIUM,
    slow=True,
)
def err_connection_refused() -> str:
    return opened(f"http://127.0.0.1:{free_port()}/callback?code=…")


@exhibit(
    "err-ssl-protocol",
    "ERR_SSL_PROTOCOL_ERROR",
    seen=ERROR_PAGE,
    cause="The browser speaks https to a server that speaks plain http. Some browsers change http to https by "
    "themselves.",
    cure="Write `http://` before the address. If the browser insists, use another browser profile.",
    step="01",
    needs=CHROMIUM,
    slow=True,
)
def err_ssl_protocol() -> str:
    with servers() as world, served(world.auth_server.app) as origin:
        return opened(f"{origin.replace('http:', 'https:')}/health")


@exhibit(
    "err-cert-authority",
    "ERR_CERT_AUTHORITY_INVALID",
    seen=ERROR_PAGE + " Above it: Your connection is not private.",
    cause="Nobody whom this browser trusts has signed the server's certificate.",
    cure="Install your own authority (mkcert does), or stay on plain http on this computer. Do not click it away "
    "on a page that asks for a password.",
    step="07",
    needs=CHROMIUM,
    slow=True,
)
def err_cert_authority() -> str:
    with with_own_certificate() as origin:
        return opened(origin)


@exhibit(
    "err-unsafe-port",
    "ERR_UNSAFE_PORT",
    seen=ERROR_PAGE,
    cause="Browsers refuse some ports, because other protocols live there: 6000, 6665 to 6669, 5060 and more.",
    cure="Choose another port.",
    step="01",
    needs=CHROMIUM,
    slow=True,
)
def err_unsafe_port() -> str:
    return opened("http://localhost:6000/authorize")


@exhibit(
    "no-subtle-crypto",
    "TypeError: Cannot read properties of undefined (reading 'digest')",
    seen=CONSOLE + " The Inspector stops at Preparing Authorization.",
    cause="A client in a web page makes its PKCE challenge with `crypto.subtle`, which browsers give only to "
    "secure pages: https, or http on `localhost` and `127.0.0.1`. The page was opened by another name.",
    cure="Open it as `http://localhost:…`, or on https.",
    step="04",
    needs=CHROMIUM,
    slow=True,
)
def no_subtle_crypto() -> str:
    with Site() as site, browser("--host-resolver-rules=MAP inspector.test 127.0.0.1") as (page, said):
        challenge = b"<script>crypto.subtle.digest('SHA-256', new TextEncoder().encode('a verifier'))</script>"
        site.at("/", challenge, **HTML)
        page.goto(site.origin.replace("localhost", "inspector.test"))
        return "\n".join(said)
