import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { AvsyncError, challenge, explanation, summary } from "../avsync.js";
import { VERDICT } from "../support/service.js";

const LANGUAGES = ["en", "es"];
const SOURCE = readFileSync(new URL("../avsync.js", import.meta.url), "utf8");

test("every text is there in every language", () => {
	const table = /const TEXTS = `\n([^`]+)`/.exec(SOURCE)[1];
	for (const line of table.split("\n")) {
		const columns = line.split("|");
		assert.equal(columns.length, 1 + LANGUAGES.length, line);
		for (const column of columns) assert.ok(column.trim() && column === column.trim(), line);
	}
});

test("every text that the script names is there", () => {
	const keys = new Set(/const TEXTS = `\n([^`]+)`/.exec(SOURCE)[1].split("\n").flatMap((l) => l.split("|")[0].split(",")));
	const named = [...SOURCE.matchAll(/(?:#t|#button|say|#show)\("(\w+)"(?:, "(\w+)")?/g)];
	assert.ok(named.length > 10);
	for (const name of named.flatMap(([, ...names]) => names.filter(Boolean))) {
		assert.ok(keys.has(name), name);
	}
});

const said = (changes, lang) => summary({ ...VERDICT, ...changes }, lang);

test("a verdict is told in a few words of either language", () => {
	assert.deepEqual(said({ reason_codes: ["LOW_SYNC_SCORE", "HIGH_OFFSET", "DECISION_NEXT"] }, "en"), {
		level: "LOW",
		badge: "Low risk",
		scores: [
			{ name: "Lips and voice", percent: 100 },
			{ name: "Face", percent: 96 },
		],
		reasons: ["Lips and voice hardly match", "Sound and picture are out of step"],
	});
	const spanish = said({ reason_codes: ["LOW_SYNC_SCORE"] }, "es-MX");
	assert.equal(spanish.badge, "Riesgo bajo");
	assert.deepEqual(spanish.reasons, ["Labios y voz apenas coinciden"]);
});

test("every level of risk has words of its own, and so has none", () => {
	for (const lang of LANGUAGES) {
		const levels = ["LOW", "MEDIUM", "HIGH", "CRITICAL", null];
		const badges = levels.map((risk_level) => said({ risk_level }, lang).badge);
		assert.equal(new Set(badges).size, levels.length);
		assert.ok(badges.every(Boolean));
	}
	assert.equal(said({ risk_level: null }).level, "none");
});

test("what could not be measured is no score of nought", () => {
	const { scores, reasons } = said({ syncnet: null, inconclusive: true, efficientnet: { score: 0 } });
	assert.deepEqual(scores.map(({ percent }) => percent), [null, 0]);
	assert.match(reasons[0], /^Inconclusive/);
});

test("reasons that say the same are told once", () => {
	const { reasons } = said({ reason_codes: ["DARK_FACE", "SMALL_FACE", "NO_SPEECH", "MUSIC"] });
	assert.equal(reasons.length, 2);
});

test("any other language is told in English", () => {
	for (const lang of ["fr", "en-GB", "est", "", undefined, null]) {
		assert.equal(said({}, lang).badge, "Low risk");
	}
});

test("every kind of error is told in either language", () => {
	const errors = ["denied", "unsupported", "network"].map((code) => new AvsyncError(code, ""));
	for (const status of [401, 403, 413, 415, 422, 429, 500, 503, 507]) {
		errors.push(new AvsyncError("whatever", "", { status }));
	}
	for (const error of errors) {
		const [english, spanish] = LANGUAGES.map((lang) => explanation(error, lang));
		assert.ok(english && spanish && english !== spanish, error.code);
	}
	const busy = explanation(new AvsyncError("rate_limited", "", { status: 429 }), "en");
	assert.match(busy, /busy/);
	assert.match(explanation(errors[0], "en"), /camera/i);
});

test("phrases are drawn from several, in the language that is spoken", () => {
	for (const lang of LANGUAGES) {
		const drawn = new Set(Array.from({ length: 200 }, () => challenge(lang)));
		assert.ok(drawn.size >= 3);
		for (const phrase of drawn) assert.ok(phrase.split(" ").length >= 6, phrase);
	}
	const english = new Set(Array.from({ length: 200 }, () => challenge("en")));
	assert.ok(!english.has(challenge("es")));
});
