/**
 * Run a sample of the client's mutants and report what became of each.
 *
 *     node scripts/mutants.mjs --sample N --seed S [--since COMMIT] --report PATH.json
 *
 * N = 0 means all. With --since, only mutants that begin on a line changed since that commit. The
 * report is a list of {file, line, mutator, replacement, status}; the status is one of killed,
 * survived, timeout, no_coverage and error. Those listed in mutants-equivalent.json are left out.
 */

import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const STRYKER = "node_modules/@stryker-mutator/core/bin/stryker.js";
const CONFIG = "stryker.config.json";
const EQUIVALENT = "mutants-equivalent.json";
const WORK = ".stryker";
const REPORT = `${WORK}/sample-report.json`;
const STATUS = {
  Killed: "killed",
  Survived: "survived",
  Timeout: "timeout",
  NoCoverage: "no_coverage",
  RuntimeError: "error",
  CompileError: "error",
};

const json = (path) => JSON.parse(readFileSync(path, "utf8"));
const say = (text) => process.stdout.write(`${text}\n`);

/** The mutants of `files`, as Stryker lists them, in the order of the code. */
function flat(files) {
  const mutants = Object.entries(files).flatMap(([file, { mutants }]) =>
    mutants.map((mutant) => ({ ...mutant, file })),
  );
  return mutants.sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
}

function keyOf({ file, location: { start, end }, mutatorName, replacement }) {
  const place = [start.line, start.column, end.line, end.column];
  return [file, ...place.map((one) => `${one}`.padStart(6)), mutatorName, replacement].join(" ");
}

/** Ask Stryker for all mutants, over its mutation server protocol. It runs no test for this. */
async function discover() {
  const server = spawn(process.execPath, [STRYKER, "serve", "stdio"], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const request = (id, method, params) => {
    const content = Buffer.from(JSON.stringify({ jsonrpc: "2.0", id, method, params }));
    server.stdin.write(`Content-Length: ${content.length}\r\n\r\n`);
    server.stdin.write(content);
  };
  request(1, "configure", { configFilePath: CONFIG });
  request(2, "discover", {});
  let received = Buffer.alloc(0);
  try {
    for await (const chunk of server.stdout) {
      received = Buffer.concat([received, chunk]);
      for (;;) {
        const head = received.indexOf("\r\n\r\n");
        const length = Number(/Content-Length: *(\d+)/i.exec(received.subarray(0, head))?.[1]);
        if (head < 0 || received.length < head + 4 + length) break;
        const answer = JSON.parse(received.subarray(head + 4, head + 4 + length));
        received = received.subarray(head + 4 + length);
        if (answer.error) throw new Error(`Stryker: ${answer.error.message}`);
        if (answer.id === 2) return flat(answer.result.files);
      }
    }
  } finally {
    server.kill();
  }
  throw new Error("Stryker ended before it listed the mutants.");
}

/** Return a predicate: is this line of this file newer than `commit`? */
function changedSince(commit) {
  const diff = execFileSync("git", ["diff", "--unified=0", "--relative", commit, "--", "src"], {
    encoding: "utf8",
  });
  const lines = new Set();
  let file = "";
  for (const line of diff.split("\n")) {
    file = /^\+\+\+ b\/(.*)/.exec(line)?.[1] ?? file;
    const [, first, count = "1"] = /^@@ -\S+ \+(\d+)(?:,(\d+))? @@/.exec(line) ?? [];
    for (let at = 0; first && at < Number(count); at += 1) lines.add(`${file}:${+first + at}`);
  }
  return (mutant) => lines.has(`${mutant.file}:${mutant.location.start.line}`);
}

/** Return `count` of `all` (0: every one), the same ones for the same seed. */
function sample(all, count, seed) {
  if (count === 0 || count >= all.length) return all;
  // mulberry32
  let state = seed >>> 0;
  const random = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const rest = [...all];
  return Array.from({ length: count }, () => {
    const [picked] = rest.splice(Math.floor(random() * rest.length), 1);
    return picked;
  });
}

/**
 * The code that a mutant changes, in «», with the rest of its lines; runs of space are one. Where
 * it begins its line, the line before it is there, too.
 *
 * Unlike a line number, it stays true when lines move.
 */
function codeOf({ file, location: { start, end } }) {
  const all = readFileSync(file, "utf8").split("\n");
  const lines = all.slice(start.line - 1, end.line);
  const last = lines.length - 1;
  lines[last] = `${lines[last].slice(0, end.column - 1)}»${lines[last].slice(end.column - 1)}`;
  lines[0] = `${lines[0].slice(0, start.column - 1)}«${lines[0].slice(start.column - 1)}`;
  if (lines[0].trimStart().startsWith("«")) lines.unshift(all[start.line - 2] ?? "");
  return lines.join("\n").replaceAll(/\s+/g, " ").trim();
}

/**
 * Part the mutants in two: those that a test can tell, and those listed as equivalent.
 *
 * What is listed must be exactly one mutant; anything else is said and left out.
 */
function withoutEquivalent(mutants) {
  const places = Object.groupBy(mutants, (one) =>
    JSON.stringify([one.file, codeOf(one), one.mutatorName, one.replacement]),
  );
  const equivalent = new Set();
  for (const { file, code, mutator, replacement } of json(EQUIVALENT)) {
    const found = places[JSON.stringify([file, code, mutator, replacement])] ?? [];
    if (found.length === 1) equivalent.add(found[0]);
    else say(`${EQUIVALENT}: ${found.length} mutants are like ${file}: ${code}`);
  }
  return { real: mutants.filter((one) => !equivalent.has(one)), equivalent: equivalent.size };
}

/** Run these mutants, and few others. */
async function run(mutants) {
  const base = json(CONFIG);
  const ignorer = fileURLToPath(new URL("./unsampled.mjs", import.meta.url));
  const position = ({ line, column }) => `${line}:${column - 1}`;
  const config = {
    ...base,
    mutate: mutants.map(
      ({ file, location: { start, end } }) => `${file}:${position(start)}-${position(end)}`,
    ),
    plugins: [...base.plugins, ignorer],
    ignorers: ["unsampled"],
    reporters: ["json"],
    jsonReporter: { fileName: REPORT },
  };
  mkdirSync(WORK, { recursive: true });
  rmSync(REPORT, { force: true });
  writeFileSync(`${WORK}/sample.json`, JSON.stringify(mutants));
  writeFileSync(`${WORK}/config.json`, JSON.stringify(config));
  const stryker = spawn(process.execPath, [STRYKER, "run", `${WORK}/config.json`], {
    stdio: ["ignore", "inherit", "inherit"],
  });
  const code = await new Promise((resolve) => stryker.on("close", resolve));
  if (code !== 0) throw new Error(`Stryker ended with ${code}.`);
  return new Map(flat(json(REPORT).files).map((mutant) => [keyOf(mutant), mutant]));
}

const { values: options } = parseArgs({
  options: {
    sample: { type: "string", default: "0" },
    seed: { type: "string", default: "0" },
    since: { type: "string" },
    report: { type: "string" },
  },
});
if (!options.report) throw new Error("--report says where to write.");
const report = (entries) => writeFileSync(options.report, `${JSON.stringify(entries, null, 2)}\n`);

const { real, equivalent } = withoutEquivalent(await discover());
const inScope = options.since === undefined ? real : real.filter(changedSince(options.since));
const sampled = sample(inScope, Number(options.sample), Number(options.seed));
say(`${sampled.length} of ${inScope.length} mutants; ${equivalent} are equivalent`);

if (sampled.length === 0) {
  report([]);
} else {
  const results = await run(sampled);
  const entries = sampled.map((mutant) => ({
    file: mutant.file,
    line: mutant.location.start.line,
    mutator: mutant.mutatorName,
    replacement: mutant.replacement,
    status: STATUS[results.get(keyOf(mutant))?.status] ?? "error",
  }));
  report(entries);
  const counts = Object.groupBy(entries, ({ status }) => status);
  say(
    Object.entries(counts)
      .map(([status, { length }]) => `${length} ${status}`)
      .join(", "),
  );
}
