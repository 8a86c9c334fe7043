"""One flipped byte in a weights file: refused at load, by its name."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from syncnet_python import weights
from syncnet_python.errors import WeightsCorrupt

pytestmark = pytest.mark.slow

PRESENT = [name for name in weights.registry() if weights.locate(name)]


@pytest.mark.parametrize("name", PRESENT)
def test_a_flipped_byte_is_found(
    tmp_path: Path, figures: Callable[..., None], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    import torch

    whole = weights.locate(name)
    assert whole
    path = Path(shutil.copy(whole, tmp_path))
    size = path.stat().st_size
    assert weights.load(name, tmp_path)[1].sha256 == weights.sha256_of(path)
    monkeypatch.setattr(torch, "load", pytest.fail)  # nothing is parsed before it is verified
    places = (0, size // 2, size - 1)
    for place in places:
        data = bytearray(whole.read_bytes())
        data[place] ^= 1
        path.write_bytes(data)
        with pytest.raises(WeightsCorrupt, match=path.name):
            weights.load(name, tmp_path)
    figures(name, file_mb=round(size / 1e6, 2), flips=len(places), refused=len(places))


def test_every_bundled_file_is_there() -> None:
    bundled = {name for name, row in weights.registry().items() if row.origin == "bundled"}
    assert bundled <= set(PRESENT)
