// What the client scripts share: a server to talk to, and checks to count.

import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { randomBytes } from "node:crypto";
import { tmpdir } from "node:os";
import { join } from "node:path";

/**
 * A private place for one run: state, a token, a root for copies. remove ends
 * whatever a failed run left: servers, and bottles in the state.
 */
export function scratch(binary) {
  const dir = mkdtempSync(join(tmpdir(), "bottle-mcp-clients-"));
  const token = randomBytes(32).toString("hex");
  const tokenFile = join(dir, "token");
  writeFileSync(tokenFile, token + "\n", { mode: 0o600 });
  const env = { ...process.env, XDG_STATE_HOME: join(dir, "state"), NO_COLOR: "1" };
  const servers = [];
  return {
    dir,
    token,
    tokenFile,
    env,
    servers,
    remove: () => {
      for (const server of servers) if (server.exitCode === null) server.kill("SIGKILL");
      spawnSync(binary, ["cleanup", "--all", "--yes"], { env, timeout: 30_000 });
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** Starts the server on HTTP and resolves once it says where it listens. */
export async function serveHTTP(binary, place, root) {
  const child = spawn(
    binary,
    ["serve", "--http", "127.0.0.1:0", "--token-file", place.tokenFile, "--root", root],
    { env: place.env, cwd: root, stdio: ["ignore", "ignore", "pipe"] },
  );
  place.servers.push(child);
  let log = "";
  const exited = new Promise((resolve) => child.on("exit", (code, signal) => resolve({ code, signal })));
  const url = await new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`the server does not say where it listens:\n${log}`)), 20_000);
    child.stderr.on("data", (chunk) => {
      log += chunk;
      const found = log.match(/http:\/\/127\.0\.0\.1:\d+\/mcp/);
      if (found) {
        clearTimeout(timer);
        resolve(new URL(found[0]));
      }
    });
    exited.then(({ code }) => reject(new Error(`the server ended with ${code}:\n${log}`)));
  });
  return {
    url,
    log: () => log,
    stop: async () => {
      child.kill("SIGTERM");
      return within(15_000, "the server's end", exited);
    },
  };
}

/** Fails a promise that takes too long. */
export function within(ms, what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} took more than ${ms} ms`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Counts checks; a failed one is printed and the rest still runs. */
export class Checks {
  passed = 0;
  failed = 0;

  async run(name, body) {
    const begin = performance.now();
    try {
      await within(60_000, name, body());
      this.passed++;
      console.log(`ok    ${name} (${Math.round(performance.now() - begin)} ms)`);
      return true;
    } catch (error) {
      this.failed++;
      console.log(`FAIL  ${name}: ${error.stack ?? error}`);
      return false;
    }
  }

  /** Prints the sum and gives the exit code. */
  finish() {
    console.log(`${this.passed} passed, ${this.failed} failed`);
    return this.failed === 0 && this.passed > 0 ? 0 : 1;
  }
}
