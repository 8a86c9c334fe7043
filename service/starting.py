"""The start: what settings name and is not here is found by it, not by the first recording, and who
started the service by hand is told where its page is."""

import subprocess
import sys
from pathlib import Path

from service.settings import Settings, SettingsError

_CUDA = "import sys, torch; sys.exit(not torch.cuda.is_available())"


def check_networks(settings: Settings, *, scores: bool) -> None:
    """Raises SettingsError where a file or folder of weights is not there, or the networks are to
    run on a GPU and there is none. scores: whether recordings are scored on this machine."""
    _check_weights(settings)
    if scores and settings.device == "cuda":
        _check_cuda()


def _check_weights(settings: Settings) -> None:
    """Whether they are there; files are read, and checked, when they are loaded."""
    if settings.models_dir is not None and not settings.models_dir.is_dir():
        raise SettingsError(_missing("MODELS_DIR", settings.models_dir, "folder"))
    for name in ("s3fd_model_path", "syncnet_model_path", "efficientnet_model_path"):
        path: Path | None = getattr(settings, name)
        if path is not None and not path.is_file():
            raise SettingsError(_missing(name.upper(), path, "file"))


def _check_cuda() -> None:
    """Asks a process of its own: the service imports no torch, whose CUDA outlives no fork."""
    asked = subprocess.run(  # noqa: S603 - this interpreter, our own words
        [sys.executable, "-c", _CUDA], check=False, stderr=subprocess.DEVNULL
    )
    if asked.returncode:
        raise SettingsError(
            "settings: DEVICE=cuda: there is none here, or this torch has no use for it; set it "
            "to auto or cpu"
        )


def announcement(listens_on: str) -> str:
    """One line for people. listens_on: a URL without a path; of all addresses of this machine that
    one is named from which browsers hand out camera and microphone without HTTPS."""
    here = listens_on.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
    return f"The page is at {here}/ and Ctrl+C stops the service."


def _missing(name: str, path: Path, kind: str) -> str:
    return f"settings: {name}={path}: there is no such {kind}"
