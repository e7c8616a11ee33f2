// An OpenID provider that gives JSON web tokens to one client. Prints its address when it is ready.
//
//     node provider.mjs PORT KEY_ID ALGORITHM

import { generateKeyPairSync } from "node:crypto";
import Provider from "oidc-provider";

const [port, kid, algorithm] = process.argv.slice(2);
const issuer = `http://localhost:${port}`;
const { privateKey } = algorithm === "ES256"
  ? generateKeyPairSync("ec", { namedCurve: "P-256" })
  : generateKeyPairSync("rsa", { modulusLength: 2048 });
const key = { ...privateKey.export({ format: "jwk" }), kid, use: "sig", alg: algorithm };

const provider = new Provider(issuer, {
  jwks: { keys: [key] },
  clients: [{
    client_id: "orders",
    client_secret: "a secret that only this test uses",
    grant_types: ["client_credentials"],
    redirect_uris: [],
    response_types: [],
    scope: "quipu:write",
    id_token_signed_response_alg: algorithm,
  }],
  scopes: ["quipu:write"],
  features: {
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => "urn:quipu",
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({
        scope: "quipu:write",
        audience: "quipu",
        accessTokenFormat: "jwt",
        accessTokenTTL: 600,
        jwt: { sign: { alg: algorithm } },
      }),
    },
  },
  extraTokenClaims: () => ({ groups: ["developers"], customer: 7 }),
});
provider.listen(Number(port), "127.0.0.1", () => console.log(issuer));
