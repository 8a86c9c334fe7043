import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { beforeEach, test } from "node:test";

import { Recorder, recordingType } from "../avsync.js";

const VP9 = "video/webm;codecs=vp9,opus";
const VP8 = "video/webm;codecs=vp8,opus";
const MP4 = "video/mp4";

/** What a browser offers, as far as a recorder needs it. */
class FakeMediaRecorder {
	static types = [VP9, VP8, MP4];
	static made = [];

	static isTypeSupported(type) {
		return FakeMediaRecorder.types.includes(type);
	}

	constructor(stream, options) {
		Object.assign(this, { stream, options, mimeType: options.mimeType, state: "inactive" });
		FakeMediaRecorder.made.push(this);
	}

	start() {
		this.state = "recording";
		setImmediate(() => this.onstart?.());
	}

	stop() {
		assert.equal(this.state, "recording");
		this.state = "inactive";
		queueMicrotask(() => {
			this.ondataavailable({ data: new Blob(["first "]) });
			this.ondataavailable({ data: new Blob(["last"]) });
			this.onstop();
		});
	}
}

class FakeTrack {
	stopped = 0;

	stop() {
		this.stopped++;
	}
}

class FakeContext {
	static broken = false;
	state = "suspended"; // as in Safari, until it is resumed
	loudness = 0;

	constructor() {
		FakeContext.made = this;
	}

	createAnalyser() {
		const fill = (samples) => samples.fill(this.loudness);
		return { context: this, fftSize: 2048, getFloatTimeDomainData: fill };
	}

	createMediaStreamSource() {
		if (FakeContext.broken) throw named("NotSupportedError");
		return { connect: (analyser) => (FakeContext.heard = analyser.context) };
	}

	async resume() {
		if (this.state === "closed") throw named("InvalidStateError");
		this.state = "running";
	}

	async close() {
		if (this.state === "closed") throw new Error("InvalidStateError");
		this.state = "closed";
	}
}

let asked;
let tracks;
let live;
let permit;

function browser(navigator) {
	Object.defineProperty(globalThis, "navigator", { value: navigator, configurable: true });
}

beforeEach(() => {
	Object.assign(globalThis, { MediaRecorder: FakeMediaRecorder, AudioContext: FakeContext });
	FakeMediaRecorder.types = [VP9, VP8, MP4];
	FakeMediaRecorder.made = [];
	tracks = [new FakeTrack(), new FakeTrack()];
	FakeContext.broken = false;
	live = true;
	permit = async () => ({ getTracks: () => tracks, get active() { return live; } });
	const getUserMedia = (wanted) => {
		asked = wanted;
		return permit();
	};
	browser({ mediaDevices: { getUserMedia } });
});

const named = (name) => Object.assign(new Error(name), { name });

test("the first type that the browser can record is taken", () => {
	assert.equal(recordingType(), VP9);
	FakeMediaRecorder.types = [MP4, VP8];
	assert.equal(recordingType(), VP8);
	FakeMediaRecorder.types = [MP4];
	assert.equal(recordingType(), MP4);
	FakeMediaRecorder.types = [];
	assert.equal(recordingType(), null);
	delete globalThis.MediaRecorder;
	assert.equal(recordingType(), null);
});

test("camera and microphone are asked for, and shown without their sound", async () => {
	const video = { play: async () => (video.played = true) };
	const recorder = await Recorder.open({ video });
	const { width, height, frameRate } = asked.video;
	assert.deepEqual([width, height, frameRate], [640, 480, 30]);
	assert.ok(asked.audio);
	assert.equal(video.srcObject, recorder.stream);
	assert.ok(video.played && video.muted && video.playsInline);
});

test("a video that is taken away before it plays does no harm", async () => {
	const play = async () => {
		throw named("AbortError");
	};
	await Recorder.open({ video: { play } });
});

test("another size is asked for where it is wanted", async () => {
	await Recorder.open({ width: 320, height: 240, frameRate: 25 });
	const { width, height, frameRate } = asked.video;
	assert.deepEqual([width, height, frameRate], [320, 240, 25]);
});

for (const [name, code] of [
	["NotAllowedError", "denied"],
	["NotFoundError", "unsupported"],
	["NotReadableError", "unsupported"],
]) {
	test(`${name} is told as ${code}`, async () => {
		permit = async () => {
			throw named(name);
		};
		const expected = { name: "AvsyncError", code, status: 0 };
		await assert.rejects(Recorder.open(), expected);
	});
}

test("a camera whose microphone cannot be listened to is switched off again", async () => {
	FakeContext.broken = true;
	await assert.rejects(Recorder.open(), { name: "AvsyncError", code: "unsupported" });
	assert.ok(tracks.every(({ stopped }) => stopped === 1));
	assert.equal(FakeContext.made.state, "closed");
});

test("what cannot record is not asked for a camera", async () => {
	asked = null;
	FakeMediaRecorder.types = [];
	await assert.rejects(Recorder.open(), { code: "unsupported" });
	assert.equal(asked, null);
	FakeMediaRecorder.types = [VP8];
	browser({}); // as in a page that did not come by https
	await assert.rejects(Recorder.open(), { code: "unsupported" });
});

test("a recording is as long as it is wanted, of the type and the rate that were asked for", async () => {
	FakeMediaRecorder.types = [VP8];
	const recorder = await Recorder.open();
	const left = [];
	const recording = await recorder.record(0.35, { onTick: (now) => left.push(now) });
	assert.equal(recording.type, VP8);
	assert.equal(await recording.text(), "first last");
	const [media] = FakeMediaRecorder.made;
	assert.equal(media.stream, recorder.stream);
	assert.deepEqual(media.options, { mimeType: VP8, bitsPerSecond: 1_500_000 });
	assert.equal(left[0], 0.35);
	assert.equal(left.at(-1), 0);
	assert.ok(left.length >= 3);
	assert.deepEqual(left, left.toSorted((a, b) => b - a));
});

test("a second recording is made like the first", async () => {
	const recorder = await Recorder.open();
	await recorder.record(0.1);
	await recorder.record(0.1);
	assert.equal(FakeMediaRecorder.made.length, 2);
	assert.ok(FakeMediaRecorder.made.every(({ state }) => state === "inactive"));
});

test("an abort stops the recording, whenever it comes", async () => {
	const recorder = await Recorder.open();
	const stop = new AbortController();
	const onTick = () => stop.abort();
	await assert.rejects(recorder.record(60, { onTick, signal: stop.signal }), { code: "aborted" });
	const late = { onTick: () => late.ticks++, signal: stop.signal, ticks: 0 };
	await assert.rejects(recorder.record(60, late), { code: "aborted" });
	await new Promise(setImmediate); // the browser tells the start afterwards
	assert.equal(late.ticks, 0);
	assert.equal(FakeMediaRecorder.made.length, 2);
	assert.ok(FakeMediaRecorder.made.every(({ state }) => state === "inactive"));
});

test("a camera that is taken away in the middle leaves no half recording", async () => {
	const recorder = await Recorder.open();
	const onTick = () => {
		const [media] = FakeMediaRecorder.made;
		if (media.state === "recording") media.stop(); // as a browser does when the tracks end
	};
	await assert.rejects(recorder.record(60, { onTick }), { code: "denied" });
});

test("a camera that has been taken away before cannot be recorded", async () => {
	const recorder = await Recorder.open();
	live = false;
	await assert.rejects(recorder.record(60), { name: "AvsyncError", code: "denied" });
});

test("a recording leaves no listeners at its signal", async () => {
	const { signal } = new AbortController();
	const recorder = await Recorder.open();
	await recorder.record(0.3, { signal });
	assert.deepEqual(getEventListeners(signal, "abort"), []);
});

test("listening resumes what the browser has suspended", async () => {
	const recorder = await Recorder.open();
	assert.equal(FakeContext.made.state, "suspended");
	recorder.level();
	assert.equal(FakeContext.made.state, "running");
	recorder.close();
	recorder.level(); // a picture too late
});

test("the level goes from silence to full scale by decibels", async () => {
	const recorder = await Recorder.open();
	const levels = [0, 0.001, 0.0316228, 1].map((loudness) => {
		FakeContext.heard.loudness = loudness;
		return recorder.level();
	});
	for (const [level, expected] of levels.map((level, i) => [level, [0, 0, 0.5, 1][i]])) {
		assert.ok(Math.abs(level - expected) < 1e-3, `${level} is not ${expected}`);
	}
});

test("closing switches camera and microphone off, and may be repeated", async () => {
	const recorder = await Recorder.open();
	recorder.close();
	recorder.close();
	assert.ok(tracks.every(({ stopped }) => stopped > 0));
	assert.equal(FakeContext.heard.state, "closed");
});

test("closing empties the video, unless another recorder has it by then", async () => {
	const video = { play: async () => {} };
	const first = await Recorder.open({ video });
	const second = await Recorder.open({ video });
	first.close();
	assert.equal(video.srcObject, second.stream);
	second.close();
	assert.equal(video.srcObject, null);
});
