// Records face and voice, has them scored, shows the result. MIT; see avsync.d.ts.

const TRIES = 3;
const MAX_WAIT_S = 120; // a person waits
const SILENT_MS = 60_000; // events come every 15 s

export class AvsyncError extends Error {
	name = "AvsyncError";
	status = 0;
	advice = "";
	requestId = null;
	retryAfter = null;

	constructor(code, message, options) {
		super(message);
		Object.assign(this, { code }, options);
	}
}

const aborted = () => new AvsyncError("aborted", "Aborted.");

/** A promise that an abort breaks. What `begin` returns is called in the end. */
function until(signal, begin) {
	let stop, end;
	const begun = new Promise((resolve, reject) => {
		stop = () => reject(aborted());
		signal?.addEventListener("abort", stop);
		if (signal?.aborted) stop();
		else end = begin(resolve, reject);
	});
	return begun.finally(() => {
		signal?.removeEventListener("abort", stop);
		end?.();
	});
}

const pause = (ms, signal) =>
	until(signal, (resolve) => {
		const timer = setTimeout(resolve, ms);
		return () => clearTimeout(timer);
	});

/** A problem as an error; a proxy answers without one. */
function told(problem, answer) {
	const status = answer?.status ?? problem.status;
	const { code = `http_${status}`, detail = code, advice = "", request_id = null } = problem ?? {};
	const options = { status, advice, requestId: request_id, retryAfter: waitOf(answer) };
	return new AvsyncError(code, detail, options);
}

/** Seconds of Retry-After, which may be a date. */
function waitOf(answer) {
	const text = answer?.headers.get("Retry-After");
	const seconds = /^\d+$/.test(text) ? +text : (Date.parse(text) - Date.now()) / 1000;
	return isNaN(seconds) ? null : Math.max(0, seconds);
}

/** As fetch, and tells how much has gone out. */
function posted(url, { headers, body, signal }, onSent) {
	return new Promise((resolve, reject) => {
		const request = new XMLHttpRequest();
		request.open("POST", url);
		for (const name in headers) request.setRequestHeader(name, headers[name]);
		request.upload.onprogress = (e) => onSent(e.loaded / e.total);
		request.onload = () => {
			const { status, response } = request;
			const headers = { "Retry-After": request.getResponseHeader("Retry-After") ?? "" };
			resolve(new Response(response || null, { status, headers }));
		};
		request.onerror = request.onabort = reject;
		signal.onabort = () => request.abort();
		request.send(body);
	});
}

export async function* serverEvents(stream, onChunk) {
	const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
	for (let text = ""; ; ) {
		const { done, value } = await reader.read();
		if (done) return;
		onChunk?.();
		const blocks = (text + value).split(/\r?\n\r?\n/);
		text = blocks.pop();
		for (const block of blocks) {
			const event = /^event: ?(\w+)/m.exec(block)?.[1] ?? "message";
			const data = /^data: ?([^\n]*)/m.exec(block);
			if (data) yield { event, data: JSON.parse(data[1]) };
		}
	}
}

// randomUUID needs https
const random = (n) => crypto.getRandomValues(new Uint32Array(n));
const randomKey = () => random(4).join("-");

export class Client {
	#auth;
	#fetch;
	#backoffMs;

	constructor({ endpoint = "", token, key, fetch, backoffMs = 1000 } = {}) {
		this.endpoint = endpoint.replace(/\/+$/, "");
		this.#auth = token || key ? { Authorization: `Bearer ${token || key}` } : {};
		this.#fetch = fetch;
		this.#backoffMs = backoffMs;
	}

	async score(
		recording,
		{ sessionId, consent = false, heatmap, partial, idempotencyKey, signal, onProgress } = {},
	) {
		const body = new FormData();
		const fields = { session_id: sessionId, user_consent: consent, heatmap, partial };
		for (const name in fields) if (fields[name] != null) body.append(name, fields[name]);
		body.append("video", recording, "recording");
		const headers = { Prefer: "respond-async", "Idempotency-Key": idempotencyKey ?? randomKey() };
		let jobId = null;
		const tell = (now) =>
			signal?.aborted ||
			onProgress?.({ progress: 0, stage: null, retryAfter: null, ...now, jobId });
		const onSent = (progress) => tell({ phase: "upload", progress });
		const init = { method: "POST", headers, body, signal };
		jobId = (await this.#call("/api/avsync/score", init, tell, onSent)).body.job_id;
		try {
			const { result, error } = await this.#ended(jobId, signal, tell);
			if (error) throw told(error);
			return result;
		} catch (error) {
			if (error.code === "aborted") this.cancel(jobId).catch(() => {});
			throw error;
		}
	}

	async job(id) {
		return (await this.#call(`/jobs/${id}`)).body;
	}

	async cancel(id) {
		await this.#call(`/jobs/${id}`, { method: "DELETE" });
	}

	/** `read` of the answer, unless nothing comes for a minute. */
	#ask(path, init, read, onSent) {
		const send = this.#fetch ?? (onSent && globalThis.XMLHttpRequest ? posted : fetch);
		const headers = { ...init.headers, ...this.#auth };
		return until(init.signal, (resolve, reject) => {
			const stop = new AbortController();
			let timer;
			const awake = () => {
				clearTimeout(timer);
				timer = setTimeout(() => stop.abort(), SILENT_MS);
			};
			if (!onSent || send === posted) awake(); // watched
			const all = { ...init, headers, signal: stop.signal };
			const asked = send(this.endpoint + path, all, (share) => onSent(share, awake()));
			asked.then((answer) => read(answer, awake)).then(resolve, reject);
			return () => {
				clearTimeout(timer);
				stop.abort();
			};
		});
	}

	/** A good answer and its JSON; what may go by itself is tried again. */
	async #call(path, init = {}, tell, onSent) {
		const read = async (answer) => ({ answer, body: await answer.json().catch(() => null) });
		const tries = { retrying: 0, waiting: 0 };
		for (;;) {
			onSent?.(0);
			const asked = this.#ask(path, init, read, onSent);
			const { answer, body, cause } = await asked.catch((cause) => ({ cause }));
			if (init.signal?.aborted) throw aborted();
			const status = answer?.status;
			if ([204, 304].includes(status) || (body && status < 300)) return { answer, body };
			const wait = [429, 503].includes(status) ? waitOf(answer) : null;
			const phase = wait === null ? "retrying" : "waiting";
			const final = wait === null && status >= 300 && (status < 500 || body?.code);
			if (final || wait > MAX_WAIT_S || ++tries[phase] > TRIES) {
				if (status >= 300) throw told(body, answer);
				throw new AvsyncError("network", "No connection.", { cause });
			}
			const retryAfter = wait ?? (this.#backoffMs * 2 ** (tries.retrying - 1)) / 1000;
			tell?.({ phase, retryAfter });
			await pause(retryAfter * 1000, init.signal);
		}
	}

	/** What came of a job, by its events or, where they break off, by asking. */
	async #ended(id, signal, tell) {
		const now = ({ state: phase, progress, stage }) => tell({ phase, progress, stage });
		const read = async ({ body }, awake) => {
			for await (const { event, data } of serverEvents(body, awake)) {
				if (event === "progress") now(data);
				if (event === "result" || event === "error") return { [event]: data };
				if (event === "cancelled") return { error: { code: event, status: 409 } };
			}
		};
		const heard = await this.#ask(`/jobs/${id}/events`, { signal }, read).catch(() => null);
		if (heard) return heard;
		for (let headers = {}; ; ) {
			const { answer, body } = await this.#call(`/jobs/${id}`, { headers, signal }, tell);
			if (body?.result || body?.error) return body;
			if (body) now(body);
			headers = { "If-None-Match": answer.headers.get("ETag") ?? "" };
			await pause((waitOf(answer) || 1) * 1000, signal);
		}
	}
}

export function recordingType() {
	const types = ["video/webm;codecs=vp9,opus", "video/webm;codecs=vp8,opus", "video/mp4"];
	return types.find((type) => globalThis.MediaRecorder?.isTypeSupported(type)) ?? null;
}

export class Recorder {
	#analyser;
	#video = {};

	static async open({ video, ...wanted } = {}) {
		const recorder = new Recorder();
		try {
			if (!recordingType()) throw new Error();
			const picture = { width: 640, height: 480, frameRate: 30, facingMode: "user", ...wanted };
			const asked = navigator.mediaDevices.getUserMedia({ video: picture, audio: true });
			recorder.stream = await asked;
			const context = new AudioContext();
			recorder.#analyser = context.createAnalyser();
			context.createMediaStreamSource(recorder.stream).connect(recorder.#analyser);
		} catch (cause) {
			recorder.close();
			const code = cause.name === "NotAllowedError" ? "denied" : "unsupported";
			throw new AvsyncError(code, "No camera and microphone.", { cause });
		}
		const shown = { muted: true, playsInline: true, srcObject: recorder.stream };
		recorder.#video = Object.assign(video ?? {}, shown);
		video?.play().catch(() => {}); // it may be gone at once
		return recorder;
	}

	level() {
		const { context, fftSize } = this.#analyser;
		context.resume().catch(() => {}); // Safari and calls suspend it
		const samples = new Float32Array(fftSize);
		this.#analyser.getFloatTimeDomainData(samples);
		const power = Math.hypot(...samples) ** 2 / fftSize;
		return Math.max(0, 1 + Math.log10(power) / 6);
	}

	async record(seconds, { onTick, signal } = {}) {
		const wanted = { mimeType: recordingType(), bitsPerSecond: 1_500_000 };
		const media = new MediaRecorder(this.stream, wanted);
		const parts = [];
		media.ondataavailable = ({ data }) => parts.push(data);
		const stopped = new Promise((resolve) => (media.onstop = resolve));
		let left = seconds;
		try {
			const begin = (resolve) => {
				media.onstart = media.onerror = resolve;
				media.start();
			};
			if (this.stream.active) await until(signal, begin);
			const end = performance.now() + seconds * 1000;
			while (left > 0 && media.state === "recording") {
				onTick?.(left);
				await pause(100, signal);
				left = Math.max(0, end - performance.now()) / 1000;
			}
		} finally {
			if (media.state !== "inactive") media.stop();
		}
		if (left > 0) throw new AvsyncError("denied", "The camera was taken away.");
		onTick?.(0);
		await stopped;
		return new Blob(parts, { type: media.mimeType });
	}

	close() {
		this.stream?.getTracks().forEach((track) => track.stop());
		this.#analyser?.context.close().catch(() => {}); // it may be closed already
		if (this.#video.srcObject === this.stream) this.#video.srcObject = null;
	}
}

const TEXTS = `
lang|en|es
consent|Face and voice check|Control de rostro y voz
why|4 seconds are recorded. {} compares face and voice and deletes the recording. The result is kept for a while; you can delete it.|Se graban 4 segundos. {} compara rostro y voz y borra la grabación. El resultado se guarda un tiempo; puede borrarlo.
agree|I agree: turn on the camera|Acepto: encender la cámara
camera|Camera and microphone|Cámara y micrófono
ready|Show your whole face in good light. Speak: the bar moves. After 3, 2, 1 read:|Muestre todo el rostro con buena luz. Hable: la barra se mueve. Tras 3, 2, 1 lea:
start|Start|Empezar
recording|Recording: read now|Grabando: lea ahora
upload|Sending|Enviando
queued,running|Analysing|Analizando
retrying,network|No connection|Sin conexión
waiting,429,502,503,504,507|Service busy|Servicio ocupado
cancel|Cancel|Cancelar
LOW|Low risk|Riesgo bajo
MEDIUM|Medium risk|Riesgo medio
HIGH|High risk|Riesgo alto
CRITICAL|Very high risk|Riesgo muy alto
none|No verdict|Sin veredicto
syncnet|Lips and voice|Labios y voz
efficientnet|Face|Rostro
inconclusive|Inconclusive: not all could be judged|No concluyente: no todo se pudo juzgar
note|Indications, not proof|Indicios, no pruebas
erase|Delete my result|Borrar mi resultado
erased|Deleted|Borrado
again|Record again|Grabar de nuevo
resend|Send again|Enviar de nuevo
failed|That did not work|No ha funcionado
denied,unsupported|Please allow camera and microphone|Permita cámara y micrófono
401,403|Access refused or ended|Acceso denegado o terminado
413,415,422|Record again in good light; speak clearly|Grabe de nuevo con buena luz; hable claro
LOW_SYNC_SCORE|Lips and voice hardly match|Labios y voz apenas coinciden
HIGH_OFFSET,OFFSET_CHANGES|Sound and picture are out of step|Sonido e imagen desfasados
NO_SPEECH,MUSIC,NOISY_SOUND|No clear speech is heard|No se oye hablar con claridad
MOUTH_STILL,FACE_TURNED,STILL_PICTURE|The lips are not seen to speak|No se ve hablar a los labios
ARTIFACTS_LIKELY|The face looks manipulated|El rostro parece manipulado
DARK_FACE,BLURRED_FACE,SMALL_FACE|The face is hard to see|El rostro se ve mal
read|Seven brown birds fly over the old bridge|Siete pájaros vuelan sobre el puente viejo
read|My neighbour buys fresh bread every Monday|Mi vecino compra pan y fruta cada lunes
read|The small boat waits by the harbour wall|El barco pequeño espera junto al muelle azul`;

const lines = TEXTS.split("\n").map((line) => line.split("|"));
const column = (lang) => (/^es\b/i.test(lang) ? 2 : 1);
const all = (key, lang) =>
	lines.filter(([keys]) => keys.split(",").includes(`${key}`)).map((line) => line[column(lang)]);
const say = (key, lang) => all(key, lang)[0];

export function challenge(lang) {
	const phrases = all("read", lang);
	return phrases[random(1)[0] % phrases.length];
}

export function summary(verdict, lang) {
	const { inconclusive, reason_codes } = verdict;
	const level = verdict.risk_level ?? "none";
	const scores = ["syncnet", "efficientnet"].map((part) => ({
		name: say(part, lang),
		percent: verdict[part] ? Math.round(verdict[part].score * 100) : null,
	}));
	const codes = inconclusive ? ["inconclusive", ...reason_codes] : reason_codes;
	const reasons = [...new Set(codes.flatMap((code) => all(code, lang)))];
	return { level, badge: say(level, lang), scores, reasons };
}

export function explanation({ code, status }, lang) {
	return [code, status, "failed"].flatMap((key) => all(key, lang))[0];
}

const CSS = `
:host { display: block; color-scheme: light dark; }
:host([hidden]) { display: none; }
section { padding: 1rem; font: 1rem/1.5 system-ui; background: Canvas; color: CanvasText; }
video, progress, meter { width: 100%; }
video { transform: scaleX(-1); }
button { min-height: 44px; margin: 8px 8px 0 0; padding: 0 16px; font: inherit; }
.HIGH, .CRITICAL { color: light-dark(#a31515, #ff9d94); }`;

const SECONDS = 4;

function make(tag, props, ...children) {
	const made = Object.assign(document.createElement(tag), props);
	made.append(...children);
	return made;
}

export class AvVerify extends (globalThis.HTMLElement ?? Object) {
	static observedAttributes = ["endpoint", "lang"];
	#title = make("h2", { tabIndex: -1 });
	#body = make("div");
	#status = make("p", { role: "status" });
	#stop;
	#t = (key) => say(key, this.#lang);
	#cancel = () => this.#button("cancel", () => this.#begin());
	#again = () => this.#button("again", () => this.#verify());

	constructor() {
		super();
		const sheet = new CSSStyleSheet();
		sheet.replaceSync(CSS);
		const root = this.attachShadow({ mode: "open" });
		root.adoptedStyleSheets = [sheet];
		root.append(make("section", {}, this.#title, this.#body, this.#status));
	}

	connectedCallback() {
		this.#begin();
	}

	disconnectedCallback() {
		this.#stop?.abort();
		this.#stop = null;
	}

	attributeChangedCallback() {
		if (this.#title.className === "consent") this.#begin(); // it names the service
	}

	get #lang() {
		return this.closest("[lang]")?.lang || navigator.language;
	}

	get #client() {
		const [endpoint, token] = ["endpoint", "token"].map((n) => this.getAttribute(n) ?? "");
		return new Client({ endpoint, token });
	}

	#tell(name, detail) {
		this.dispatchEvent(new CustomEvent(name, { detail, bubbles: true, composed: true }));
	}

	#announce(text) {
		if (this.#status.textContent !== text) this.#status.textContent = text;
	}

	/** Show a step, and focus its heading where nothing else has the focus. */
	#show(title, text, ...children) {
		const { host } = new URL(this.#client.endpoint, this.baseURI);
		this.#title.parentNode.lang = this.#t("lang");
		Object.assign(this.#title, { className: title, textContent: this.#t(title) });
		this.#announce("");
		const about = make("p", { textContent: this.#t(text)?.replace("{}", host) });
		this.#body.replaceChildren(about, ...children);
		const { activeElement } = this.getRootNode();
		if (this.#stop && activeElement?.contains(this) !== false) this.#title.focus();
	}

	#button(key, act) {
		const onclick = ({ detail: clicks }) => clicks > 1 || act();
		return make("button", { onclick }, this.#t(key));
	}

	#begin() {
		this.#stop?.abort();
		const agree = this.#button("agree", () => {
			this.#tell("consent", { sessionId: this.getAttribute("session-id") });
			if (this.isConnected) this.#verify();
		});
		this.#show("consent", "why", agree);
	}

	/** From the camera to the result; what is recorded already is sent again. */
	async #verify(sent) {
		this.#stop?.abort();
		const { signal } = (this.#stop = new AbortController());
		try {
			sent ??= { recording: await this.#record(signal), key: randomKey() };
			const verdict = await this.#send(sent, signal);
			signal.throwIfAborted();
			this.#result(verdict, signal);
		} catch (error) {
			if (signal.aborted) return;
			const resend = this.#button("resend", () => {
				if (!/^net|^http|\d$/.test(error.code + error.retryAfter)) sent.key = randomKey();
				this.#verify(sent);
			});
			const useless = !sent || [413, 415, 422].includes(error.status);
			this.#fail(error, useless ? "" : resend);
		}
	}

	async #record(signal) {
		this.#show("camera", "denied", this.#cancel());
		const video = make("video");
		const recorder = await Recorder.open({ video });
		const meter = make("meter", { ariaLabel: this.#t("camera") });
		const timer = setInterval(() => (meter.value = recorder.level()), 100);
		const phrase = challenge(this.#lang);
		const quote = make("p", {}, make("strong", {}, phrase));
		const tell = (state, recording = null) =>
			this.#tell("recording", { state, seconds: SECONDS, phrase, recording });
		const onTick = (left) =>
			(this.#title.textContent = `${this.#t("recording")} ${Math.ceil(left)}`);
		try {
			await until(signal, (resolve) => {
				const start = this.#button("start", resolve);
				this.#show("camera", "ready", video, quote, meter, start, this.#cancel());
			});
			this.#show("camera", "", video, quote, this.#cancel());
			for (let count = 3; count; count--) {
				this.#announce(count);
				await pause(1000, signal);
			}
			this.#announce(""); // silence: a screen reader would be recorded
			tell("started");
			const recording = await recorder.record(SECONDS, { onTick, signal });
			tell("ended", recording);
			signal.throwIfAborted();
			return recording;
		} finally {
			clearInterval(timer);
			recorder.close();
		}
	}

	#send({ recording, key }, signal) {
		const bar = make("progress", { value: 0, ariaLabel: this.#t("running") });
		this.#show("running", "", bar, this.#cancel());
		const onProgress = (now) => {
			this.#announce(this.#t(now.phase));
			bar.value = now.progress;
			this.#tell("progress", now);
		};
		const sessionId = this.getAttribute("session-id");
		const options = { sessionId, idempotencyKey: key, consent: true, signal, onProgress };
		return this.#client.score(recording, options);
	}

	#result(verdict, signal) {
		const { level, scores, reasons } = summary(verdict, this.#lang);
		const figures = scores.map(({ name, percent }) => `${name}: ${percent ?? "–"} / 100`);
		const items = [...figures, ...reasons].map((text) => make("li", {}, text));
		const erase = this.#button("erase", () =>
			this.#client.cancel(verdict.job_id).then(
				() => signal.aborted || this.#show("erased", "", this.#again()),
				(error) => signal.aborted || this.#fail(error, erase),
			),
		);
		this.#show(level, "note", make("ul", {}, ...items), this.#again(), erase);
		this.#tell("result", verdict);
	}

	#fail(error, button) {
		const why = make("p", { role: "alert" }, explanation(error, this.#lang));
		this.#show("failed", "", why, button, this.#again());
		this.#tell("error", error);
	}
}

const registry = globalThis.customElements;
registry?.get("av-verify") ?? registry?.define("av-verify", AvVerify);
