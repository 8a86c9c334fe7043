"""Streams from a real server on loopback, decoded in a child process and scored by windows."""

import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import numpy as np
import pytest
from streaming import Answer, Handler, Site, after, growing, playlist, site
from typer.testing import CliRunner

from cli import app
from evaluation.talking_stream import TalkingStream, talking_stream
from service import webhooks
from service.outgoing import OutgoingRefused
from syncnet_python import media
from syncnet_python.assembly import Networks
from syncnet_python.errors import NoFace
from syncnet_python.isolation import Decoder
from syncnet_python.media import Recording
from syncnet_python.results import SAMPLES_PER_FRAME, SyncResult
from syncnet_wrapper import SyncNetWrapper
from workflows.stream.alerts import AlertSender, Band
from workflows.stream.following import (
    Alert,
    Discontinuity,
    Ended,
    Event,
    Gap,
    Opened,
    Score,
    StreamOptions,
    WindowResult,
    as_json,
    follow,
)
from workflows.stream.playlists import StreamError, StreamUnsupported
from workflows.stream.scoring import RememberingDetector, WindowScorer
from workflows.stream.windows import cut_between

SMALL = StreamOptions(window_s=4.0, stride_s=2.0, buffer_s=60.0)
SECRET = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
E = TypeVar("E")


@lru_cache(maxsize=4)
def spoken(seconds: float = 10, offset_frames: int = 4, fmp4: bool = False) -> TalkingStream:
    return talking_stream(
        seconds=seconds, size=(320, 240), offset_frames=offset_frames, fmp4=fmp4, face_height=0.6
    )


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    with Decoder() as decoder:
        yield decoder


@pytest.fixture(scope="module")
def networks() -> Networks:
    return Networks("bundled")


@pytest.fixture
def server() -> Iterator[Site]:
    with site() as here:
        yield here


def offer(server: Site, stream: TalkingStream, folder: str = "") -> list[str]:
    """Puts the segments on the server; returns their entries in a playlist."""
    server.answers |= {f"/{folder}{n}.ts": data for n, data in enumerate(stream.segments)}
    server.answers[f"/{folder}init.mp4"] = stream.init
    return [f"#EXTINF:{s:g},\n/{folder}{n}.ts" for n, s in enumerate(stream.durations)]


class Seen:
    """A score that keeps what it was given, and finds no face in it."""

    def __init__(self) -> None:
        self.lengths: list[int] = []
        self.still: list[int] = []

    def __call__(self, recording: Recording) -> SyncResult:
        self.lengths.append(len(recording.frames))
        frames = [recording.frames.bgr(i) for i in range(len(recording.frames))]
        self.still.append(sum(bool((a == b).all()) for a, b in pairwise(frames)))
        missing = len(recording.frames) * SAMPLES_PER_FRAME - len(recording.audio)
        assert 0 <= missing < SAMPLES_PER_FRAME
        raise NoFace("nobody looked")


def events(
    server: Site,
    decoder: Decoder,
    score: Score | None = None,
    options: StreamOptions = SMALL,
    path: str = "/live.m3u8",
) -> list[Event]:
    with server.client() as client:
        return list(
            follow(
                server.url(path), score or Seen(), client=client, read=decoder.read, options=options
            )
        )


def of(kind: type[E], found: Sequence[Any]) -> list[E]:
    return [event for event in found if isinstance(event, kind)]


def spans(found: Sequence[Event]) -> list[tuple[float, float]]:
    return [(w.start_s, w.end_s) for w in of(WindowResult, found)]


# What is found out


@pytest.mark.slow
@pytest.mark.parametrize("fmp4", [False, True])
def test_every_window_of_a_recorded_stream_has_the_offset_it_was_made_with(
    server: Site, decoder: Decoder, networks: Networks, fmp4: bool
) -> None:
    listed = offer(server, spoken(fmp4=fmp4))
    head = '#EXT-X-MAP:URI="init.mp4"' if fmp4 else ""
    server.answers["/live.m3u8"] = playlist(listed, ended=True, head=head)
    found = events(server, decoder, WindowScorer(networks))
    windows = of(WindowResult, found)
    assert found[0] == Opened(live=False, width=None, height=None)
    assert [window.number for window in windows] == [0, 1, 2, 3]
    assert [window.start_s for window in windows] == pytest.approx([0, 2, 4, 6], abs=0.25)
    assert all(window.end_s - window.start_s == pytest.approx(4, abs=0.25) for window in windows)
    assert {window.offset_frames for window in windows} == {4}
    assert {window.lag_ms for window in windows} == {160}
    assert all((window.confidence or 0) > 0.3 for window in windows)
    [alert] = of(Alert, found)
    assert (alert.kind, [window.number for window in alert.windows]) == ("out", [0, 1, 2])
    assert isinstance(found[-1], Ended)
    assert (found[-1].reason, found[-1].windows) == ("complete", 4)


@pytest.mark.slow
def test_windows_are_scored_as_whole_recordings_are(
    server: Site, decoder: Decoder, networks: Networks, tmp_path: Path
) -> None:
    """What was remembered of earlier windows changes nothing, and no seam is heard or seen."""
    stream = spoken()
    server.answers["/live.m3u8"] = playlist(offer(server, stream), ended=True)
    windows = of(WindowResult, events(server, decoder, WindowScorer(networks)))
    (tmp_path / "whole.ts").write_bytes(b"".join(stream.segments))
    whole = media.read(tmp_path / "whole.ts")
    begin = float(whole.times[0])
    for window in windows:
        cut = cut_between(whole, begin + window.start_s, begin + window.end_s)
        alone = WindowScorer(networks)(cut)
        assert window.offset_frames == alone.offset_frames
        assert window.confidence == pytest.approx(alone.confidence, abs=0.01)
        assert window.min_dist == pytest.approx(alone.min_dist, abs=0.01)
    wrapper = SyncNetWrapper(
        profile="bundled", read=lambda path, limits=None, needs_audio=True: cut
    )
    verdict = wrapper.process_video(tmp_path / "whole.ts", "")
    assert verdict.syncnet is not None
    assert windows[-1].score == pytest.approx(verdict.syncnet.score, abs=0.01)


@pytest.mark.slow
def test_a_live_stream_is_followed_as_it_grows(server: Site, decoder: Decoder) -> None:
    listed = offer(server, spoken())
    server.answers["/live.m3u8"] = growing(listed, shown=2)
    found = events(server, decoder)
    assert found[0] == Opened(live=True, width=None, height=None)
    assert spans(found) == [(0, 4), (2, 6), (4, 8), (6, 10)]
    assert of(Ended, found)[0].reason == "complete"


@pytest.mark.slow
def test_a_window_ends_where_the_stream_does(server: Site, decoder: Decoder) -> None:
    server.answers["/live.m3u8"] = playlist(offer(server, spoken(5.0)), ended=True)
    assert spans(events(server, decoder)) == [(0, 4), (1, 5)]
    short = replace(SMALL, window_s=10.0)
    assert spans(events(server, decoder, options=short)) == [(0, 5)]


def test_the_latency_is_from_the_last_byte_to_the_answer(
    server: Site, decoder: Decoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 1000.0

    def score(_: Recording) -> SyncResult:
        nonlocal now_s
        now_s += 2.5
        raise NoFace("nobody looked")

    clock = SimpleNamespace(monotonic=lambda: now_s)  # stands still but for scoring
    monkeypatch.setattr("workflows.stream.arrivals.time", clock)
    monkeypatch.setattr("workflows.stream.following.time", clock)
    server.answers["/live.m3u8"] = playlist(offer(server, spoken(5.0)), ended=True)
    options = replace(SMALL, window_s=10.0)
    [window] = of(WindowResult, events(server, decoder, score, options))
    assert window.latency_ms == 2500


@pytest.mark.slow
def test_windows_have_their_length_to_the_frame(server: Site, decoder: Decoder) -> None:
    """Also where several end within one segment."""
    server.answers["/live.m3u8"] = playlist(offer(server, spoken(9.0)), ended=True)
    seen = Seen()
    options = replace(SMALL, window_s=3.0, stride_s=0.8)
    found = spans(events(server, decoder, seen, options))
    assert set(seen.lengths[:-1]) == {75}
    assert seen.lengths[-1] in (74, 75)  # before its first segment, nothing is held any more
    ends = [end for _, end in found]
    assert ends == pytest.approx([3.0 + 0.8 * n for n in range(8)] + [9.0], abs=0.021)


@pytest.mark.slow
def test_no_window_holds_both_sides_of_a_discontinuity(server: Site, decoder: Decoder) -> None:
    first, second = offer(server, spoken(5.0)), offer(server, spoken(9.0), "b")
    listed = [*first, "#EXT-X-DISCONTINUITY\n" + second[0], *second[1:3]]
    server.answers["/live.m3u8"] = playlist(listed, ended=True)
    found = events(server, decoder)
    assert spans(found) == [(0, 4), (1, 5), (5, 9), (7, 11)]
    assert of(Discontinuity, found) == [Discontinuity(5.0)]
    assert found.index(Discontinuity(5.0)) == 3


@pytest.mark.slow
def test_a_missing_segment_is_a_gap_and_the_rest_goes_on(server: Site, decoder: Decoder) -> None:
    listed = offer(server, spoken())
    server.answers["/2.ts"] = 404
    server.answers["/live.m3u8"] = playlist(listed, ended=True)
    seen = Seen()
    found = events(server, decoder, seen)
    assert of(Gap, found) == [Gap(4.0, 6.0, "missing", "the server answered 404")]
    windows = of(WindowResult, found)
    assert [(w.start_s, w.end_s, w.missing_s) for w in windows] == [
        (0, 4, 0),
        (2, 6, 2.0),
        (4, 8, 2.0),
        (6, 10, 0.0),
    ]
    assert min(seen.still) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answer", "reason"), [(bytes(600_000), "too_large"), (after(5, b"x"), "failed")]
)
def test_segments_that_are_too_large_or_too_slow_are_gaps(
    server: Site, decoder: Decoder, answer: Answer, reason: str
) -> None:
    listed = offer(server, spoken(5.0))
    server.answers["/1.ts"] = answer
    server.answers["/live.m3u8"] = playlist(listed, ended=True)
    options = replace(SMALL, segment_bytes=500_000, segment_s=0.5)
    found = events(server, decoder, options=options)
    assert [gap.reason for gap in of(Gap, found)] == [reason]
    assert of(Ended, found)[0].reason == "complete"


@pytest.mark.slow
def test_a_segment_of_garbage_costs_its_windows_and_no_more(server: Site, decoder: Decoder) -> None:
    stream = spoken()
    listed = offer(server, stream)
    rng = np.random.default_rng(0)
    server.answers["/0.ts"] = rng.bytes(50_000)
    server.answers["/live.m3u8"] = playlist(listed, ended=True)
    found = of(WindowResult, events(server, decoder))
    assert found[0].error is not None
    assert found[0].error.code == "unsupported_media"
    assert [w.error.code for w in found[2:] if w.error] == ["no_face"] * (len(found) - 2)


def test_an_encrypted_stream_in_parts_of_one_file(server: Site, decoder: Decoder) -> None:
    from test_segments import IV, KEY, encrypt

    stream = spoken(5.0)
    sealed = [encrypt(data, KEY, IV) for data in stream.segments]
    server.answers |= {"/all.ts": b"".join(sealed), "/key": KEY}
    lines = [
        f"#EXTINF:{s:g},\n#EXT-X-BYTERANGE:{len(data)}" + ("@0" if not n else "") + "\n/all.ts"
        for n, (s, data) in enumerate(zip(stream.durations, sealed, strict=True))
    ]
    head = f'#EXT-X-KEY:METHOD=AES-128,URI="/key",IV=0x{IV.hex()}'
    server.answers["/live.m3u8"] = playlist(lines, ended=True, head=head)
    assert spans(events(server, decoder)) == [(0, 4), (1, 5)]


def test_the_variant_is_told(server: Site, decoder: Decoder) -> None:
    server.answers["/low.m3u8"] = playlist(offer(server, spoken(5.0)), ended=True)
    server.answers["/m.m3u8"] = (
        b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=9,RESOLUTION=1920x1080\nhigh.m3u8\n"
        b"#EXT-X-STREAM-INF:BANDWIDTH=1,RESOLUTION=320x240\nlow.m3u8\n"
    )
    options = replace(SMALL, max_height=720)
    found = events(server, decoder, options=options, path="/m.m3u8")
    assert found[0] == Opened(live=False, width=320, height=240)
    assert "/high.m3u8" not in server.asked


def test_a_redirect_to_a_private_address_ends_it(server: Site, decoder: Decoder) -> None:
    listed = offer(server, spoken(5.0))
    with site() as secret:
        secret.answers["/0.ts"] = b"secret"
        to = secret.url("/0.ts")
        server.answers["/1.ts"] = lambda handler: handler.reply(b"", 302, Location=to)
        server.answers["/live.m3u8"] = playlist(listed, ended=True)
        with pytest.raises(OutgoingRefused):
            events(server, decoder)
        with server.client() as client, pytest.raises(OutgoingRefused):
            next(follow(secret.url(), Seen(), client=client, read=decoder.read))
        assert secret.asked == []


def test_what_cannot_be_followed_is_said_at_once(server: Site, decoder: Decoder) -> None:
    head = '#EXT-X-KEY:METHOD=SAMPLE-AES,URI="k"'
    server.answers["/live.m3u8"] = playlist(["#EXTINF:2,\na.ts"], ended=True, head=head)
    with pytest.raises(StreamUnsupported):
        events(server, decoder)
    with pytest.raises(StreamError):
        events(server, decoder, path="/nothing.m3u8")


def test_it_can_be_stopped_from_another_thread(server: Site, decoder: Decoder) -> None:
    listed = offer(server, spoken(5.0))
    server.answers["/live.m3u8"] = playlist(listed, ended=False)
    stop = threading.Event()
    with server.client() as client:
        found = []
        for event in follow(
            server.url(), Seen(), client=client, read=decoder.read, options=SMALL, stop=stop
        ):
            found.append(event)
            if isinstance(event, WindowResult):
                threading.Timer(0.1, stop.set).start()
    assert isinstance(found[-1], Ended)
    assert found[-1].reason == "stopped"


def test_nothing_is_left_when_it_is_closed(server: Site, decoder: Decoder) -> None:
    server.answers["/live.m3u8"] = playlist(offer(server, spoken(5.0)), ended=False)
    stop = threading.Event()
    with server.client() as client:
        found = follow(
            server.url(), Seen(), client=client, read=decoder.read, options=SMALL, stop=stop
        )
        assert isinstance(next(found), Opened)
        assert isinstance(next(found), WindowResult)
        found.close()
    assert stop.is_set()
    assert "stream" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize(
    "wrong",
    [
        {"window_s": 1.0},
        {"window_s": float("nan")},
        {"stride_s": 0.0},
        {"stride_s": 11.0},
        {"buffer_s": 5.0},
        {"alert_after": 0},
        {"band_frames": -1.0},
        {"max_height": 0},
        {"patience_s": 0.0},
    ],
)
def test_options_that_make_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        StreamOptions(**wrong)


# What is remembered


def test_a_picture_is_looked_at_once_and_forgotten_in_time() -> None:
    class Counting:
        name = "counting"
        looked = 0

        def detect(self, frames: Sequence[Any]) -> list[Any]:
            self.looked += len(frames)
            return [np.full((1, 5), frame[0, 0, 0], np.float32) for frame in frames]

    pictures = [np.full((4, 4, 3), value, np.uint8) for value in range(6)]
    inner = Counting()
    detector = RememberingDetector(inner, room=4)
    for chosen in ([0, 1, 2, 1], [1, 2, 3]):
        found = detector.detect([pictures[i] for i in chosen])
        assert [float(faces[0, 0]) for faces in found] == chosen
    assert inner.looked == 4
    detector.detect(pictures)
    detector.detect(pictures[:2])
    assert inner.looked == 4 + 2 + 2


# Alerts


def window(offset: int | None, number: int = 0, doubts: tuple[Any, ...] = ()) -> WindowResult:
    return WindowResult(number, 0, 10, offset, 0, 1, 1, 1, doubts, 0, 1)


def test_an_alert_takes_windows_in_a_row() -> None:
    band = Band(frames=3, after=2)
    offsets = [0, 4, 3, -4, 5, 9, 9, 1, -4, 3, -3, 0, 0]
    told = [band.feed(window(offset)) for offset in offsets]
    kinds = [alert.kind if alert else None for alert in told]
    assert kinds == [*[None] * 4, "out", *[None] * 5, "back", None, None]
    assert told[4] is not None
    assert [w.offset_frames for w in told[4].windows] == [-4, 5]


def test_windows_without_evidence_do_not_count() -> None:
    band = Band(frames=3, after=2)
    assert band.feed(window(9)) is None
    assert band.feed(window(None)) is None
    assert band.feed(window(0, doubts=("NO_SPEECH",))) is None
    alert = band.feed(window(9))
    assert alert is not None
    assert len(alert.windows) == 2


def test_alerts_are_delivered_signed_and_again_where_that_fails(server: Site) -> None:
    arrived: list[tuple[dict[str, str], bytes]] = []
    done = threading.Event()

    def answer(handler: Handler) -> None:
        length = int(handler.headers["Content-Length"])
        headers = {name.lower(): value for name, value in handler.headers.items()}
        arrived.append((headers, handler.rfile.read(length)))
        handler.reply(b"", 500 if len(arrived) == 1 else 204)
        if len(arrived) == 2:
            done.set()

    server.answers["/hook"] = answer
    alert = Alert("out", (window(5, 1), window(6, 2)))
    failures: list[Exception] = []
    with AlertSender(
        server.url("/hook"),
        SECRET,
        "studio",
        [server.entry],
        on_failure=failures.append,
        retry_after_s=[0.05],
    ) as sender:
        sender.send(alert)
        assert done.wait(10)
    (first, body), (second, again) = arrived
    assert failures == []
    assert body == again
    assert first["webhook-id"] == second["webhook-id"]
    webhooks.verify(SECRET, second, again)
    said = json.loads(body)
    assert said["type"] == "stream.out_of_sync"
    assert said["data"]["stream"] == "studio"
    assert said["data"]["windows"] == [5, 6]


def test_an_alert_that_cannot_be_delivered_is_given_up(server: Site) -> None:
    server.answers["/hook"] = 503
    failures: list[Exception] = []
    with AlertSender(
        server.url("/hook"),
        SECRET,
        "studio",
        [server.entry],
        on_failure=failures.append,
        retry_after_s=[],
    ) as sender:
        sender.send(Alert("back", (window(0),)))
    assert [str(error) for error in failures] == ["the receiver answered 503"]
    with pytest.raises(OutgoingRefused):
        AlertSender(server.url("/hook"), SECRET, "studio", on_failure=failures.append)


# The command


def test_events_are_json_as_they_stand() -> None:
    alert = Alert("out", (window(5),))
    said = json.loads(json.dumps(as_json(alert)))
    assert said["event"] == "alert"
    assert said["windows"][0]["offset_frames"] == 5


@pytest.mark.slow
def test_the_command_prints_json_lines(server: Site) -> None:
    server.answers["/live.m3u8"] = playlist(offer(server, spoken(5.0)), ended=True)
    command = ["stream", server.url(), "--window", "4", "--json", "--profile", "bundled"]
    result = CliRunner().invoke(app, [*command, "--allow", server.entry])
    said = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 0
    assert [line["event"] for line in said] == ["opened", "window", "window", "ended"]
    assert said[1]["offset_frames"] == 4


@pytest.mark.slow
def test_the_command_prints_lines_for_people(server: Site) -> None:
    server.answers["/live.m3u8"] = playlist(offer(server, spoken(5.0)), ended=True)
    command = ["stream", server.url(), "--window", "4", "--profile", "bundled"]
    result = CliRunner().invoke(app, [*command, "--alert-after", "1", "--allow", server.entry])
    assert result.exit_code == 0
    assert "offset +4 frames (+160 ms)" in result.stdout
    assert "out of sync" in result.stdout
    assert "complete at 5.0 s, 2 answers" in result.stdout


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        ([], 1, "not public"),
        (["--allow", "no/host"], 2, "host or host:port"),
        (["--window", "99"], 2, "2 to 30 seconds"),
        (["--webhook", "https://a.example/"], 2, "WEBHOOK_SECRET"),
    ],
)
def test_the_command_refuses(server: Site, options: list[str], status: int, said: str) -> None:
    result = CliRunner().invoke(app, ["stream", server.url(), "--profile", "bundled", *options])
    assert result.exit_code == status
    assert said in result.stderr
    assert ".env.example" not in result.stderr
    assert server.asked == []


def test_the_command_tells_programs_why_nothing_is_followed(server: Site) -> None:
    command = ["stream", server.url(), "--profile", "bundled", "--json"]
    refused = CliRunner().invoke(app, command)
    assert refused.exit_code == 1
    assert json.loads(refused.stdout)["error"]["code"] == "address_refused"
    absent = CliRunner().invoke(app, [*command, "--allow", server.entry])
    assert absent.exit_code == 1
    assert json.loads(absent.stdout)["error"]["code"] == "stream_unavailable"
