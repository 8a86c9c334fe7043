"""Who computes LSE-D and LSE-C how: what is done to a video before SyncNet, and after."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from syncnet_python.tracking import TrackingOptions

Mean = Literal["tracks", "videos"]


@dataclass(frozen=True, slots=True)
class LseProtocol:
    """What one group does to a video before SyncNet, and to its figures after.

    source: their files; tracking: which faces count, None where every frame is a face crop
    already; scene_threshold: of the content detector whose cuts end tracks; mean_over: what the
    figure of a data set is the mean of.
    """

    name: str
    source: str
    mean_over: Mean
    tracking: TrackingOptions | None = None
    scene_threshold: float | None = None


# All of them keep tracks of *more* than min_track detections, and `TrackingOptions` counts "at
# least". The cuts' thresholds are the defaults of the PySceneDetect that each group pins: 30 of
# 0.5.1, 27 of 0.6.1.
PROTOCOLS: Mapping[str, LseProtocol] = {
    protocol.name: protocol
    for protocol in (
        LseProtocol(
            "wav2lip-real",
            "Rudrabha/Wav2Lip, evaluation/scores_LSE/calculate_scores_real_videos.{sh,py} after "
            "run_pipeline.py of joonson/syncnet_python: every track prints a line",
            "tracks",
            TrackingOptions(min_track=101),
            30.0,
        ),
        LseProtocol(
            "wav2lip-lrs",
            "Rudrabha/Wav2Lip, evaluation/scores_LSE/calculate_scores_LRS.py: whole frames at "
            "224x224, no face is looked for",
            "videos",
        ),
        LseProtocol(
            "latentsync",
            "bytedance/LatentSync, eval/eval_sync_conf.py with eval/syncnet_detect.py and "
            "eval/syncnet/syncnet_eval.py: the mean of a video's tracks",
            "videos",
            TrackingOptions(min_track=51),
            27.0,
        ),
    )
}
