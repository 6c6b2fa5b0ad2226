// Drives a bottle-mcp binary with the TypeScript SDK's client, over stdio and
// HTTP, through all five tools.
//
//   node client.mjs BINARY [stdio|http]

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { Checks, scratch, serveHTTP, sleep, within } from "./lib.mjs";

const TOOLS = ["cleanup", "cp", "exec", "launch", "list"];

/** A connected client, and how to end it and its server. */
async function connect(binary, transportName, place, root) {
  const client = new Client({ name: "bottle-mcp-evals", version: "1.0.0" });
  const strays = [];
  client.onerror = (error) => {
    // The SDK handles a notification a turn later than an answer: when a busy
    // machine lets it read both at once, it calls the progress unknown. The
    // order on the wire is tested in package server.
    if (!/progress notification for an unknown token/.test(String(error))) strays.push(String(error));
  };
  if (transportName === "stdio") {
    const transport = new StdioClientTransport({
      command: binary, args: ["serve", "--root", root], cwd: root, env: place.env, stderr: "pipe",
    });
    let log = "";
    transport.stderr?.on("data", (chunk) => (log += chunk));
    await client.connect(transport);
    const pid = transport.pid;
    return {
      client, strays, log: () => log,
      end: async () => {
        const begin = performance.now();
        await client.close(); // ends stdin, then signals
        assert.ok(performance.now() - begin < 1900, "the server had to be signalled to end");
        assert.throws(() => process.kill(pid, 0), "the server's process is still there");
      },
    };
  }
  const server = await serveHTTP(binary, place, root);
  const transport = new StreamableHTTPClientTransport(server.url, {
    requestInit: { headers: { Authorization: `Bearer ${place.token}` } },
  });
  await client.connect(transport);
  return {
    client, strays, log: server.log, url: server.url,
    end: async () => {
      await transport.terminateSession();
      await client.close();
      assert.deepEqual(await server.stop(), { code: 0, signal: null });
    },
  };
}

/** Calls a tool and demands success. */
async function call(client, name, args, options = {}) {
  const result = await client.callTool({ name, arguments: args }, undefined, { timeout: 45_000, ...options });
  assert.ok(!result.isError, `${name} failed: ${result.content?.[0]?.text}`);
  assert.ok(result.content?.[0]?.text?.length > 0, `${name} has no text for the model`);
  return result.structuredContent;
}

/** Calls a tool and demands a tool error; returns its text. */
async function refused(client, name, args) {
  const result = await client.callTool({ name, arguments: args });
  assert.equal(result.isError, true, `${name} was not refused: ${JSON.stringify(result)}`);
  return result.content[0].text;
}

const script = (client, id, text, options) => call(client, "exec", { id, script: text }, options);

function surface(checks, { client }) {
  return [
    checks.run("initialize", async () => {
      assert.equal(client.getServerVersion().name, "bottle-mcp");
      assert.match(client.getInstructions(), /launch.*exec.*cp.*cleanup/s);
      const offered = Object.keys(client.getServerCapabilities());
      for (const unwanted of ["tasks", "elicitation", "sampling"]) assert.ok(!offered.includes(unwanted), unwanted);
    }),
    checks.run("tools/list", async () => {
      const { tools } = await client.listTools();
      assert.deepEqual(tools.map((t) => t.name), TOOLS);
      for (const tool of tools) {
        assert.ok(tool.description.length > 40, `${tool.name} has a description`);
        assert.equal(tool.inputSchema.additionalProperties, false);
        assert.equal(tool.outputSchema.type, "object");
        for (const hint of ["readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"]) {
          assert.equal(typeof tool.annotations[hint], "boolean", `${tool.name}.${hint}`);
        }
      }
    }),
    checks.run("bad arguments are refused with text that helps", async () => {
      assert.match(await refused(client, "list", { bogus: 1 }), /unknown argument "bogus"; allowed: /);
      assert.match(await refused(client, "exec", { id: 5 }), /argument "id" must be a string, not a number/);
      assert.match(await refused(client, "exec", {}), /missing argument "id"/);
      assert.match(await refused(client, "exec", { id: "no-such-bottle", command: ["true"] }), /no-such-bottle/);
      await assert.rejects(client.callTool({ name: "approve", arguments: {} }), /unknown tool/);
    }),
  ];
}

async function launching(checks, { client }, id) {
  await checks.run("launch: dry run starts nothing", async () => {
    const plan = await call(client, "launch", { id, dry_run: true });
    assert.equal(plan.dry_run, true);
    assert.ok(plan.plan.steps.length > 0);
    const { bottles } = await call(client, "list", {});
    assert.ok(!bottles.some((b) => b.id === id));
  });
  return checks.run("launch: the default bottle, with progress", async () => {
    const seen = [];
    const bottle = await call(client, "launch", { id }, { onprogress: (p) => seen.push(p) });
    assert.equal(bottle.id, id);
    assert.equal(bottle.report.failed, 0);
    assert.ok(bottle.report.passed > 10, `${bottle.report.passed} self-test checks`);
    assert.ok(seen.length >= 3, `${seen.length} progress messages`);
    for (let i = 1; i < seen.length; i++) assert.ok(seen[i].progress > seen[i - 1].progress, "progress rises");
    const again = await call(client, "launch", { id });
    assert.equal(again.already_running, true);
  });
}

async function running(checks, { client }, id) {
  await checks.run("exec: exit code and streams", async () => {
    const r = await script(client, id, "echo out; echo err >&2; exit 7");
    assert.equal(r.exit_code, 7);
    assert.equal(r.stdout, "out\n");
    assert.equal(r.stderr, "err\n");
    const argv = await call(client, "exec", { id, command: ["printf", "%s|", "a b", "$HOME"] });
    assert.equal(argv.stdout, "a b|$HOME|");
  });
  await checks.run("exec: progress shows output while it runs", async () => {
    const seen = [];
    const r = await script(client, id, "for i in 1 2 3; do echo line $i; sleep 0.4; done", {
      onprogress: (p) => seen.push(p.message ?? ""),
    });
    assert.equal(r.exit_code, 0);
    assert.ok(seen.some((m) => /line \d/.test(m)), `progress: ${JSON.stringify(seen)}`);
  });
  await checks.run("exec: a cancelled command leaves no process", () => cancelled(client, id));
  await checks.run("exec: a slow call delays neither ping nor another call", async () => {
    const slow = script(client, id, "sleep 2");
    const begin = performance.now();
    await client.ping();
    await call(client, "list", {});
    assert.ok(performance.now() - begin < 1000, "ping and list waited for the slow call");
    await slow;
  });
  await checks.run("exec: the default bottle has no way out", async () => {
    const r = await script(client, id, "curl -sS -o /dev/null -w '%{http_code}' --max-time 5 http://example.com/");
    assert.equal(r.stdout, "403");
    assert.ok(r.egress_refusals.some((refusal) => JSON.stringify(refusal).includes("example.com")), JSON.stringify(r.egress_refusals));
  });
}

/** Cancels a command with a child and sees both gone. */
async function cancelled(client, id) {
  const stop = new AbortController();
  const running = client.callTool(
    { name: "exec", arguments: { id, script: "sleep 300 & echo $! $$ > pids; wait" } },
    undefined,
    { signal: stop.signal },
  );
  running.catch(() => {}); // awaited below
  await until(10_000, "the command's start", async () => {
    const r = await script(client, id, "cat pids 2>/dev/null || true");
    return r.stdout.trim().split(" ").length === 2;
  });
  const alive = async () => Number((await script(client, id, "n=0; for p in $(cat pids); do kill -0 $p 2>/dev/null && n=$((n+1)); done; echo $n")).stdout);
  assert.equal(await alive(), 2, "both processes run before the cancel");
  stop.abort("enough");
  await assert.rejects(running);
  await until(2000, "the processes' end", async () => (await alive()) === 0);
}

async function until(ms, what, holds) {
  const deadline = performance.now() + ms;
  while (!(await holds())) {
    assert.ok(performance.now() < deadline, `${what} took more than ${ms} ms`);
    await sleep(50);
  }
}

async function copying(checks, { client }, id, root) {
  const content = "héllo\nsecond line\n";
  await checks.run("cp: content in and out", async () => {
    const written = await call(client, "cp", { id, to: "bottle:notes/hello.txt", content });
    assert.equal(written.direction, "write");
    assert.equal(written.sha256, createHash("sha256").update(content).digest("hex"));
    const r = await call(client, "exec", { id, command: ["cat", "notes/hello.txt"] });
    assert.equal(r.stdout, content);
    const read = await call(client, "cp", { id, from: "bottle:notes/hello.txt", inline: true });
    assert.equal(read.content, content);
  });
  await checks.run("cp: a directory in and out", async () => {
    mkdirSync(join(root, "src", "deep"), { recursive: true });
    writeFileSync(join(root, "src", "deep", "data.bin"), Buffer.from([0, 1, 2, 255]));
    const sent = await call(client, "cp", { id, from: "src", to: "bottle:src" });
    assert.equal(sent.files, 1);
    await script(client, id, "cp src/deep/data.bin src/copy.bin");
    const out = `back-${id}`;
    await call(client, "cp", { id, from: "bottle:src", to: out });
    const copy = [join(root, out, "copy.bin"), join(root, out, "src", "copy.bin")].find(existsSync);
    assert.ok(copy, "the copy came back");
    assert.deepEqual([...readFileSync(copy)], [0, 1, 2, 255]);
  });
  await checks.run("cp: nothing outside the operator's roots", async () => {
    await refused(client, "cp", { id, from: "/etc/passwd", to: "bottle:passwd" });
    await refused(client, "cp", { id, from: "bottle:notes/hello.txt", to: "../escape.txt" });
  });
}

async function ending(checks, { client }, id) {
  await checks.run("list and resources know the bottle", async () => {
    const { bottles } = await call(client, "list", { id });
    assert.equal(bottles.length, 1);
    assert.equal(bottles[0].state, "running");
    const { resourceTemplates } = await client.listResourceTemplates();
    assert.ok(resourceTemplates.some((t) => t.uriTemplate.startsWith("bottle://")));
    const { contents } = await client.readResource({ uri: `bottle://${id}/report` });
    assert.ok(contents.length > 0);
    await assert.rejects(client.readResource({ uri: "bottle://no-such-bottle/report" }), /not found/);
  });
  await checks.run("cleanup: dry run removes nothing", async () => {
    const plan = await call(client, "cleanup", { ids: [id], dry_run: true });
    assert.equal(plan.dry_run, true);
    assert.deepEqual(plan.items.map((i) => [i.id, i.action, i.done]), [[id, "remove", false]]);
    assert.equal((await call(client, "list", { id })).bottles.length, 1);
  });
  await checks.run("cleanup: the bottle is gone", async () => {
    const { items } = await call(client, "cleanup", { ids: [id] });
    assert.deepEqual(items.map((i) => [i.id, i.done]), [[id, true]]);
    assert.ok(!(await call(client, "list", {})).bottles.some((b) => b.id === id));
    assert.match(await refused(client, "exec", { id, command: ["true"] }), new RegExp(id));
  });
}

/** What only HTTP has. */
async function guarded(checks, { url }, place) {
  await checks.run("http: no token, wrong token, foreign Origin", async () => {
    const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "ping" });
    const post = (headers) => fetch(url, { method: "POST", body, headers: { "Content-Type": "application/json", Accept: "application/json, text/event-stream", ...headers } });
    const none = await post({});
    assert.equal(none.status, 401);
    assert.match(none.headers.get("www-authenticate"), /^Bearer/);
    assert.equal((await post({ Authorization: "Bearer wrong" })).status, 401);
    const authorized = { Authorization: `Bearer ${place.token}` };
    assert.equal((await post({ ...authorized, Origin: "http://evil.example" })).status, 403);
    assert.equal((await post({ ...authorized, "Mcp-Session-Id": "forged" })).status, 404);
  });
}

async function drive(checks, binary, transportName) {
  console.log(`--- ${transportName}`);
  const place = scratch(binary);
  const root = join(place.dir, "root");
  mkdirSync(root);
  let session;
  try {
    if (!(await checks.run("connect", async () => { session = await connect(binary, transportName, place, root); }))) return;
    const id = `client-${transportName}-${process.pid}`;
    await Promise.all(surface(checks, session));
    if (await launching(checks, session, id)) {
      await running(checks, session, id);
      await copying(checks, session, id, root);
      await ending(checks, session, id);
    }
    if (session.url) await guarded(checks, session, place);
    await checks.run("the server ends well and logged no defect", async () => {
      await session.client.callTool({ name: "cleanup", arguments: { all: true } });
      await within(10_000, "the end", session.end());
      assert.doesNotMatch(session.log(), /internal error|panic/);
      assert.deepEqual(session.strays, [], "the client met messages it did not expect");
    });
  } finally {
    place.remove();
  }
}

const [binary, only] = process.argv.slice(2);
if (!binary) {
  console.error("usage: node client.mjs BINARY [stdio|http]");
  process.exit(2);
}
const checks = new Checks();
for (const transportName of ["stdio", "http"]) {
  if (!only || only === transportName) await drive(checks, binary, transportName);
}
process.exit(checks.finish());
