"""What cameras, light and codecs do to a picture. All functions: BGR uint8 in, BGR uint8 out."""

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


class Degrader:
    """Draws random degradations; one generator, so that a seed fixes them all."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        # drawing normal noise anew for every picture would cost more than the network's step
        self._noise = rng.normal(0, 1, (512, 512, 3)).astype(np.float32)

    def __call__(self, image: Image) -> Image:
        rng = self._rng
        image = self.recolour(image)
        draw = rng.random(5)
        if draw[0] < 0.25:
            image = self.blur(image)
        if draw[1] < 0.2:
            image = self.shrink_and_grow(image)
        if draw[2] < 0.4:
            image = self.add_noise(image)
        if draw[3] < 0.3:
            image = self.compress(image)
        if draw[4] < 0.12:
            grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
            image = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR).astype(np.uint8)
        return image

    def recolour(self, image: Image) -> Image:
        """Gamma, exposure, contrast and colour cast as one table per channel; dark in a quarter."""
        rng = self._rng
        level = np.arange(256, dtype=np.float32) / 255
        gamma = np.exp(rng.normal(0, 0.3))
        exposure = rng.uniform(0.15, 0.6) if rng.random() < 0.2 else np.exp(rng.normal(0, 0.2))
        contrast = np.exp(rng.normal(0, 0.2))
        cast = np.exp(rng.normal(0, 0.08, 3))
        curve = ((level**gamma - 0.45) * contrast + 0.45) * exposure
        table = np.clip(curve[:, None] * cast * 255, 0, 255).astype(np.uint8)
        return np.asarray(cv2.LUT(image, table[None]), np.uint8)

    def blur(self, image: Image) -> Image:
        """Out of focus, or moved while the shutter was open."""
        rng = self._rng
        if rng.random() < 0.5:
            return np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 2.2)), np.uint8)
        length = int(rng.integers(3, 9))
        angle = rng.uniform(0, np.pi)
        kernel = np.zeros((length, length), np.float32)
        middle = (length - 1) / 2
        reach = middle * np.array([np.cos(angle), np.sin(angle)])
        start, end = (np.round(middle + s * reach).astype(int) for s in (-1, 1))
        cv2.line(kernel, tuple(map(int, start)), tuple(map(int, end)), 1.0)
        return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum()), np.uint8)

    def shrink_and_grow(self, image: Image) -> Image:
        """A low resolution, scaled up."""
        height, width = image.shape[:2]
        factor = self._rng.uniform(0.25, 0.7)
        size = (max(8, int(width * factor)), max(8, int(height * factor)))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        return np.asarray(
            cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8
        )

    def add_noise(self, image: Image) -> Image:
        rng = self._rng
        height, width = image.shape[:2]
        y, x = rng.integers(0, 512 - height), rng.integers(0, 512 - width)
        noise = self._noise[y : y + height, x : x + width] * rng.uniform(1, 14)
        if rng.random() < 0.5:
            noise = noise[..., :1]
        return np.clip(image + noise, 0, 255).astype(np.uint8)

    def compress(self, image: Image) -> Image:
        quality = int(self._rng.integers(15, 80))
        _, coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
        return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)
