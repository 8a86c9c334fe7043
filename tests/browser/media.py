"""A camera and a microphone that Chromium plays from files: a person who speaks, recorded by us.

Chromium reads pictures as JPEGs one behind the other, thirty a second, and sound as WAVE; both
begin anew where they end. They are cut to the same length, so that lips and voice stay together.
"""

import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from evaluation.samples import talking_clip

FPS = 30  # what Chromium plays such a file at
SAMPLE_RATE = 48_000
JPEG_QUALITY = 90


@dataclass(frozen=True, slots=True)
class FakeCamera:
    """video: JPEGs of 640x480 pixels, one behind the other; audio: 16 bits, 48 kHz, mono."""

    video: Path
    audio: Path

    def arguments(self) -> list[str]:
        """What Chromium is started with to have this camera and microphone, and no other."""
        return [
            "--use-fake-device-for-media-stream",
            f"--use-file-for-fake-video-capture={self.video}",
            f"--use-file-for-fake-audio-capture={self.audio}",
        ]


def fake_camera(folder: Path, *, seconds: float = 8.0, **fields: Any) -> FakeCamera:
    """Write both files into `folder`; fields: of `evaluation.samples.ClipSpec`."""
    clip = folder / "clip.mkv"
    talking_clip(clip, container="mkv-h264-flac", fps=FPS, seconds=seconds, **fields)
    camera = FakeCamera(folder / "camera.mjpeg", folder / "microphone.wav")
    pictures = _write_pictures(clip, camera.video)
    _write_sound(clip, camera.audio, samples=pictures * SAMPLE_RATE // FPS)
    return camera


def _write_pictures(clip: Path, path: Path) -> int:
    """The number of pictures."""
    count = 0
    with av.open(str(clip)) as container, path.open("wb") as file:
        for count, frame in enumerate(container.decode(video=0), 1):  # noqa: B007
            picture = frame.to_ndarray(format="bgr24")
            _, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
            file.write(jpeg.tobytes())
    return count


def _write_sound(clip: Path, path: Path, *, samples: int) -> None:
    with av.open(str(clip)) as container:
        resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
        parts: list[NDArray[np.int16]] = [
            resampled.to_ndarray()[0].astype(np.int16)
            for frame in container.decode(audio=0)
            for resampled in resampler.resample(frame)
        ]
    sound = np.concatenate(parts)[:samples]
    sound = np.pad(sound, (0, samples - sound.size))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(sound.tobytes())
