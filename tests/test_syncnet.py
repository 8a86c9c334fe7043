import copy

import numpy as np
import parity
import pytest
import torch
from parity.formula import clip

from syncnet_python.audio_features import mfcc
from syncnet_python.errors import WeightsCorrupt
from syncnet_python.networks.syncnet import SyncNet, build, lean


@pytest.fixture(scope="module")
def network() -> SyncNet:
    return build(parity.syncnet_state())


def test_parameters_carry_the_published_names() -> None:
    ours = {name: list(value.shape) for name, value in SyncNet().state_dict().items()}
    assert ours == parity.record("syncnet_v2_shapes")


@torch.inference_mode()
def test_towers_equal_the_originals(network: SyncNet) -> None:
    expected = parity.numbers("syncnet_formula")
    step = parity.record("syncnet_formula")["row_step"]
    video, audio = clip()
    windows = [0, step]
    frames = torch.from_numpy(video).permute(3, 0, 1, 2).float()
    visual = network.forward_lip(torch.stack([frames[:, i : i + 5] for i in windows]))
    assert parity.relative_error(visual.numpy(), expected["visual"][:2]) < 1e-4
    features = mfcc(audio).astype(np.float32)
    assert parity.relative_error(features, expected["mfcc"]) < 1e-5
    steps = [torch.from_numpy(features[None, :, 4 * i : 4 * i + 20]) for i in windows]
    sound = network.forward_audio(torch.stack(steps))
    assert parity.relative_error(sound.numpy(), expected["audio"][:2]) < 1e-4


@torch.inference_mode()
def test_a_lean_lip_tower_computes_the_same(network: SyncNet) -> None:
    windows = 255 * torch.rand(2, 3, 5, 224, 224, generator=torch.Generator().manual_seed(1))
    before = network.netcnnlip(windows).flatten(1)
    after = lean(network.netcnnlip)(windows.flatten(1, 2)).flatten(1)
    assert parity.relative_error(after.numpy(), before.numpy()) < 1e-5


@torch.inference_mode()
def test_a_lean_audio_tower_computes_the_same(network: SyncNet) -> None:
    windows = torch.randn(3, 1, 13, 20, generator=torch.Generator().manual_seed(2))
    before = network.netcnnaud(windows)
    after = lean(network.netcnnaud)(windows)
    assert parity.relative_error(after.numpy(), before.numpy()) < 1e-5


def test_a_tower_is_left_as_it_was(network: SyncNet) -> None:
    before = copy.deepcopy(network.netcnnaud.state_dict())
    lean(network.netcnnaud)
    after = network.netcnnaud.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(WeightsCorrupt, match=r"syncnet_v2\.model"):
        build(parity.s3fd_state())
