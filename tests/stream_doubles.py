"""In place of the process that follows a stream: does what the last part of the address says."""

import json
import os
import sys
import threading
from typing import Any

WINDOW = {
    "number": 0,
    "start_s": 0.0,
    "end_s": 10.0,
    "offset_frames": 2,
    "lag_ms": 80,
    "confidence": 7.5,
    "min_dist": 6.5,
    "score": 0.9,
    "doubts": [],
    "missing_s": 0.0,
    "latency_ms": 812.5,
    "error": None,
}
SILENT = {"code": "silent_audio", "message": "nothing is heard", "advice": "Switch it on."}
EMPTY = {**WINDOW, **dict.fromkeys(("offset_frames", "lag_ms", "confidence", "min_dist", "score"))}
ENDED = {"event": "ended", "reason": "complete", "message": "", "windows": 1, "end_s": 10.0}


def say(event: str, **fields: Any) -> None:
    print(json.dumps({"event": event, **fields}), flush=True)


def windows(number: int) -> None:
    for n in range(number):
        say("window", **{**WINDOW, "number": n})


def main() -> None:
    order = json.loads(sys.stdin.readline())
    word, _, rest = order["wanted"]["url"].rpartition("/")[2].partition("-")
    say("opened", live=True, width=640, height=480)
    match word:
        case "windows":
            windows(int(rest))
            print(json.dumps(ENDED), flush=True)
        case "hold":  # until it is told to end
            windows(1)
            sys.stdin.read()
        case "opened":
            sys.stdin.read()
        case "deaf":  # to being told to end
            windows(1)
            threading.Event().wait()
        case "silent":
            say("window", **{**EMPTY, "error": SILENT})
            say("window", **WINDOW)
            threading.Event().wait()
        case "nothing":
            say("window", **{**EMPTY, "error": SILENT})
            print(json.dumps(ENDED), flush=True)
        case "refused":
            say("error", code="address_refused", message="not public", advice="Ask.")
        case "away":
            say("error", code="stream_unavailable", message="404", advice="Look.")
        case "die":
            os._exit(3)
        case "nonsense":
            say("window", offset_frames="<script>")
        case "wanted":
            say("error", code="told", message=json.dumps(order["wanted"]), advice="")


if __name__ == "__main__":
    main()
