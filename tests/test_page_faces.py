"""The page's own face finder against the service's, and the words made of what it sees."""

import json
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import skimage.data
from numpy.typing import NDArray

from evaluation.talking_head import Mouth, Pose, render
from syncnet_python import weights
from syncnet_python.detectors import bundled
from syncnet_python.detectors.bundled import BundledFaceDetector
from training.export_page import PAGE_FILE, page_weights

STATIC = PAGE_FILE.parent
SCRIPT = Path(__file__).with_name("page_faces.mjs")
NODE = shutil.which("node")
AREA = 160 * 128
FAR = 0.17  # of a picture's height

Image = NDArray[np.uint8]
Ask = Callable[..., Any]

needs_node = pytest.mark.skipif(NODE is None, reason="node is not installed")


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """`ask(module, what, **task)`: what page_faces.mjs answers, run with that file of the page."""

    def run(module: str, what: str, **task: Any) -> Any:
        assert NODE is not None
        copy = tmp_path / f"{module}.mjs"  # by its name a module for every version of node
        shutil.copy(STATIC / f"{module}.js", copy)
        paper = tmp_path / "task.json"
        paper.write_text(json.dumps({"module": str(copy), "what": what, **task}))
        command = [NODE, str(SCRIPT), str(paper)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.fixture
def find(ask: Ask, tmp_path: Path) -> Callable[[list[Image]], dict[str, Any]]:
    """Faces that the page finds in BGR pictures."""

    def run(pictures: list[Image]) -> dict[str, Any]:
        rows = []
        for number, picture in enumerate(pictures):
            height, width = picture.shape[:2]
            rgba = np.full((height, width, 4), 255, np.uint8)
            rgba[..., :3] = picture[..., ::-1]
            path = tmp_path / f"{number}.rgba"
            path.write_bytes(rgba.tobytes())
            rows.append({"file": str(path), "width": width, "height": height})
        answer: dict[str, Any] = ask("faces", "find", weights=str(PAGE_FILE), pictures=rows)
        return answer

    return run


def portrait(width: int, height: int, share: float, **pose: Any) -> Image:
    """A talking head whose face has that share of the picture's height."""
    held = {"x": 0.0, "y": 0.0, "turn": 0.0, **pose}
    return render(Mouth(0.4, 0.2), Pose(height=share * height, **held), width, height)


def noise(width: int, height: int) -> Image:
    return np.random.default_rng(5).integers(0, 256, (height, width, 3)).astype(np.uint8)


def bricks(width: int, height: int) -> Image:
    grey = cv2.resize(skimage.data.brick(), (width, height), interpolation=cv2.INTER_AREA)
    return np.repeat(grey[:, :, None], 3, axis=2)


def scenes(width: int, height: int) -> dict[str, tuple[int, Image]]:
    """Pictures of that size and how many faces they have."""
    half = width // 2
    pair = np.hstack([portrait(half, height, 0.4), portrait(width - half, height, 0.36)])
    return {
        "middle": (1, portrait(width, height, 0.5)),
        "aside": (1, portrait(width, height, 0.35, x=0.2 * width, y=-0.1 * height)),
        "tilted": (1, portrait(width, height, 0.45, turn=12.0, mirrored=True)),
        "near": (1, portrait(width, height, 0.75)),
        "beyond the border": (1, portrait(width, height, 0.6, y=0.3 * height)),
        "dim": (1, (portrait(width, height, 0.5) * 0.35).astype(np.uint8)),
        "two": (2, np.ascontiguousarray(pair)),
        "noise": (0, noise(width, height)),
        "a wall": (0, bricks(width, height)),
        "one grey": (0, np.full((height, width, 3), 127, np.uint8)),
    }


@needs_node
@pytest.mark.parametrize(
    "size",
    [(160, 128), (128, 160), (640, 480), (480, 640), (1280, 720)],
    ids=lambda size: f"{size[0]}x{size[1]}",
)
def test_the_page_finds_what_the_service_finds(size, find, monkeypatch):
    """At the page's own input size, where nothing is scaled, and of pictures that are."""
    pictures = scenes(*size)
    answer = find([picture for _, picture in pictures.values()])
    assert answer["area"] == AREA
    monkeypatch.setattr(bundled, "AREA", AREA)
    wanted = BundledFaceDetector.bundled().detect([picture for _, picture in pictures.values()])
    shape = answer["pictures"][0]["shape"]
    assert (shape["rows"], shape["columns"]) == bundled.input_shape(size[1], size[0])
    for (name, (count, _)), got, faces in zip(
        pictures.items(), answer["pictures"], wanted, strict=True
    ):
        assert len(faces) == len(got["faces"]) == count, name
        for face, (*box, confidence) in zip(got["faces"], faces, strict=True):
            assert face["confidence"] == pytest.approx(confidence, abs=0.02), name
            side = min(box[2] - box[0], box[3] - box[1])
            found = [face[corner] for corner in ("x1", "y1", "x2", "y2")]
            np.testing.assert_allclose(found, box, atol=0.01 * side, err_msg=name)


@needs_node
def test_pictures_of_different_shapes_do_not_disturb_each_other(find):
    upright, level = portrait(480, 640, 0.3), portrait(640, 480, 0.5)
    mixed = find([upright, level, noise(640, 480), upright, level])["pictures"]
    assert mixed[0]["faces"] == mixed[3]["faces"] != []
    assert mixed[1]["faces"] == mixed[4]["faces"] != []


@needs_node
def test_a_file_without_weights_is_refused(ask, tmp_path):
    path = tmp_path / "other.bin"
    header = b'{"format":"something else","layers":[]}'
    path.write_bytes(struct.pack("<I", len(header)) + header)
    assert "no weights of a face finder" in ask("faces", "refuse", weights=str(path))


def test_the_file_is_what_the_command_writes():
    state, model = weights.load("face_finder")
    assert PAGE_FILE.read_bytes() == page_weights(state, version=model.version, source=model.sha256)


def test_the_file_says_where_each_tensor_is():
    file = PAGE_FILE.read_bytes()
    start = 4 + struct.unpack_from("<I", file)[0]
    header = json.loads(file[4:start])
    offset = 0
    for layer in header["layers"]:
        assert layer["offset"] == offset
        offset += 2 * int(np.prod(layer["shape"]))
    assert start + offset == len(file)


BOX = {"x1": 100, "y1": 50, "x2": 180, "y2": 150, "confidence": 0.9}
GOOD = {
    "grey": 120,
    "width": 320,
    "height": 240,
    "zoom": 2,
    "faces": [BOX],
    "waiting": False,
    "level": 0.5,
    "muted": False,
}


def at(x: int, y: int, width: int, height: int, confidence: float = 0.9) -> dict[str, float]:
    return {"x1": x, "y1": y, "x2": x + width, "y2": y + height, "confidence": confidence}


@needs_node
def test_all_is_well_at_once(ask):
    (reading,) = ask("check", "judge", seen=[GOOD])
    said = {"faces": 1, "light": "good", "level": 0.5, "waiting": False}
    assert reading == said | {"ready": True, "problems": []}


@needs_node
@pytest.mark.parametrize(
    ("problem", "change"),
    [
        ("TOO_DARK", {"grey": 40, "around": 160}),  # a window behind: the face counts
        ("TOO_BRIGHT", {"grey": 230, "around": 90}),
        ("TOO_DARK", {"grey": 40, "faces": None}),
        ("NO_FACE", {"faces": []}),
        ("SEVERAL_FACES", {"faces": [BOX, at(220, 60, 60, 80)]}),
        ("FACE_SMALL", {"faces": [at(140, 90, 34, 44)]}),
        ("FACE_AT_EDGE", {"faces": [at(-8, 60, 80, 100)]}),
        ("FACE_AT_EDGE", {"faces": [at(100, 150, 80, 100)]}),
        ("SILENT", {"level": 0.1}),
        ("SILENT", {"muted": True}),
        ("LOUD", {"level": 0.95}),
    ],
)
def test_each_problem_is_named(problem, change, ask):
    (reading,) = ask("check", "judge", seen=[GOOD | change])
    assert reading["problems"] == [problem]
    assert not reading["ready"]


@needs_node
def test_a_small_or_unsure_second_face_is_no_person(ask):
    seen = [
        GOOD | {"faces": [BOX, at(250, 20, 20, 28)]},
        GOOD | {"faces": [BOX, at(220, 60, 60, 80, 0.62)]},
    ]
    assert [reading["faces"] for reading in ask("check", "judge", seen=seen)] == [1, 1]


@needs_node
def test_what_is_hardly_a_face_is_none_until_one_was_seen_well(ask):
    hardly = GOOD | {"faces": [BOX | {"confidence": 0.65}]}
    readings = ask("check", "judge", seen=[hardly, hardly, hardly, GOOD, GOOD, hardly, hardly])
    assert [reading["faces"] for reading in readings] == [0, 0, 0, 0, 1, 1, 1]


@needs_node
def test_one_odd_picture_changes_no_word_and_two_do(ask):
    nobody, dark = GOOD | {"faces": []}, GOOD | {"grey": 20}
    seen = [GOOD, nobody, GOOD, dark, GOOD, nobody, nobody, GOOD, GOOD]
    readings = ask("check", "judge", seen=seen)
    assert [reading["faces"] for reading in readings] == [1, 1, 1, 1, 1, 1, 0, 0, 1]
    assert {reading["light"] for reading in readings} == {"good"}


@needs_node
def test_light_around_the_threshold_keeps_its_word(ask):
    greys = [58, 61, 59, 66, 62, 70, 70, 61, 61, 58, 58]
    readings = ask("check", "judge", seen=[GOOD | {"grey": grey} for grey in greys])
    assert [reading["light"] for reading in readings] == [*["dark"] * 6, *["good"] * 4, "dark"]


@needs_node
def test_a_voice_once_heard_stays_heard_until_the_microphone_is_off(ask):
    levels = [0.0, 0.2, 0.4, 0.0, 0.0]
    seen = [GOOD | {"level": level} for level in levels]
    seen += [GOOD | {"level": 0.0, "muted": True}, GOOD | {"level": 0.0}]
    silent = ["SILENT" in reading["problems"] for reading in ask("check", "judge", seen=seen)]
    assert silent == [True, True, False, False, False, True, True]


@needs_node
def test_being_too_loud_is_said_for_two_seconds(ask):
    seen = [GOOD | {"level": 0.95}, *[GOOD] * 7]
    loud = ["LOUD" in reading["problems"] for reading in ask("check", "judge", seen=seen)]
    assert loud == [True] * 6 + [False] * 2


@needs_node
def test_being_ready_waits_for_the_faces_only_while_they_may_come(ask):
    seen = [GOOD | {"faces": None, "waiting": waiting} for waiting in (True, False)]
    seen.append(seen[-1] | {"grey": 20})  # they do not come, whatever else is wrong
    readings = ask("check", "judge", seen=[*seen, seen[-1]])
    assert [(r["faces"], r["waiting"], r["ready"]) for r in readings] == [
        (None, True, False),
        (None, False, True),
        (None, False, True),
        (None, False, False),
    ]


@needs_node
def test_without_workers_the_rest_is_checked(ask):
    answer = ask("check", "run", readings=2, width=640, height=480)
    last = answer["readings"][-1]
    said = {"faces": None, "light": "good", "level": 0.5, "waiting": False}
    assert last == said | {"ready": True, "problems": []}


@needs_node
@pytest.mark.parametrize(
    ("camera", "looked_at", "seen_as"),
    [
        ((640, 480), (0, 0, 640, 480), (320, 240)),
        ((1280, 720), (160, 0, 960, 720), (320, 240)),
        ((720, 1280), (0, 160, 720, 960), (240, 320)),
        ((160, 120), (0, 0, 160, 120), (160, 120)),
    ],
)
def test_the_middle_of_a_wide_picture_is_looked_at(camera, looked_at, seen_as, ask):
    answer = ask("check", "run", readings=2, width=camera[0], height=camera[1])
    assert answer["drawn"] == [[*looked_at, 0, 0, *seen_as]] * 2


@needs_node
def test_a_face_far_away_is_found_in_the_middle_of_a_wide_picture(find):
    """As the check cuts and scales it; scaled whole, to the same area, it shows too little."""
    whole = portrait(1280, 720, FAR)
    middle = np.ascontiguousarray(whole[:, 160:1120])
    seen = [
        cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        for picture, size in ((whole, (320, 180)), (middle, (320, 240)))
    ]
    assert [len(picture["faces"]) for picture in find(seen)["pictures"]] == [0, 1]


def test_the_finder_is_loaded_only_when_a_check_starts():
    """`import` would make the page's first load carry it."""
    script = (STATIC / "check.js").read_text()
    assert "import {" not in script
    assert 'new URL("./faces.js", import.meta.url)' in script
