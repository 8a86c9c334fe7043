"""A verdict as the body of an answer."""

import time
from dataclasses import asdict
from typing import Any

from syncnet_python.results import TrackResult, Verdict


def verdict_body(
    verdict: Verdict,
    *,
    session_id: str,
    request_id: str,
    ttl_seconds: int,
    processing_time_ms: int,
    request_time_ms: int,
) -> dict[str, Any]:
    """The fields of the verdict, and flat copies for the browser client.

    score is the combined score; ttl_ms: epoch milliseconds until which the verdict may be relied
    on; processing_time_ms: the analysis, waiting included; request_time_ms: from the arrival of
    the request; debug: the figures of every face that could be measured.
    """
    sync = verdict.syncnet
    results = (
        [_figures(track) for track in sync.tracks if track.offset_frames is not None]
        if sync
        else []
    )
    fields = asdict(verdict)
    del fields["reference"]  # the caller's name for the recording, here the request id
    return {
        **fields,
        "score": verdict.combined_score,
        "offset_frames": sync.offset_frames if sync else None,
        "lag_ms": sync.lag_ms if sync else None,
        "confidence": sync.confidence if sync else None,
        "min_dist": sync.min_dist if sync else None,
        "session_id": session_id,
        "request_id": request_id,
        "ttl_ms": int((time.time() + ttl_seconds) * 1000),
        "processing_time_ms": processing_time_ms,
        "request_time_ms": request_time_ms,
        "debug": {"num_results": len(results), "all_results": results},
    }


def _figures(track: TrackResult) -> dict[str, Any]:
    return {
        "offset_frames": track.offset_frames,
        "confidence": track.confidence,
        "min_dist": track.min_dist,
        "chosen": track.chosen,
    }
