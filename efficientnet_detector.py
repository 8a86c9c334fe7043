"""EfficientNetDetector: does a face crop show traces of manipulation?

Everything that differs between weights files (layout, class order, input size, normalisation) is
read from their row in the registry; the code is the same for all of them.
"""

import copy
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from syncnet_python import heat_map, weights
from syncnet_python.assembly import Device, Networks, resolve_device
from syncnet_python.errors import WeightsCorrupt, WeightsMissing
from syncnet_python.face_crops import resize
from syncnet_python.networks import efficientnet
from syncnet_python.networks.precision import Precision, inference_dtype
from syncnet_python.profiles import BUNDLED
from syncnet_python.results import ArtifactResult, HeatMap, ModelInfo, Statistics
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

    def judge(
        self, frames: Sequence[Picture], times: Sequence[float], *, heatmap: bool = False
    ) -> ArtifactResult:
        """One answer about the crops of one face.

        times: seconds, one for each crop; heatmap: whether to draw what in the most suspicious
        crop speaks for manipulation.
        Raises ValueError for no crops or another number of times.
        """
        scores = self.predict_frames(frames)
        result = aggregate(scores, times)
        if not heatmap:
            return result
        worst = int(np.argmin(scores))
        crop = as_bgr(frames[worst])
        shares = heat_map.strength(self._loaded().speaks_for_fake(crop))
        png = heat_map.png_base64(heat_map.overlay(crop, shares))
        return replace(result, heatmap=HeatMap(float(times[worst]), scores[worst], png))


def aggregate(scores: Sequence[float], times: Sequence[float]) -> ArtifactResult:
    """Scores of single frames (probability of real, 0-1) to the mean answer about the face.

    times: seconds, in any order. consistency = 1 - 2 std: 0 where half of the frames say 0 and
    the other half 1.
    """
    if not scores or len(scores) != len(times):
        raise ValueError(
            f"needs one time for each of at least one score: {len(scores)} scores, "
            f"{len(times)} times"
        )
    order = np.argsort(times, kind="stable")
    values = np.asarray(scores, np.float64)[order]
    mean, std = float(values.mean()), float(values.std())
    return ArtifactResult(
        is_real=mean > 0.5,
        score=mean,
        confidence=abs(2 * mean - 1),
        consistency=max(0.0, 1 - 2 * std),
        num_frames=len(scores),
        frame_scores=tuple(values.tolist()),
        frame_times=tuple(float(times[i]) for i in order),
        statistics=Statistics(mean, std, float(values.min()), float(values.max())),
        temporal_consistency=temporal_consistency(values),
        raw_score=mean,
    )


def temporal_consistency(scores: Sequence[float] | NDArray[np.float64]) -> float:
    """1 - the mean difference of neighbours in time, 0-1; 1 for a single score.

    scores: each 0-1, in time order. Frames that flicker between a and b give 1 - |a - b|, while
    a drift from a to b over n frames costs |a - b| / (n - 1) only: a real face does change with
    light and pose, but not to and fro from one frame to the next. The difference and not its
    ratio to the variance, because flicker of a hundredth is none, however random it looks.
    """
    steps = np.abs(np.diff(np.asarray(scores, np.float64)))
    return float(1 - steps.mean()) if steps.size else 1.0


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
        self._network = efficientnet.prepared(network).to(device, dtype).requires_grad_(False)
        self._real, self._fake = row.classes.index("real"), row.classes.index("fake")
        self._size, self._flip = row.input_size, row.flip
        self._mean = torch.tensor(row.mean).view(1, 3, 1, 1) * 255
        self._std = torch.tensor(row.std).view(1, 3, 1, 1) * 255
        self._device, self._dtype = device, dtype

    @torch.inference_mode()
    def real_probabilities(self, frames: Sequence[Picture]) -> list[float]:
        inputs = self._inputs([as_bgr(frame) for frame in frames]).to(self._dtype)
        odds = self._log_odds(inputs)
        if self._flip:
            odds = (odds + self._log_odds(inputs.flip(3))) / 2
        return [float(value) for value in torch.sigmoid(odds)]

    def speaks_for_fake(self, crop: NDArray[np.uint8]) -> NDArray[np.float32]:
        """`efficientnet.contributions` to the class fake of one BGR crop: (rows, columns)."""
        # Gradients want float32; the numbers are those that judged the frame. The copy of a
        # narrower network is small and rarely wanted, so it is not kept.
        narrow = self._dtype != torch.float32
        network = copy.deepcopy(self._network).float() if narrow else self._network
        inputs = self._inputs([crop])
        found = efficientnet.contributions(network, inputs, self._fake, self._real)
        if self._flip:
            mirrored = efficientnet.contributions(network, inputs.flip(3), self._fake, self._real)
            found = (found + mirrored.flip(2)) / 2
        return np.asarray(found[0].cpu().numpy(), np.float32)

    def _inputs(self, crops: Sequence[NDArray[np.uint8]]) -> Tensor:
        rgb = np.stack([resize(crop, self._size)[..., ::-1] for crop in crops])
        pixels = torch.from_numpy(rgb).permute(0, 3, 1, 2)
        return ((pixels.float() - self._mean) / self._std).to(self._device)

    def _log_odds(self, inputs: Tensor) -> Tensor:
        """Of real against fake, (n,) float32 on the CPU."""
        logits: Tensor = self._network(inputs).float().cpu()
        return logits[:, self._real] - logits[:, self._fake]


def as_bgr(picture: Picture) -> NDArray[np.uint8]:
    """(height, width, 3) uint8 BGR of either kind of picture. Raises ValueError for others."""
    if isinstance(picture, Image.Image):
        return np.asarray(cv2.cvtColor(np.asarray(picture.convert("RGB")), cv2.COLOR_RGB2BGR))
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
        raise ValueError(f"not a BGR uint8 picture: {picture.dtype} {picture.shape}")
    return picture
