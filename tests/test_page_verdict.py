"""What the page reads out of a verdict before it draws anything."""

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from service_doubles import ARTIFACT, PARTIAL, SYNC, VERDICT

from evaluation import page_rates
from syncnet_python.results import ModelInfo, OffsetMoment, Verdict

STATIC = page_rates.TARGET.parent
SCRIPT = Path(__file__).with_name("page_call.mjs")
NODE = shutil.which("node")

Call = Callable[..., Any]

pytestmark = pytest.mark.skipif(NODE is None, reason="node is not installed")


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory) -> Call:
    """`call(module, name, *arguments)`: what that function of the page returns."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "package.json").write_text('{"type": "module"}')
    for script in STATIC.glob("*.js"):
        shutil.copy(script, folder)

    def run(module: str, name: str, *arguments: Any) -> Any:
        assert NODE is not None
        done = subprocess.run(
            [NODE, SCRIPT, folder / f"{module}.js", name],
            input=json.dumps(arguments),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def body(verdict: Verdict = VERDICT) -> dict[str, Any]:
    return asdict(verdict)


def test_parts_give_their_share_of_the_score(call: Call) -> None:
    sync, face = call("verdict", "contributions", body())
    assert sync == {"part": "syncnet", "score": 0.9, "raw": 0.85, "weight": 0.4, "gives": 0.4 * 0.9}
    assert sync["gives"] + face["gives"] == pytest.approx(VERDICT.combined_score)


def test_a_missing_part_gives_nothing(call: Call) -> None:
    alone = replace(PARTIAL, weights={"syncnet": 1.0, "efficientnet": 0.0})
    sync, face = call("verdict", "contributions", body(alone))
    assert sync["gives"] == alone.combined_score
    assert face == {"part": "efficientnet", "score": None, "raw": None, "weight": 0, "gives": 0}


def test_frames_that_decided_are_the_lowest_and_lie_apart(call: Call) -> None:
    times = [n / 10 for n in range(40)]
    scores = [0.9] * 40
    scores[20], scores[21], scores[5] = 0.1, 0.2, 0.3
    artifact = asdict(replace(ARTIFACT, frame_times=tuple(times), frame_scores=tuple(scores)))
    found = call("verdict", "decisive", artifact)
    assert found[:2] == [{"time": 2.0, "score": 0.1}, {"time": 0.5, "score": 0.3}]
    assert len(found) == 4
    moments = sorted(frame["time"] for frame in found)
    assert all(later - at > 0.29 for at, later in pairwise(moments))


def test_the_square_lies_around_the_chosen_face_and_within_the_picture(call: Call) -> None:
    assert call("verdict", "faceSquare", body()) == {"x": 0, "y": 0, "side": 140}
    track = replace(SYNC.tracks[0], mean_box=(300.0, 200.0, 400.0, 320.0))
    middle = replace(VERDICT, syncnet=replace(SYNC, tracks=(track,)))
    square = call("verdict", "faceSquare", body(middle))
    assert square == pytest.approx({"x": 350 - 84, "y": 260 - 84, "side": 168})
    assert call("verdict", "faceSquare", body(replace(VERDICT, syncnet=None))) is None


def test_moments_without_an_offset_break_the_line(call: Call) -> None:
    known = OffsetMoment(1.0, 0.0, -1.0, 1.0, 5.0)
    unknown = OffsetMoment(2.0, None, None, None, 0.1)
    timeline = [asdict(one) for one in (unknown, known, known, unknown, unknown, known)]
    assert [len(run) for run in call("verdict", "runs", timeline)] == [2, 1]
    assert call("verdict", "runs", [asdict(unknown)]) == []


@pytest.mark.parametrize("values", [[3.0], [4.0, 1.0], [9.0, 10.0, 1.0], [1.0, 2.0, 3.0, 10.0]])
def test_the_median(call: Call, values: list[float]) -> None:
    assert call("verdict", "median", values) == median(values)


def answered_by(hashes: dict[str, str]) -> Verdict:
    models = {name: ModelInfo(name, "1", "bundled", sha256) for name, sha256 in hashes.items()}
    return replace(VERDICT, models=models, calibration=None)


def test_error_rates_are_shown_of_the_very_weights_that_answered(call: Call) -> None:
    rates = page_rates.rates()
    measured = answered_by(rates["verdict"]["networks"])
    found = call("verdict", "ratesFor", body(measured), rates)
    assert found["verdict"] == rates["verdict"]["rows"]
    assert found["parts"] == {name: of["rows"] for name, of in rates["parts"].items()}
    calibrated = replace(measured, calibration=VERDICT.calibration)
    assert call("verdict", "ratesFor", body(calibrated), rates)["verdict"] is None
    other = answered_by(rates["verdict"]["networks"] | {"syncnet_fcn": "0" * 64})
    found = call("verdict", "ratesFor", body(other), rates)
    assert found["verdict"] is None
    assert set(found["parts"]) == {"efficientnet_b0"}


def test_charts_have_round_steps(call: Call) -> None:
    assert call("charts", "step", 4.0, 4) == 1
    assert call("charts", "step", 0.8, 4) == pytest.approx(0.2)
    assert call("charts", "step", 30, 8) == 5
    assert call("charts", "ticks", -15, 15, 5) == [-15, -10, -5, 0, 5, 10, 15]
    assert call("charts", "ticks", 0.1, 0.45, 0.2) == pytest.approx([0.2, 0.4])
