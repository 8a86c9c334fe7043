/** A real HTTP server on loopback that answers as the service does, step by step as it is told. */

import { createServer } from "node:http";

export const JOB = "6f1c2f0e-7c5a-4d6e-9a53-0f6b3b1a2c4d";
export const VERDICT = {
	job_id: JOB,
	session_id: "visitor-17",
	risk_level: "LOW",
	decision: "ALLOW",
	combined_score: 0.97,
	score: 0.97,
	inconclusive: false,
	reason_codes: ["HIGH_SYNC_SCORE", "NO_ARTIFACTS", "DECISION_ALLOW"],
	syncnet: { score: 1 },
	efficientnet: { score: 0.956 },
};

const links = { self: `/jobs/${JOB}`, events: `/jobs/${JOB}/events` };

function json(response, status, body, headers = {}) {
	response.writeHead(status, { "Content-Type": "application/json", ...headers });
	response.end(JSON.stringify(body));
}

/** 202, and where to ask. */
export const accepted = (_request, response) =>
	json(
		response,
		202,
		{ job_id: JOB, state: "queued", links },
		{ Location: links.self, "Retry-After": "1" },
	);

/** problem+json, as service/problems.py makes it. */
export function problem(status, code, headers = {}) {
	const body = {
		type: `urn:syncnet-service:problem:${code}`,
		title: "It went wrong",
		status,
		detail: `What ${code} means.`,
		instance: "urn:syncnet-service:request:r-1",
		code,
		request_id: "r-1",
		advice: `What to do about ${code}.`,
		error: code,
		message: `What ${code} means.`,
	};
	const answer = (_request, response) =>
		json(response, status, body, { "Content-Type": "application/problem+json", ...headers });
	return Object.assign(answer, { body });
}

/** The job as GET /jobs/{id} tells it; 304 where the asker knows it already. */
export function job(said) {
	const body = { job_id: JOB, stage: null, progress: 0, result: null, error: null, links, ...said };
	const etag = `"${Buffer.from(JSON.stringify(said)).toString("base64url").slice(0, 32)}"`;
	return (request, response) => {
		const headers = { ETag: etag, "Retry-After": "0" };
		if (request.headers["if-none-match"] === etag) response.writeHead(304, headers).end();
		else json(response, 200, body, headers);
	};
}

export const progress = (state, share = 0, stage = null) => ["progress", { state, stage, progress: share }];

/** Server-sent events, as service/jobs_api.py writes them. cut: break off after them. */
export function events(list, { cut = false } = {}) {
	return (_request, response) => {
		response.writeHead(200, { "Content-Type": "text/event-stream" });
		response.write("retry: 2000\n\n: keep-alive\n\n");
		list.forEach(([event, data], number) => {
			response.write(`id: ${number + 1}\nevent: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
		});
		if (!cut) response.end();
		else response.write("event: result\ndata: {", () => response.destroy());
	};
}

/** Break the connection when the first bytes of the body have come. */
export const cutMidUpload = Object.assign(
	(request) => request.once("data", () => request.socket.destroy()),
	{ early: true },
);

/**
 * Serve until the test has ended. script: for "METHOD /path" the answers in their order, the last of
 * them from then on. Gives the endpoint and every request as {method, path, headers, body}.
 */
export async function serve(t, script) {
	const requests = [];
	const server = createServer(async (request, response) => {
		const { method, url: path, headers } = request;
		const told = { method, path, headers, body: Buffer.alloc(0) };
		requests.push(told);
		const answers = script[`${method} ${path}`] ?? [problem(404, "not_found")];
		const answer = answers.length > 1 ? answers.shift() : answers[0];
		if (answer.early) return answer(request, response);
		const parts = [];
		try {
			for await (const part of request) parts.push(part);
		} catch {
			return; // the sender has gone
		}
		told.body = Buffer.concat(parts);
		answer(request, response);
	});
	await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
	t.after(() => {
		server.closeAllConnections();
		server.close();
	});
	const of = (method, path) => requests.filter((r) => r.method === method && r.path === path);
	return { endpoint: `http://127.0.0.1:${server.address().port}`, requests, of };
}

/** The parts of a multipart body. */
export function form({ headers, body }) {
	return new Response(body, { headers: { "Content-Type": headers["content-type"] } }).formData();
}
