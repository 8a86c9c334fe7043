import torch
from torch import nn

from syncnet_python.networks.face_finder import FaceFinder
from syncnet_python.networks.face_landmarks import FaceLandmarks
from syncnet_python.networks.folding import fold_batch_norms


def stirred(network: nn.Module) -> nn.Module:
    """With batch-norm statistics and scales as training leaves them, not 0 and 1."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            for tensor, low, high in (
                (module.running_mean, -0.5, 0.5),
                (module.running_var, 0.5, 2.0),
                (module.weight, 0.5, 1.5),
                (module.bias, -0.5, 0.5),
            ):
                tensor.data.uniform_(low, high, generator=generator)
    return network.eval()


def count_norms(network: nn.Module) -> int:
    return sum(isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d) for m in network.modules())


def test_finder_computes_the_same_without_batch_norms():
    network = stirred(FaceFinder())
    folded = fold_batch_norms(network)
    images = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(folded(images), network(images), atol=1e-3, rtol=1e-3)
    assert count_norms(folded) == 0


def test_landmarks_compute_the_same_without_batch_norms():
    network = stirred(FaceLandmarks())
    folded = fold_batch_norms(network)
    crops = torch.randn(2, 3, 112, 112, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        for got, wanted in zip(folded.fine(crops), network.fine(crops), strict=True):
            torch.testing.assert_close(got, wanted, atol=1e-3, rtol=1e-3)
    assert count_norms(folded) == 0


def test_linear_layers_are_folded_too():
    network = stirred(nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.ReLU()))
    folded = fold_batch_norms(network)
    x = torch.randn(4, 5, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(folded(x), network(x))
    assert count_norms(folded) == 0


def test_a_norm_that_follows_no_layer_stays_and_the_original_is_untouched():
    network = stirred(
        nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4))
    )
    names = list(network.state_dict())
    folded = fold_batch_norms(network)
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(folded(x), network(x))
    assert count_norms(folded) == 2
    assert list(network.state_dict()) == names


def test_folding_ends_training_mode():
    network = FaceFinder().train()
    assert not fold_batch_norms(network).training
    assert network.training
