"""The texts of the pages: whole in both languages, and one for everything the service may say."""

import gzip
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, get_args

import pytest
from service_doubles import ARTIFACT, SYNC

import app  # noqa: F401  # every module of the service, for the errors in them
import fusion
from evaluation import page_rates
from service import problems
from service.jobs.runner import PROGRESS
from service.request_errors import RequestError
from syncnet_python.results import Doubt, Missing, OffsetChange, Quality
from syncnet_python.scale import SYNCNET_V2

STATIC = page_rates.TARGET.parent
PAGES = [STATIC / name for name in ("index.html", "history.html")]
SCRIPTS = sorted(STATIC.glob("*.js"))
FIRST_LOAD = 100_000

Catalogue = dict[str, str]


def catalogue(lang: str) -> Catalogue:
    found: Catalogue = json.loads((STATIC / "texts" / f"{lang}.json").read_text())
    return found


ENGLISH, SPANISH = catalogue("en"), catalogue("es")


def places(text: str) -> list[str]:
    return sorted(re.findall(r"\{\w+\}", text))


def test_both_languages_have_the_same_texts_and_none_is_empty() -> None:
    assert list(ENGLISH) == list(SPANISH)
    for key in ENGLISH:
        assert ENGLISH[key].strip(), key
        assert SPANISH[key].strip(), key
        assert places(ENGLISH[key]) == places(SPANISH[key]), key


def test_no_text_was_left_in_the_other_language() -> None:
    alike = {key for key in ENGLISH if ENGLISH[key] == SPANISH[key]}
    # Names and units.
    assert alike == {"brand", "time.at", "part.missing", "crops.caption"} | {
        f"figures.{name}" for name in ("decibels", "took.value")
    } | {"rates.figure.plain"}


def reason_codes() -> Iterator[str]:
    """Every one that fusing gives, found by asking it."""
    levels = (0.0, 3.0, 4.0, 6.0, 8.0, 12.0)
    for score, offset, level in product((0.0, 0.8, 1.0), (0.0, 4.0, 9.0), levels):
        jump = (OffsetChange(1.0, 0.0, 5.0),)
        of = replace(SYNC, score=score, subframe_offset=offset, confidence=level, min_dist=level)
        yield from fusion.sync_reasons(replace(of, changes=jump), SYNCNET_V2)
    for score, consistency in product((0.0, 0.5, 1.0), (0.0, 1.0)):
        yield from fusion.artifact_reasons(replace(ARTIFACT, score=score, consistency=consistency))
    yield from fusion.quality_reasons(Quality(0.0, 0.0, 0.0, 0.0))
    parts = (SYNC, None), (None, ARTIFACT)
    for sync, artifact in parts:
        name = "efficientnet" if artifact is None else "syncnet"
        missing = (Missing(name, "timeout", "", ""),)
        yield from fusion.fuse(sync, artifact, scale=SYNCNET_V2, missing=missing).reason_codes
    for doubt in get_args(Doubt):
        doubted = replace(SYNC, doubts=(doubt,))
        yield from fusion.fuse(doubted, ARTIFACT, scale=SYNCNET_V2).reason_codes
    for score in (0.0, 0.5, 1.0):
        whole = replace(SYNC, score=score), replace(ARTIFACT, score=score)
        yield from fusion.fuse(*whole, scale=SYNCNET_V2).reason_codes


def test_every_reason_has_a_text_and_every_doubt_says_what_to_do() -> None:
    codes = set(reason_codes())
    assert {f"reason.{code}" for code in codes} == {k for k in ENGLISH if k.startswith("reason.")}
    assert {f"advice.{code}" for code in get_args(Doubt)} <= ENGLISH.keys()


def test_every_reason_is_said_to_speak_for_it_or_against_it() -> None:
    told = re.search(r"TONES = \{(.*?)\n\};", (STATIC / "verdict.js").read_text(), re.DOTALL)
    assert told is not None
    codes = {code for code in reason_codes() if not code.startswith("DECISION_")}
    assert sorted(re.findall(r'"([A-Z_]+)"', told[1])) == sorted(codes)


def heirs(kind: type[RequestError]) -> Iterator[type[RequestError]]:
    for heir in kind.__subclasses__():
        yield heir
        yield from heirs(heir)


def problem_codes() -> set[str]:
    told = (
        *problems.of_the_analysis(),
        *problems.of_the_queue(),
        *problems.of_streams(),
        problems.INTERNAL,
    )
    of_http = {code for code, _ in problems._HTTP.values()}
    ours = {kind.code for kind in heirs(RequestError) if kind.__module__.startswith("service.")}
    return {problem.code for problem in told} | ours | of_http


def test_every_error_of_the_service_has_a_text_and_advice() -> None:
    codes = problem_codes() | {"network", "aborted", "denied", "unsupported"}  # those of avsync.js
    codes.add("page")
    for kind in ("problem", "advice"):
        known = {key.removeprefix(f"{kind}.") for key in ENGLISH if key.startswith(f"{kind}.")}
        assert known - set(get_args(Doubt)) == codes


def test_every_stage_and_every_reading_of_the_check_has_a_text() -> None:
    assert {f"stage.{stage}" for stage in PROGRESS} <= ENGLISH.keys()
    readings = re.search(
        r"@typedef \{(\"TOO_DARK\".*?)\} Problem", (STATIC / "check.js").read_text(), re.DOTALL
    )
    assert readings is not None
    assert {f"check.{code}" for code in re.findall(r'"([A-Z_]+)"', readings[1])} == {
        key for key in ENGLISH if re.fullmatch(r"check\.[A-Z_]+", key)
    }


def asked() -> tuple[set[str], set[str]]:
    """Texts that pages and scripts name, and beginnings of those whose end follows from data."""
    source = "\n".join(path.read_text() for path in [*PAGES, *SCRIPTS])
    keys = set(re.findall(r'data-t(?:-label)?="([^"]+)"', source))
    keys |= {name for name in re.findall(r'"([a-z_]+(?:\.[\w]+)*)"', source) if name in ENGLISH}
    return keys, set(re.findall(r"`([a-z]+\.(?:[a-z]+\.)*)\$\{", source))


def test_every_text_is_asked_for_and_every_text_asked_for_exists() -> None:
    keys, starts = asked()
    assert keys <= ENGLISH.keys()
    for start in starts:
        assert any(key.startswith(start) for key in ENGLISH), start
    ends = r"`\$\{\w+\}\.(title)`"
    assert re.search(ends, (STATIC / "app.js").read_text())
    unused = {
        key
        for key in ENGLISH.keys() - keys
        if not key.startswith(tuple(starts)) and key not in {"check.title", "record.title"}
    }
    assert unused == set()


def test_no_page_holds_a_script_or_a_style() -> None:
    for page in PAGES:
        text = page.read_text()
        assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", text)
        for tag in re.findall(r"<script[^>]*>.*?</script>", text, re.DOTALL):
            assert re.fullmatch(r'<script type="module" src="/static/\w+\.js"></script>', tag)
    for script in SCRIPTS:
        assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write", script.read_text())


def needed(start: Path, *, later: bool) -> set[Path]:
    """The scripts that one imports, at once or also later, however far down."""
    found: set[Path] = set()
    todo = [start]
    while todo:
        script = todo.pop()
        if script in found:
            continue
        found.add(script)
        text = script.read_text()
        names = re.findall(r'from "([^"]+)"', text)
        names += re.findall(r'import\("([^"]+)"\)', text) if later else []
        todo += [
            STATIC.parent / "avsync" / name[1:] if name[0] == "/" else STATIC / name
            for name in names
        ]
    return found


def packed(files: set[Path]) -> int:
    return sum(len(gzip.compress(path.read_bytes())) for path in files)


@pytest.mark.parametrize("lang", ["en", "es"])
@pytest.mark.parametrize("later", [False, True], ids=["at once", "by the result"])
def test_the_page_is_small(lang: str, later: bool) -> None:
    scripts = needed(STATIC / "app.js", later=later)
    assert (STATIC / "result.js" in scripts) is later
    beside = {STATIC / "index.html", STATIC / "app.css", STATIC / "texts" / f"{lang}.json"}
    assert packed(scripts | beside) < FIRST_LOAD


def test_error_rates_are_those_of_the_figures() -> None:
    assert page_rates.TARGET.read_text() == page_rates.text()


def test_every_error_rate_has_a_name() -> None:
    rates: dict[str, Any] = page_rates.rates()
    rows = [row for part in (rates["verdict"], *rates["parts"].values()) for row in part["rows"]]
    assert {f"rate.{row['against']}" for row in rows} == {
        k for k in ENGLISH if k.startswith("rate.")
    }
    assert all(row["accepted"]["count"] > 0 for row in rows)
