"""Somebody in front of the page, who knows it by what it says and by nothing else."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import (
    BrowserContext,
    ConsoleMessage,
    Locator,
    Page,
    Response,
    WebError,
    expect,
)
from serving import ROOT

TEXTS = ROOT / "service" / "page" / "static" / "texts"

LOCALES = {"en": "en-GB", "es": "es-MX"}
"""What a browser of somebody who reads that language asks for."""

SCORED_MS = 120_000
"""Longest that an analysis may take; nothing is gained by a shorter one on a busy machine."""

# Before any script of the page: what it asks of the camera, and what its policy forbids it.
SPY = """
globalThis.asked = [];
globalThis.streams = [];
const devices = navigator.mediaDevices;
const open = devices?.getUserMedia.bind(devices);
if (devices) devices.getUserMedia = async (wished) => {
  asked.push(wished);
  const stream = await open(wished);
  streams.push(stream);
  return stream;
};
addEventListener("securitypolicyviolation", (event) =>
  console.error("against the policy:", event.violatedDirective, event.blockedURI));
"""

_DROP = """([name, type, base64]) => {
    const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    const carried = new DataTransfer();
    carried.items.add(new File([bytes], name, { type }));
    return carried;
}"""


class Texts:
    """What the page says in a language: `texts("record.starts", n=3)`."""

    def __init__(self, lang: str) -> None:
        self.table: dict[str, str] = json.loads((TEXTS / f"{lang}.json").read_text())

    def __call__(self, key: str, **values: object) -> str:
        text = self.table[key]
        for name, value in values.items():
            text = text.replace(f"{{{name}}}", str(value))
        return text

    def like(self, key: str) -> re.Pattern[str]:
        """The text with anything in its places."""
        parts = re.split(r"\{\w+\}", self.table[key])
        return re.compile(".+".join(map(re.escape, parts)))


class Complaints:
    """What a browser complains of: errors in the console, exceptions, breaches of the policy."""

    def __init__(self, context: BrowserContext) -> None:
        self._heard: list[str] = []
        self._expected: list[re.Pattern[str]] = []
        context.on("console", self._console)
        context.on("weberror", self._exception)

    def expect(self, *patterns: str) -> None:
        """Regular expressions of what belongs to the test; a refusal is told as
        `status of 413`, a broken connection as `net::ERR_`."""
        self._expected += map(re.compile, patterns)

    def unexpected(self) -> list[str]:
        return [
            line for line in self._heard if not any(some.search(line) for some in self._expected)
        ]

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self._heard.append(f"{message.text} ({message.location['url']})")

    def _exception(self, error: WebError) -> None:
        self._heard.append(str(error.error))


class Visitor:
    """On the page at `url`, reading it in `lang`; `page` is for what is not said in words."""

    def __init__(self, context: BrowserContext, url: str, lang: str) -> None:
        self.complaints = Complaints(context)
        context.add_init_script(SPY)
        self.page: Page = context.new_page()
        self.url = url
        self.t = Texts(lang)

    def comes(self, path: str = "/") -> None:
        self.page.goto(self.url + path)
        expect(self.heading("consent.title")).to_be_visible()

    def button(self, key: str) -> Locator:
        return self.page.get_by_role("button", name=self.t(key), exact=True)

    def heading(self, key: str) -> Locator:
        return self.page.get_by_role("heading", name=self.t(key), exact=True)

    def sees(self, key: str) -> None:
        """That text, wherever it stands."""
        expect(self.page.get_by_text(self.t.like(key)).first).to_be_visible()

    def is_told(self, key: str) -> None:
        """By the page's status line, which a screen reader reads aloud."""
        status = self.page.get_by_role("status").filter(has_text=self.t.like(key))
        expect(status.first).to_be_visible()

    def asked(self) -> list[dict[str, Any]]:
        """What the page has asked of camera and microphone."""
        wishes: list[dict[str, Any]] = self.page.evaluate("asked")
        return wishes

    def camera_is_off(self) -> bool:
        off: bool = self.page.evaluate(
            'streams.every((s) => s.getTracks().every((t) => t.readyState === "ended"))'
        )
        return off

    def agrees(self) -> None:
        self.page.get_by_role("checkbox", name=self.t("consent.agree")).check()

    def turns_the_camera_on(self) -> None:
        self.agrees()
        self.button("consent.camera").click()
        expect(self.heading("check.title")).to_be_visible()

    def waits_until_ready(self) -> None:
        """One face in good light, and a voice."""
        expect(self.button("check.go")).to_be_visible(timeout=60_000)

    def records(self) -> None:
        """From the check to the end of the recording."""
        self.waits_until_ready()
        self.button("check.go").click()
        expect(self.heading("record.title")).to_be_visible()
        self.button("record.start").click()
        expect(self.heading("record.title")).to_be_hidden(timeout=30_000)

    def chooses(self, file: Path | dict[str, Any]) -> None:
        """A recording from the disk: its path, or its name, mimeType and buffer."""
        self.agrees()
        with self.page.expect_file_chooser() as chooser:
            self.button("consent.file").click()
        chooser.value.set_files(file)  # type: ignore[arg-type]

    def drops(self, name: str, base64: str) -> None:
        """The same by drag and drop, onto the words that invite to it."""
        carried = self.page.evaluate_handle(_DROP, [name, "video/webm", base64])
        invitation = self.page.get_by_text(self.t.like("consent.drop"))
        for event in ("dragenter", "dragover", "drop"):
            invitation.dispatch_event(event, {"dataTransfer": carried})

    def sees_the_result(self) -> None:
        self._sees_the_end()
        expect(self.heading("result.title")).to_be_visible()

    def sees_the_problem(self, code: str) -> None:
        """What went wrong and what to do, read aloud at once."""
        self._sees_the_end()
        alert = self.page.get_by_role("alert").filter(has_text=self.t(f"problem.{code}"))
        expect(alert).to_be_visible()
        expect(alert).to_contain_text(self.t(f"advice.{code}"))

    def _sees_the_end(self) -> None:
        """Of the analysis, whatever it is."""
        ended = self.heading("result.title").or_(self.heading("error.title"))
        expect(ended).to_be_visible(timeout=SCORED_MS)

    def job(self, act: Callable[[], None]) -> str:
        """The id of the job that `act` leads to."""
        with self.page.expect_response(is_taken, timeout=SCORED_MS) as answer:
            act()
        job_id: str = answer.value.json()["job_id"]
        return job_id


def is_taken(response: Response) -> bool:
    """Whether the service has taken a recording on."""
    return response.status == 202 and response.url.endswith("/api/avsync/score")
