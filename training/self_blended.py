"""Self-blended images: a forgery made from one genuine face (Shiohara & Yamasaki, CVPR 2022,
https://arxiv.org/abs/2204.08376).

A face is blended onto itself after one of the two copies has been shifted, rescaled, recoloured
or resharpened, so that only the traces of blending are left to learn, not any one generator's.
All functions are pure: the random generator is an argument.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Mask = NDArray[np.float32]

BLEND_RATIOS = (0.25, 0.5, 0.75, 1.0, 1.0, 1.0)
"""The paper's list: half of all blends are opaque."""


def hull_mask(points: NDArray[np.float32], side: int) -> Mask:
    """points: (n, 2) fractions of the side -> (side, side) float32, 1 inside the hull."""
    mask = np.zeros((side, side), np.float32)
    hull = cv2.convexHull(np.round(points * side).astype(np.int32))
    cv2.fillConvexPoly(mask, hull, 1.0)
    return mask


def blend_region(points: NDArray[np.float32], side: int, rng: np.random.Generator) -> Mask:
    """The region to forge: the hull of a random part of the face, bent and softly edged.

    points: (n, 2) fractions -> (side, side) float32 in 0-1.
    """
    part = points
    if rng.random() < 0.4:
        low, high = np.quantile(points[:, 1], sorted(rng.uniform(0, 1, 2)))
        inside = (points[:, 1] >= low) & (points[:, 1] <= high)
        if high - low > 0.2 and inside.sum() > 8:
            part = points[inside]
    mask = hull_mask(part, side)
    bend = cv2.GaussianBlur(
        rng.normal(0, 1, (2, side, side)).astype(np.float32).transpose(1, 2, 0), (0, 0), side / 12
    )
    bend = bend * (rng.uniform(0.01, 0.04) * side / max(float(bend.std()), 1e-6))
    rows, columns = np.mgrid[:side, :side].astype(np.float32)
    across = np.asarray(columns + bend[..., 0], np.float32)
    down = np.asarray(rows + bend[..., 1], np.float32)
    blur = rng.uniform(0.01, 0.06) * side
    soft = cv2.GaussianBlur(cv2.remap(mask, across, down, cv2.INTER_LINEAR), (0, 0), blur)
    if rng.random() < 0.5:  # shrink, as the paper does by blurring and thresholding twice
        soft = cv2.GaussianBlur(np.clip(soft * 2 - 1, 0, 1), (0, 0), blur)
    return np.asarray(soft / max(float(soft.max()), 1e-6), np.float32)


def disturb(image: Image, rng: np.random.Generator) -> Image:
    """One copy of the face, recoloured and either sharpened or softened. Same shape."""
    out = image.astype(np.float32)
    out += rng.uniform(-20, 20, 3)
    grey = out.mean(axis=2, keepdims=True)
    out = grey + (out - grey) * rng.uniform(0.7, 1.3)
    out = (out - 128) * rng.uniform(0.85, 1.15) + 128 + rng.uniform(-15, 15)
    if rng.random() < 0.5:
        soft = cv2.GaussianBlur(out, (0, 0), rng.uniform(0.6, 2.0))
        out = soft if rng.random() < 0.6 else out * 2 - soft
    else:
        side = image.shape[0]
        small = max(24, int(side * rng.uniform(0.3, 0.8)))
        out = cv2.resize(out, (small, small), interpolation=cv2.INTER_AREA)
        out = cv2.resize(out, (side, side), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(out, 0, 255), np.uint8)


def shift(image: Image, rng: np.random.Generator) -> Image:
    """Moved by up to 3 % and rescaled by up to 5 % of the side, edges replicated."""
    side = image.shape[0]
    scale = rng.uniform(0.95, 1.05, 2)
    move = rng.uniform(-0.03, 0.03, 2) * side + (1 - scale) * side / 2
    matrix = np.array([[scale[0], 0, move[0]], [0, scale[1], move[1]]], np.float32)
    return np.asarray(
        cv2.warpAffine(image, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE), np.uint8
    )


def blend(target: Image, source: Image, mask: Mask) -> Image:
    """source over target where mask is 1. Both (side, side, 3) uint8, mask (side, side) 0-1."""
    weight = mask[..., None]
    mixed = source * weight + target * (1 - weight)
    return np.asarray(np.round(mixed), np.uint8)


def self_blend(
    face: Image, points: NDArray[np.float32], rng: np.random.Generator
) -> tuple[Image, Mask]:
    """face: square BGR; points: (n, 2) landmarks as fractions -> (forged face, forged region).

    The region is scaled by the blend ratio's presence only: 1 wherever the copy shows at all.
    """
    target, source = face, face
    if rng.random() < 0.5:
        source = disturb(source, rng)
    else:
        target = disturb(target, rng)
    source = shift(source, rng)
    mask = blend_region(points, face.shape[0], rng)
    ratio = BLEND_RATIOS[rng.integers(len(BLEND_RATIOS))]
    return blend(target, source, np.asarray(mask * ratio, np.float32)), mask
