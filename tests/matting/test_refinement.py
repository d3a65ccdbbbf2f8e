"""From mask to alpha: at every size, against plain versions, over time."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from background_blur.imaging import Picture, downscale
from background_blur.matting.refinement import (
    MaskRefiner,
)


def disc(size: tuple[int, int], x: float, y: float, radius: float) -> np.ndarray:
    """float32 [h,w], 1 inside a circle; position and radius as shares of the width."""
    columns, rows = np.meshgrid(np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5)
    distance = np.hypot(columns - x * size[0], rows - y * size[0])
    return np.clip(radius * size[0] - distance + 0.5, 0, 1).astype(np.float32)


def whole(mask: np.ndarray) -> np.ndarray:
    return MaskRefiner().clean(mask, "front")


def scene(x: float, noise: float = 0, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A bright disc on a dark wall: (picture [360,640,3], coarse mask [44,80], truth)."""
    truth = disc((640, 360), x, 0.28, 0.15)
    picture = 60 + 120 * truth + noise * np.random.default_rng(seed).normal(size=truth.shape)
    picture = np.clip(picture, 0, 255).astype(np.uint8)
    coarse = cv2.resize(truth, (80, 44), interpolation=cv2.INTER_AREA)
    return cv2.merge([picture] * 3), coarse, truth


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 500), st.integers(1, 500), st.sampled_from([0.0, 1.0]))
def test_a_constant_mask_stays_constant_at_every_size(width, height, value):
    picture = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    alpha = MaskRefiner().refine(Picture(picture), np.full((44, 80), value, np.float32))
    assert alpha.shape == (height, width)
    assert (alpha == 255 * value).all()


@pytest.mark.parametrize("size", [(16, 16), (1919, 1079), (17, 2161)])
def test_work_size_has_a_shorter_side_of_about_400(size):
    small = downscale(np.zeros((size[1], size[0], 3), np.uint8))
    assert min(small.shape[:2]) <= 600
    assert min(small.shape[:2]) >= min(266, *size)
    assert small.shape[1] / small.shape[0] == pytest.approx(size[0] / size[1], rel=0.02)


@pytest.mark.parametrize("factor", [1, 3, 4])
def test_shrinking_averages_as_a_plain_mean_over_blocks_does(factor):
    """For a picture no finer than a camera's; subsampling it would be far off."""
    rng = np.random.default_rng(1)
    size = 400 * factor
    frame = cv2.GaussianBlur(rng.integers(0, 256, (size, size, 3), np.uint8), (0, 0), factor)
    small = downscale(frame)
    plain = frame.reshape(400, factor, 400, factor, 3).mean((1, 3))
    assert small.shape == plain.shape
    assert np.abs(small - plain).mean() < 2


def test_the_edge_follows_the_picture_not_the_coarse_mask():
    picture, coarse, truth = scene(0.5)
    alpha = MaskRefiner().refine(Picture(picture), coarse) / 255
    plain = cv2.resize(coarse, (640, 360))
    assert np.abs(alpha - truth).mean() < 0.1 * np.abs(plain - truth).mean()


def test_specks_go():
    mask = disc((80, 44), 0.5, 0.28, 0.2)
    clean = mask.copy()
    mask[2, 2] = 1
    np.testing.assert_array_equal(whole(mask), whole(clean))


@pytest.mark.parametrize("doubt, stays", [(0, True), (0.2, True), (0.3, False), (0.7, False)])
def test_a_hole_stays_only_if_it_is_surely_background(doubt, stays):
    hole = disc((80, 44), 0.5, 0.28, 0.1)
    mask = np.maximum(disc((80, 44), 0.5, 0.28, 0.2) - hole, doubt * hole)
    assert whole(mask)[22, 40] == (np.float32(doubt) if stays else 1)


def test_a_wavering_mask_over_a_still_noisy_picture_hardly_flickers():
    refiner, rng, alphas = MaskRefiner(), np.random.default_rng(5), []
    raw = []
    for i in range(30):
        picture, coarse, _ = scene(0.5, noise=3, seed=i)
        coarse = np.clip(coarse + 0.25 * rng.normal(size=coarse.shape), 0, 1).astype(np.float32)
        alphas.append(refiner.refine(Picture(picture), coarse).astype(float))
        raw.append(MaskRefiner().refine(Picture(picture), coarse).astype(float))
    flicker = np.mean(np.abs(np.diff(alphas[10:], axis=0)))
    assert flicker < 0.5 * np.mean(np.abs(np.diff(raw[10:], axis=0)))


@pytest.mark.parametrize("noise", [0, 4])
def test_a_fast_shape_leaves_no_trail(noise):
    """The alpha is less than half a frame behind a disc that crosses the picture in a second."""
    refiner, step = MaskRefiner(), 1 / 30
    for i in range(15):
        picture, coarse, truth = scene(0.2 + i * step, noise, seed=i)
        alpha = refiner.refine(Picture(picture), coarse) / 255
    columns = np.arange(640)
    centre = (alpha * columns).sum() / alpha.sum()
    expected = (truth * columns).sum() / truth.sum()
    assert abs(centre - expected) < 0.5 * step * 640
    behind = alpha[:, : int((0.2 + 14 * step - 0.15 - step) * 640)]
    assert behind.mean() < 0.01


def test_a_finer_mask_keeps_finer_things():
    """A finger three cells wide on a plain wall, where no edge of the picture helps."""
    small = np.full((352, 640, 3), 128, np.uint8)
    mask = np.zeros((88, 160), np.float32)
    mask[20:, 60:100] = 1
    mask[10:20, 79:82] = 1
    finger = MaskRefiner().refine(Picture(small), mask)[48:72, 318:326]
    assert finger.min() > 200
