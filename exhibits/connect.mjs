// A client made with the MCP SDK for TypeScript: node connect.mjs FOLDER URL HOW
// FOLDER has node_modules. HOW is open (no OAuth), person, forgetful (comes back without its client_id),
// or returning (holds a refresh token).

import { pathToFileURL } from "node:url";

const [folder, url, how] = process.argv.slice(2);
const sdk = (path) => import(pathToFileURL(`${folder}/node_modules/@modelcontextprotocol/sdk/dist/esm/client/${path}`));
const { auth } = await sdk("auth.js");
const { Client } = await sdk("index.js");
const { StreamableHTTPClientTransport } = await sdk("streamableHttp.js");

let client = how === "returning" ? { client_id: "a client" } : undefined;
let tokens = how === "returning" ? { access_token: "old", token_type: "Bearer", refresh_token: "some" } : undefined;
const provider = {
  redirectUrl: "http://localhost:6274/oauth/callback",
  clientMetadata: { client_name: "A test", redirect_uris: ["http://localhost:6274/oauth/callback"] },
  clientInformation: () => client,
  saveClientInformation: (saved) => { client = saved; },
  tokens: () => tokens,
  saveTokens: (saved) => { tokens = saved; },
  redirectToAuthorization: (page) => console.log(`The person would go to ${page.origin}${page.pathname}`),
  saveCodeVerifier: () => {},
  codeVerifier: () => "a verifier",
};

try {
  if (how === "forgetful") {
    await auth(provider, { serverUrl: url, authorizationCode: "a code" });
  } else {
    const options = how === "open" ? {} : { authProvider: provider };
    await new Client({ name: "a test", version: "0" }).connect(new StreamableHTTPClientTransport(new URL(url), options));
  }
  console.log("Nothing went wrong.");
} catch (error) {
  console.log(String(error));
  if (error.cause) console.log(`  [cause]: ${error.cause}`);
}
process.exit(0);
