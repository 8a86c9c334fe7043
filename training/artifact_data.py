"""Pairs of one real face and its forgery for the artifact classifier.

`pack` decodes every pair once into one memory-mapped array; `PairSampler` draws batches from it.
Both members of a pair go through the same crop, colour change, blur and JPEG step, so that
neither resolution nor compression tells the class.
"""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from training.composites import compose
from training.self_blended import Image, Mask, blend, blend_region, hull_mask, self_blend
from training.single_faces import NUM_POINTS, Faces, left_out

SIDE = 192
MASK_SIDE = 40
REAL, FAKE = 0, 1
"""Position of each member inside a packed pair."""


@dataclass(frozen=True)
class Pairs:
    """images: (n, 2, 192, 192, 3) uint8 BGR; regions: (n, 40, 40) uint8, 255 where forged;
    points: (n, 468, 2) float32 fractions of the side, landmarks of the real member."""

    groups: tuple[str, ...]
    images: NDArray[np.uint8]
    regions: NDArray[np.uint8]
    points: NDArray[np.float32]


def read_manifest(
    path: Path, split: str, skip_sources: Sequence[str] = ()
) -> dict[str, dict[str, str]]:
    """group -> {"real": file, "fake": file}, complete pairs only, sources by substring."""
    groups: dict[str, dict[str, str]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            if row["split"] == split and not left_out(row["source"], skip_sources):
                groups.setdefault(row["group"], {})[row["label"]] = row["file"]
    return {name: files for name, files in sorted(groups.items()) if len(files) == 2}


def forged_region(real: Image, fake: Image, points: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Where the forgery differs from its source, (40, 40) uint8.

    When the two are not the same frame they differ everywhere; then the whole face counts.
    """
    difference = np.abs(real.astype(np.float32) - fake).mean(axis=2)
    smooth = cv2.GaussianBlur(difference, (0, 0), SIDE / 32)
    face = hull_mask(points, SIDE)
    outside = smooth[face == 0]
    if outside.size and float(outside.mean()) > 8:
        region = face
    else:
        region = np.asarray(np.clip((smooth - 3) / 8, 0, 1), np.float32)
    return np.asarray(np.round(shrink_mask(region) * 255), np.uint8)


def shrink_mask(mask: Mask) -> Mask:
    """(192, 192) -> (40, 40)."""
    return np.asarray(
        cv2.resize(mask, (MASK_SIDE, MASK_SIDE), interpolation=cv2.INTER_AREA), np.float32
    )


def default_points() -> NDArray[np.float32]:
    """An upright ellipse, for the few faces in which the teacher found no landmarks."""
    angle = np.linspace(0, 2 * np.pi, NUM_POINTS, endpoint=False)
    ellipse = np.stack([0.5 + 0.4 * np.cos(angle), 0.55 + 0.42 * np.sin(angle)], axis=1)
    return np.asarray(ellipse, np.float32)


def read_points(path: Path) -> NDArray[np.float32]:
    """The teacher's landmarks of one image, (468, 2) fractions of its sides."""
    if not path.exists():
        return default_points()
    with np.load(path) as labels:
        if not labels["found"][0]:
            return default_points()
        height, width = labels["size"]
        points = labels["points"][0, :NUM_POINTS, :2] / np.array([width, height], np.float32)
    return np.asarray(points, np.float32)


def pack(data: Path, teacher: Path, folder: Path, skip_sources: Sequence[str] = ()) -> Pairs:
    """Decode all training pairs into `folder`, or open what is already there."""
    names = folder / "groups.json"
    if not names.exists():
        folder.mkdir(parents=True, exist_ok=True)
        groups = read_manifest(data / "faces_manifest.csv", "artifact_train", skip_sources)
        count = len(groups)
        images = np.lib.format.open_memmap(
            folder / "images.npy", "w+", np.uint8, (count, 2, SIDE, SIDE, 3)
        )
        regions = np.zeros((count, MASK_SIDE, MASK_SIDE), np.uint8)
        points = np.zeros((count, NUM_POINTS, 2), np.float32)
        for index, files in enumerate(groups.values()):
            for member, label in ((REAL, "real"), (FAKE, "fake")):
                image = cv2.imread(str(data / files[label]), cv2.IMREAD_COLOR)
                if image is None:
                    raise FileNotFoundError(files[label])
                images[index, member] = cv2.resize(
                    image, (SIDE, SIDE), interpolation=cv2.INTER_AREA
                )
            points[index] = read_points(teacher / f"{Path(files['real']).name}.npz")
            regions[index] = forged_region(images[index, REAL], images[index, FAKE], points[index])
        images.flush()
        np.save(folder / "regions.npy", regions)
        np.save(folder / "points.npy", points)
        names.write_text(json.dumps(list(groups)))
    return Pairs(
        tuple(json.loads(names.read_text())),
        np.load(folder / "images.npy", mmap_mode="r"),
        np.load(folder / "regions.npy"),
        np.load(folder / "points.npy"),
    )


@dataclass(frozen=True)
class Recipe:
    """What a pair is made of, as shares of all pairs; the rest is the corpus's own.

    Of the corpus: mixed, part of the forgery pasted into the real; self_blended; composite, with a
    part of another person's face. Of other cameras: genuine, with a forgery made from it;
    generated, any genuine face with a generated head.
    """

    mixed: float = 0.05
    self_blended: float = 0.08
    composite: float = 0.08
    genuine: float = 0.36
    generated: float = 0.0


class PairSampler:
    """Draws altered pairs without end. Its state is one random generator.

    genuine, generated: faces without a counterpart; without the first, neither is drawn.
    """

    def __init__(
        self,
        pairs: Pairs,
        chosen: NDArray[np.int64],
        recipe: Recipe,
        seed: int,
        genuine: Faces | None = None,
        generated: Faces | None = None,
    ) -> None:
        self.pairs = pairs
        self.genuine = genuine
        self.generated = generated
        self.chosen = chosen
        self.recipe = recipe
        self.rng = np.random.default_rng(seed)
        self._order: list[int] = []

    def batch(self, num_pairs: int, size: int) -> tuple[Image, Mask]:
        """-> images (2 * num_pairs, size, size, 3) BGR uint8, reals first, and the regions of the
        forgeries (num_pairs, 40, 40) float32 in 0-1."""
        reals, fakes, regions = [], [], []
        for _ in range(num_pairs):
            real, fake, region, strangers = self._pair()
            alter = Alteration.draw(self.rng, size, harsh=strangers)
            reals.append(alter.image(real))
            fakes.append(alter.image(fake))
            regions.append(alter.region(region))
        return np.stack(reals + fakes), np.stack(regions)

    def _pair(self) -> tuple[Image, Image, Mask, bool]:
        """Real, fake, forged region, and whether the two come from different cameras."""
        kind, recipe = self.rng.random(), self.recipe
        if self.genuine is None or kind >= recipe.genuine + recipe.generated:
            return *self._own(), False
        real, points = self._any(self.genuine)
        if self.generated is None or kind < recipe.genuine:
            half = self.rng.random() < 0.5
            made = self_blend(real, points, self.rng) if half else self._composite(real, points)
            return real, made[0], shrink_mask(made[1]), False
        fake, points = self._any(self.generated)
        return real, fake, shrink_mask(hull_mask(points, SIDE)), True

    def _own(self) -> tuple[Image, Image, Mask]:
        rng, recipe = self.rng, self.recipe
        if not self._order:
            self._order = rng.permutation(self.chosen).tolist()
        index = self._order.pop()
        real = np.asarray(self.pairs.images[index, REAL])
        fake = np.asarray(self.pairs.images[index, FAKE])
        region = self.pairs.regions[index].astype(np.float32) / np.float32(255)
        points = self.pairs.points[index]
        kind = rng.random()
        if kind < recipe.self_blended:
            fake, mask = self_blend(real, points, rng)
            region = shrink_mask(mask)
        elif kind < recipe.self_blended + recipe.composite:
            fake, mask = self._composite(real, points)
            region = shrink_mask(mask)
        elif kind < recipe.self_blended + recipe.composite + recipe.mixed:
            mask = blend_region(points, SIDE, rng)
            small = shrink_mask(mask)
            if float((small * region).mean()) > 0.04:  # else nearly nothing forged would be left
                fake = blend(real, fake, mask)
                region = np.asarray(small * region, np.float32)
        return real, fake, region

    def _composite(self, face: Image, points: NDArray[np.float32]) -> tuple[Image, Mask]:
        """With a part of another genuine face: of the same collection, or of the corpus's reals."""
        if self.genuine is not None and self.rng.random() < 0.5:
            donor, donor_points = self._any(self.genuine)
        else:
            index = int(self.rng.choice(self.chosen))
            donor = np.asarray(self.pairs.images[index, REAL])
            donor_points = self.pairs.points[index]
        return compose(face, points, donor, donor_points, self.rng)

    def _any(self, faces: Faces) -> tuple[Image, NDArray[np.float32]]:
        index = int(self.rng.integers(len(faces.images)))
        return faces.images[index], faces.points[index]


@dataclass(frozen=True)
class Alteration:
    """One drawn set of alterations, applied alike to both members of a pair."""

    size: int
    box: tuple[float, float, float]
    flip: bool
    colour: tuple[float, float, float, float]
    tint: tuple[float, float, float]
    blur: float
    rescale: float
    noise: float
    quality: int
    grey: bool
    seed: int

    @classmethod
    def draw(cls, rng: np.random.Generator, size: int, *, harsh: bool = False) -> "Alteration":
        """harsh: always rescaled and recompressed, so that what two different cameras left in the
        pictures tells less."""
        side = rng.uniform(0.86, 1.05)
        left, top = rng.uniform(0, 1 - side, 2) if side < 1 else rng.uniform(1 - side, 0, 2)
        changed = rng.random() < 0.3
        return cls(
            size=size,
            box=(float(left), float(top), float(side)),
            flip=bool(rng.random() < 0.5),
            colour=(
                float(np.exp(rng.uniform(-0.35, 0.35))) if changed else 1.0,
                float(rng.uniform(0.8, 1.2)) if changed else 1.0,
                float(rng.uniform(-20, 20)) if changed else 0.0,
                float(rng.uniform(0.6, 1.3)) if changed else 1.0,
            ),
            tint=tuple(rng.uniform(0.92, 1.08, 3).tolist()) if changed else (1.0, 1.0, 1.0),
            blur=float(rng.uniform(0.3, 1.5)) if rng.random() < 0.15 else 0.0,
            rescale=float(rng.uniform(0.35, 0.9)) if harsh or rng.random() < 0.3 else 1.0,
            noise=float(rng.uniform(1, 5)) if rng.random() < 0.1 else 0.0,
            quality=int(rng.integers(30, 96)) if harsh or rng.random() < 0.45 else 0,
            grey=bool(rng.random() < 0.05),
            seed=int(rng.integers(2**31)),
        )

    def image(self, image: Image) -> Image:
        """(192, 192, 3) BGR uint8 -> (size, size, 3) BGR uint8."""
        out = crop(image, self.box, self.size)
        if self.flip:
            out = out[:, ::-1]
        if self.rescale < 1:
            small = max(16, round(self.size * self.rescale))
            out = cv2.resize(out, (small, small), interpolation=cv2.INTER_AREA)
            out = cv2.resize(out, (self.size, self.size), interpolation=cv2.INTER_LINEAR)
        if self.blur:
            out = cv2.GaussianBlur(out, (0, 0), self.blur)
        out = self._recolour(out)
        if self.noise:
            grain = np.random.default_rng(self.seed).normal(0, self.noise, out.shape)
            out = np.asarray(np.clip(out + grain, 0, 255), np.uint8)
        if self.quality:
            _, coded = cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, self.quality])
            out = cv2.imdecode(coded, cv2.IMREAD_COLOR)
        return np.ascontiguousarray(out, np.uint8)

    def _recolour(self, image: Image) -> Image:
        gamma, contrast, brightness, saturation = self.colour
        if self.grey:
            saturation = 0.0
        if (gamma, contrast, brightness, saturation) == (1.0, 1.0, 0.0, 1.0):
            return image
        levels = np.arange(256, dtype=np.float32) / 255
        curve = 255 * levels**gamma * contrast + brightness
        table = np.clip(np.outer(curve, self.tint), 0, 255).astype(np.uint8)[None]
        out = cv2.LUT(np.ascontiguousarray(image), table)
        if saturation != 1.0:
            grey = cv2.cvtColor(cv2.cvtColor(out, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
            out = cv2.addWeighted(out, saturation, grey, 1 - saturation, 0)
        return np.asarray(out, np.uint8)

    def region(self, region: Mask) -> Mask:
        """(40, 40) -> (40, 40), the same crop."""
        out = crop(region, self.box, MASK_SIDE)
        return np.ascontiguousarray(out[:, ::-1] if self.flip else out, np.float32)


def crop(image: Any, box: tuple[float, float, float], size: int) -> Any:
    """box: left, top, side as fractions of the image's side; outside it the edge is replicated."""
    side = image.shape[0]
    left, top, width = (round(value * side) for value in box)
    before = max(0, -left, -top)
    after = max(0, left + width - side, top + width - side)
    if before or after:
        image = cv2.copyMakeBorder(image, before, after, before, after, cv2.BORDER_REPLICATE)
        left, top = left + before, top + before
    part = image[top : top + width, left : left + width]
    shrinks = width >= size
    return cv2.resize(
        part, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    )
