// Whether a request is signed as Standard Webhooks says, seen from Node with its standard library only.
// Standard input: {"headers": {…}, "body": "<base64>", "key": "whsec_…" or "whpk_…"}. Exit status 0: it is.
import { createHmac, createPublicKey, timingSafeEqual, verify } from "node:crypto";

const TOLERANCE_S = 300;

const chunks = [];
for await (const chunk of process.stdin) chunks.push(chunk);
const { headers, body, key } = JSON.parse(Buffer.concat(chunks).toString("utf8"));

const timestamp = headers["webhook-timestamp"];
const content = Buffer.concat([
  Buffer.from(`${headers["webhook-id"]}.${timestamp}.`, "utf8"),
  Buffer.from(body, "base64"),
]);
const fresh = Math.abs(Date.now() / 1000 - Number(timestamp)) <= TOLERANCE_S;
const signed = headers["webhook-signature"].split(" ").some((each) => {
  const [version, signature] = each.split(",");
  return holds(version, Buffer.from(signature, "base64"));
});
process.exitCode = fresh && signed ? 0 : 1;

function holds(version, signature) {
  if (version === "v1" && key.startsWith("whsec_")) {
    const secret = Buffer.from(key.slice("whsec_".length), "base64");
    const expected = createHmac("sha256", secret).update(content).digest();
    return expected.length === signature.length && timingSafeEqual(expected, signature);
  }
  if (version === "v1a" && key.startsWith("whpk_")) {
    const x = Buffer.from(key.slice("whpk_".length), "base64").toString("base64url");
    const publicKey = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" });
    return verify(null, content, publicKey, signature);
  }
  return false;
}
