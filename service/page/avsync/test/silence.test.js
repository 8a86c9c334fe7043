// A minute of silence. By a clock of our own, which the network of node must not see: nothing here
// uses it.

import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";

import { Client } from "../avsync.js";
import { JOB, VERDICT } from "../support/service.js";

const endpoint = "http://service.test";
const recording = new Blob(["recording"], { type: "video/webm" });

beforeEach(() => {
	mock.timers.reset();
	mock.timers.enable({ apis: ["setTimeout"] });
});

test("events that fall silent for a minute are not waited for", async () => {
	const seen = [];
	const fetch = async (url, { method = "GET", signal }) => {
		const path = new URL(url).pathname;
		seen.push(`${method} ${path}`);
		if (path.endsWith("/score")) return Response.json({ job_id: JOB }, { status: 202 });
		if (!path.endsWith("/events")) return Response.json({ result: VERDICT });
		setImmediate(() => {
			mock.timers.tick(59_999);
			assert.equal(signal.aborted, false);
			mock.timers.tick(1);
		});
		const start = (stream) => signal.addEventListener("abort", () => stream.error(signal.reason));
		return new Response(new ReadableStream({ start }));
	};
	const verdict = await new Client({ endpoint, fetch }).score(recording);
	assert.deepEqual(verdict, VERDICT);
	const paths = ["POST /api/avsync/score", `GET /jobs/${JOB}/events`, `GET /jobs/${JOB}`];
	assert.deepEqual(seen, paths);
});

test("an answer that does not come within a minute is asked for again", async () => {
	let asked = 0;
	const fetch = (_url, { signal }) => {
		if (++asked > 1) return Promise.resolve(Response.json({ job_id: JOB, state: "queued" }));
		setImmediate(() => {
			mock.timers.tick(60_000);
			setImmediate(() => mock.timers.tick(1)); // before it is tried again
		});
		return new Promise((_resolve, reject) => {
			signal.addEventListener("abort", () => reject(signal.reason));
		});
	};
	const job = await new Client({ endpoint, fetch, backoffMs: 1 }).job(JOB);
	assert.equal(job.state, "queued");
	assert.equal(asked, 2);
});

test("an upload that cannot be watched may take longer", async () => {
	const fetch = async (url, { signal }) => {
		if (!url.endsWith("/score")) return Response.json({ result: VERDICT });
		mock.timers.tick(3_600_000);
		signal.throwIfAborted();
		return Response.json({ job_id: JOB }, { status: 202 });
	};
	assert.deepEqual(await new Client({ endpoint, fetch }).score(recording), VERDICT);
});
