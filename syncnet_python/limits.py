"""What a recording may hold, counted while it is decoded: headers are not believed."""

from dataclasses import dataclass

from syncnet_python.results import FRAME_RATE

PIXELS_4K = 3840 * 2160

_SLACK_S = 1  # what a last frame or the end of the sound may add to the duration


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one recording. Every one counts what was decoded.

    duration_s: seconds of picture or sound; frames_per_second: decoded frames for each of these
    seconds; frame_pixels: width x height of a frame as stored; frame_side: smallest width or
    height in which a face can be found; sound_values: decoded sound values (samples x channels)
    for each second; streams: of any kind in one file.
    kept_pixels: larger frames are scaled down to about this many pixels before they are kept
    (None keeps them as they are, which the published figures need); kept_bytes: most bytes of all
    of them together. decode_s, file_bytes: wall-clock seconds that an isolated decoder may take,
    and the largest file that it opens (None for any).
    """

    duration_s: float = 30.0
    frame_pixels: int = PIXELS_4K
    kept_pixels: int | None = 640 * 480
    frame_side: int = 32
    frames_per_second: int = 120
    sound_values: int = 192_000 * 8
    streams: int = 8
    kept_bytes: int = 2_500_000_000
    decode_s: float = 10.0
    file_bytes: int | None = None

    @property
    def frames(self) -> int:
        """Most frames that are decoded."""
        return round((self.duration_s + _SLACK_S) * self.frames_per_second)

    @property
    def steps(self) -> int:
        """Most frames at 25 a second."""
        return round((self.duration_s + 2 * _SLACK_S) * FRAME_RATE)

    @property
    def pictures(self) -> int:
        """Most bytes of pictures that are kept: a tenth more than frames of `kept_pixels` at every
        step, as sides are rounded when frames are scaled."""
        if self.kept_pixels is None:
            return self.kept_bytes
        return min(self.kept_bytes, self.steps * round(1.1 * 1.5 * self.kept_pixels))

    @property
    def sound(self) -> int:
        """Most sound values that are decoded."""
        return round((self.duration_s + _SLACK_S) * self.sound_values)
