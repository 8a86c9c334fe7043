"""EfficientNetDetector: does a face crop show traces of manipulation?

Everything that differs between weights files (layout, class order, input size, normalisation) is
read from their row in the registry; the code is the same for all of them.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from syncnet_python import weights
from syncnet_python.assembly import Device, Networks, resolve_device
from syncnet_python.errors import WeightsCorrupt, WeightsMissing
from syncnet_python.face_crops import resize
from syncnet_python.networks import efficientnet
from syncnet_python.networks.precision import Precision, inference_dtype
from syncnet_python.profiles import BUNDLED
from syncnet_python.results import ArtifactResult, ModelInfo, Statistics
from syncnet_python.weights import WeightsEntry

Picture = Image.Image | NDArray[np.uint8]
"""An RGB picture of PIL's, or a BGR uint8 array (height, width, 3) as the package has them."""

BATCH = 16
Loader = Callable[[], tuple[dict[str, Tensor], ModelInfo]]


@dataclass(frozen=True, slots=True)
class ImageResult:
    """Is this face untouched?

    score: 0-1, probability that it is real; is_real: score > 0.5; confidence: 0-1, how far the
    score lies from undecided; probabilities: by class, "fake" and "real", summing to 1.
    """

    is_real: bool
    score: float
    confidence: float
    probabilities: Mapping[str, float]


class EfficientNetDetector:
    """A face classifier whose weights are loaded on first use, once, and kept.

    model_path: a weights file that the registry knows, under whatever name; without one, the
    bundled weights. device: "cpu", "cuda" or "auto". Safe to share between threads.
    Raises WeightsMissing, WeightsCorrupt when weights are first needed.
    """

    def __init__(
        self,
        model_path: Path | str | None = None,
        device: Device = "auto",
        *,
        precision: Precision = "auto",
    ) -> None:
        path = None if model_path is None else Path(model_path)

        def load() -> tuple[dict[str, Tensor], ModelInfo]:
            name = BUNDLED.classifier if path is None else classifier_of(path)
            return weights.load(name, explicit=path)

        self._set_up(load, resolve_device(device), precision)

    @classmethod
    def from_networks(cls, networks: Networks) -> "EfficientNetDetector":
        """The classifier of a profile, from the folders and paths that profile looks in."""
        detector = cls.__new__(cls)
        detector._set_up(
            lambda: networks.weights(networks.choice.classifier),
            networks.device,
            networks.precision,
        )
        return detector

    def _set_up(self, load: Loader, device: str, precision: Precision) -> None:
        self.info: ModelInfo | None = None
        self._load_weights = load
        self._device = torch.device(device)
        self._dtype = inference_dtype(self._device, precision)
        self._classifier: _Classifier | None = None
        self._lock = threading.Lock()

    def load(self) -> ModelInfo:
        """Load the weights now if they are not loaded yet, and say which they are."""
        return self._loaded().info

    def _loaded(self) -> "_Classifier":
        with self._lock:
            if self._classifier is None:
                state, info = self._load_weights()
                row = weights.entry(info.name)
                self._classifier = _Classifier(state, info, row, self._device, self._dtype)
                self.info = info
            return self._classifier

    def predict_image(self, image: Picture) -> ImageResult:
        """Judge one face crop."""
        score = self.predict_frames([image])[0]
        return ImageResult(
            is_real=score > 0.5,
            score=score,
            confidence=abs(2 * score - 1),
            probabilities={"fake": 1 - score, "real": score},
        )

    def predict_frames(self, frames: Sequence[Picture]) -> list[float]:
        """Probability of real (0-1) of each face crop, in batches. Sizes may differ."""
        classifier = self._loaded()
        scores: list[float] = []
        for start in range(0, len(frames), BATCH):
            scores += classifier.real_probabilities(frames[start : start + BATCH])
        return scores

    def judge(self, frames: Sequence[Picture], times: Sequence[float]) -> ArtifactResult:
        """One answer about the crops of one face. times: seconds, one for each crop.

        Raises ValueError for no crops or another number of times.
        """
        return aggregate(self.predict_frames(frames), times)


def aggregate(scores: Sequence[float], times: Sequence[float]) -> ArtifactResult:
    """Scores of single frames (probability of real, 0-1) to the mean answer about the face.

    consistency = 1 - 2 std: 0 where half of the frames say 0 and the other half 1.
    """
    if not scores or len(scores) != len(times):
        raise ValueError(
            f"needs one time for each of at least one score: {len(scores)} scores, "
            f"{len(times)} times"
        )
    values = np.asarray(scores, np.float64)
    mean, std = float(values.mean()), float(values.std())
    return ArtifactResult(
        is_real=mean > 0.5,
        score=mean,
        confidence=abs(2 * mean - 1),
        consistency=max(0.0, 1 - 2 * std),
        num_frames=len(scores),
        frame_scores=tuple(float(score) for score in scores),
        frame_times=tuple(float(time) for time in times),
        statistics=Statistics(mean, std, float(values.min()), float(values.max())),
    )


def classifier_of(path: Path) -> str:
    """Registry name of the classifier that this file is, by its hash.

    Raises WeightsMissing where there is no file, WeightsCorrupt where it is no known classifier.
    """
    if not path.is_file():
        raise WeightsMissing(f"there is no weights file {path}")
    rows = [row for row in weights.registry().values() if row.role == "classifier"]
    for row in rows:
        try:
            weights.verify_file(path, row)
        except WeightsCorrupt:
            continue
        return row.name
    known = ", ".join(f"{row.name} ({row.filename})" for row in rows)
    raise WeightsCorrupt(f"{path.name} is none of the registered classifiers: {known}")


class _Classifier:
    """A loaded network with what its registry row says about input and output."""

    def __init__(
        self,
        state: dict[str, Tensor],
        info: ModelInfo,
        row: WeightsEntry,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        if set(row.classes) != {"real", "fake"} or row.input_size is None:
            raise WeightsCorrupt(f"the registry does not say what {row.name} takes and answers")
        try:
            network = efficientnet.from_state(state, row.layout)
        except (KeyError, RuntimeError) as error:
            raise WeightsCorrupt(f"{row.name} does not fit {row.layout}: {error}") from error
        self.info = info
        self._network = efficientnet.prepared(network).to(device, dtype)
        self._real, self._fake = row.classes.index("real"), row.classes.index("fake")
        self._size = row.input_size
        self._mean = torch.tensor(row.mean).view(1, 3, 1, 1) * 255
        self._std = torch.tensor(row.std).view(1, 3, 1, 1) * 255
        self._device, self._dtype = device, dtype

    @torch.inference_mode()
    def real_probabilities(self, frames: Sequence[Picture]) -> list[float]:
        rgb = np.stack([resize(as_bgr(frame), self._size)[..., ::-1] for frame in frames])
        pixels = torch.from_numpy(rgb).permute(0, 3, 1, 2)
        inputs = (pixels.float() - self._mean) / self._std
        logits = self._network(inputs.to(self._device, self._dtype)).float().cpu()
        real = torch.sigmoid(logits[:, self._real] - logits[:, self._fake])
        return [float(value) for value in real]


def as_bgr(picture: Picture) -> NDArray[np.uint8]:
    """(height, width, 3) uint8 BGR of either kind of picture. Raises ValueError for others."""
    if isinstance(picture, Image.Image):
        return np.asarray(cv2.cvtColor(np.asarray(picture.convert("RGB")), cv2.COLOR_RGB2BGR))
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
        raise ValueError(f"not a BGR uint8 picture: {picture.dtype} {picture.shape}")
    return picture
