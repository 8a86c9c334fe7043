// Records face and voice, has them scored, shows what came of it. MIT licence; see avsync.d.ts.

const TRIES = 3;
const LONGEST_WAIT_S = 120; // a person sits and waits
const SILENT_MS = 40_000; // the service says something every 15 seconds

export class AvsyncError extends Error {
	constructor(code, message, options) {
		super(message);
		this.name = "AvsyncError";
		const defaults = { status: 0, advice: "", requestId: null, retryAfter: null };
		Object.assign(this, defaults, { code }, options);
	}
}

function onAbort(signal, act) {
	if (signal?.aborted) act();
	else signal?.addEventListener("abort", act, { once: true });
}

const aborted = () => new AvsyncError("aborted", "Aborted.");

/** A problem as an error; what stands before the service answers without one. */
function told(problem, answer) {
	const { status = answer.status, advice = "", request_id: requestId = null } = problem ?? {};
	const { code = `http_${status}`, detail = `Answered ${status}.` } = problem ?? {};
	return new AvsyncError(code, detail, { status, advice, requestId, retryAfter: waitOf(answer) });
}

function waitOf(answer) {
	const text = answer?.headers.get("Retry-After");
	return /^\d+$/.test(text) ? Number(text) : null;
}

function pause(ms, signal) {
	return new Promise((resolve, reject) => {
		const timer = setTimeout(resolve, ms);
		onAbort(signal, () => {
			clearTimeout(timer);
			reject(aborted());
		});
	});
}

/** As fetch, but by XMLHttpRequest, which tells how much has gone out. */
function posted(url, { headers, body, signal }, onSent) {
	return new Promise((resolve, reject) => {
		const request = new XMLHttpRequest();
		request.open("POST", url);
		request.responseType = "json";
		for (const name in headers) request.setRequestHeader(name, headers[name]);
		request.upload.onprogress = (e) => onSent(e.loaded / e.total);
		request.onload = () => {
			const get = (name) => request.getResponseHeader(name);
			resolve({ status: request.status, headers: { get }, json: async () => request.response });
		};
		request.onerror = request.onabort = reject;
		onAbort(signal, () => request.abort());
		request.send(body);
	});
}

export async function* serverEvents(stream, onChunk) {
	const reader = stream.getReader(); // not every browser iterates
	const decoder = new TextDecoder();
	for (let text = ""; ; ) {
		const { done, value } = await reader.read();
		if (done) return;
		onChunk?.();
		const blocks = (text + decoder.decode(value, { stream: true })).split(/\r?\n\r?\n/);
		text = blocks.pop();
		for (const block of blocks) {
			const event = /^event: ?(\w+)/m.exec(block)?.[1] ?? "message";
			const data = /^data: ?([^\n]*)/m.exec(block);
			if (data) yield { event, data: JSON.parse(data[1]) };
		}
	}
}

// crypto.randomUUID would need https.
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

	async score(recording, options = {}) {
		const { sessionId, consent = false, heatmap, partial, signal, onProgress } = options;
		const { idempotencyKey = randomKey() } = options;
		const body = new FormData();
		const fields = { session_id: sessionId, user_consent: consent, heatmap, partial };
		for (const name in fields) if (fields[name] != null) body.append(name, fields[name]);
		body.append("video", recording, "recording");
		const headers = { Prefer: "respond-async", "Idempotency-Key": idempotencyKey };
		let jobId = null;
		const tell = (now) =>
			onProgress?.({ progress: 0, stage: null, retryAfter: null, ...now, jobId });
		const onSent = (progress) => tell({ phase: "upload", progress });
		const init = { method: "POST", headers, body, signal };
		const accepted = await this.#call("/api/avsync/score", init, tell, onSent);
		jobId = accepted.body.job_id;
		try {
			const heard = await this.#heard(jobId, signal, tell).catch(() => null);
			const { result, error } = heard ?? (await this.#asked(jobId, signal, tell));
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

	#open(path, init, onSent) {
		const headers = { ...init.headers, ...this.#auth };
		const watched = onSent && !this.#fetch && globalThis.XMLHttpRequest;
		const send = watched ? posted : (this.#fetch ?? fetch);
		return send(this.endpoint + path, { ...init, headers }, onSent);
	}

	/** A good answer; what may go by itself is tried again. */
	async #call(path, init = {}, tell, onSent) {
		const { signal } = init;
		for (let broken = 0, refused = 0; ; ) {
			if (signal?.aborted) throw aborted();
			onSent?.(0);
			const answer = await this.#open(path, init, onSent).catch((cause) => ({ cause }));
			const body = await answer.json?.().catch(() => null);
			if (signal?.aborted) throw aborted();
			const { status, headers, cause } = answer;
			if (status === 204 || status === 304 || (body && status < 300)) return { headers, body };
			let phase = "retrying";
			let retryAfter = (this.#backoffMs * 2 ** broken) / 1000;
			if (status >= 300) {
				phase = "waiting";
				retryAfter = status === 429 || status === 503 ? waitOf(answer) : null;
				const never = retryAfter === null || retryAfter > LONGEST_WAIT_S;
				if (never || ++refused > TRIES) throw told(body, answer);
			} else if (++broken > TRIES) {
				throw new AvsyncError("network", "The service cannot be reached.", { cause });
			}
			tell?.({ phase, retryAfter });
			await pause(retryAfter * 1000, signal);
		}
	}

	async #heard(id, signal, tell) {
		const controller = new AbortController();
		const stop = () => controller.abort();
		let timer;
		const awake = () => {
			clearTimeout(timer);
			timer = setTimeout(stop, SILENT_MS);
		};
		onAbort(signal, stop);
		try {
			awake();
			const { body } = await this.#open(`/jobs/${id}/events`, { signal: controller.signal });
			for await (const { event, data } of serverEvents(body, awake)) {
				const { state: phase, progress, stage } = data;
				if (event === "progress") tell({ phase, progress, stage });
				else if (event !== "cancelled") return { [event]: data };
				else return { error: { code: event, status: 409, detail: "The job was cancelled." } };
			}
		} finally {
			clearTimeout(timer);
			stop();
		}
	}

	async #asked(id, signal, tell) {
		for (let headers = {}; ; ) {
			const answer = await this.#call(`/jobs/${id}`, { headers, signal }, tell);
			if (answer.body) {
				const { result, error, state: phase, progress, stage } = answer.body;
				if (result || error) return { result, error };
				tell({ phase, progress, stage });
				const etag = answer.headers.get("ETag");
				headers = etag ? { "If-None-Match": etag } : {};
			}
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

	static async open({ video, width = 640, height = 480, frameRate = 30 } = {}) {
		const recorder = new Recorder();
		try {
			if (!recordingType()) throw new Error("no type");
			recorder.stream = await navigator.mediaDevices.getUserMedia({
				video: { width, height, frameRate, facingMode: "user" },
				audio: true,
			});
		} catch (cause) {
			const code = cause.name === "NotAllowedError" ? "denied" : "unsupported";
			throw new AvsyncError(code, "Camera and microphone cannot be used.", { cause });
		}
		const context = new AudioContext();
		recorder.#analyser = context.createAnalyser();
		context.createMediaStreamSource(recorder.stream).connect(recorder.#analyser);
		if (video) {
			Object.assign(video, { srcObject: recorder.stream, muted: true, playsInline: true });
			video.play().catch(() => {}); // it may be taken away before it has begun
		}
		return recorder;
	}

	level() {
		const samples = new Float32Array(this.#analyser.fftSize);
		this.#analyser.getFloatTimeDomainData(samples);
		const power = samples.reduce((sum, x) => sum + x * x, 0) / samples.length;
		return Math.max(0, 1 + Math.log10(power) / 6);
	}

	async record(seconds, { onTick, signal } = {}) {
		const wanted = { mimeType: recordingType(), bitsPerSecond: 1_500_000 };
		const media = new MediaRecorder(this.stream, wanted);
		const stop = () => media.state === "inactive" || media.stop();
		const parts = [];
		let left = seconds;
		let timer;
		try {
			await new Promise((resolve, reject) => {
				onAbort(signal, () => reject(aborted()));
				media.ondataavailable = ({ data }) => parts.push(data);
				media.onstop = media.onerror = resolve;
				media.onstart = () => {
					const end = performance.now() + seconds * 1000;
					timer = setInterval(() => {
						left = Math.max(0, end - performance.now()) / 1000;
						onTick?.(left);
						if (!left) stop();
					}, 100);
					onTick?.(left);
				};
				media.start();
			});
		} finally {
			media.onstart = null; // it may be about to come
			clearInterval(timer);
			stop();
		}
		if (left > 0) throw new AvsyncError("denied", "The camera was taken away.");
		return new Blob(parts, { type: media.mimeType });
	}

	close() {
		this.stream.getTracks().forEach((track) => track.stop());
		this.#analyser.context.close().catch(() => {}); // it may be closed already
	}
}

// keys|English|Spanish
const TEXTS = `
consent|Check of face and voice|Comprobación de rostro y voz
why|You are recorded for 4 seconds. {} measures whether face and voice belong together and deletes the recording. The result is kept for a while; you can delete it. The camera is off until you agree.|Se le graba 4 segundos. {} mide si rostro y voz van juntos y borra la grabación. El resultado se guarda un tiempo; puede borrarlo. La cámara sigue apagada hasta que acepte.
agree|I agree: turn on the camera|Acepto: encender la cámara
camera|Camera and microphone|Cámara y micrófono
ready|Show your whole face in good light; speak: the bar moves. After 3, 2, 1 read aloud:|Muestre todo el rostro con buena luz; hable: la barra se mueve. Tras 3, 2, 1 lea en voz alta:
start|Start|Empezar
recording|Recording: read now|Grabando: lea ahora
upload|Sending|Enviando
queued,running|Analysing|Analizando
retrying|Connection lost: trying again|Sin conexión: nuevo intento
waiting|Service busy: trying again|Servicio ocupado: nuevo intento
cancel|Cancel|Cancelar
LOW|Low risk|Riesgo bajo
MEDIUM|Medium risk|Riesgo medio
HIGH|High risk|Riesgo alto
CRITICAL|Very high risk|Riesgo muy alto
none|No verdict|Sin veredicto
syncnet|Lips and voice|Labios y voz
efficientnet|Face|Rostro
inconclusive|Inconclusive: not everything could be judged|No concluyente: no todo se pudo evaluar
note|Indications, not proof.|Indicios, no pruebas.
erase|Delete my result|Borrar mi resultado
erased|Deleted.|Borrado.
again|Record again|Grabar de nuevo
resend|Send again|Enviar de nuevo
failed|That did not work|No ha funcionado
denied,unsupported|Camera and microphone are needed: allow both.|Se necesitan cámara y micrófono: permita ambos.
network|The service cannot be reached.|No se puede contactar con el servicio.
401,403|Access was refused or has ended.|El acceso fue denegado o ha terminado.
413,415,422|Record again, in good light, and speak clearly.|Grabe de nuevo, con buena luz, y hable claro.
429,503,507|The service is busy. Try again later.|El servicio está ocupado. Inténtelo más tarde.
LOW_SYNC_SCORE|Lips and voice hardly match|Labios y voz apenas coinciden
HIGH_OFFSET,OFFSET_CHANGES|Sound and picture are out of step|Sonido e imagen desfasados
NO_SPEECH,MUSIC|No clear speech is heard|No se oye hablar con claridad
MOUTH_STILL,FACE_TURNED,STILL_PICTURE|The lips are not seen to speak|No se ve hablar a los labios
ARTIFACTS_LIKELY|The face looks manipulated|El rostro parece manipulado
DARK_FACE,BLURRED_FACE,SMALL_FACE|The face is hard to see|El rostro se ve mal
NOISY_SOUND|The sound is noisy|Hay ruido en el sonido
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
	const { risk_level, reason_codes, inconclusive, syncnet, efficientnet } = verdict;
	const level = risk_level ?? "none";
	const percent = (part) => (part?.score == null ? null : Math.round(part.score * 100));
	const parts = Object.entries({ syncnet, efficientnet });
	const scores = parts.map(([key, part]) => ({ name: say(key, lang), percent: percent(part) }));
	const reasons = [...new Set(reason_codes.flatMap((code) => all(code, lang)))];
	if (inconclusive) reasons.unshift(say("inconclusive", lang));
	return { level, badge: say(level, lang), scores, reasons };
}

export function explanation({ code, status }, lang) {
	return say(code, lang) ?? say(status, lang) ?? say("failed", lang);
}

const CSS = `
:host { display: block; color-scheme: light dark; }
section { padding: 1rem; font: 1rem/1.5 system-ui; background: Canvas; color: CanvasText; }
video, progress, meter { width: 100%; }
video { transform: scaleX(-1); }
button { min-height: 44px; margin: 8px 8px 0 0; padding: 0 16px; font: inherit; }
.LOW { color: light-dark(#0a5c2b, #84e0a4); }
.HIGH, .CRITICAL { color: light-dark(#a31515, #ff9d94); }`;

const SECONDS = 4;

function make(tag, props, ...children) {
	const made = Object.assign(document.createElement(tag), props);
	made.append(...children);
	return made;
}

export class AvVerify extends (globalThis.HTMLElement ?? Object) {
	#title = make("h2", { tabIndex: -1 });
	#video = make("video", { hidden: true });
	#body = make("div");
	#status = make("p", { role: "status" });
	#box = make("section", {}, this.#title, this.#video, this.#body, this.#status);
	#stop; // of what is under way
	#recording;
	#key;

	constructor() {
		super();
		const sheet = new CSSStyleSheet();
		sheet.replaceSync(CSS);
		const root = this.attachShadow({ mode: "open" });
		root.adoptedStyleSheets = [sheet];
		root.append(this.#box);
	}

	connectedCallback() {
		this.#begin();
	}

	disconnectedCallback() {
		this.#stop?.abort();
	}

	get #lang() {
		return this.closest("[lang]")?.lang || navigator.language;
	}

	get #client() {
		const [endpoint, token] = ["endpoint", "token"].map((n) => this.getAttribute(n) ?? "");
		return new Client({ endpoint, token });
	}

	#t(key) {
		return say(key, this.#lang);
	}

	#tell(name, detail) {
		this.dispatchEvent(new CustomEvent(name, { detail, bubbles: true, composed: true }));
	}

	/** Show a step. Its heading is focused: it is read aloud, and Tab goes on from there. */
	#show(title, text, ...children) {
		const { host } = new URL(this.#client.endpoint, document.baseURI);
		this.#box.lang = ["", "en", "es"][column(this.#lang)];
		this.#title.textContent = this.#t(title);
		this.#title.className = title;
		this.#status.textContent = "";
		const about = this.#t(text)?.replace("{}", host) ?? "";
		this.#body.replaceChildren(make("p", {}, about), ...children);
		if (this.#stop) this.#title.focus();
	}

	#button(key, onclick) {
		return make("button", { onclick }, this.#t(key));
	}

	#cancel() {
		return this.#button("cancel", () => this.#stop.abort());
	}

	#again() {
		return this.#button("again", () => {
			this.#recording = null;
			this.#verify();
		});
	}

	#begin() {
		this.#recording = null;
		const agree = this.#button("agree", () => {
			this.#tell("consent", { sessionId: this.getAttribute("session-id") });
			this.#verify();
		});
		this.#show("consent", "why", agree);
	}

	/** From the camera to the result; what is recorded already is sent again. */
	async #verify() {
		const { signal } = (this.#stop = new AbortController());
		try {
			this.#recording ??= await this.#record(signal);
			this.#result(await this.#send(signal));
		} catch (error) {
			if (error.code !== "aborted") this.#fail(error);
			else if (this.isConnected) this.#begin();
		}
	}

	async #record(signal) {
		this.#show("camera", "denied");
		const recorder = await Recorder.open({ video: this.#video });
		const meter = make("meter", { ariaLabel: this.#t("camera") });
		const timer = setInterval(() => (meter.value = recorder.level()), 100);
		const phrase = challenge(this.#lang);
		const quote = make("strong", {}, phrase);
		this.#video.hidden = false;
		try {
			await new Promise((start, reject) => {
				const buttons = [this.#button("start", start), this.#cancel()];
				this.#show("camera", "ready", quote, meter, ...buttons);
				onAbort(signal, () => reject(aborted()));
			});
			this.#show("camera", "", quote, this.#cancel());
			for (let count = 3; count; count--) {
				this.#status.textContent = count;
				await pause(1000, signal);
			}
			this.#status.textContent = ""; // silent from here: a screen reader would be recorded
			const detail = { seconds: SECONDS, phrase };
			this.#tell("recording", { state: "started", ...detail, recording: null });
			const onTick = (left) => {
				this.#title.textContent = `${this.#t("recording")} ${Math.ceil(left)}`;
			};
			const recording = await recorder.record(SECONDS, { onTick, signal });
			this.#tell("recording", { state: "ended", ...detail, recording });
			this.#key = randomKey();
			return recording;
		} finally {
			clearInterval(timer);
			recorder.close();
			this.#video.hidden = true;
		}
	}

	#send(signal) {
		const bar = make("progress", { value: 0, ariaLabel: this.#t("running") });
		this.#show("running", "", bar, this.#cancel());
		const onProgress = (now) => {
			const text = this.#t(now.phase);
			if (this.#status.textContent !== text) this.#status.textContent = text;
			bar.value = now.progress;
			this.#tell("progress", now);
		};
		return this.#client.score(this.#recording, {
			sessionId: this.getAttribute("session-id"),
			idempotencyKey: this.#key,
			consent: true,
			signal,
			onProgress,
		});
	}

	#result(verdict) {
		const { level, scores, reasons } = summary(verdict, this.#lang);
		const items = [...scores.map(({ name, percent }) => `${name}: ${percent ?? "–"} / 100`), ...reasons];
		const list = make("ul", {}, ...items.map((text) => make("li", {}, text)));
		const erased = () => {
			this.#begin();
			this.#status.textContent = this.#t("erased");
		};
		const erase = this.#button("erase", () =>
			this.#client.cancel(verdict.job_id).then(erased, (error) => this.#fail(error)),
		);
		this.#recording = null;
		this.#show(level, "note", list, this.#again(), erase);
		this.#tell("result", verdict);
	}

	#fail(error) {
		const buttons = [this.#again()];
		if (this.#recording && ![413, 415, 422].includes(error.status)) {
			if (error.status) this.#key = randomKey(); // else the same would be answered again
			buttons.unshift(this.#button("resend", () => this.#verify()));
		}
		const why = make("p", { role: "alert" }, explanation(error, this.#lang));
		this.#show("failed", "", why, ...buttons);
		this.#tell("error", error);
	}
}

const registry = globalThis.customElements;
if (!registry?.get("av-verify")) registry?.define("av-verify", AvVerify);
