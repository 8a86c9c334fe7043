"""Write service/examples.json: a real request or answer for every schema of the interface.

    python -m evaluation.examples

The service is asked, with its own networks, about clips of known truth: a whole one, one that is
spliced, one without a sound to hear, and a stream. Long lists and texts are cut.
"""

import json
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import date
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from flask import Flask
from flask.testing import FlaskClient

from evaluation.clip_writer import Sound, write_clip
from evaluation.samples import DEMO, ClipSpec, clip_frames, clip_sound, talking_clip
from evaluation.talking_stream import talking_stream
from service import openapi
from service.settings import Settings
from syncnet_python import calibration, profiles, weights
from syncnet_python.calibration import Calibration, Fit, Thresholds
from syncnet_python.score_maps import Identity

LONGEST_LIST = 4
LONGEST_TEXT = 200
DIGITS = 4

KEY = "only for these examples"

WHOLE, SPLICED, SILENT = "in_sync.webm", "spliced.mp4", "silent.webm"

Answers = dict[str, Any]
"""By the name of their schema."""


def main() -> None:
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        make_clips(folder)
        entry = stack.enter_context(served(folder))
        app = stack.enter_context(application(folder, entry))
        asked = list(answers(app.test_client(), folder, f"http://{entry}/stream.m3u8"))
    schemas = openapi.document(anonymous=True)["components"]["schemas"]
    found: Answers = {}
    for schema, value in asked:
        gather(schemas, {"$ref": f"#/components/schemas/{schema}"}, value, found)
    if missing := set(schemas) - set(found):
        raise SystemExit(f"no answer shows {', '.join(sorted(missing))}")
    text = json.dumps(shortened(dict(sorted(found.items()))), indent=1, ensure_ascii=False)
    openapi.EXAMPLES.write_text(text + "\n")


def make_clips(folder: Path) -> None:
    """Everything that the service is asked about, into that folder."""
    talking_clip(folder / WHOLE, **DEMO[WHOLE])
    talking_clip(folder / SILENT, seconds=2.0, silent=True)
    before = ClipSpec(seconds=8.0, seed=1)
    earlier, later = clip_sound(before), clip_sound(replace(before, offset_frames=6))
    half = len(earlier.samples) // 2
    joined = np.concatenate([earlier.samples[:half], later.samples[half:]])
    sound = Sound(joined, earlier.rate, earlier.start)
    write_clip(
        folder / SPLICED,
        "mp4-h264-aac",
        clip_frames(before),
        sound,
        size=before.size,
        fps=before.fps,
    )
    stream = talking_stream(seconds=12.0, seed=1)
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:2"]
    for number, (segment, seconds) in enumerate(
        zip(stream.segments, stream.durations, strict=True)
    ):
        (folder / f"{number}.ts").write_bytes(segment)
        lines += [f"#EXTINF:{seconds:.3f},", f"{number}.ts"]
    (folder / "stream.m3u8").write_text("\n".join([*lines, "#EXT-X-ENDLIST"]) + "\n")


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The folder by HTTP on loopback; host and port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def application(folder: Path, entry: str) -> Iterator[Flask]:
    """The service, with everything switched on. entry: where its streams come from."""
    from app import close, create_app

    learnt = folder / "calibration.json"
    hashes = {name: weights.entry(name).sha256 or "" for name in profiles.BUNDLED.names}
    same = Identity()
    calibration.save(
        Calibration(
            name="front door",
            made=date.today(),
            networks=hashes,
            capture_offset=0.0,
            sync_map=same,
            artifact_map=same,
            thresholds=Thresholds(),
            weights={"syncnet": 0.4, "efficientnet": 0.6},
            fitted=Fit(5, 0, 5, 0.05, None),
        ),
        learnt,
    )
    settings = {
        "data_dir": folder / "data",
        "video_root": folder,
        "outgoing_allow": (entry,),
        "calibration_file": learnt,
        "model_profile": "bundled",
        "processing_timeout_seconds": 120,
        "api_key": KEY,
    }
    app = create_app(Settings.model_validate(settings))
    try:
        yield app
    finally:
        close(app)


def answers(client: FlaskClient, folder: Path, stream: str) -> Iterator[tuple[str, Any]]:
    """What was sent and answered, with the name of its schema; the fullest of each first."""
    key = {"Authorization": f"Bearer {KEY}"}

    def get(path: str) -> Any:
        return client.get(path, headers=key).get_json()

    def post(path: str, fields: Mapping[str, Any]) -> Any:
        return client.post(path, json=fields, headers=key).get_json()

    def upload(path: str, name: str, **fields: str) -> Any:
        with (folder / name).open("rb") as video:
            return client.post(
                path, data={"video": (video, name), **fields}, headers=key
            ).get_json()

    form = {"session_id": "visit-17", "user_consent": "true", "metadata": '{"page": "check"}'}
    yield (
        "UploadForm",
        {**form, "video": WHOLE, "user_consent": True, "metadata": {"page": "check"}},
    )
    yield "VerdictBody", upload("/score", WHOLE, heatmap="true", **form)
    path = {"video_path": SPLICED, "session_id": "visit-18", "heatmap": True}
    yield "PathFields", path
    yield "VerdictBody", post("/score", path)
    yield "VerdictBody", upload("/score", SILENT, partial="true")
    accepted = post("/score?async=1", {**path, "video_path": WHOLE})
    yield "Accepted", accepted
    told = client.get(accepted["links"]["events"], headers=key).text
    first = next(line for line in told.splitlines() if line.startswith("data: "))
    yield "ProgressEvent", json.loads(first.removeprefix("data: "))
    yield "JobBody", get(accepted["links"]["self"])
    yield "HistoryBody", get("/jobs?session_id=visit-17")
    yield "ProblemBody", get("/jobs/00000000-0000-4000-8000-000000000000")
    wanted = {"ttl_seconds": 600, "uploads": 1, "session_id": "visit-19"}
    yield "TokenFields", wanted
    yield "TokenBody", post("/tokens", wanted)
    yield "AnalyzeForm", {"video": WHOLE, "window_size": 25, "stride": 5, "buffer_size": 100}
    yield "AnalyzeBody", upload("/api/analyze", WHOLE)
    yield "AnalyzeProblem", upload("/api/analyze", "stream.m3u8")
    yield "StatusBody", get("/api/status")
    yield "AnalyzeStreamFields", {"url": stream, "window_size": 25}
    yield "AnalyzeStreamBody", post("/api/analyze-stream", {"url": stream, "window_size": 25})
    yield "StreamFields", {"url": stream, "stride_s": 1}
    followed = post("/streams", {"url": stream, "stride_s": 1})
    client.get(followed["links"]["events"], headers=key).get_data()  # to its end
    yield "StreamBody", get(followed["links"]["self"])


def gather(schemas: Mapping[str, Any], schema: Any, value: Any, found: Answers) -> None:
    """Note the value as an example of its schema, and its parts of theirs, where there is none."""
    match schema:
        case {"$ref": str(target)}:
            name = target.rpartition("/")[2]
            found.setdefault(name, value)
            gather(schemas, schemas[name], value, found)
        case {"anyOf": list(some)} if value is not None:
            for one in some:
                gather(schemas, one, value, found)
        case {"items": dict(items)} if isinstance(value, list):
            for item in value:
                gather(schemas, items, item, found)
        case {"properties": dict(properties)} if isinstance(value, dict):
            for name in properties.keys() & value.keys():
                gather(schemas, properties[name], value[name], found)
        case {"additionalProperties": dict(items)} if isinstance(value, dict):
            for item in value.values():
                gather(schemas, items, item, found)


def shortened(value: Any) -> Any:
    """The same with long texts, long lists of anything but texts, and figures cut."""
    match value:
        case dict():
            return {name: shortened(item) for name, item in value.items()}
        case [str(), *_]:
            return value
        case list():
            return [shortened(item) for item in value[:LONGEST_LIST]]
        case str() if len(value) > LONGEST_TEXT:
            return value[: LONGEST_TEXT // 2] + "…"
        case float():
            return round(value, DIGITS)
    return value


if __name__ == "__main__":
    main()
