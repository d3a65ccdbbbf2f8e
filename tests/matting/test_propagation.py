"""Masks propagated by measured motion, and reused while nothing moves."""

import cv2
import numpy as np
import pytest

from background_blur.imaging import Picture
from background_blur.matting.propagation import (
    MAX_AGE,
    MAX_STILL_AGE,
    PROPAGATED,
    REUSED,
    MaskPropagator,
)

GRID = (80, 44)  # (width, height) of a mask
SIZE = (640, 360)
FRAME = 1 / 30  # seconds


@pytest.fixture(scope="module")
def textures():
    """A person's and a room's: soft blobs, larger than the picture."""
    rng = np.random.default_rng(0)
    rough = rng.integers(0, 256, (2, 20, 30, 3), np.uint8)
    return [cv2.resize(image, (900, 600), interpolation=cv2.INTER_CUBIC) for image in rough]


def scene(textures, x: float, y: float = 0.0, noise: int = 0):
    """A disc of one texture, moved by (x, y) pixels, over the other: (picture, its alpha)."""
    person, room = textures
    centre = (300 + x, 180 + y)
    move = np.float64([[1, 0, x - 100], [0, 1, y - 100]])
    rows, columns = np.indices(SIZE[::-1])
    disc = np.hypot(columns - centre[0], rows - centre[1]) < 90
    moved = cv2.warpAffine(person, move, SIZE)
    picture = np.where(disc[..., None], moved, room[:360, :640] // 2)
    if noise:
        rough = np.random.default_rng(noise).normal(0, 2, picture.shape)
        picture = np.clip(picture + rough, 0, 255)
    return picture.astype(np.uint8), disc.astype(np.float32)


def mask_of(alpha) -> np.ndarray:
    return cv2.resize(alpha, GRID, interpolation=cv2.INTER_AREA)


def overlap(mask, truth) -> float:
    return ((mask > 0.5) & (truth > 0.5)).sum() / ((mask > 0.5) | (truth > 0.5)).sum()


def with_key_frame(textures) -> MaskPropagator:
    propagator = MaskPropagator()
    picture, alpha = scene(textures, 0)
    propagator.set_key_frame(Picture(picture), mask_of(alpha), 0.0)
    return propagator


@pytest.mark.parametrize("way", [(8, 0), (-9, 5), (3.5, -9), (10, 0)])
def test_a_mask_moves_with_what_it_covers(textures, way):
    picture, alpha = scene(textures, *way)
    propagated = with_key_frame(textures).propagate(Picture(picture), FRAME, every=2)
    assert propagated
    mask, mask_from = propagated
    assert mask_from == PROPAGATED
    truth, old = mask_of(alpha), mask_of(scene(textures, 0)[1])
    assert mask.dtype == np.float32 and mask.shape == old.shape
    assert overlap(mask, truth) > 0.96
    assert 1 - overlap(mask, truth) < 0.3 * (1 - overlap(old, truth))


def test_motion_that_does_not_explain_the_picture_is_not_believed(textures):
    other = scene(textures[::-1], 0)[0][:, ::-1].copy()
    assert with_key_frame(textures).propagate(Picture(other), FRAME, every=2) is None
    person, room = textures
    popped_up = scene((np.roll(person, 200, 0), room), 0)[0]  # the same room, another person
    assert with_key_frame(textures).propagate(Picture(popped_up), FRAME, every=2) is None


@pytest.mark.parametrize("time", [MAX_AGE + 0.01, -0.01, float("nan")])
def test_nothing_is_carried_for_long_nor_back_in_time(textures, time):
    propagator = with_key_frame(textures)
    assert propagator.propagate(Picture(scene(textures, 1)[0]), time, every=99) is None
    assert propagator.propagate(Picture(scene(textures, 0)[0]), time, every=99) is None


@pytest.mark.slow
def test_while_only_noise_moves_the_network_rests_but_for_some_looks_a_second(textures):
    propagator, looks = MaskPropagator(), 0
    for index in range(60):
        picture, alpha = scene(textures, 0, noise=index + 1)
        found = propagator.propagate(Picture(picture), index * FRAME, every=1)
        if found is None:
            propagator.set_key_frame(Picture(picture), mask_of(alpha), index * FRAME)
            looks += 1
        else:
            assert found[1] == REUSED
    assert 10 <= looks <= 14  # in two seconds


def test_any_motion_ends_the_rest_on_that_very_picture(textures):
    still, _ = scene(textures, 0)
    for patch in (np.s_[10:22, 10:22], np.s_[340:352, 600:612], np.s_[175:187, 300:312]):
        moving = still.copy()
        moving[patch] = np.roll(moving[patch], 8, axis=1) // 2 + 60
        propagator = with_key_frame(textures)
        assert propagator.propagate(Picture(still), FRAME, every=1) is not None
        assert propagator.propagate(Picture(moving), 2 * FRAME, every=1) is None


def test_colour_alone_ends_the_rest(textures):
    still, _ = scene(textures, 0)
    other = still.copy()
    patch = other[100:140, 100:140].astype(int) // 2 + 60
    still[100:140, 100:140] = patch
    other[100:140, 100:140] = patch + np.array([0, 13, -25])  # as bright as before
    propagator = MaskPropagator()
    propagator.set_key_frame(Picture(still), np.zeros(GRID[::-1], np.float32), 0.0)
    assert propagator.propagate(Picture(other), FRAME, every=1) is None


def test_a_slow_drift_ends_the_rest_too(textures):
    propagator, picture = with_key_frame(textures), scene(textures, 0)[0]
    steps = [
        propagator.propagate(
            Picture(cv2.add(picture, (s, s, s, 0))), s * MAX_STILL_AGE / 20, every=1
        )
        for s in range(1, 9)
    ]
    assert steps[0] is not None and steps[-1] is None


def test_what_is_remembered_and_given_is_nobody_elses(textures):
    picture, alpha = scene(textures, 0)
    propagator, mask = MaskPropagator(), mask_of(alpha)
    propagator.set_key_frame(Picture(picture), mask, 0.0)
    mask[:] = 1
    propagator.propagate(Picture(picture), FRAME, every=1)[0][:] = 1
    assert np.array_equal(propagator.propagate(Picture(picture), FRAME, every=1)[0], mask_of(alpha))


@pytest.mark.parametrize("grid", [GRID, (56, 32)])
def test_what_is_remembered_does_not_depend_on_what_was_asked_before(textures, grid):
    asked, fresh = with_key_frame(textures), MaskPropagator()
    picture, alpha = scene(textures, 30)
    other, _ = scene(textures, 12)
    mask = cv2.resize(alpha, grid, interpolation=cv2.INTER_AREA)
    for before in (other, picture):  # one that the network saw, and one that it did not
        asked.propagate(Picture(before), FRAME, every=1)
        for propagator in (asked, fresh):
            propagator.set_key_frame(Picture(picture), mask, FRAME)
        assert np.array_equal(asked.picture, fresh.picture)
        assert np.array_equal(asked.grey, fresh.grey)
