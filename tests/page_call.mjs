// Calls a function of one of the page's modules: node page_call.mjs MODULE NAME, arguments as JSON
// on standard input, what it returns as JSON on standard output.

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [, , path, name] = process.argv;
const module = await import(pathToFileURL(path));
const said = module[name](...JSON.parse(readFileSync(0, "utf8")));
console.log(JSON.stringify(said));
