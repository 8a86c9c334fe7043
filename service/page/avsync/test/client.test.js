import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { test } from "node:test";

import { AvsyncError, Client, serverEvents } from "../avsync.js";
import {
	JOB,
	VERDICT,
	accepted,
	cutMidUpload,
	events,
	form,
	job,
	problem,
	progress,
	serve,
} from "../support/service.js";

const SCORE = "POST /api/avsync/score";
const FOLLOW = `GET /jobs/${JOB}/events`;
const ASK = `GET /jobs/${JOB}`;
const DELETE = `DELETE /jobs/${JOB}`;

const LIMIT = { timeout: 20_000 }; // for what would wait for ever where it fails

const recording = () => new Blob([new Uint8Array(2 ** 20).fill(7)], { type: "video/webm" });

const whole = () => events([progress("queued"), ["result", VERDICT]]);

/** What score() told while it ran, and what came of it. */
async function scored(endpoint, options = {}, client = {}) {
	const told = [];
	const onProgress = (now) => told.push(now);
	const sent = new Client({ endpoint, backoffMs: 1, ...client });
	const ended = await sent.score(recording(), { consent: true, onProgress, ...options }).then(
		(verdict) => ({ verdict }),
		(error) => ({ error }),
	);
	return { ...ended, told, phases: told.map(({ phase }) => phase) };
}

test("a recording is sent as the service wants it, and followed to its verdict", async (t) => {
	const { endpoint, requests } = await serve(t, {
		[SCORE]: [accepted],
		[FOLLOW]: [
			events([
				progress("queued"),
				progress("running", 0.25, "find_faces"),
				progress("running", 0.75, "syncnet"),
				["result", VERDICT],
			]),
		],
	});
	const { verdict, told } = await scored(endpoint, { sessionId: "visitor-17", heatmap: true });
	assert.deepEqual(verdict, VERDICT);
	const before = { stage: null, retryAfter: null, jobId: null };
	const after = { retryAfter: null, jobId: JOB };
	assert.deepEqual(told, [
		{ phase: "upload", progress: 0, ...before },
		{ phase: "queued", progress: 0, stage: null, ...after },
		{ phase: "running", progress: 0.25, stage: "find_faces", ...after },
		{ phase: "running", progress: 0.75, stage: "syncnet", ...after },
	]);
	assert.equal(requests.length, 2);
	const [upload] = requests;
	assert.equal(upload.headers.prefer, "respond-async");
	assert.match(upload.headers["idempotency-key"], /^[\x21-\x7e]{16,255}$/);
	assert.equal(upload.headers.authorization, undefined);
	const parts = await form(upload);
	assert.deepEqual([...parts.keys()].sort(), ["heatmap", "session_id", "user_consent", "video"]);
	assert.equal(parts.get("session_id"), "visitor-17");
	assert.equal(parts.get("user_consent"), "true");
	assert.equal(parts.get("heatmap"), "true");
	const video = parts.get("video");
	assert.equal(video.type, "video/webm");
	assert.deepEqual(Buffer.from(await video.arrayBuffer()), Buffer.alloc(2 ** 20, 7));
});

test("without a word of consent none is claimed", async (t) => {
	const { endpoint, requests } = await serve(t, { [SCORE]: [problem(403, "no_consent")] });
	const { error } = await scored(endpoint, { consent: undefined });
	assert.equal(error.code, "no_consent");
	assert.equal((await form(requests[0])).get("user_consent"), "false");
});

for (const [name, client, sent] of [
	["a token", { token: "ut_1_secret" }, "Bearer ut_1_secret"],
	["a key", { key: "sk_2_secret" }, "Bearer sk_2_secret"],
]) {
	test(`${name} goes with every request`, async (t) => {
		const script = { [SCORE]: [accepted], [FOLLOW]: [events([])], [DELETE]: [accepted] };
		script[ASK] = [job({ state: "succeeded", result: VERDICT })];
		const { endpoint, requests } = await serve(t, script);
		const { verdict } = await scored(`${endpoint}/`, {}, client);
		assert.deepEqual(verdict, VERDICT);
		await new Client({ endpoint, ...client }).cancel(JOB);
		assert.equal(requests.length, 4);
		for (const { headers } of requests) assert.equal(headers.authorization, sent);
	});
}

test("a connection cut in mid-upload is tried again under the same key", async (t) => {
	const { endpoint, of } = await serve(t, {
		[SCORE]: [cutMidUpload, cutMidUpload, accepted],
		[FOLLOW]: [whole()],
	});
	const { verdict, told, phases } = await scored(endpoint);
	assert.deepEqual(verdict, VERDICT);
	const expected = ["upload", "retrying", "upload", "retrying", "upload", "queued"];
	assert.deepEqual(phases, expected);
	assert.equal(told[3].retryAfter, 2 * told[1].retryAfter);
	const keys = of("POST", "/api/avsync/score").map(({ headers }) => headers["idempotency-key"]);
	assert.equal(keys.length, 3);
	assert.equal(new Set(keys).size, 1);
});

test("two recordings have two keys, unless one is given", async (t) => {
	const { endpoint, of } = await serve(t, { [SCORE]: [accepted], [FOLLOW]: [whole()] });
	await scored(endpoint);
	await scored(endpoint);
	await scored(endpoint, { idempotencyKey: "mine" });
	const keys = of("POST", "/api/avsync/score").map(({ headers }) => headers["idempotency-key"]);
	assert.equal(new Set(keys).size, 3);
	assert.equal(keys[2], "mine");
});

test("a connection that is cut again and again is given up and said so", async (t) => {
	const { endpoint, requests } = await serve(t, { [SCORE]: [cutMidUpload] });
	const { error, phases } = await scored(endpoint);
	assert.ok(error instanceof AvsyncError);
	assert.equal(error.code, "network");
	assert.equal(error.status, 0);
	assert.ok(error.cause instanceof Error);
	assert.equal(requests.length, 4);
	assert.equal(phases.filter((phase) => phase === "retrying").length, 3);
});

for (const [status, code] of [
	[429, "rate_limited"],
	[503, "queue_full"],
]) {
	test(`${status} is tried again when Retry-After says`, async (t) => {
		const { endpoint, of } = await serve(t, {
			[SCORE]: [problem(status, code, { "Retry-After": "1" }), accepted],
			[FOLLOW]: [whole()],
		});
		const { verdict, told, phases } = await scored(endpoint);
		assert.deepEqual(verdict, VERDICT);
		assert.deepEqual(phases, ["upload", "waiting", "upload", "queued"]);
		assert.equal(told[1].retryAfter, 1);
		assert.equal(of("POST", "/api/avsync/score").length, 2);
	});

	test(`${status} is given up after three more tries`, async (t) => {
		const full = problem(status, code, { "Retry-After": "0" });
		const { endpoint, requests } = await serve(t, { [SCORE]: [full] });
		const { error } = await scored(endpoint);
		assert.deepEqual([error.code, error.status, error.retryAfter], [code, status, 0]);
		assert.equal(requests.length, 4);
	});
}

for (const [name, headers] of [
	["names no time", {}],
	["names a time that nobody waits for", { "Retry-After": "3600" }],
]) {
	test(`a 503 that ${name} is not tried again`, LIMIT, async (t) => {
		const { endpoint, requests } = await serve(t, { [SCORE]: [problem(503, "model", headers)] });
		const { error } = await scored(endpoint);
		assert.equal(error.code, "model");
		assert.equal(error.retryAfter, headers["Retry-After"] ? 3600 : null);
		assert.equal(requests.length, 1);
	});
}

test("Retry-After may be a date", LIMIT, async (t) => {
	const after = (ms) => ({ "Retry-After": new Date(Date.now() + ms).toUTCString() });
	const { endpoint, requests } = await serve(t, {
		[SCORE]: [problem(503, "busy", after(-90_000)), problem(429, "rate_limited", after(90_000))],
	});
	const stop = new AbortController();
	const waits = [];
	const onProgress = ({ phase, retryAfter }) => {
		if (phase === "waiting") waits.push(retryAfter);
		if (retryAfter > 0) stop.abort();
	};
	const { error } = await scored(endpoint, { signal: stop.signal, onProgress });
	assert.equal(error.code, "aborted");
	assert.equal(waits[0], 0);
	assert.ok(waits[1] > 60 && waits[1] <= 90, String(waits[1]));
	assert.equal(requests.length, 2);
});

for (const [status, code] of [
	[401, "unauthorized"],
	[403, "token_used_up"],
	[413, "too_large"],
	[422, "no_face"],
	[507, "storage_full"],
]) {
	test(`${status} ${code} is told as it is`, async (t) => {
		const { endpoint, requests } = await serve(t, { [SCORE]: [problem(status, code)] });
		const { error } = await scored(endpoint);
		assert.ok(error instanceof AvsyncError && error instanceof Error);
		assert.equal(error.name, "AvsyncError");
		assert.equal(error.code, code);
		assert.equal(error.status, status);
		assert.equal(error.message, `What ${code} means.`);
		assert.equal(error.advice, `What to do about ${code}.`);
		assert.equal(error.requestId, "r-1");
		assert.equal(requests.length, 1);
	});
}

test("a refusal by what stands before the service has no problem, and is one", async (t) => {
	const page = (_request, response) => response.writeHead(413).end("<html>Too large</html>");
	const { endpoint, requests } = await serve(t, { [SCORE]: [page] });
	const { error } = await scored(endpoint);
	assert.deepEqual([error.code, error.status, error.advice], ["http_413", 413, ""]);
	assert.equal(requests.length, 1);
});

test("what a proxy answers as JSON is no problem of the service", async (t) => {
	const gateway = (_request, response) => response.writeHead(403).end('{"message": "Forbidden"}');
	const { endpoint } = await serve(t, { [SCORE]: [gateway] });
	const { error } = await scored(endpoint);
	assert.deepEqual([error.code, error.status, error.requestId], ["http_403", 403, null]);
});

for (const status of [502, 503, 504]) {
	const down = (_request, response) => response.writeHead(status).end("<html>Bad gateway</html>");

	test(`a ${status} by what stands before the service is a broken connection`, async (t) => {
		const { endpoint, of } = await serve(t, {
			[SCORE]: [down, accepted],
			[FOLLOW]: [down],
			[ASK]: [down, down, job({ state: "succeeded", result: VERDICT })],
		});
		const { verdict, phases } = await scored(endpoint);
		assert.deepEqual(verdict, VERDICT);
		assert.deepEqual(phases, ["upload", "retrying", "upload", "retrying", "retrying"]);
		const keys = of("POST", "/api/avsync/score").map(({ headers }) => headers["idempotency-key"]);
		assert.equal(new Set(keys).size, 1);
	});

	test(`a ${status} that lasts is told as it is`, async (t) => {
		const { endpoint, requests } = await serve(t, { [SCORE]: [down] });
		const { error } = await scored(endpoint);
		assert.deepEqual([error.code, error.status], [`http_${status}`, status]);
		assert.equal(requests.length, 4);
	});
}

test("a 500 of the service itself is final", async (t) => {
	const { endpoint, requests } = await serve(t, { [SCORE]: [problem(500, "internal")] });
	const { error } = await scored(endpoint);
	assert.deepEqual([error.code, error.status], ["internal", 500]);
	assert.equal(requests.length, 1);
});

test("an answer that is no JSON is no answer", async (t) => {
	const portal = (_request, response) => response.writeHead(200).end("<html>Log in</html>");
	const { endpoint } = await serve(t, { [SCORE]: [portal, accepted], [FOLLOW]: [whole()] });
	const { verdict, phases } = await scored(endpoint);
	assert.deepEqual(verdict, VERDICT);
	assert.ok(phases.includes("retrying"));
});

test("events that are cut in the middle are gone on with by asking", async (t) => {
	const { endpoint, of } = await serve(t, {
		[SCORE]: [accepted],
		[FOLLOW]: [events([progress("queued"), progress("running", 0.2, "decode")], { cut: true })],
		[ASK]: [
			job({ state: "running", stage: "syncnet", progress: 0.6 }),
			job({ state: "running", stage: "syncnet", progress: 0.6 }),
			job({ state: "succeeded", progress: 1, result: VERDICT }),
		],
	});
	const { verdict, told } = await scored(endpoint);
	assert.deepEqual(verdict, VERDICT);
	assert.deepEqual(
		told.slice(1).map(({ phase, progress: share, stage }) => [phase, share, stage]),
		[
			["queued", 0, null],
			["running", 0.2, "decode"],
			["running", 0.6, "syncnet"],
		],
	);
	const asked = of("GET", `/jobs/${JOB}`);
	assert.equal(asked.length, 3);
	assert.equal(asked[0].headers["if-none-match"], undefined);
	assert.match(asked[1].headers["if-none-match"], /^".+"$/);
	assert.equal(asked[1].headers["if-none-match"], asked[2].headers["if-none-match"]);
	assert.equal(of("POST", "/api/avsync/score").length, 1);
});

test("where there is no room for events the job is asked for, also over a bad line", async (t) => {
	const cut = (request) => request.socket.destroy();
	const { endpoint } = await serve(t, {
		[SCORE]: [accepted],
		[FOLLOW]: [problem(503, "busy", { "Retry-After": "5" })],
		[ASK]: [cut, problem(503, "busy", { "Retry-After": "0" }), job({ state: "succeeded", result: VERDICT })],
	});
	const { verdict, phases } = await scored(endpoint);
	assert.deepEqual(verdict, VERDICT);
	assert.deepEqual(phases, ["upload", "retrying", "waiting"]);
});

test("an event that is not known is passed over", async (t) => {
	const { endpoint } = await serve(t, {
		[SCORE]: [accepted],
		[FOLLOW]: [events([["notice", { text: "news" }], ["result", VERDICT]])],
	});
	const { verdict, phases } = await scored(endpoint);
	assert.deepEqual(verdict, VERDICT);
	assert.deepEqual(phases, ["upload"]);
});

test("a job that fails is told as what it failed of, by events and by asking", async (t) => {
	const { body } = problem(422, "no_face");
	for (const script of [
		{ [FOLLOW]: [events([progress("running"), ["error", body]])] },
		{ [FOLLOW]: [events([])], [ASK]: [job({ state: "failed", error: body })] },
	]) {
		const { endpoint } = await serve(t, { [SCORE]: [accepted], ...script });
		const { error } = await scored(endpoint);
		assert.deepEqual([error.code, error.status], ["no_face", 422]);
		assert.equal(error.advice, "What to do about no_face.");
	}
});

test("a job that somebody else cancels is told so", async (t) => {
	const { endpoint } = await serve(t, {
		[SCORE]: [accepted],
		[FOLLOW]: [events([["cancelled", { state: "cancelled", stage: null, progress: 0 }]])],
	});
	const { error } = await scored(endpoint);
	assert.deepEqual([error.code, error.status], ["cancelled", 409]);
});

test("aborted before it began, nothing is sent", async (t) => {
	const { endpoint, requests } = await serve(t, { [SCORE]: [accepted] });
	const { error } = await scored(endpoint, { signal: AbortSignal.abort() });
	assert.equal(error.code, "aborted");
	assert.equal(requests.length, 0);
});

test("aborted in mid-upload, nothing is sent again", async (t) => {
	const stop = new AbortController();
	const abort = Object.assign((request) => request.once("data", () => stop.abort()), { early: true });
	const { endpoint, requests } = await serve(t, { [SCORE]: [abort] });
	const { error } = await scored(endpoint, { signal: stop.signal });
	assert.equal(error.code, "aborted");
	assert.equal(requests.length, 1);
});

test("aborted while it waits for room, it waits no longer", LIMIT, async (t) => {
	const full = problem(429, "too_many_jobs", { "Retry-After": "60" });
	const { endpoint, requests } = await serve(t, { [SCORE]: [full] });
	const stop = new AbortController();
	const onProgress = ({ phase }) => phase === "waiting" && setImmediate(() => stop.abort());
	const { error } = await scored(endpoint, { signal: stop.signal, onProgress });
	assert.equal(error.code, "aborted");
	assert.equal(requests.length, 1);
});

test("aborted while it is analysed, the job is cancelled", LIMIT, async (t) => {
	const stop = new AbortController();
	let seen;
	const deleted = new Promise((resolve) => (seen = resolve));
	const { endpoint, of } = await serve(t, {
		[SCORE]: [accepted],
		[FOLLOW]: [
			(_request, response) => {
				response.writeHead(200, { "Content-Type": "text/event-stream" });
				response.write('event: progress\ndata: {"state": "running", "progress": 0.5}\n\n');
			},
		],
		[DELETE]: [(_request, response) => seen(response.writeHead(204).end())],
	});
	const onProgress = ({ phase }) => phase === "running" && stop.abort();
	const { error } = await scored(endpoint, { signal: stop.signal, onProgress });
	assert.equal(error.code, "aborted");
	await deleted;
	assert.equal(of("GET", `/jobs/${JOB}`).length, 0);
});

test("after an abort nothing more is told", LIMIT, async (t) => {
	const running = [0.1, 0.2, 0.3].map((share) => progress("running", share));
	const { endpoint } = await serve(t, { [SCORE]: [accepted], [FOLLOW]: [events(running)] });
	const stop = new AbortController();
	let told = 0;
	const onProgress = ({ phase }) => {
		if (phase === "running") stop.abort(told++);
	};
	const { error } = await scored(endpoint, { signal: stop.signal, onProgress });
	assert.equal(error.code, "aborted");
	assert.equal(told, 1);
});

test("however long it waits, it leaves no listeners at a signal", async (t) => {
	const open = { state: "running", progress: 0.5 };
	const { endpoint } = await serve(t, {
		[SCORE]: [cutMidUpload, problem(503, "busy", { "Retry-After": "0" }), accepted],
		[FOLLOW]: [events([progress("queued")], { cut: true })],
		[ASK]: [job(open), job({ ...open, progress: 0.6 }), job({ state: "succeeded", result: VERDICT })],
	});
	const { signal } = new AbortController();
	const { verdict } = await scored(endpoint, { signal });
	assert.deepEqual(verdict, VERDICT);
	assert.deepEqual(getEventListeners(signal, "abort"), []);
});

test("aborted after the verdict, it is too late to cancel", async (t) => {
	const { endpoint, of } = await serve(t, { [SCORE]: [accepted], [FOLLOW]: [whole()] });
	const stop = new AbortController();
	const { verdict } = await scored(endpoint, { signal: stop.signal });
	stop.abort();
	assert.deepEqual(verdict, VERDICT);
	await new Client({ endpoint }).job(JOB).catch(() => {}); // a round later
	assert.equal(of("DELETE", `/jobs/${JOB}`).length, 0);
});

test("a job can be asked for and cancelled by its id", async (t) => {
	const gone = problem(410, "expired");
	const { endpoint } = await serve(t, {
		[ASK]: [job({ state: "queued" }), gone],
		[DELETE]: [(_request, response) => response.writeHead(204).end()],
	});
	const client = new Client({ endpoint });
	assert.equal((await client.job(JOB)).state, "queued");
	assert.equal(await client.cancel(JOB), undefined);
	await assert.rejects(client.job(JOB), { name: "AvsyncError", code: "expired", status: 410 });
});

test("where nobody listens the service cannot be reached", async () => {
	let close;
	const { endpoint } = await serve({ after: (act) => (close = act) }, {});
	close();
	const { error } = await scored(endpoint);
	assert.equal(error.code, "network");
});

test("events are the same however the stream is cut into chunks", async () => {
	const data = { text: "señal\u2028 : data\\n", progress: 0.5 };
	const body = JSON.stringify(data);
	for (const end of ["\n", "\r\n"]) {
		const lines = ["retry: 2000", "", ": keep-alive", "", "id: 1", "event: progress", `data: ${body}`];
		const bytes = new TextEncoder().encode([...lines, "", "data: 1", "", "data: 2", ""].join(end));
		for (let at = 0; at <= bytes.length; at++) {
			const stream = ReadableStream.from([bytes.slice(0, at), bytes.slice(at)]);
			const found = [];
			for await (const event of serverEvents(stream)) found.push(event);
			const whole = [{ event: "progress", data }, { event: "message", data: 1 }];
			assert.deepEqual(found, whole, `cut at ${at}`);
		}
	}
});
