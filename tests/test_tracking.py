import numpy as np
import parity
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from syncnet_python.tracking import TrackingOptions, iou, track_faces

Boxes = NDArray[np.float64]
EVERYTHING = TrackingOptions(min_track=1, min_face_size=0.0)


def box(x: float, y: float = 0.0, side: float = 120.0) -> list[float]:
    return [x, y, x + side, y + side, 0.95]


def frame(*boxes: list[float]) -> Boxes:
    return np.array(boxes, np.float64).reshape(-1, 5)


def test_tracks_equal_the_originals() -> None:
    # Each frame of this recording holds one face per person, far apart, so the original's list,
    # changed while it is walked over, does no harm and no figure differs.
    recorded = parity.record("tracking_input")
    expected = parity.numbers("tracking_expected")
    settings = recorded["options"]
    options = TrackingOptions(
        iou_threshold=settings["iou_threshold"],
        num_failed_det=settings["num_failed_det"],
        min_track=settings["min_track"],
        min_face_size=settings["min_face_size"],
    )
    detections = [frame(*([*d["bbox"], d["conf"]] for d in f)) for f in recorded["detections"]]
    tracks = track_faces(detections, options)
    assert len(tracks) == sum(name.endswith("_bbox") for name in expected)
    for number, track in enumerate(tracks):
        assert np.array_equal(track.frames, expected[f"track{number}_frame"])
        np.testing.assert_allclose(track.boxes, expected[f"track{number}_bbox"], rtol=1e-12)


def test_two_faces_of_one_frame_make_two_tracks() -> None:
    """The original, which removes from the list it walks over, mixes them into one."""
    detections = [frame(box(0), box(1), box(2)) for _ in range(10)]
    tracks = track_faces(detections, EVERYTHING)
    assert [len(track) for track in tracks] == [10, 10, 10]
    assert [track.boxes[:, 0].tolist() for track in tracks] == [[0.0] * 10, [1.0] * 10, [2.0] * 10]


def test_a_gap_is_bridged_in_a_straight_line() -> None:
    detections = [frame(box(0)), frame(), frame(), frame(), frame(box(8))]
    (track,) = track_faces(detections, EVERYTHING, first_frame=100)
    assert track.frames.tolist() == [100, 101, 102, 103, 104]
    np.testing.assert_allclose(track.boxes[:, 0], [0, 2, 4, 6, 8])


@pytest.mark.parametrize(("missed", "tracks"), [(24, 1), (25, 2)])
def test_the_longest_gap(missed: int, tracks: int) -> None:
    """Twenty-five frames from one detection to the next are bridged, twenty-six are not."""
    detections = [frame(box(0)), *[frame()] * missed, frame(box(0))]
    assert len(track_faces(detections, EVERYTHING)) == tracks


@pytest.mark.parametrize(("count", "tracks"), [(9, 0), (10, 1)])
def test_min_track_counts_detections(count: int, tracks: int) -> None:
    options = TrackingOptions(min_track=10, min_face_size=0.0)
    detections = [frame(box(0)) if i % 2 == 0 else frame() for i in range(2 * count)]
    assert len(track_faces(detections, options)) == tracks


@pytest.mark.parametrize(("side", "tracks"), [(100.0, 0), (100.5, 1)])
def test_small_faces_are_left_out(side: float, tracks: int) -> None:
    detections = [frame(box(0, side=side))] * 3
    assert len(track_faces(detections, TrackingOptions(min_track=3))) == tracks


def test_no_detections_make_no_track() -> None:
    assert track_faces([], EVERYTHING) == []
    assert track_faces([frame()] * 5, EVERYTHING) == []


@settings(deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 300), st.integers(20, 200)), max_size=4),
        min_size=1,
        max_size=40,
    )
)
def test_every_detection_belongs_to_exactly_one_track(
    faces: list[list[tuple[int, int]]],
) -> None:
    detections = [frame(*(box(x, side=side) for x, side in f)) for f in faces]
    tracks = track_faces(detections, EVERYTHING)
    for track in tracks:
        assert np.array_equal(np.diff(track.frames), np.ones(len(track) - 1))
        assert track.boxes.shape == (len(track), 4)
    for number, found in enumerate(detections):
        held = [t.boxes[number - t.frames[0]] for t in tracks if number in t.frames]
        for face in found:
            same = sum(np.allclose(face[:4], b) for b in held)
            assert same >= sum(np.array_equal(face, other) for other in found)


def test_detections_are_left_as_they_were() -> None:
    detections = [frame(box(0), box(300)), frame(box(1), box(301))]
    before = [d.copy() for d in detections]
    track_faces(detections, EVERYTHING)
    assert all(np.array_equal(a, b) for a, b in zip(detections, before, strict=True))


def test_iou() -> None:
    square = np.array([0.0, 0.0, 10.0, 10.0])
    assert iou(square, square) == 1.0
    assert iou(square, square + 20) == 0.0
    assert iou(square, np.array([5.0, 0.0, 15.0, 10.0])) == pytest.approx(1 / 3)
    assert iou(np.zeros(4), np.zeros(4)) == 0.0
