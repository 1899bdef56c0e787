/** Make a class of every frame: node models.mjs DOCUMENT.json DIRECTORY */

import { readFileSync } from "node:fs";
import { TS_COMMON_PRESET, TypeScriptFileGenerator } from "@asyncapi/modelina";

const [document, directory] = process.argv.slice(2);
const generator = new TypeScriptFileGenerator({
  moduleSystem: "ESM",
  presets: [{ preset: TS_COMMON_PRESET, options: { marshalling: true } }],
});
const asyncapi = JSON.parse(readFileSync(document, "utf8"));
await generator.generateToFiles(asyncapi, directory, { exportType: "named" }, true);
