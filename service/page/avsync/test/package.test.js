import assert from "node:assert/strict";
import { existsSync, readFileSync, statSync } from "node:fs";
import { test } from "node:test";

import * as avsync from "../avsync.js";

const read = (name) => readFileSync(new URL(`../${name}`, import.meta.url), "utf8");
const PACKAGE = JSON.parse(read("package.json"));

test("the types name what the script exports, and nothing else", () => {
	const declared = read("avsync.d.ts").matchAll(/^export (?:class|function|const) (\w+)/gm);
	assert.deepEqual([...declared].map(([, name]) => name).sort(), Object.keys(avsync).sort());
});

test("the types name the methods of the classes", () => {
	const types = read("avsync.d.ts");
	for (const name of ["Client", "Recorder"]) {
		const body = new RegExp(`^export class ${name} {([^]*?)^}`, "m").exec(types)[1];
		const declared = [...body.matchAll(/^\t(static )?(\w+)\(/gm)].map(([, , method]) => method);
		const own = Object.getOwnPropertyDescriptors(avsync[name].prototype);
		const fixed = Object.getOwnPropertyDescriptors(avsync[name]);
		const made = [own, fixed].flatMap((all) => Object.keys(all).filter((m) => all[m].writable));
		const methods = made.filter((m) => m !== "prototype" && m !== "constructor");
		const told = declared.filter((m) => m !== "constructor");
		assert.deepEqual(told.sort(), methods.sort(), name);
	}
});

test("it stays below 20,000 bytes, and needs nothing else", () => {
	assert.ok(statSync(new URL("../avsync.js", import.meta.url)).size <= 20_000);
	assert.doesNotMatch(read("avsync.js"), /\bimport\b/);
	assert.equal(PACKAGE.dependencies, undefined);
	assert.equal(PACKAGE.peerDependencies, undefined);
});

test("all that the package names is there", () => {
	const { types, default: script } = PACKAGE.exports["."];
	for (const name of [types, script, PACKAGE.types, ...PACKAGE.files, "README.md", "LICENSE"]) {
		assert.ok(existsSync(new URL(`../${name}`, import.meta.url)), name);
	}
	assert.equal(PACKAGE.type, "module");
	assert.equal(PACKAGE.name, "@syncnet-service/avsync");
});

test("it can be loaded where there are no elements, and defines its own where there are", async () => {
	assert.equal(globalThis.customElements, undefined);
	const defined = new Map();
	globalThis.customElements = { get: (name) => defined.get(name), define: (...row) => defined.set(...row) };
	const first = await import("../avsync.js?first");
	await import("../avsync.js?second"); // a page may load it twice
	delete globalThis.customElements;
	assert.deepEqual([...defined], [["av-verify", first.AvVerify]]);
});

test("the examples of the README are short, and use what there is", () => {
	const examples = [...read("README.md").matchAll(/```(?:html|js)\n([^]*?)```/g)].map(([, code]) => code);
	assert.equal(examples.length, 2);
	for (const code of examples) assert.ok(code.trim().split("\n").length <= 10);
	const [, names] = /import { (.*) } from "@syncnet-service\/avsync"/.exec(examples[1]);
	for (const name of names.split(", ")) assert.ok(name in avsync, name);
	for (const attribute of examples[0].match(/<av-verify (.*)>/)[1].matchAll(/([\w-]+)=/g)) {
		assert.match(read("README.md"), new RegExp(`^\\| \`${attribute[1]}\` \\|`, "m"));
	}
});
