"""The measured figures as Markdown tables, from the files that `make figures` and `make bench`
write: a short one for the README, and one with every network on the same data for models/."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from evaluation import speed
from evaluation.speed import read
from evaluation.tables import Row, markdown
from syncnet_python import weights

Figure = Mapping[str, Any]

FOLDER = weights.BUNDLED_DIR / "figures"
CROPS, PHOTOS, VIDEOS = "artifact_crops", "artifact_photos", "artifact_videos"
ARTIFACT_SETS = {
    CROPS: ("frames", "face crops"),
    PHOTOS: ("frames", "photographs"),
    VIDEOS: ("videos", "videos, mean of 20 frames"),
}
LENGTHS = ("2 s", "4 s")
_OF_CLASSIFIERS = (
    "Data",
    "genuine + fake",
    "AUC",
    "EER",
    "genuine refused at 70% detection",
    "genuine refused at 0.5",
    "fakes accepted at 0.5",
    "calibration error",
)
_OF_VERDICTS = ("AUC", "EER", "genuine refused at 0.6", "fakes accepted at 0.6")
PARTS = {"syncnet": "lip-sync alone", "efficientnet": "face alone"}
"""Scores beside the fused one."""

BUNDLED = {"sync": "syncnet_fcn", "classifier": "efficientnet_b0"}


def short(folder: Path = FOLDER, benchmarks: Path = speed.BENCHMARKS) -> str:
    """What the README shows: the bundled networks, the whole verdict, and speed."""
    network = _figures(folder, "sync").get(BUNDLED["sync"], {})
    rows = [*_sync_rows(network), *_artifact_rows(folder, BUNDLED["classifier"])]
    rows += [*_system_rows(folder), *_face_rows(folder), *speed.rows(read(benchmarks))]
    return markdown(("What", "Figure"), rows)


def full(folder: Path = FOLDER) -> str:
    """Every network that was there, on the same data; then the verdict against its parts."""
    parts = []
    for name, network in _figures(folder, "sync").items():
        rows = [*_sync_rows(network), *_disturbed_rows(network)]
        parts += [f"## {name}: lip-sync", markdown(("What", "Figure"), rows)]
    for classifier in _figures(folder, CROPS):
        rows = [row for name in ARTIFACT_SETS for row in _detections(folder, name, classifier)]
        parts += [f"## {classifier}: face manipulation", markdown(_OF_CLASSIFIERS, rows)]
    system = _figures(folder, "system")
    if system:
        rows = [
            (PARTS.get(name, name), interval(of["auc"]), percent(of["eer"]), *_at(of))
            for name, of in system["all"].items()
        ]
        parts += ["## The whole verdict and its parts", markdown(("Score", *_OF_VERDICTS), rows)]
        rows = [
            (name, interval(of["auc"]), percent(of["eer"]), *_at(of))
            for name, of in system["by condition"].items()
            if of["auc"]
        ]
        parts += ["The fused score by kind of forgery:"]
        parts += [markdown(("Genuine against", *_OF_VERDICTS), rows)]
        parts += [f"Errors that fusing avoids, of those of lip-sync alone: {_fewer(system)}."]
    return "\n\n".join(parts)


def shortcuts(folder: Path = FOLDER) -> str:
    """What `evaluation.shortcuts` found, for the classifier's card."""
    found = read(folder / "shortcuts.json")
    if not found:
        return ""
    columns = ("Change", *next(iter(found["changes"].values())))
    rows = [(name, *(f"{of:.3f}" for of in row.values())) for name, row in found["changes"].items()]
    probe, means = found["source from the score"], found["mean score of reals"]
    said = ", ".join(f"{name.removesuffix(' real')} {mean:.2f}" for name, mean in means.items())
    return (
        f"{markdown(columns, rows)}\n\n"
        f"The source of a genuine face is told from its score with a balanced accuracy of "
        f"{probe['balanced accuracy']:.2f} (chance: {probe['chance']:.2f}). Mean score of genuine "
        f"faces: {said}."
    )


def _sync_rows(network: Mapping[str, Any]) -> Iterator[Row]:
    if not network:
        return
    for length in LENGTHS:
        window = network["windows"].get(length)
        if window:
            yield (
                f"Lip-sync: offset within ±1 frame, {length}, as the collections state",
                percent(window["as stated"]),
            )
            yield "… three clips counted as late as their lips show", percent(window["as seen"])
    for length in LENGTHS:
        for other, what in (
            ("another's", "another speaker's"),
            ("shifted", "sound 5-15 frames off"),
        ):
            pair = network["told"].get(length, {}).get(other)
            if pair:
                yield (
                    f"Lip-sync: own sound against {what}, {length}, AUC",
                    interval(pair["scored"]["auc"]),
                )
    yield (
        "Lip-sync: mean error of the sub-frame offset",
        f"{interval(network['between frames']['of the offset'], 2)} frames",
    )
    yield "Good speech of which nothing is said", percent(network["inconclusive"])


def _disturbed_rows(network: Mapping[str, Any]) -> Iterator[Row]:
    for name, of in network["disturbed"].items():
        lost = of.get("lost at 2 s")
        said = f"; {100 * lost['value']:.1f} points lost" if lost else ""
        yield f"Offset within ±1 frame, 2 s, {name}", percent(of["2 s"]) + said


def _artifact_rows(folder: Path, classifier: str) -> Iterator[Row]:
    for name, (unit, what) in ARTIFACT_SETS.items():
        found = _figures(folder, name).get(classifier, {}).get(unit)
        if found:
            for condition, of in _conditions(found).items():
                yield f"Face: {condition}, {what}, AUC", interval(of["auc"])
    crops = _figures(folder, CROPS).get(classifier, {}).get("frames")
    if crops:
        refused = crops["all"]["false_reject_at_70"]
        yield "Face: genuine crops refused where 70% of face swaps are caught", percent(refused)


def _detections(folder: Path, name: str, classifier: str) -> Iterator[Row]:
    unit, what = ARTIFACT_SETS[name]
    found = _figures(folder, name).get(classifier, {}).get(unit)
    if not found:
        return
    for condition, of in _conditions(found).items():
        yield (
            f"{condition}, {what}",
            f"{of['genuine']} + {of['fakes']}",
            interval(of["auc"]),
            percent(of["eer"]),
            percent(of["false_reject_at_70"]),
            *_at(of),
            interval(of["calibration_error"]),
        )


def _conditions(found: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Kinds of forgery, each against genuine ones; where several share them, all together too."""
    kinds = {
        name: of
        for name, of in found["by condition"].items()
        if name and of["fakes"] < found["all"]["fakes"]
    }
    return {"all": found["all"], **kinds} if len(kinds) > 1 else dict(found["by condition"])


def _system_rows(folder: Path) -> Iterator[Row]:
    system = _figures(folder, "system")
    if not system:
        return
    for name, of in system["all"].items():
        what = f"… {PARTS[name]}" if name in PARTS else "Verdict"
        yield f"{what}: genuine against four kinds of forgery, AUC", interval(of["auc"])
    yield "Verdict: errors fewer than by lip-sync alone", _fewer(system)


def _fewer(system: Mapping[str, Any]) -> str:
    figure = system["fewer errors than syncnet alone"]["at the threshold"]
    return percent(figure) if figure else "not determined"


def _face_rows(folder: Path) -> Iterator[Row]:
    figures = read(folder / "faces.json").get("summary")
    if figures:
        yield "Faces: frames where the face is found", f"{100 * figures['matched_share']:.1f}%"
        yield (
            "Lip points: distance to the teacher's",
            f"{100 * figures['lip_error']:.1f}% of the eye distance",
        )


def percent(figure: Figure | None) -> str:
    """A share times a hundred, its interval and count."""
    if figure is None:
        return "–"
    value, low, high = (figure[key] for key in ("value", "low", "high"))
    between = "" if low is None else f"{100 * low:.1f} to {100 * high:.1f}, "
    return f"{100 * value:.1f}% ({between}n = {figure['count']})"


def interval(figure: Figure | None, digits: int = 3) -> str:
    """A figure and its interval, where it has one."""
    if figure is None:
        return "–"
    text = f"{figure['value']:.{digits}f}"
    if figure["low"] is None:
        return text
    return f"{text} ({figure['low']:.{digits}f} to {figure['high']:.{digits}f})"


def _at(detection: Mapping[str, Any]) -> Row:
    rates = next(iter(detection["at"].values()))
    return percent(rates["false_reject"]), percent(rates["false_accept"])


def _figures(folder: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = read(folder / f"{name}.json").get("figures", {})
    return found
