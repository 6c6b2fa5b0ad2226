// Drives fetch and WebSocket of Node, Deno and Bun, Node's https, and undici's
// own fetch on a Node that reads no proxy variables. See README.md.
//
//   drive.mjs fetch | https | undici PATH
import fs from 'node:fs';
import https from 'node:https';
import process from 'node:process';

const [mode, undiciPath] = process.argv.slice(2);
let doFetch = globalThis.fetch;
if (mode === 'undici') {
  const undici = (await import(undiciPath)).default;
  undici.setGlobalDispatcher(new undici.EnvHttpProxyAgent());
  doFetch = undici.fetch;
}
const limit = () => AbortSignal.timeout(60_000);
const headers = token => (token === '-' ? {} : { authorization: `Bearer ${token}` });

// events reads an event stream and asks for more after the first event.
async function events(chunks, ack) {
  const seen = [];
  let text = '';
  for await (const chunk of chunks) {
    text += new TextDecoder().decode(chunk);
    for (let end; (end = text.indexOf('\n\n')) >= 0; text = text.slice(end + 2)) {
      seen.push(text.slice(0, end).replace('data: ', ''));
      if (seen.length === 1) await ack();
    }
  }
  return seen.join(',');
}

// byFetch drives the fetch of the runtime, or undici's.
const byFetch = {
  async request({ method, url, body, token }) {
    const res = await doFetch(url, {
      method, headers: headers(token), body: body === '-' ? undefined : fs.readFileSync(body), signal: limit(),
    });
    await res.arrayBuffer();
    return res.status;
  },
  async download({ url }) {
    const res = await doFetch(url, { signal: limit() });
    let bytes = 0;
    for await (const chunk of res.body) bytes += chunk.length;
    return `${res.status} ${bytes}`;
  },
  async cancel({ url }) {
    const leave = new AbortController();
    const res = await doFetch(url, { signal: leave.signal });
    const reader = res.body.getReader();
    await reader.read();
    leave.abort();
    await reader.read().catch(() => {});
    return res.status;
  },
  async sse({ url }) {
    const res = await doFetch(url, { signal: limit() });
    return events(res.body, async () => (await doFetch(`${url}-ack`, { signal: limit() })).arrayBuffer());
  },
  ws({ method, url }) {
    return new Promise((resolve, reject) => {
      const ws = new WebSocket(url.replace('https:', 'wss:'));
      ws.onopen = () => ws.send(method);
      ws.onmessage = e => { resolve(e.data); ws.close(); };
      ws.onclose = e => reject(new Error(`closed with ${e.code}`));
      ws.onerror = e => reject(new Error(e.message || String(e.error?.message ?? 'WebSocket failed')));
    });
  },
};

// open begins a request of Node's https.
function open({ method, url, body, token }) {
  return new Promise((resolve, reject) => {
    const data = body && body !== '-' ? fs.readFileSync(body) : undefined;
    const length = data ? { 'content-length': data.length } : {};
    const req = https.request(url, { method, headers: { ...headers(token ?? '-'), ...length }, signal: limit() }, resolve);
    req.on('error', reject);
    req.end(data);
  });
}

async function size(res) {
  let bytes = 0;
  for await (const chunk of res) bytes += chunk.length;
  return bytes;
}

const byHTTPS = {
  async request(line) {
    const res = await open(line);
    await size(res);
    return res.statusCode;
  },
  async download({ url }) {
    const res = await open({ url });
    return `${res.statusCode} ${await size(res)}`;
  },
  async cancel({ url }) {
    const res = await open({ url });
    await new Promise(resolve => res.once('data', resolve));
    res.on('error', () => {}).destroy();
    return res.statusCode;
  },
  async sse({ url }) {
    return events(await open({ url }), async () => size(await open({ url: `${url}-ack` })));
  },
  async trailers({ url }) {
    const res = await open({ url });
    await size(res);
    return `${res.statusCode} ${res.trailers['grpc-status']}`;
  },
};

const ops = mode === 'https' ? byHTTPS : byFetch;
for (const text of fs.readFileSync(0, 'utf8').split('\n')) {
  const [op, cell, method, url, body, token] = text.split(' ');
  if (!op) continue;
  try {
    console.log(cell, await ops[op]({ method, url, body, token }));
  } catch (e) {
    console.log(cell, 'error', `${e.name}: ${e.message} ${e.cause?.message ?? ''}`.replaceAll('\n', ' '));
  }
}
process.exit(0);
