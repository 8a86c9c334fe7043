"""What several test modules share: sample clips (made once), and the media beside the checkout."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import torch

from evaluation.samples import BROWSER, talking_clip

if "PYTEST_XDIST_WORKER" in os.environ:  # side by side, each with a thread; so their children
    os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1 if "PYTEST_XDIST_WORKER" in os.environ else 2)

# How long an example takes says more about the machine than about the code.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

SHARED = Path(__file__).resolve().parents[2] / "shared"

SPECS: dict[str, dict[str, Any]] = {
    "synced": {"container": "mp4-h264-aac"},
    "browser": BROWSER,
    "dubbed": {"container": "mp4-h264-aac", "dubbed": True},
}


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """`clip(name)`: the path of a four-second recording of `SPECS`, made when first asked for."""
    folder = tmp_path_factory.mktemp("clips")

    def make(name: str) -> Path:
        path = folder / name
        if not path.exists():
            talking_clip(path, **SPECS[name])
        return path

    return make


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of media and reference outputs; skips where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("the media beside the checkout are not here")
    return SHARED
