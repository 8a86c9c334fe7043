"""Streams over HTTP: begun, followed, ended, each by its owner alone.

What follows a stream is played by tests/stream_doubles.py; once, at the end, it is the real thing.
"""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import av
import pytest
import service_apps as apps
import stream_doubles as doubles
from flask import Flask
from streaming import site
from werkzeug.test import TestResponse

from service import audit
from service.streams import messages, store
from service.streams.store import StreamStore
from service.streams.supervisor import Supervisor

HOST = "http://streams.example"
ONE = {"X-API-Key": "the key of one sender"}


def played(app: Flask) -> Flask:
    """The application, with the double in place of what follows streams."""
    app.extensions["supervisor"] = Supervisor(
        app.extensions["settings"], app.extensions["stream_store"], "stream_doubles"
    )
    return app


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    with apps.application(
        tmp_path, max_streams=2, api_key="the key of one sender", processing_timeout_seconds=30
    ) as app:
        yield played(app)


def begin(
    app: Flask, word: str, headers: dict[str, str] | None = None, **said: Any
) -> TestResponse:
    body = {"url": f"{HOST}/{word}", **said}
    return app.test_client().post("/streams", json=body, headers=headers)


def begun(app: Flask, word: str, headers: dict[str, str] | None = None) -> str:
    """The address of a stream that is followed."""
    answer = begin(app, word, headers)
    assert answer.status_code == 201, answer.text
    return answer.headers["Location"]


def told(app: Flask, address: str, headers: dict[str, str] | None = None) -> list[dict[str, Any]]:
    """Every event until the stream ends, with its name and number."""
    answer = app.test_client().get(f"{address}/events", headers=headers)
    assert (answer.status_code, answer.mimetype) == (200, "text/event-stream")
    found = []
    for block in answer.text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if line)
        if "event" in fields:
            number = int(fields["id"])
            found.append({"id": number, "event": fields["event"], **json.loads(fields["data"])})
    return found


def until(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.01)


def refused(answer: TestResponse, status: int, code: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.mimetype == "application/problem+json"
    assert answer.get_json()["code"] == code


def test_a_stream_is_followed_to_its_end(app: Flask) -> None:
    answer = begin(app, "windows-3")
    body = answer.get_json()
    address = f"/streams/{body['stream_id']}"
    assert (answer.status_code, answer.headers["Location"]) == (201, address)
    assert body["links"] == {"self": address, "events": f"{address}/events"}
    events = told(app, address)
    assert [event["id"] for event in events] == [1, 2, 3, 4, 5]
    assert [event["event"] for event in events] == ["opened", *3 * ["window"], "ended"]
    assert [event["number"] for event in events[1:4]] == [0, 1, 2]
    assert events[1]["latency_ms"] == 812.5
    until(lambda: app.test_client().get(address).get_json()["state"] == "ended")
    assert app.test_client().get(address).get_json()["window"]["number"] == 2


def test_events_that_broke_off_go_on_where_they_did(app: Flask) -> None:
    address = begun(app, "windows-3")
    told(app, address)
    assert [e["id"] for e in told(app, address, {"Last-Event-ID": "3"})] == [4, 5]
    answer = app.test_client().get(f"{address}/events", headers={"Last-Event-ID": "x"})
    refused(answer, 400, "malformed_request")


def test_what_is_wished_for_is_passed_on_and_fits_together(app: Flask) -> None:
    answer = begin(app, "wanted", window_s=4, stride_s=9, buffer_s=3, band_frames=5, alert_after=2)
    (_, event) = told(app, answer.headers["Location"])
    wanted = json.loads(event["message"])
    assert wanted.pop("url") == f"{HOST}/wanted"
    assert wanted == {
        "window_s": 4, "stride_s": 4, "buffer_s": 4, "band_frames": 5, "alert_after": 2
    }  # fmt: skip


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 400, "malformed_request"),
        ({"url": ""}, 400, "malformed_request"),
        ({"url": f"{HOST}/x", "window_s": 1}, 400, "malformed_request"),
        ({"url": f"{HOST}/x", "window_s": "nan"}, 400, "malformed_request"),
        ({"url": "ftp://streams.example/x"}, 422, "address_refused"),
        ({"url": "http://127.0.0.1/live.m3u8"}, 422, "address_refused"),
        ({"url": "http://169.254.169.254/latest"}, 422, "address_refused"),
        ({"url": "http://localhost:5000/score"}, 422, "address_refused"),
        ({"url": "file:///etc/passwd"}, 422, "address_refused"),
    ],
)
@pytest.mark.parametrize("route", ["/streams", "/api/analyze-stream"])
def test_what_is_not_followed_is_refused_before_there_is_a_process(
    app: Flask, route: str, body: dict[str, Any], status: int, code: str
) -> None:
    if route != "/streams" and "window_s" in body:
        pytest.skip("a wish that those clients do not have")
    refused(app.test_client().post(route, json=body), status, code)
    assert app.extensions["supervisor"]._followed == set()


def test_what_is_no_json_is_refused(app: Flask) -> None:
    client = app.test_client()
    refused(client.post("/streams", data={"url": HOST}), 400, "malformed_request")
    refused(client.post("/streams", data=b"[]", content_type="application/json"), 400,
            "malformed_request")  # fmt: skip
    long = json.dumps({"url": HOST, "x": "x" * 70_000})
    refused(client.post("/streams", data=long, content_type="application/json"), 413, "too_large")


def test_streams_can_be_switched_off(tmp_path: Path) -> None:
    with apps.application(tmp_path, max_streams=0) as app:
        refused(begin(app, "windows-1"), 403, "streams_off")


def test_no_more_are_followed_than_may_be(app: Flask) -> None:
    first, second = begun(app, "hold"), begun(app, "hold")
    answer = begin(app, "hold")
    refused(answer, 503, "streams_full")
    assert int(answer.headers["Retry-After"]) > 0
    assert app.test_client().delete(first).status_code == 204
    told(app, first)
    until(lambda: begin(app, "windows-1").status_code == 201)
    app.test_client().delete(second)


def test_a_stream_is_its_owners(app: Flask) -> None:
    address = begun(app, "hold", ONE)
    for method in ("get", "delete"):
        refused(getattr(app.test_client(), method)(address), 404, "no_such_stream")
    refused(app.test_client().get(f"{address}/events"), 404, "no_such_stream")
    refused(app.test_client().get("/streams/no-id"), 404, "no_such_stream")
    assert app.test_client().get(address, headers=ONE).get_json()["state"] == "running"
    app.test_client().delete(address, headers=ONE)


@pytest.mark.slow
@pytest.mark.parametrize("word", ["hold", "deaf"])
def test_who_deletes_it_ends_its_process(
    app: Flask, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.streams.supervisor.END_S", 0.2)
    address = begun(app, word)
    (followed,) = app.extensions["supervisor"]._followed
    assert app.test_client().delete(address).status_code == 204
    events = told(app, address)
    assert (events[-1]["event"], events[-1]["reason"]) == ("ended", "stopped")
    assert followed.over.wait(10)
    assert followed.process.returncode is not None
    assert app.test_client().delete(address).status_code == 204


def test_who_is_told_of_it_is_told_as_it_happens(app: Flask) -> None:
    address = begun(app, "hold")
    with ThreadPoolExecutor() as pool:
        following = pool.submit(told, app, address)
        until(lambda: app.test_client().get(address).get_json()["window"] is not None)
        assert not following.done()
        app.test_client().delete(address)
        assert [e["event"] for e in following.result()] == ["opened", "window", "ended"]


@pytest.mark.parametrize("word", ["die", "nonsense"])
def test_a_process_that_dies_or_talks_nonsense_is_an_error_at_the_end(
    app: Flask, word: str
) -> None:
    events = told(app, begun(app, word))
    assert [event["event"] for event in events] == ["opened", "error"]
    assert events[-1]["code"] == "analysis_failed"


def test_when_this_process_ends_so_do_they_and_who_follows_is_let_go(app: Flask) -> None:
    address = begun(app, "hold")
    (followed,) = app.extensions["supervisor"]._followed
    with ThreadPoolExecutor() as pool:
        following = pool.submit(told, app, address)
        until(lambda: app.test_client().get(address).get_json()["window"] is not None)
        app.extensions["supervisor"].close()
        following.result()
    assert followed.process.returncode == 0
    until(lambda: app.test_client().get(address).get_json()["state"] == "ended")
    late = begun(app, "hold")
    until(lambda: app.test_client().get(late).get_json()["state"] == "ended")


def test_a_stream_that_nobody_asks_for_is_not_followed_any_further(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = begun(app, "hold")
    (followed,) = app.extensions["supervisor"]._followed
    monkeypatch.setattr(store, "UNWANTED_S", -1.0)
    assert followed.over.wait(20)
    events = app.extensions["stream_store"].events(address.rpartition("/")[2])
    assert events[-1][1] == "ended"


def test_both_are_in_the_audit_log_without_the_address(app: Flask) -> None:
    address = begun(app, "hold")
    begin(app, "x", url="http://10.0.0.1/")
    app.test_client().delete(address)
    jobs = apps.jobs_of(app)
    jobs.trail.flush()
    entries = list(audit.read(jobs.engine))
    assert [(e.action, e.outcome) for e in entries] == [
        ("stream.begun", "accepted"),
        ("stream.begun", "address_refused"),
        ("stream.deleted", None),
    ]
    assert HOST not in "".join(entry.json() for entry in entries)
    told(app, address)


# For the clients of FCN-SyncNet


def analyze(app: Flask, word: str, **said: Any) -> TestResponse:
    body = {"url": f"{HOST}/live/{word}", "window_size": 50, **said}
    return app.test_client().post("/api/analyze-stream", json=body)


@pytest.mark.slow
@pytest.mark.parametrize("word", ["windows-1", "hold", "silent"])
def test_ten_seconds_of_a_stream_are_answered_as_the_original_does(app: Flask, word: str) -> None:
    answer = analyze(app, word, stride=0)
    assert answer.status_code == 200, answer.text
    body = answer.get_json()
    assert body.pop("processing_time") > 0
    assert body == {
        "success": True,
        "video_name": word,
        "source_url": f"{HOST}/live/{word}",
        "offset_frames": 2,
        "offset_seconds": 0.08,
        "confidence": 7.5,
        "raw_offset": 2,
        "settings": {"window_size": 50, "stride": 1, "buffer_size": 100},
        "doubts": [],
    }
    assert app.extensions["supervisor"]._followed == set(), "its place is free with the answer"


@pytest.mark.parametrize(
    ("word", "status", "code"),
    [
        ("nothing", 422, "silent_audio"),
        ("windows-0", 422, "stream_ended"),
        ("refused", 422, "address_refused"),
        ("away", 422, "stream_unavailable"),
        ("die", 500, "analysis_failed"),
    ],
)
def test_why_there_is_no_answer_is_told_in_their_words(
    app: Flask, word: str, status: int, code: str
) -> None:
    answer = analyze(app, word)
    refused(answer, status, code)
    assert answer.get_json()["success"] is False
    assert answer.get_json()["error"] == answer.get_json()["detail"] != ""


def test_they_do_not_wait_longer_than_for_a_recording(tmp_path: Path) -> None:
    with apps.application(tmp_path, processing_timeout_seconds=0.5) as app:
        refused(analyze(played(app), "opened"), 408, "timeout")


# What is kept


def test_only_the_last_events_are_kept(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MAX_EVENTS", 3)
    kept: StreamStore = app.extensions["stream_store"]
    kept.begin("a", "me")
    for number in range(1, 8):
        kept.add("a", number, "gap", "{}")
    assert [number for number, _, _ in kept.events("a")] == [5, 6, 7]


def test_a_stream_whose_process_is_gone_takes_no_place(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: StreamStore = app.extensions["stream_store"]
    kept.begin("a", "me")
    kept.begin("b", "me")
    with pytest.raises(store.StreamsFull):
        kept.begin("c", "me")
    monkeypatch.setattr(store, "LOST_S", -1.0)
    kept.begin("c", "me")
    found = kept.get("a")
    assert found is not None
    assert found.ended


def test_a_stream_is_forgotten_with_its_events_some_time_after_its_end(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: StreamStore = app.extensions["stream_store"]
    kept.begin("a", "me")
    kept.add("a", 1, "gap", "{}")
    kept.end("a")
    kept.begin("b", "me")
    assert kept.get("a") is not None
    monkeypatch.setattr(store, "KEPT_S", -1.0)
    kept.begin("c", "me")
    assert kept.get("a") is None
    assert kept.events("a") == []


# What a process may say


@pytest.mark.parametrize(
    "line",
    [
        "",
        "[]",
        "nonsense",
        '{"event": "other"}',
        '{"event": ["window"]}',
        '{"event": "discontinuity"}',
        '{"event": "discontinuity", "at_s": "soon"}',
        '{"event": "discontinuity", "at_s": 1, "more": 1}',
        '{"event": "error", "code": "no\\nline", "message": "", "advice": ""}',
        '{"event": "error", "code": "x"}',
    ],
)
def test_what_is_no_event_is_not_passed_on(line: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        messages.parse(line)


def test_an_event_is_passed_on_as_it_is() -> None:
    name, data = messages.parse(json.dumps({"event": "window", **doubles.WINDOW}))
    assert (name, json.loads(data)) == ("window", doubles.WINDOW)
    name, data = messages.parse(json.dumps({"event": "error", **doubles.SILENT}))
    assert (name, json.loads(data)) == ("error", doubles.SILENT)


# The real thing


def segments(clip: Path, folder: Path) -> dict[str, bytes]:
    """A recording as a recorded HLS stream, by path."""
    options = {
        "hls_time": "2",
        "hls_playlist_type": "vod",
        "hls_segment_filename": str(folder / "%d.ts"),
    }
    with (
        av.open(str(clip)) as source,
        av.open(str(folder / "list.m3u8"), "w", format="hls", options=options) as target,
    ):
        streams = {s.index: target.add_stream_from_template(s) for s in source.streams}
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream_index]
                target.mux(packet)
    return {f"/{path.name}": path.read_bytes() for path in folder.iterdir()}


@pytest.mark.slow
def test_a_real_stream_on_a_host_that_is_allowed(tmp_path: Path) -> None:
    from evaluation.samples import talking_clip

    clip = tmp_path / "clip.mp4"
    talking_clip(clip, seconds=12, size=(320, 240), container="mp4-h264-aac", offset_frames=3)
    (tmp_path / "hls").mkdir()
    with contextlib.ExitStack() as stack:
        here = stack.enter_context(site(**segments(clip, tmp_path / "hls")))
        given = {"outgoing_allow": (here.entry,), "model_profile": "bundled"}
        app = stack.enter_context(
            apps.application(tmp_path, processing_timeout_seconds=200, **given)
        )
        body = {"url": here.url("/list.m3u8")}
        answer = app.test_client().post("/api/analyze-stream", json=body)
        assert answer.status_code == 200, answer.text
        found = answer.get_json()
        assert abs(found["offset_frames"] - 3) <= 1
        assert found["source_url"] == body["url"]
        assert app.extensions["supervisor"]._followed == set()
        answer = app.test_client().post("/streams", json=body | {"window_s": 6})
        events = told(app, answer.headers["Location"])
    assert [e["event"] for e in events][:: len(events) - 1] == ["opened", "ended"]
    windows = [e for e in events if e["event"] == "window"]
    assert len(windows) >= 3
    assert all(abs(w["offset_frames"] - 3) <= 1 for w in windows)
