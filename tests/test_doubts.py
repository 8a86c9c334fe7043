"""What the doubts rest on, on a face whose points, turns and lips are known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from evaluation import sounds
from evaluation.voice import speak
from syncnet_python import doubts
from syncnet_python.landmarks import LIPS, MESH_INDICES

Floats = NDArray[np.float64]

FRAMES = 75
EYE_DISTANCE = 50.0  # pixels
VOICE = speak(3.0, seed=1).audio


def row(index: int) -> int:
    return MESH_INDICES.index(index)


def head() -> Floats:
    """Points in space, (points, 3), eye distances: x to the right, y down, z to the viewer."""
    rng = np.random.default_rng(0)
    points = rng.uniform(-0.9, 0.9, (len(MESH_INDICES), 3))
    points[LIPS] = points[LIPS] / 3 + np.array([0.0, 1.0, 0.0])
    points[:, 2] = 0.3 - 0.3 * (points[:, :2] ** 2).sum(axis=1)
    for index, x in ((33, -0.65), (133, -0.35), (362, 0.35), (263, 0.65)):
        points[row(index)] = (x, 0.0, 0.0)
    points[row(1)] = (0.0, 0.6, 0.64)
    return points


def seen(
    *,
    turn: Floats | float = 0.0,
    lips: Floats | float = 0.0,
    lids: Floats | float = 0.0,
    noise: float = 0.1,
) -> Floats:
    """A head before the camera, (frames, points, 2) pixels. turn: degrees; lips, lids: gap in eye
    distances; noise: of the landmarks, pixels. Each one number or one a frame."""
    space = np.repeat(head()[None], FRAMES, axis=0)
    for upper, lower in ((13, 14), (312, 317), (82, 87)):
        space[:, row(lower), 1] = space[:, row(upper), 1] + lips
    space[:, row(159), 1] = space[:, row(145), 1] - lids
    angle = np.radians(np.broadcast_to(turn, FRAMES))[:, None]
    x = space[:, :, 0] * np.cos(angle) + space[:, :, 2] * np.sin(angle)
    flat = np.stack([x, space[:, :, 1]], axis=2) * EYE_DISTANCE + 200
    return np.asarray(flat + np.random.default_rng(1).normal(0, noise, flat.shape))


def talking() -> Floats:
    return np.asarray(0.06 + 0.06 * np.sin(np.arange(FRAMES) * 1.1))


def nodding() -> Floats:
    return np.asarray(6 * np.sin(np.arange(FRAMES) / 9))


def held(photo: Floats, shake: float, seed: int) -> Floats:
    """One frame of points, moved as a flat picture in a hand."""
    rng = np.random.default_rng(seed)
    steps = np.cumsum(rng.normal(0, 0.1, (FRAMES, 6)), axis=0) * shake
    turns = np.eye(2) + 0.01 * steps[:, :4].reshape(-1, 2, 2)
    moved = photo @ turns + 4 * steps[:, None, 4:]
    return np.asarray(moved + rng.normal(0, 0.1, moved.shape))


def test_a_face_that_talks_raises_no_doubt() -> None:
    assert doubts.find(VOICE, seen(turn=nodding(), lips=talking())) == ()


def test_a_closed_mouth_in_a_living_face_is_named() -> None:
    blinks = 0.1 * (np.arange(FRAMES) % 40 > 3)
    assert doubts.find(VOICE, seen(turn=nodding(), lids=blinks)) == ("MOUTH_STILL",)


@settings(deadline=None, max_examples=25)
@given(shake=st.floats(0, 3), seed=st.integers(0, 1000))
def test_a_photograph_is_named_however_it_is_held(shake: float, seed: int) -> None:
    photo = seen(lips=0.1, noise=0.0)[0]
    assert doubts.find(VOICE, held(photo, shake, seed)) == ("STILL_PICTURE",)


@pytest.mark.parametrize("degrees", [-60, -30, -10, 0, 20, 40, 70])
def test_turns_are_measured(degrees: float) -> None:
    face = doubts.describe(seen(turn=degrees, lips=talking()))
    assert face.turn_deg == pytest.approx(degrees, abs=3)
    found = doubts.find(VOICE, seen(turn=degrees, lips=talking()))
    assert ("FACE_TURNED" in found) == (abs(degrees) > doubts.FARTHEST_TURN)


def test_lip_motion_does_not_depend_on_the_faces_size() -> None:
    points = seen(turn=nodding(), lips=talking(), noise=0.0)
    near, far = doubts.describe(3 * points), doubts.describe(points / 2)
    assert near.lip_motion == pytest.approx(far.lip_motion, rel=1e-6)
    assert near.life == pytest.approx(far.life, rel=1e-6)


@pytest.mark.parametrize(
    ("kind", "doubt"), [("white", "NO_SPEECH"), ("typing", "NO_SPEECH"), ("strings", "MUSIC")]
)
def test_what_is_heard_instead_of_speech_is_named(kind: str, doubt: str) -> None:
    sound = sounds.make(kind, 3.0, np.random.default_rng(2))
    assert doubts.find(sound, seen(lips=talking())) == (doubt,)


def test_several_doubts_are_all_named() -> None:
    sound = sounds.make("pink", 3.0, np.random.default_rng(0))
    found = doubts.find(sound, seen(turn=55.0 + nodding()))
    assert found == ("NO_SPEECH", "MOUTH_STILL", "FACE_TURNED")


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_a_few_frames_have_numbers_too(frames: int) -> None:
    face = doubts.describe(seen(lips=talking())[:frames])
    assert np.isfinite([face.turn_deg, face.lip_motion, face.life, face.head_motion]).all()
