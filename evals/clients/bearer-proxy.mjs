// A loopback reverse proxy that adds the bearer token and changes nothing else:
// Host and Origin arrive as the client sent them, so the server's own checks
// decide. For clients that cannot send a token, in tests only.
//
//   node bearer-proxy.mjs BINARY PORT-FILE
//
// It starts the server itself, writes its own port to PORT-FILE and ends both
// at SIGTERM.

import { createServer, request } from "node:http";
import { mkdirSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { scratch, serveHTTP } from "./lib.mjs";

const [binary, portFile] = process.argv.slice(2);
if (!portFile) {
  console.error("usage: node bearer-proxy.mjs BINARY PORT-FILE");
  process.exit(2);
}
const place = scratch(binary);
const root = join(place.dir, "root");
mkdirSync(root);
const server = await serveHTTP(binary, place, root);

const proxy = createServer((incoming, outgoing) => {
  const forward = request({
    host: "127.0.0.1",
    port: server.url.port,
    method: incoming.method,
    path: incoming.url,
    headers: { ...incoming.headers, authorization: `Bearer ${place.token}` },
  }, (answer) => {
    outgoing.writeHead(answer.statusCode, answer.headers);
    answer.pipe(outgoing);
  });
  forward.on("error", () => outgoing.destroy());
  outgoing.on("close", () => forward.destroy());
  incoming.pipe(forward);
});
proxy.listen(0, "127.0.0.1", () => {
  // Renamed into place, so that a reader never sees half a number.
  writeFileSync(portFile + ".part", String(proxy.address().port));
  renameSync(portFile + ".part", portFile);
});

process.on("SIGTERM", async () => {
  proxy.close();
  proxy.closeAllConnections();
  const { code } = await server.stop();
  place.remove();
  process.exit(code ?? 1);
});
