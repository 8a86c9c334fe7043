"""The bundled sync network's shapes and invariances, with weights drawn at random."""

import numpy as np
import pytest
import torch
from torch import Tensor

from syncnet_python.networks.folding import fold_batch_norms
from syncnet_python.networks.syncnet_fcn import EMBEDDING_DIM, SyncNetFCN, brightness


@pytest.fixture(scope="module")
def network() -> SyncNetFCN:
    torch.manual_seed(3)
    network = SyncNetFCN()
    with torch.no_grad():
        for name, buffer in network.named_buffers():
            if name.endswith("running_var"):
                buffer.uniform_(0.5, 2)
            elif name.endswith("running_mean"):
                buffer.normal_(0, 0.2)
    return network.eval()


@pytest.fixture
def picture() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    shapes = torch.randn(2, 60, 40, 2, generator=generator) * 0.05
    mouths = torch.rand(2, 60, 48, 48, generator=generator) * 255
    return shapes, mouths


@pytest.fixture
def mels() -> Tensor:
    return 8 + 2 * torch.randn(2, 240, 40, generator=torch.Generator().manual_seed(6))


@torch.inference_mode()
def test_embeds_any_length_to_unit_vectors(network: SyncNetFCN) -> None:
    for frames in (1, 2, 25, 101):
        lips = network.visual(torch.randn(1, frames, 40, 2), torch.rand(1, frames, 48, 48) * 255)
        voice = network.audio(torch.randn(1, 4 * frames, 40))
        for embedding in (lips, voice):
            assert embedding.shape == (1, frames, EMBEDDING_DIM)
            torch.testing.assert_close(embedding.norm(dim=2), torch.ones(1, frames))


@torch.inference_mode()
def test_silence_and_a_black_picture_give_finite_numbers(network: SyncNetFCN) -> None:
    lips = network.visual(torch.zeros(1, 30, 40, 2), torch.zeros(1, 30, 48, 48))
    voice = network.audio(torch.full((1, 120, 40), -36.0))
    assert torch.isfinite(lips).all()
    assert torch.isfinite(voice).all()


@torch.inference_mode()
def test_loudness_light_and_the_mouths_place_do_not_matter(
    network: SyncNetFCN, picture: tuple[Tensor, Tensor], mels: Tensor
) -> None:
    shapes, mouths = picture
    darker = network.visual(shapes + 0.7, mouths * 0.5 + 20)
    torch.testing.assert_close(darker, network.visual(shapes, mouths), atol=2e-3, rtol=0)
    louder = network.audio(mels + 3)
    torch.testing.assert_close(louder, network.audio(mels), atol=1e-4, rtol=0)


@torch.inference_mode()
def test_is_convolutional_in_time(
    network: SyncNetFCN, picture: tuple[Tensor, Tensor], mels: Tensor
) -> None:
    """Past its reach, a frame's embedding does not depend on where the recording begins.

    The running normalisation reaches further than the convolutions, so the inputs repeat.
    """
    shapes, mouths = (part.repeat(1, 6, *[1] * (part.ndim - 2)) for part in picture)
    lips = network.visual(shapes, mouths)
    later = network.visual(shapes[:, 60:], mouths[:, 60:])
    torch.testing.assert_close(later[:, 80:200], lips[:, 140:260], atol=1e-4, rtol=0)
    sound = mels.repeat(1, 6, 1)
    voice = network.audio(sound)
    late_voice = network.audio(sound[:, 240:])
    torch.testing.assert_close(late_voice[:, 80:200], voice[:, 140:260], atol=1e-4, rtol=0)


@torch.inference_mode()
def test_chunks_of_crops_give_what_all_at_once_gives(
    network: SyncNetFCN, picture: tuple[Tensor, Tensor]
) -> None:
    shapes, mouths = picture
    mean, deviation = brightness(mouths)
    looks = [
        network.looks(mouths[:, part], mean[:, part], deviation[:, part])
        for part in (slice(0, 7), slice(7, 40), slice(40, 60))
    ]
    chunked = network.visual_from_looks(shapes, torch.cat(looks, dim=1))
    torch.testing.assert_close(chunked, network.visual(shapes, mouths), atol=1e-5, rtol=0)


@torch.inference_mode()
def test_folding_changes_nothing(
    network: SyncNetFCN, picture: tuple[Tensor, Tensor], mels: Tensor
) -> None:
    folded = fold_batch_norms(network)
    assert not any("BatchNorm" in type(module).__name__ for module in folded.modules())
    torch.testing.assert_close(folded.visual(*picture), network.visual(*picture))
    torch.testing.assert_close(folded.audio(mels), network.audio(mels))


def test_is_small(network: SyncNetFCN) -> None:
    assert sum(np.prod(p.shape) for p in network.parameters()) <= 2_000_000
