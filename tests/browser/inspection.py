"""What is looked at on every step: its accessibility, its width, its picture."""

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from PIL import Image
from playwright.sync_api import Locator, Page
from scipy.spatial import cKDTree

WIDTHS = {320: 640, 768: 1024, 1280: 800}
"""Of a window, and its height: a phone, a tablet, a desk."""

MAX_PNG = 200_000
_FLAT = 32

TAGS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")

_MOVING = """() => document.getAnimations()
    .filter((a) => a.playState === "running" && a.effect.getComputedTiming().activeDuration > 10)
    .map((a) => a.animationName ?? a.transitionProperty ?? "script")"""

_FOCUS_SHOWS = """(element) => {
    const style = getComputedStyle(element);
    return element.matches(":focus-visible")
        && ((style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1)
            || style.boxShadow !== "none");
}"""


def findings(page: Page) -> list[str]:
    """What axe-core objects to: the rule and the element, one line each."""
    options: dict[str, Any] = {"runOnly": {"type": "tag", "values": list(TAGS)}}
    told = Axe().run(page, options=options).response["violations"]
    return [
        f"{rule['id']}: {node['target']}: {node['failureSummary']}"
        for rule in told
        for node in rule["nodes"]
    ]


def findings_in_light_and_dark(page: Page) -> list[str]:
    found = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        found += [f"{scheme}: {finding}" for finding in findings(page)]
    page.emulate_media(color_scheme="light")
    return found


def overflow(page: Page) -> int:
    """Pixels by which the page is wider than its window."""
    wide: int = page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    return wide


def moving(page: Page) -> list[str]:
    """Names of the animations that run."""
    names: list[str] = page.evaluate(_MOVING)
    return names


def photograph(page: Page, step: str, folder: Path, *, whole: bool = True) -> dict[int, int]:
    """Write `<step>-<width>.png` for every width, of the whole page or of its beginning; by width,
    how many pixels it is too wide."""
    before = page.viewport_size
    too_wide = {}
    for width, height in WIDTHS.items():
        page.set_viewport_size({"width": width, "height": height})
        too_wide[width] = overflow(page)
        png = small(page.screenshot(full_page=whole, animations="disabled", caret="hide"))
        assert len(png) < MAX_PNG, f"{step} at {width} pixels"
        (folder / f"{step}-{width}.png").write_bytes(png)
    if before:
        page.set_viewport_size(before)
    return too_wide


def small(png: bytes) -> bytes:
    """The same picture without a camera's noise, in as many colours as fit into MAX_PNG bytes.

    What fills most of a page keeps its very colour; the rest of the palette is spread over all that
    there is, so that a thin line has its own beside a photograph."""
    picture = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
    quiet = cv2.bilateralFilter(picture, d=5, sigmaColor=12, sigmaSpace=5)
    codes = quiet.astype(np.int32) @ (1 << 16, 1 << 8, 1)  # one number sorts faster than three
    seen, where, times = np.unique(codes, return_inverse=True, return_counts=True)
    seen = np.stack([seen >> 16, seen >> 8 & 255, seen & 255], axis=1)
    most = seen[np.argsort(times)[-_FLAT:]]
    for colours in (256, 192, 128, 96, 64):
        spread = Image.fromarray(quiet).quantize(
            colours - len(most), method=Image.Quantize.MAXCOVERAGE
        )
        palette = np.vstack([most, np.asarray(spread.getpalette()).reshape(-1, 3)]).astype(np.uint8)
        _, nearest = cKDTree(palette).query(seen)
        indices = nearest[where].astype(np.uint8).reshape(picture.shape[:2])
        fewer = Image.fromarray(indices, "P")
        fewer.putpalette(palette.tobytes())
        packed = io.BytesIO()
        fewer.save(packed, "PNG", optimize=True)
        if packed.tell() < MAX_PNG:
            break
    return packed.getvalue()


def tab_to(page: Page, target: Locator, most: int = 80) -> None:
    """Press Tab until `target` has the focus, and see that this can be seen."""
    for _ in range(most):
        if target.evaluate("(element) => element.matches(':focus')"):
            break
        page.keyboard.press("Tab")
    else:
        raise AssertionError(f"Tab does not come to {target}")
    assert target.evaluate(_FOCUS_SHOWS), f"the focus does not show on {target}"
