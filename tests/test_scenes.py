from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from scenedetect import ContentDetector, SceneManager
from scenedetect.backends.pyav import VideoStreamAv

from syncnet_python.scenes import THRESHOLD, SceneSplitter

Image = NDArray[np.uint8]


COLOURS = ((30, 60, 200), (180, 40, 40), (60, 190, 90))


def shot(length: int, number: int, width: int = 160, height: int = 120) -> list[Image]:
    """A grainy picture of one colour that drifts slowly: no cut within."""
    grain = np.random.default_rng(number).integers(0, 40, (height, width, 3))
    picture = (np.array(COLOURS[number]) + grain).astype(np.uint8)
    return [np.roll(picture, i // 5, axis=1) for i in range(length)]


def detect_scenes(frames: list[Image], threshold: float = THRESHOLD) -> list[tuple[int, int]]:
    splitter = SceneSplitter(threshold)
    for frame in frames:
        splitter.feed(frame)
    return splitter.scenes()


def test_one_shot_is_one_scene() -> None:
    assert detect_scenes(shot(60, 1)) == [(0, 60)]


def test_a_cut_is_found_at_its_frame() -> None:
    assert detect_scenes(shot(40, 0) + shot(50, 1) + shot(30, 2)) == [(0, 40), (40, 90), (90, 120)]


@pytest.mark.parametrize("length", [1, 2, 10])
def test_a_short_clip_is_one_scene(length: int) -> None:
    assert detect_scenes(shot(length, 1)) == [(0, length)]


def test_no_frames_are_no_scene() -> None:
    assert detect_scenes([]) == []


def test_the_threshold_counts() -> None:
    frames = shot(30, 1) + shot(30, 2)
    assert len(detect_scenes(frames, threshold=27.0)) == 2
    assert len(detect_scenes(frames, threshold=200.0)) == 1


def test_scenes_are_known_while_frames_arrive() -> None:
    splitter = SceneSplitter()
    seen = []
    for frame in shot(30, 1) + shot(30, 2):
        splitter.feed(frame)
        seen.append(splitter.scenes())
    assert seen[0] == [(0, 1)]
    assert seen[29] == [(0, 30)]
    assert seen[59] == [(0, 30), (30, 60)]


@pytest.mark.slow
def test_scenes_equal_those_of_the_library_on_a_file(tmp_path: Path) -> None:
    """PySceneDetect reading a lossless file by itself, wide enough to be scaled down."""
    frames = shot(25, 0, 640, 360) + shot(8, 1, 640, 360) + shot(40, 2, 640, 360)
    path = tmp_path / "shots.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 640, 360, "bgr0"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="bgr24")))
        container.mux(stream.encode())
    manager = SceneManager()
    manager.add_detector(ContentDetector(threshold=27.0))
    with path.open("rb") as file:
        manager.detect_scenes(VideoStreamAv(file))
    expected = [(a.get_frames(), b.get_frames()) for a, b in manager.get_scene_list()]
    assert detect_scenes(frames) == expected
    assert len(expected) > 1
