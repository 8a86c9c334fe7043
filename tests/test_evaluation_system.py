"""The whole verdict: figures of the fused score and of each part, on the same files."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from service_doubles import ARTIFACT, SYNC, VERDICT

import fusion
from evaluation import statistics, system
from evaluation.inputs import Item
from evaluation.journal import Journal
from evaluation.report import Outcome
from syncnet_python.calibration import Thresholds
from syncnet_python.errors import NoFace, WeightsMissing
from syncnet_python.results import CalibrationInfo, Missing, ModelInfo, Verdict
from syncnet_python.scale import SYNCNET_V2

NETWORKS = [ModelInfo("net", "1", "bundled", "0" * 64)]


def verdict(sync: float | None, face: float | None, *, doubtful: bool = False) -> Verdict:
    """As the wrapper gives it, with these scores of its parts."""
    seen = replace(SYNC, score=sync, doubts=("MUSIC",) if doubtful else ()) if sync else None
    judged = replace(ARTIFACT, score=face) if face else None
    missing = () if judged else (Missing("efficientnet", "no_face", "nobody", "come closer"),)
    fused = fusion.fuse(seen, judged, scale=SYNCNET_V2, missing=missing)
    return replace(
        VERDICT,
        combined_score=fused.combined_score,
        decision=fused.decision,
        inconclusive=fused.inconclusive,
        syncnet=seen,
        efficientnet=judged,
        missing=missing,
    )


class Engine:
    """Answers what it was told to, by file name."""

    def __init__(self, answers: Mapping[str, Verdict | Exception]) -> None:
        self.answers = answers
        self.scored: list[str] = []

    def score(
        self,
        path: Path,
        reference: str,
        *,
        partial: bool,
        on_partial: Callable[[Verdict], None],
    ) -> Verdict:
        assert partial, "what can be measured is to be measured"
        self.scored.append(path.name)
        answer = self.answers[path.name]
        if isinstance(answer, Exception):
            raise answer
        return answer


ANSWERS: dict[str, Verdict | Exception] = {
    "real0.mp4": verdict(0.95, 0.9),
    "real1.mp4": verdict(0.9, 0.7),
    "real2.mp4": verdict(0.5, 0.8),  # lip-sync alone would refuse it
    "real3.mp4": verdict(0.9, 0.9, doubtful=True),
    "fake0.mp4": verdict(0.9, 0.2),  # lip-sync alone would accept it
    "fake1.mp4": verdict(0.95, 0.1),  # and this
    "fake2.mp4": verdict(0.2, 0.6),
    "fake3.mp4": verdict(0.9, 0.85),  # both are taken in
    "fake4.mp4": verdict(0.3, None),
    "real4.mp4": NoFace("nobody"),
}


@pytest.fixture(autouse=True, scope="module")
def few_draws() -> Iterator[None]:
    """Enough for intervals that hold their values."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statistics, "RESAMPLES", 50)
        yield


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> list[Item]:
    folder = tmp_path_factory.mktemp("items")
    found = []
    for name in ANSWERS:
        path = folder / name
        path.write_text(name)
        real = name.startswith("real")
        found.append(Item(path, name, real, "kiosk", "" if real else "dub", group=name))
    return found


def evaluated(folder: Path, items: Sequence[Item], engine: Engine, **fields: Any) -> Outcome:
    given = {"thresholds": Thresholds()} | fields
    return system.evaluate(
        items, engine, NETWORKS, lambda key: Journal(folder / "journal", key), **given
    )


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory, items: list[Item]) -> Outcome:
    return evaluated(tmp_path_factory.mktemp("evaluated"), items, Engine(ANSWERS))


def test_parts_and_whole_are_judged_on_the_same_files(outcome: Outcome) -> None:
    figures = outcome.figures
    assert figures["compared"] == 7
    for name in ("fused", "syncnet", "efficientnet"):
        assert (figures["all"][name]["genuine"], figures["all"][name]["fakes"]) == (3, 4)
    assert figures["all"]["syncnet"]["auc"]["value"] == pytest.approx(6.5 / 12)
    assert figures["all"]["efficientnet"]["auc"]["value"] == pytest.approx(10 / 12)
    at = figures["all"]["syncnet"]["at"]["0.6 (likely real)"]
    assert at["false_reject"]["value"] == pytest.approx(1 / 3)
    assert at["false_accept"]["value"] == pytest.approx(3 / 4)
    assert set(figures["by source"]) == {"kiosk"}
    assert figures["by condition"]["dub"]["genuine"] == 3


def test_errors_are_compared_with_lip_sync_alone(outcome: Outcome) -> None:
    fewer = outcome.figures["fewer errors than syncnet alone"]
    # at 0.6, alone: 1 of 3 genuine, 3 of 4 fakes; fused: none of 3, 1 of 4
    assert fewer["at the threshold"]["value"] == pytest.approx(1 - (1 / 4) / (1 / 3 + 3 / 4))
    assert fewer["at the threshold"]["count"] == 7


def test_where_lip_sync_alone_makes_no_error_none_can_be_avoided(items: list[Item]) -> None:
    judged = [
        system.of_result(item, system.kept(verdict(0.9 if item.real else 0.1, 0.5)))
        for item in items
    ]
    fewer = system.fewer_errors(judged, Thresholds().real)
    assert fewer == {"at the threshold": None, "equal error rate": None}


def test_decisions_and_doubts_are_counted_on_all_files(outcome: Outcome) -> None:
    figures = outcome.figures
    real, fake = figures["decisions"]["real"], figures["decisions"]["fake"]
    assert real["ALLOW"] == {**real["ALLOW"], "value": 1 / 4, "count": 4}
    assert real["NEXT"]["value"] == 3 / 4
    assert real["BLOCK"]["value"] == 0
    assert real["BLOCK"]["high"] > 0.3, "none of four is no proof of none"
    assert fake["ALLOW"]["value"] == pytest.approx(1 / 5)
    assert real["inconclusive"]["value"] == pytest.approx(1 / 4)
    assert figures["inconclusive reasons"] == {
        "real": {"MUSIC": 1},
        "fake": {"no efficientnet: no_face": 1},
    }


@pytest.mark.slow
def test_failures_are_named_and_nothing_is_scored_twice(tmp_path: Path, items: list[Item]) -> None:
    engine = Engine(ANSWERS)
    first = evaluated(tmp_path, items, engine)
    assert [(f.file, f.code) for f in first.failures] == [("real4.mp4", "no_face")]
    assert engine.scored == list(ANSWERS)
    assert evaluated(tmp_path, items, engine) == first
    assert engine.scored == list(ANSWERS)
    calibrated = CalibrationInfo("door", "1" * 64, "2025-01-01", 0.0)
    again = evaluated(tmp_path, items, engine, calibration=calibrated)
    assert len(engine.scored) == 2 * len(ANSWERS), "another calibration gives other scores"
    assert again.calibration == calibrated
    evaluated(tmp_path, items, engine, options={"max_frames": 5})
    assert len(engine.scored) == 3 * len(ANSWERS)


def test_without_networks_there_is_nothing_to_evaluate(tmp_path: Path, items: list[Item]) -> None:
    with pytest.raises(WeightsMissing):
        evaluated(tmp_path, items, Engine(dict.fromkeys(ANSWERS, WeightsMissing("not here"))))


def test_the_page_shows_the_worst_files(outcome: Outcome) -> None:
    titles = [section.title for section in outcome.sections]
    assert titles[0] == "Fused score and each part alone"
    assert titles[-1] == "Most mistaken files"
    assert [row[0] for row in outcome.sections[-1].tables[0].rows] == ["fake3.mp4"]
    assert "target: at least 30%" in [line.target for line in outcome.headlines]
    rows = {row["file"]: row for row in outcome.rows}
    assert rows["real3.mp4"]["inconclusive"] == "MUSIC"
    assert rows["real3.mp4"]["syncnet"] is None, "doubtful figures count for nothing"
    assert rows["real0.mp4"]["inconclusive"] == ""


def test_genuine_recordings_alone_can_be_evaluated(tmp_path: Path, items: list[Item]) -> None:
    genuine = [item for item in items if item.real]
    outcome = evaluated(tmp_path, genuine, Engine(ANSWERS))
    assert outcome.figures["all"]["fused"]["auc"] is None
    assert outcome.figures["all"]["fused"]["at"]["0.6 (likely real)"]["false_reject"]["value"] == 0
    assert outcome.figures["decisions"]["fake"]["ALLOW"] is None


def test_thresholds_are_those_that_decide(tmp_path: Path) -> None:
    levels = system.levels(Thresholds(allow=0.9, real=0.7, next=0.5))
    assert list(levels) == ["0.7 (likely real)", "0.9 (ALLOW)", "0.5 (not BLOCK)"]
    real, allow, following = levels.values()
    assert real == 0.7
    assert allow < 0.9 < allow + 1e-9, "0.9 itself is let through"
    assert following < 0.5 < following + 1e-9
