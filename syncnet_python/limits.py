"""What a recording may hold, counted while it is decoded: headers are not believed."""

from dataclasses import dataclass

from syncnet_python.results import FRAME_RATE

_SLACK_S = 1  # what a last frame or the end of the sound may add to the duration


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one recording. Every one counts what was decoded.

    duration_s: seconds of picture or sound; frames_per_second: decoded frames for each of these
    seconds; frame_pixels: width x height of a frame as stored; frame_side: smallest width or
    height in which a face can be found; sound_values: decoded sound values (samples x channels)
    for each second; streams: of any kind in one file.
    kept_pixels: larger frames are scaled down to about this many pixels before they are kept
    (None keeps them as they are, which the published figures need); kept_bytes: all of them
    together. decode_s: wall-clock seconds that an isolated decoder may take.
    """

    duration_s: float = 30.0
    frame_pixels: int = 3840 * 2160
    kept_pixels: int | None = 640 * 480
    frame_side: int = 32
    frames_per_second: int = 120
    sound_values: int = 192_000 * 8
    streams: int = 8
    kept_bytes: int = 2_500_000_000
    decode_s: float = 10.0

    @property
    def frames(self) -> int:
        """Most frames that are decoded."""
        return round((self.duration_s + _SLACK_S) * self.frames_per_second)

    @property
    def steps(self) -> int:
        """Most frames at 25 a second."""
        return round((self.duration_s + 2 * _SLACK_S) * FRAME_RATE)

    @property
    def sound(self) -> int:
        """Most sound values that are decoded."""
        return round((self.duration_s + _SLACK_S) * self.sound_values)
