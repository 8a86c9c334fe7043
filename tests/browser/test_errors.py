"""What goes wrong on the way, and what the page says and does about it."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect
from serving import Server

from browser.conftest import KEY, Come, address
from browser.gated import Gate
from browser.media import FakeCamera
from browser.visitor import Visitor
from browser.wire import Wire
from evaluation.samples import talking_clip

pytestmark = pytest.mark.slow

STAGES = ("upload", "queued", "decode", "find_faces", "syncnet", "efficientnet")

MIDDLE = 100_000
"""Bytes of an upload after which the wire is cut; the recordings here are larger."""

BROKEN = r"net::ERR_"

UNPLUG = """() => {
    const [track] = streams.at(-1).getVideoTracks();
    track.stop();
    track.dispatchEvent(new Event("ended"));
}"""
"""What a browser does when the camera goes."""

UNANSWERED = """{
    const devices = navigator.mediaDevices;
    const open = devices.getUserMedia.bind(devices);
    devices.getUserMedia = async (wished) => {
        await new Promise((resolve) => { globalThis.answer = resolve; });
        return open(wished);
    };
}"""
"""The browser's question stays open until `answer()`."""


@pytest.fixture
def recording(clip: Callable[[str], Path]) -> dict[str, Any]:
    """A good one, as it is chosen from a disk."""
    return file(clip("browser").read_bytes())


def file(content: bytes) -> dict[str, Any]:
    return {"name": "mine.webm", "mimeType": "video/webm", "buffer": content}


def made(folder: Path, **fields: Any) -> dict[str, Any]:
    """Another recording; fields: of `evaluation.samples.ClipSpec`."""
    talking_clip(folder / "clip.webm", **fields)
    return file((folder / "clip.webm").read_bytes())


def test_a_camera_that_is_denied(
    come: Come,
    launch: Callable[..., Browser],
    camera: FakeCamera,
    recording: dict[str, Any],
) -> None:
    browser = launch("--use-fake-ui-for-media-stream=deny", *camera.arguments())
    visitor = come(browser=browser)
    visitor.comes()
    visitor.agrees()
    visitor.button("consent.camera").click()
    visitor.sees_the_problem("denied")
    visitor.button("error.retry").click()
    visitor.page.wait_for_function("asked.length === 2")
    visitor.sees_the_problem("denied")
    visitor.button("error.restart").click()
    visitor.chooses(recording)  # there is another way
    visitor.sees_the_result()


def test_a_camera_that_is_unplugged(come: Come) -> None:
    """While it is looked at, and while it records."""
    visitor = come()
    visitor.comes()
    visitor.turns_the_camera_on()
    visitor.waits_until_ready()
    visitor.page.evaluate(UNPLUG)
    visitor.sees_the_problem("denied")
    assert visitor.camera_is_off()
    visitor.button("error.retry").click()
    visitor.waits_until_ready()
    visitor.button("check.go").click()
    visitor.button("record.start").click()
    visitor.is_told("record.now")
    visitor.page.evaluate(UNPLUG)
    visitor.sees_the_problem("denied")
    assert visitor.camera_is_off()


def test_a_person_who_does_not_answer_the_browser_can_go_back(come: Come) -> None:
    """A camera that is allowed afterwards is switched off at once."""
    visitor = come()
    visitor.page.add_init_script(UNANSWERED)
    visitor.comes()
    visitor.turns_the_camera_on()
    visitor.is_told("check.asking")
    visitor.button("back").click()
    expect(visitor.heading("consent.title")).to_be_focused()
    visitor.page.evaluate("answer()")
    visitor.page.wait_for_function(
        """() => streams.length === 1
            && streams[0].getTracks().every((track) => track.readyState === "ended")"""
    )


def test_texts_that_cannot_be_loaded_are_not_awaited_for_ever(come: Come) -> None:
    visitor = come()
    visitor.complaints.expect(BROKEN)
    visitor.page.route("**/texts/en.json", lambda route: route.abort())
    visitor.page.goto(visitor.url)
    expect(visitor.page.get_by_text("The page could not be loaded.")).to_be_visible()


def test_a_part_of_the_page_that_cannot_be_loaded_is_told_before_anything_is_recorded(
    come: Come,
) -> None:
    visitor = come()
    visitor.complaints.expect(BROKEN)
    visitor.page.route("**/static/result.js", lambda route: route.abort())
    visitor.comes()
    visitor.agrees()
    visitor.button("consent.camera").click()
    visitor.sees_the_problem("page")
    assert visitor.asked() == []
    visitor.button("error.restart").click()
    expect(visitor.heading("consent.title")).to_be_focused()


@pytest.mark.parametrize("lang", ["en", "es"])
def test_a_line_that_is_cut_in_mid_upload_is_no_loss(
    come: Come, server: Server, recording: dict[str, Any], lang: str
) -> None:
    assert len(recording["buffer"]) > MIDDLE
    with Wire(server.port) as wire:
        visitor = come(lang=lang, url=wire.url)
        visitor.complaints.expect(BROKEN)
        visitor.comes()
        wire.cut_uploads(after=MIDDLE)
        visitor.chooses(recording)
        visitor.is_told("stage.retrying")
        wire.mend()
        visitor.sees_the_result()
        assert wire.cuts > 0


def test_a_line_that_stays_cut_is_told_and_the_same_job_is_sent_again(
    come: Come, server: Server, recording: dict[str, Any]
) -> None:
    with Wire(server.port) as wire:
        visitor = come(url=wire.url)
        visitor.complaints.expect(BROKEN)
        keys: list[str | None] = []
        visitor.page.on("request", lambda sent: keys.append(sent.headers.get("idempotency-key")))
        visitor.comes()
        wire.cut_uploads(after=MIDDLE)
        visitor.chooses(recording)
        visitor.sees_the_problem("network")
        assert len([key for key in keys if key]) == 4, "once, and three times again"
        wire.mend()
        visitor.button("error.retry").click()
        visitor.sees_the_result()
    assert len({key for key in keys if key}) == 1


def test_a_service_that_dies_in_mid_analysis_finishes_it_all_the_same(
    come: Come, serve: Callable[..., Server], recording: dict[str, Any]
) -> None:
    server = serve()
    gate = Gate(server.data)
    visitor = come(url=address(server))
    visitor.complaints.expect(BROKEN)
    visitor.comes()
    with gate.held("syncnet"):
        visitor.chooses(recording)
        visitor.is_told("stage.syncnet")
        os.kill(server.worker(), signal.SIGKILL)
    visitor.sees_the_result()


def test_a_slow_job_shows_its_stages_and_is_cancelled(
    come: Come, server: Server, gate: Gate, recording: dict[str, Any]
) -> None:
    visitor = come()
    visitor.comes()
    with gate.held("efficientnet"):
        with gate.held("find_faces"):
            job = visitor.job(lambda: visitor.chooses(recording))
            visitor.is_told("stage.find_faces")
            assert_at(visitor, "find_faces")
            assert server.client.get(f"/jobs/{job}").json()["stage"] == "find_faces"
        visitor.is_told("stage.efficientnet")
        assert_at(visitor, "efficientnet")
        visitor.button("cancel").click()
        visitor.is_told("send.cancelled")
        expect(visitor.heading("consent.title")).to_be_visible()
        assert server.client.get(f"/jobs/{job}").status_code == 410
    expect(visitor.page.get_by_role("checkbox")).not_to_be_checked()


def assert_at(visitor: Visitor, stage: str) -> None:
    """The list of stages marks this one, and says that those before are done."""
    items = visitor.page.get_by_role("listitem")
    now = items.filter(has_text=visitor.t(f"stage.{stage}"))
    expect(now).to_have_attribute("aria-current", "step")
    for before in STAGES[: STAGES.index(stage)]:
        done = items.filter(has_text=visitor.t(f"stage.{before}"))
        expect(done).to_contain_text(visitor.t("stage.done"))
        expect(done).not_to_have_attribute("aria-current", "step")


def test_an_upload_is_cancelled(come: Come, server: Server, recording: dict[str, Any]) -> None:
    with Wire(server.port) as wire:
        visitor = come(url=wire.url)
        visitor.complaints.expect(BROKEN)
        visitor.comes()
        wire.cut_uploads(after=MIDDLE)
        visitor.chooses(recording)
        visitor.is_told("stage.retrying")
        visitor.button("cancel").click()
        visitor.is_told("send.cancelled")
    assert server.stored() == []


def test_413(come: Come, serve: Callable[..., Server], recording: dict[str, Any]) -> None:
    """A file is looked at before it is sent; a recording is sent, and refused by the service."""
    server = serve(MAX_VIDEO_SIZE_MB=0.02)
    visitor = come(url=address(server))
    sent: list[str] = []
    visitor.page.on("request", lambda r: sent.append(r.url) if r.method == "POST" else None)
    visitor.complaints.expect("status of 413")
    visitor.comes()
    expect(visitor.page.get_by_text("20.5 kB")).to_be_visible()
    visitor.chooses(recording)
    visitor.sees_the_problem("too_large")
    assert sent == []
    expect(visitor.button("error.retry")).to_be_hidden()
    visitor.button("error.restart").click()
    visitor.turns_the_camera_on()
    visitor.records()
    visitor.sees_the_problem("too_large")
    assert len(sent) == 1


@pytest.mark.parametrize("lang", ["en", "es"])
def test_422(come: Come, tmp_path: Path, lang: str) -> None:
    """Nothing can be measured: what to do is said, in the reader's language."""
    visitor = come(lang=lang)
    visitor.comes()
    visitor.chooses(made(tmp_path, seconds=2.0, no_face=True))
    visitor.sees_the_problem("no_face")
    visitor.sees("error.request")
    visitor.button("error.restart").click()
    expect(visitor.heading("consent.title")).to_be_visible()


def test_what_is_no_video(come: Come) -> None:
    visitor = come()
    visitor.comes()
    visitor.chooses(file(b"no video at all"))
    visitor.sees_the_problem("unsupported_media")


def test_what_cannot_be_judged_says_so_beside_what_can(come: Come, tmp_path: Path) -> None:
    """A still picture with a voice: the face has a score, and the answer is inconclusive."""
    visitor = come()
    visitor.comes()
    visitor.chooses(made(tmp_path, still=True))
    visitor.sees_the_result()
    for key in ("inconclusive.title", "inconclusive.means", "reason.INCONCLUSIVE"):
        visitor.sees(key)


def test_429_is_waited_for_then_told_then_tried_again(
    come: Come, serve: Callable[..., Server], recording: dict[str, Any]
) -> None:
    server = serve(MAX_QUEUE_PER_KEY=1)
    gate = Gate(server.data)
    visitor = come(url=address(server))
    visitor.complaints.expect("status of 429")
    waits: list[str | None] = []
    visitor.page.on(
        "response",
        lambda r: waits.append(r.headers.get("retry-after")) if r.status == 429 else None,
    )
    with gate.held("decode"):
        server.post(recording["buffer"], url="/score?async=1")
        visitor.comes()
        visitor.chooses(recording)
        visitor.is_told("stage.waiting")
        visitor.sees_the_problem("too_many_jobs")
        assert len(waits) == 4, "once, and three times again"
        assert all(wait and int(wait) > 0 for wait in waits)
        visitor.button("error.retry").click()
        visitor.is_told("stage.waiting")
    visitor.sees_the_result()


def test_401_asks_for_an_access_code(come: Come, locked: Server, recording: dict[str, Any]) -> None:
    visitor = come(url=address(locked))
    visitor.complaints.expect("status of 401")
    visitor.comes()
    visitor.chooses(recording)
    visitor.sees_the_problem("unauthorized")
    gives_the_code(visitor, "a key that is not theirs")
    visitor.sees_the_problem("unauthorized")
    gives_the_code(visitor, KEY)
    visitor.sees_the_result()
    kept = visitor.page.evaluate("[JSON.stringify(localStorage), document.cookie]")
    assert KEY not in "".join(kept)
    visitor.button("keep.again").click()
    visitor.chooses(recording)
    visitor.sees_the_result()  # asked for once in a tab


def test_an_access_code_is_good_where_nothing_can_be_stored(
    come: Come, locked: Server, recording: dict[str, Any]
) -> None:
    visitor = come(url=address(locked))
    visitor.complaints.expect("status of 401")
    visitor.page.add_init_script("Storage.prototype.setItem = () => { throw new Error('full'); };")
    visitor.comes()
    visitor.chooses(recording)
    visitor.sees_the_problem("unauthorized")
    gives_the_code(visitor, KEY)
    visitor.sees_the_result()


def gives_the_code(visitor: Visitor, code: str) -> None:
    visitor.page.get_by_label(visitor.t("error.code.label")).fill(code)
    visitor.button("error.code.send").click()


def test_a_token_in_the_address_is_good_for_its_uploads(
    come: Come, locked: Server, recording: dict[str, Any]
) -> None:
    answer = locked.client.post(
        "/tokens", json={"session_id": "visit-8"}, headers={"Authorization": f"Bearer {KEY}"}
    )
    assert answer.status_code == 201, answer.text
    visitor = come(url=address(locked))
    visitor.complaints.expect("status of 403")
    visitor.comes(f"/#token={answer.json()['token']}")
    assert visitor.page.evaluate("location.href") == address(locked) + "/"
    job = visitor.job(lambda: visitor.chooses(recording))
    visitor.sees_the_result()
    with_key = {"Authorization": f"Bearer {KEY}"}
    verdict = locked.client.get(f"/jobs/{job}", headers=with_key).json()["result"]
    assert verdict["session_id"] == "visit-8"
    visitor.button("heat.ask").click()
    visitor.is_told("heat.refused")
    expect(visitor.button("heat.ask")).to_have_count(0)
    visitor.button("keep.again").click()
    visitor.chooses(recording)
    visitor.sees_the_problem("token_used_up")
    gives_the_code(visitor, KEY)
    visitor.sees_the_result()


def test_a_browser_that_cannot_record_can_still_send_a_file(
    come: Come, recording: dict[str, Any]
) -> None:
    visitor = come()
    visitor.page.add_init_script("delete globalThis.MediaRecorder;")
    visitor.comes()
    visitor.agrees()
    visitor.button("consent.camera").click()
    visitor.sees_the_problem("unsupported")
    visitor.button("error.restart").click()
    visitor.chooses(recording)
    visitor.sees_the_result()
