"""How soon a window of a live stream is answered, as JSON.

A clip is served as a live HLS playlist on loopback in real time, in segments of two seconds; a
window of ten seconds is answered every two, as `syncnet-service stream` does it.

python -m benchmarks.stream [--seconds 40]
"""

import argparse
import json
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from benchmarks.machine import describe
from evaluation.talking_stream import TalkingStream, talking_stream
from service.outgoing import reader
from syncnet_python.assembly import Networks
from syncnet_python.isolation import Decoder
from workflows.stream.following import StreamOptions, WindowResult, follow
from workflows.stream.scoring import WindowScorer

DEMANDED_MS = 1500.0
_SHOWN = 6  # segments that the playlist names


def measure(seconds: float = 40.0, size: tuple[int, int] = (854, 480)) -> dict[str, object]:
    """Milliseconds from the last byte of a window's newest segment to its answer."""
    stream = talking_stream(seconds=seconds, size=size, offset_frames=3)
    options = StreamOptions(patience_s=10.0)
    score = WindowScorer(Networks("bundled"))
    score.preload()
    with _live(stream) as (entry, url), reader([entry]) as client, Decoder() as decoder:
        events = follow(url, score, client=client, read=decoder.read, options=options)
        windows = [event for event in events if isinstance(event, WindowResult)]
    # The first has nothing to be remembered from: it is told by itself.
    first, later = windows[0].latency_ms, [window.latency_ms for window in windows[1:]]
    return {
        "segment_s": 2.0,
        "window_s": options.window_s,
        "stride_s": options.stride_s,
        "size": list(size),
        "windows": len(windows),
        "offsets": sorted(
            {window.offset_frames for window in windows if window.offset_frames is not None}
        ),
        "first_ms": round(first),
        "median_ms": round(statistics.median(later)),
        "worst_ms": round(max(later)),
        "demanded_ms": DEMANDED_MS,
        "within": sum(latency <= DEMANDED_MS for latency in later) / len(later),
    }


@contextmanager
def _live(stream: TalkingStream) -> Iterator[tuple[str, str]]:
    """host:port and address of a playlist that gains a segment when its time has come."""
    ends = [sum(stream.durations[: n + 1]) for n in range(len(stream.segments))]
    begun = time.monotonic()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.path == "/live.m3u8":
                self._reply(_playlist(stream, ends, time.monotonic() - begun))
            else:
                self._reply(stream.segments[int(self.path.strip("/").removesuffix(".ts"))])

        def _reply(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        entry = f"127.0.0.1:{server.server_port}"
        yield entry, f"http://{entry}/live.m3u8"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _playlist(stream: TalkingStream, ends: list[float], now: float) -> bytes:
    there = sum(end <= now for end in ends)
    first = max(0, there - _SHOWN)
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:2", f"#EXT-X-MEDIA-SEQUENCE:{first}"]
    for number in range(first, there):
        lines += [f"#EXTINF:{stream.durations[number]:g},", f"/{number}.ts"]
    if there == len(ends):
        lines.append("#EXT-X-ENDLIST")
    return "\n".join(lines).encode()


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure how soon a live window is answered.")
    parser.add_argument("--seconds", type=float, default=40.0, help="of stream, in real time")
    options = parser.parse_args()
    print(json.dumps({"machine": describe(), "stream": measure(options.seconds)}, indent=2))


if __name__ == "__main__":
    main()
