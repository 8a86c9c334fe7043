"""How much the pictures of a generated video differ from those of its reference: PSNR and SSIM.

Both videos are brought to 25 frames a second by presentation time, each from its own first
picture on, and compared frame by frame over the time they share. Few pictures are held at a time.

PSNR: 10 log10(255^2 / mean squared error) over all pixels and the three colours, decibels. SSIM:
Wang et al. 2004, as scikit-image computes it by default: windows of 7x7 pixels of equal weight,
sample covariance, K1 = 0.01, K2 = 0.03, mean over the image and the three colours.
"""

import csv
import io
import math
from collections import deque
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray
from skimage.metrics import mean_squared_error, structural_similarity

from syncnet_python import media
from syncnet_python.clocks import FrameClock
from syncnet_python.errors import SyncNetError, Undecodable
from syncnet_python.frames import Frames, Kept
from syncnet_python.results import FRAME_RATE
from syncnet_python.windows import DAY

SSIM_SIDE = 7
"""Pixels of SSIM's window; smaller frames have no SSIM."""

LIMITS = replace(DAY, kept_pixels=None, kept_bytes=1 << 62, frame_side=SSIM_SIDE)
METHOD = (
    "PSNR and SSIM of 8-bit colour frames at 25 a second, aligned by presentation time from each "
    "file's first picture; SSIM by scikit-image: uniform 7x7 windows, sample covariance, mean of "
    "three colours"
)

Image = NDArray[np.uint8]
Size = tuple[int, int]
Progress = Callable[[int], None]
"""Called with how many frames have been compared."""


class SizesDiffer(SyncNetError):
    """Frames of two sizes have no pixels to compare."""

    code = "sizes_differ"
    advice = "With --resize the generated frames are scaled to the reference's size."


@dataclass(frozen=True, slots=True)
class FrameQuality:
    """time_s: seconds from the first picture; psnr: decibels, None where the frames are identical
    and it has no bound; ssim: -1 to 1, 1 where they are identical."""

    time_s: float
    psnr: float | None
    ssim: float


@dataclass(frozen=True, slots=True)
class Resized:
    """size: width and height before; to: after; interpolation: how."""

    size: Size
    to: Size
    interpolation: str


@dataclass(frozen=True, slots=True)
class PictureQuality:
    """A generated video beside its reference.

    psnr: mean over the frames that are not identical, None where all are; psnr_of_mean_error:
    from the mean squared error of all compared frames, None where that is nought; ssim: mean over
    all compared frames; identical_frames: how many of them have no PSNR; reference_s,
    generated_s: how long either is, seconds; size: width and height compared.
    """

    psnr: float | None
    psnr_of_mean_error: float | None
    ssim: float
    identical_frames: int
    reference_s: float
    generated_s: float
    size: Size
    resized: Resized | None
    frames: tuple[FrameQuality, ...]

    @property
    def compared_s(self) -> float:
        return len(self.frames) / FRAME_RATE

    @property
    def same_length(self) -> bool:
        return self.reference_s == self.generated_s


def compare(
    reference: Path,
    generated: Path,
    *,
    resize: bool = False,
    progress: Progress = lambda compared: None,
) -> PictureQuality:
    """Decode both files side by side and compare their frames.

    resize: scale generated frames of another size to the reference's, instead of refusing them.
    Raises SizesDiffer, RecordingError.
    """
    frames: list[FrameQuality] = []
    errors: list[float] = []
    counts = [0, 0]
    size: Size = (0, 0)
    scaled: Resized | None = None
    with closing(pictures(reference)) as expected, closing(pictures(generated)) as made:
        for true, image in zip_longest(expected, made):
            counts[0] += true is not None
            counts[1] += image is not None
            if true is None or image is None:
                continue
            if not frames:
                size, scaled = _size(true), _resized(true, image, resize=resize)
            error, found = frame_quality(true, fitted(image, size), len(frames) / FRAME_RATE)
            errors.append(error)
            frames.append(found)
            progress(len(frames))
    differing = [frame.psnr for frame in frames if frame.psnr is not None]
    return PictureQuality(
        psnr=float(np.mean(differing)) if differing else None,
        psnr_of_mean_error=psnr(float(np.mean(errors))),
        ssim=float(np.mean([frame.ssim for frame in frames])),
        identical_frames=len(frames) - len(differing),
        reference_s=counts[0] / FRAME_RATE,
        generated_s=counts[1] / FRAME_RATE,
        size=size,
        resized=scaled,
        frames=tuple(frames),
    )


def as_json(found: PictureQuality, reference: str, generated: str) -> dict[str, Any]:
    """Everything as plain values, without a number that JSON does not have."""
    return {
        "reference": reference,
        "generated": generated,
        "method": METHOD,
        "compared_frames": len(found.frames),
        "compared_s": found.compared_s,
        **asdict(found),
    }


def as_csv(found: PictureQuality) -> str:
    """One row a frame; an empty PSNR has no bound."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("time_s", "psnr", "ssim"))
    for frame in found.frames:
        rows.writerow((frame.time_s, "" if frame.psnr is None else frame.psnr, frame.ssim))
    return text.getvalue()


TITLES = ("figure", "mean", "lowest", "at")


def as_rows(found: PictureQuality) -> list[tuple[str, ...]]:
    """The figures as text; columns as in `TITLES`."""
    rows: list[tuple[str, ...]] = []
    bounded = [(frame.psnr, frame.time_s) for frame in found.frames if frame.psnr is not None]
    if bounded:
        worst, time_s = min(bounded)
        rows.append(("PSNR", f"{found.psnr:.2f} dB", f"{worst:.2f} dB", f"{time_s:g} s"))
        rows.append(("PSNR of the mean error", f"{found.psnr_of_mean_error:.2f} dB", "", ""))
    least = min(found.frames, key=lambda frame: frame.ssim)
    rows.append(("SSIM", f"{found.ssim:.4f}", f"{least.ssim:.4f}", f"{least.time_s:g} s"))
    return rows


def remarks(found: PictureQuality) -> list[str]:
    """What the figures are of, and what must be known of them."""
    width, height = found.size
    said = [f"{len(found.frames)} frames of {width}x{height} pixels. {METHOD}."]
    if found.identical_frames:
        whose = "None has a PSNR" if found.psnr is None else "They are not in the mean PSNR"
        said.append(
            f"{found.identical_frames} of them are identical: their PSNR has no bound. {whose}."
        )
    if found.resized:
        before, how = "x".join(map(str, found.resized.size)), found.resized.interpolation
        said.append(f"Generated frames were scaled from {before} pixels ({how}).")
    if not found.same_length:
        said.append(
            f"The reference is {found.reference_s:g} s long and the generated video "
            f"{found.generated_s:g} s: only the first {found.compared_s:g} s are compared."
        )
    return said


def frame_quality(reference: Image, generated: Image, time_s: float) -> tuple[float, FrameQuality]:
    """Mean squared error, and the figures of two frames of one size, (height, width, 3) uint8."""
    error = float(mean_squared_error(reference, generated))
    ssim = structural_similarity(  # type: ignore[no-untyped-call]
        reference, generated, win_size=SSIM_SIDE, data_range=255, channel_axis=2
    )
    return error, FrameQuality(round(time_s, 3), psnr(error), float(ssim))


def psnr(error: float) -> float | None:
    """Decibels of a mean squared error of pixels 0-255; None for no error, which has no bound."""
    return 10 * math.log10(255.0**2 / error) if error > 0 else None


def fitted(image: Image, size: Size) -> Image:
    """The image at that width and height; the same one where it has them."""
    if _size(image) == size:
        return image
    _, interpolation = _interpolation(_size(image), size)
    return np.asarray(cv2.resize(image, size, interpolation=interpolation), np.uint8)


def pictures(path: Path) -> Generator[Image, None, None]:
    """Pictures as shown, (height, width, 3) uint8 BGR, 25 a second from the first one on, of which
    few are held at a time; the sound is passed over.

    Raises NotAVideo, Undecodable, NoVideo, TooLong, TooLargeFrame, TooSmallFrame, TooManyFrames,
    TooManyStreams, DecoderOverran.
    """
    waiting: deque[bytes] = deque()
    clock = FrameClock(LIMITS, waiting.append)
    shown = -1  # number of the picture that `image` is
    image: Image = np.empty((0, 0, 3), np.uint8)
    done = 0  # steps handed on

    def new() -> Generator[Image, None, None]:
        nonlocal shown, image, done
        while done < len(clock.steps):
            number = clock.steps[done]
            if number != shown:  # pictures that are kept are all shown, in order
                kept = Kept([waiting.popleft()], [clock.looks[number]], clock.size, [0])
                shown, image = number, Frames(kept, clock.turns).bgr(0)
            done += 1
            yield image

    with path.open("rb") as file, media.opened(file, LIMITS, needs_audio=False) as source:
        for frame in source.frames:
            if isinstance(frame, VideoFrame):
                clock.add(frame)
                yield from new()
        clock.finish()
        yield from new()
        if not done:
            raise Undecodable("no frame of the picture can be decoded")


def _size(image: Image) -> Size:
    return image.shape[1], image.shape[0]


def _resized(reference: Image, generated: Image, *, resize: bool) -> Resized | None:
    """How frames are brought to one size, None where they have it. Raises SizesDiffer."""
    there, here = _size(reference), _size(generated)
    if there == here:
        return None
    if not resize:
        sizes = [f"{width}x{height}" for width, height in (there, here)]
        raise SizesDiffer(f"the reference's frames are {sizes[0]} pixels, the generated {sizes[1]}")
    return Resized(here, there, _interpolation(here, there)[0])


def _interpolation(size: Size, to: Size) -> tuple[str, int]:
    """Area means where neither side grows, cubic splines where one does."""
    if to[0] <= size[0] and to[1] <= size[1]:
        return "area", cv2.INTER_AREA
    return "cubic", cv2.INTER_CUBIC
