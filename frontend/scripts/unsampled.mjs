/** A plugin of Stryker: within the code of a sampled mutant, leave out the mutants of its parts. */

import { readFileSync } from "node:fs";

const sampled = JSON.parse(readFileSync(".stryker/sample.json", "utf8"));

// Stryker counts columns from 1, Babel from 0.
const isBefore = (one, other) =>
  one.line < other.line || (one.line === other.line && one.column <= other.column);
const shifted = ({ line, column }) => ({ line, column: column - 1 });

/** Whether no sampled mutant is in this stretch of this file. */
function isUnsampled(file, { start, end }) {
  return !sampled.some(
    ({ file: other, location }) =>
      file.endsWith(other) &&
      isBefore(start, shifted(location.start)) &&
      isBefore(shifted(location.end), end),
  );
}

export const strykerPlugins = [
  {
    kind: "Ignore",
    name: "unsampled",
    value: {
      shouldIgnore: ({ node, hub }) =>
        node.loc && isUnsampled(hub.file.opts.filename, node.loc) ? "not sampled" : undefined,
    },
  },
];
