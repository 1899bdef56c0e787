/**
 * Write the types of the API's two documents: of REST's and of the socket's frames.
 *
 *     node scripts/types.mjs DIRECTORY
 *
 * openapi.json becomes schema.d.ts. asyncapi.json becomes frames.d.ts: a type by each frame's and
 * state's name, and of which frames are commands, answers and events.
 */

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import openapiTS, { astToString, COMMENT_HEADER } from "openapi-typescript";

// A field with a default may be left out of what is sent.
const OPTIONS = { defaultNonNullable: false };
const NAMED = { ...OPTIONS, rootTypes: true, rootTypesNoSchemaPrefix: true };

const json = (path) => JSON.parse(readFileSync(path, "utf8"));
const nameOf = ({ $ref }) => $ref.split("/").at(-1);
const union = (messages) => [...new Set(messages.map(nameOf))].join(" | ");
const members = (types) =>
  `{\n${types.map(([name, type]) => `    ${JSON.stringify(name)}: ${type};\n`).join("")}}`;

async function typesOf(document, options) {
  return COMMENT_HEADER + astToString(await openapiTS(document, options));
}

/** Return the frames' types as those of an OpenAPI document that has only schemas. */
async function schemasOf({ info, components }) {
  const { title, version } = info;
  const document = {
    openapi: "3.1.0",
    info: { title, version },
    paths: {},
    components: { schemas: components.schemas },
  };
  return typesOf(document, NAMED);
}

/** Return which frames go which way, by what the server does with them. */
function directionsOf({ operations, components }) {
  const typeOf = (message) => components.messages[nameOf(message)].title;
  const all = Object.values(operations);
  const commands = all.filter(({ action, reply }) => action === "receive" && reply);
  const sent = all.filter(({ action }) => action === "send").flatMap(({ messages }) => messages);
  const numbering = Object.groupBy(
    sent,
    (one) => components.messages[nameOf(one)]["x-numbered-by"],
  );
  return `\
/** What is answered, with the same \`id\`. */
export type Command = ${union(commands.flatMap(({ messages }) => messages))};
/** What each command is answered with, if it is not refused. */
export interface Answers ${members(
    commands.map(({ messages, reply }) => [typeOf(messages[0]), nameOf(reply.messages[0])]),
  )}
/** What a command may be answered with. */
export type Answer = ${union(commands.flatMap(({ reply }) => reply.messages))};
/** What the server sends unasked. */
export type ServerEvent = ${union(sent)};
/** Events by who numbers them. */
export interface NumberedBy ${members(
    Object.entries(numbering).map(([who, some]) => [who, union(some)]),
  )}
`;
}

const [directory] = process.argv.slice(2);
const asyncapi = json("asyncapi.json");
writeFileSync(join(directory, "schema.d.ts"), await typesOf(json("openapi.json"), OPTIONS));
writeFileSync(join(directory, "frames.d.ts"), (await schemasOf(asyncapi)) + directionsOf(asyncapi));
