/** Record a few seconds of face and voice, have a syncnet-service score them, show the result. */

/** Any language tag; what is not Spanish is English. */
export type Language = string;

export interface AvsyncErrorOptions {
	status?: number;
	advice?: string;
	requestId?: string | null;
	retryAfter?: number | null;
	cause?: unknown;
}

/** Whatever goes wrong: the service's problem+json, or one of this script's own codes. */
export class AvsyncError extends Error {
	constructor(code: string, message: string, options?: AvsyncErrorOptions);
	/**
	 * Stable. The service's own (see docs/http.md), or `network`: the service could not be reached;
	 * `aborted`: by the signal; `denied`: camera and microphone were refused, or both taken away in
	 * the middle; `unsupported`: this browser cannot record, the page did not come by https, or there is
	 * no camera or no microphone; `http_502` and the like: what stands before the service answered;
	 * `cancelled`: somebody else has cancelled the job.
	 */
	readonly code: string;
	/** HTTP status; 0 where there was no answer. */
	readonly status: number;
	/** What to do about it, in English; may be empty. */
	readonly advice: string;
	readonly requestId: string | null;
	/** Seconds after which to try again; null where the service names none. */
	readonly retryAfter: number | null;
}

export interface Progress {
	/**
	 * `upload`, then `queued`, then `running`. `retrying`: the connection broke, and it is tried
	 * again; `waiting`: the service has no room now, and said when to try again.
	 */
	phase: "upload" | "queued" | "running" | "retrying" | "waiting";
	/** 0-1, of the upload or of the analysis; of an upload that cannot be watched 0. */
	progress: number;
	/** While `running`: what is done now. */
	stage: "decode" | "load" | "find_faces" | "syncnet" | "efficientnet" | null;
	/** From when the service has accepted the recording: what `job` and `cancel` take. */
	jobId: string | null;
	/** While `retrying` or `waiting`: seconds until the next try. */
	retryAfter: number | null;
}

export interface ClientOptions {
	/** Root of the service, such as `https://avsync.example.org`; the page's own where empty. */
	endpoint?: string;
	/** A short-lived upload token, made by your server with `POST /tokens`. */
	token?: string;
	/** An API key. Only where nobody else can read the page's scripts and storage. */
	key?: string;
	/** Used instead of the global one, also for the upload: which then cannot be watched, and may
	 * take as long as it likes. */
	fetch?: typeof fetch;
	/** Milliseconds before a broken connection is tried again (1000); then twice, four times that. */
	backoffMs?: number;
}

export interface ScoreOptions {
	/** 1-128 of `A-Z a-z 0-9 . _ -`; the token's, or made up by the service, where absent. */
	sessionId?: string;
	/** Whether the person recorded agrees; without, the service refuses with `no_consent`. */
	consent?: boolean;
	/** Ask for a picture of what in the most suspicious frame looks touched. */
	heatmap?: boolean;
	/** Accept an answer with what can be measured where the rest cannot. */
	partial?: boolean;
	/**
	 * From when the service has accepted the recording until the verdict is there, aborting also
	 * cancels the job and deletes its recording. One whose upload has just ended may be analysed all
	 * the same.
	 */
	signal?: AbortSignal;
	onProgress?: (progress: Progress) => void;
	/** One of its own for every recording unless given; the same one finds the same job again. */
	idempotencyKey?: string;
}

/** The service's HTTP interface. Every method rejects with an AvsyncError. */
export class Client {
	constructor(options?: ClientOptions);
	readonly endpoint: string;
	/**
	 * Upload a recording, follow its job, and resolve with the verdict.
	 *
	 * A broken connection is tried again three times, with the same idempotency key: nothing is
	 * scored twice. So is one over which nothing has come or gone for a minute, and an answer of 500
	 * or more by what stands before the service. 429 and 503 are tried again when `Retry-After` says,
	 * three times, where that is within two minutes. Where the job's events break off, or are silent
	 * for a minute, the job is asked for instead.
	 */
	score(recording: Blob, options?: ScoreOptions): Promise<Verdict>;
	job(id: string): Promise<Job>;
	/** Cancel a job that is open; delete the result of one that has ended. May be repeated. */
	cancel(id: string): Promise<void>;
}

/**
 * The first of VP9 with Opus and VP8 with Opus in WebM, and MP4, that this browser can record; null
 * where it can record none.
 */
export function recordingType(): string | null;

/** And whatever else is wished of the camera, such as its `deviceId`. */
export interface RecorderOptions extends MediaTrackConstraints {
	/** Shows what the camera sees, without sound. */
	video?: HTMLVideoElement;
}

/** Camera and microphone. */
export class Recorder {
	/**
	 * Ask for both: 640x480 at 30 frames a second unless wished otherwise, where the camera can.
	 * Rejects with an AvsyncError.
	 */
	static open(options?: RecorderOptions): Promise<Recorder>;
	readonly stream: MediaStream;
	/** Loudness at the microphone now: 0 at -60 dB or less, 1 at full scale; speech 0.4 to 0.8. */
	level(): number;
	/**
	 * Record for that long, at 1.5 Mbit/s. onTick is told the seconds left, about ten times a second,
	 * from `seconds` down to 0. Rejects with an AvsyncError, or with the browser's own error where it
	 * cannot begin.
	 */
	record(
		seconds: number,
		options?: { onTick?: (left: number) => void; signal?: AbortSignal },
	): Promise<Blob>;
	/** Switch both off, and empty the `video`. May be called again. */
	close(): void;
}

/**
 * `<av-verify endpoint session-id lang token>`: asks for consent, shows camera and microphone and a
 * phrase to read, records four seconds after a count-down, sends them, and shows the result.
 *
 * Its attributes are read when they are needed: a token may be set anew after an `error`. Taken out
 * of the page it lets go of the camera and cancels what is under way; put in again, it begins anew.
 */
export class AvVerify extends HTMLElement {
	addEventListener<Name extends keyof AvVerifyEventMap>(
		type: Name,
		listener: (this: AvVerify, event: AvVerifyEventMap[Name]) => unknown,
		options?: boolean | AddEventListenerOptions,
	): void;
	addEventListener(
		type: string,
		listener: EventListenerOrEventListenerObject,
		options?: boolean | AddEventListenerOptions,
	): void;
	removeEventListener<Name extends keyof AvVerifyEventMap>(
		type: Name,
		listener: (this: AvVerify, event: AvVerifyEventMap[Name]) => unknown,
		options?: boolean | EventListenerOptions,
	): void;
	removeEventListener(
		type: string,
		listener: EventListenerOrEventListenerObject,
		options?: boolean | EventListenerOptions,
	): void;
}

/** They bubble, and leave shadow trees. */
export interface AvVerifyEvents {
	/** The person agreed; the camera is asked for next. */
	consent: CustomEvent<{ sessionId: string | null }>;
	/** When the recording begins, and again with the recording when it has ended. */
	recording: CustomEvent<{
		state: "started" | "ended";
		seconds: number;
		/** What the person was given to read. Nothing checks that they did. */
		phrase: string;
		recording: Blob | null;
	}>;
	progress: CustomEvent<Progress>;
	result: CustomEvent<Verdict>;
	error: CustomEvent<AvsyncError>;
}

/** All of its events: an element's `error` and `progress` would be others. */
export type AvVerifyEventMap = Omit<HTMLElementEventMap, keyof AvVerifyEvents> & AvVerifyEvents;

export interface Summary {
	level: "LOW" | "MEDIUM" | "HIGH" | "CRITICAL" | "none";
	/** The level in words. */
	badge: string;
	/** Of lips and voice, and of the face. percent: 0-100, null where it could not be measured. */
	scores: { name: string; percent: number | null }[];
	/** What speaks against the recording, in words: the reason codes that mean something to people. */
	reasons: string[];
}

/** A verdict in a few words, as `<av-verify>` shows it. */
export function summary(verdict: Verdict, lang?: Language): Summary;

/** What to tell people about an error, as `<av-verify>` does. */
export function explanation(error: AvsyncError, lang?: Language): string;

/** A phrase to read aloud, drawn at random. */
export function challenge(lang?: Language): string;

/**
 * The server-sent events of a stream until it ends: each with one line of JSON as its data, as the
 * service writes them. onChunk: called whenever bytes arrive.
 */
export function serverEvents(
	stream: ReadableStream<Uint8Array>,
	onChunk?: () => void,
): AsyncGenerator<{ event: string; data: any }, void>;

export interface Job {
	job_id: string;
	state: "queued" | "running" | "succeeded" | "failed";
	stage: Progress["stage"];
	progress: number;
	created: string;
	started: string | null;
	finished: string | null;
	result: Verdict | null;
	error: Problem | null;
	links: { self: string; events: string };
}

/** problem+json (RFC 9457) as the service answers it. */
export interface Problem {
	type: string;
	title: string;
	status: number;
	detail: string;
	instance: string;
	code: string;
	request_id: string | null;
	advice: string;
	error: string;
	message: string;
}

/** What the service answers; docs/http.md describes every field. Scores: higher, more genuine. */
export interface Verdict {
	combined_score: number | null;
	risk_level: "LOW" | "MEDIUM" | "HIGH" | "CRITICAL" | null;
	is_likely_real: boolean | null;
	decision: "ALLOW" | "NEXT" | "BLOCK";
	reason_codes: string[];
	inconclusive: boolean;
	missing: { part: string; code: string; message: string; advice: string }[];
	weights: Record<string, number>;
	syncnet: SyncResult | null;
	efficientnet: ArtifactResult | null;
	quality: {
		brightness: number;
		sharpness: number;
		face_size: number;
		snr_db: number | null;
	} | null;
	video: {
		duration_s: number;
		width: number;
		height: number;
		fps: number;
		codec: string;
		frames_used: number;
	};
	models: Record<
		string,
		{ name: string; version: string; origin: "bundled" | "published"; sha256: string }
	>;
	calibration: { name: string; sha256: string; made: string; capture_offset: number } | null;
	timings_ms: Record<string, number>;
	score: number | null;
	offset_frames: number | null;
	lag_ms: number | null;
	confidence: number | null;
	min_dist: number | null;
	session_id: string;
	request_id: string;
	job_id: string;
	ttl_ms: number;
	processing_time_ms: number;
	request_time_ms: number;
	debug: {
		num_results: number;
		all_results: {
			offset_frames: number;
			confidence: number | null;
			min_dist: number | null;
			chosen: boolean;
		}[];
	};
}

export interface SyncResult {
	score: number;
	/** Above 0 the sound leads the picture; 25 frames a second. */
	offset_frames: number;
	lag_ms: number;
	confidence: number;
	min_dist: number;
	protocol: string;
	network: string;
	num_windows: number;
	curve: { offsets: number[]; distances: number[] };
	framewise_confidence: number[];
	tracks: {
		first_frame: number;
		last_frame: number;
		num_frames: number;
		mean_box: [number, number, number, number];
		offset_frames: number | null;
		confidence: number | null;
		min_dist: number | null;
		chosen: boolean;
	}[];
	subframe_offset: number;
	timeline: {
		time_s: number;
		offset: number | null;
		low: number | null;
		high: number | null;
		confidence: number;
	}[];
	changes: { time_s: number; before: number; after: number }[];
	doubts: ("NO_SPEECH" | "MUSIC" | "MOUTH_STILL" | "FACE_TURNED" | "STILL_PICTURE")[];
	raw_score: number;
}

export interface ArtifactResult {
	is_real: boolean;
	score: number;
	confidence: number;
	consistency: number;
	num_frames: number;
	frame_scores: number[];
	frame_times: number[];
	statistics: { mean: number; std: number; min: number; max: number };
	temporal_consistency: number;
	raw_score: number;
	/** png: 224x224 pixels, base64. */
	heatmap: { time_s: number; score: number; png: string } | null;
}

declare global {
	interface HTMLElementTagNameMap {
		"av-verify": AvVerify;
	}
}
