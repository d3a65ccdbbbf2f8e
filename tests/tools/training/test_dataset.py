"""Photographs with masks, people cut out of them, and the batches made from both."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.photos import PREFIXES, draw_all, draw_photo, write_photo
from tools.cutouts import key, keyed
from tools.photos import UNKNOWN, front_of, read_photo, read_photos
from tools.training import dataset
from tools.training.camera_effects import raise_hand
from tools.training.dataset import MIX, Batches, soften

quick = settings(max_examples=30, deadline=None)


def test_photographs_are_read_with_their_masks(tmp_path):
    for photo in draw_all():
        write_photo(tmp_path, photo)
    photos = read_photos(tmp_path)
    assert [p.name for p in photos] == sorted(p.name for p in draw_all())
    drawn = {p.name: p for p in draw_all()}
    for photo in photos:
        assert photo.image.shape == (83, 61, 3) and photo.prefix in PREFIXES
        np.testing.assert_array_equal(photo.mask, drawn[photo.name].mask)


def test_other_formats_are_read_and_a_true_alpha_has_nothing_unknown(tmp_path):
    ramp = np.tile(np.arange(256, dtype=np.uint8), (20, 1))
    for name in ("pexels_1", "matte_1"):
        cv2.imwrite(str(tmp_path / f"{name}.webp"), np.zeros((20, 256, 3), np.uint8))
        cv2.imwrite(str(tmp_path / f"{name}.png"), ramp)
    matte, pexels = read_photos(tmp_path)
    assert matte.soft and not pexels.soft
    np.testing.assert_array_equal(matte.mask, np.where(ramp == UNKNOWN, 129, ramp))
    np.testing.assert_array_equal(pexels.mask, ramp)


@pytest.mark.parametrize("content", [None, b"", b"no picture"])
def test_a_damaged_photograph_is_named(tmp_path, content):
    path = tmp_path / "selfie_0.jpg"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(OSError, match="selfie_0.jpg: missing, damaged"):
        read_photo(path)


def test_another_networks_edges_replace_the_drawn_ones_in_a_narrow_band(tmp_path):
    drawn = draw_photo("selfie_0", (120, 160)).mask
    alpha = cv2.GaussianBlur((drawn == 255).astype(np.float32) * 255, (0, 0), 1).round()
    photos, edges = tmp_path / "photos", tmp_path / "edges"
    photos.mkdir()
    edges.mkdir()
    write_photo(photos, draw_photo("selfie_0", (120, 160)))
    cv2.imwrite(str(edges / "selfie_0.png"), alpha.astype(np.uint8))
    photo = soften(read_photos(photos)[0], edges)
    assert photo.soft
    changed = (photo.mask != drawn).astype(np.uint8)
    assert changed.any()
    outline = cv2.morphologyEx(
        (drawn == 255).astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((7, 7), np.uint8)
    )
    assert not changed[outline == 0].any()
    assert (photo.mask[drawn == UNKNOWN] == UNKNOWN).all()


def rectangles(*boxes) -> np.ndarray:
    mask = np.zeros((200, 300), np.uint8)
    for top, left, bottom, right in boxes:
        mask[top:bottom, left:right] = 255
    return mask


NEAR, AS_NEAR, FAR, PERHAPS = (
    (20, 20, 200, 100), (30, 120, 200, 180), (100, 200, 160, 230), (80, 240, 200, 290),
)  # fmt: skip


def test_who_is_in_front_is_told_by_height():
    front = front_of(rectangles(NEAR, AS_NEAR, FAR, PERHAPS))
    for (top, left, bottom, right), value in zip(
        (NEAR, AS_NEAR, FAR, PERHAPS), (255, 255, 0, UNKNOWN), strict=True
    ):
        assert (front[top:bottom, left:right] == value).all()
    alone = rectangles(NEAR)
    assert front_of(alone) is alone


@pytest.mark.parametrize("stride", [2, 4])
@settings(max_examples=15, deadline=None)
@given(
    st.tuples(st.integers(40, 130), st.integers(40, 130)),
    st.sampled_from([(32, 16), (48, 48), (48, 80)]),
    st.integers(0, 10_000),
)
def test_batches_have_their_shapes_and_ranges(stride, photo_size, size, number):
    width, height = size
    batches = Batches(draw_all(photo_size, each=1), 8, stride=stride)
    images, targets = batches.batch(number, size)
    assert images.shape == (8, height, width, 3)
    assert targets.shape == (8, height // stride, width // stride, 5)
    assert all(array.dtype == np.float32 for array in (images, targets))
    assert images.min() >= 0 and images.max() <= 255
    assert targets[..., :2].min() >= 0 and targets[..., :2].max() <= 1
    assert set(np.unique(targets[..., 2:4])) <= {0, 1, 5}
    person, front, w_person, w_front, exact = np.moveaxis(targets, -1, 0)
    assert (front <= person + 0.02)[(w_person > 0) & (w_front > 0)].all()
    assert set(np.unique(exact)) <= {0, 1} and (w_person[exact == 1] == 5).all()


@pytest.mark.parametrize("kind", MIX)
def test_every_kind_shows_whom_it_should(kind):
    batches, rng = Batches(draw_all(), 1), np.random.default_rng(5)
    masks = [batches.example(rng, kind, (64, 64))[1] for _ in range(6)]
    if kind == "nobody":
        assert not np.any(masks)
    else:
        assert all((mask[..., 0] > UNKNOWN).any() for mask in masks)


def test_a_drawn_hand_is_person_and_in_front():
    body = np.zeros((120, 200), np.uint8)
    cv2.ellipse(body, (100, 40), (15, 20), 0, 0, 360, 255, -1)
    cv2.rectangle(body, (60, 60), (140, 119), 255, -1)
    for seed in range(20):
        image, masks = np.full((120, 200, 3), 90, np.uint8), np.stack([body, body], -1)
        raise_hand(np.random.default_rng(seed), image, masks)
        drawn = np.abs(image.astype(int) - 90).max(2) > 20
        assert drawn.sum() > 100 and (masks[drawn] > 0).all() and (masks[body == 255] == 255).all()
    for rows in (slice(110, 120), [40, *range(80, 120)]):  # little, and not in one piece
        body[:] = 0
        body[rows, 60:140] = 255
        raise_hand(np.random.default_rng(0), image, np.stack([body, body], -1))


def blue_screen() -> np.ndarray:
    """A person in a dull shirt before an unevenly lit blue screen: uint8 [144,180,3]."""
    screen = np.linspace(120, 220, 180)[None, :, None] * np.array([1, 0.8, 0.1])
    image = np.tile(screen, (144, 1, 1))
    body = np.zeros((144, 180), np.float32)
    cv2.ellipse(body, (90, 110), (50, 70), 0, 0, 360, 1, -1)
    body = cv2.GaussianBlur(body, (0, 0), 1)[..., None]
    return np.rint(body * (90, 80, 75) + (1 - body) * image).astype(np.uint8)


def test_a_blue_screen_is_keyed():
    image = blue_screen()
    alpha = key(image)
    assert (alpha[120, 60:120] == 255).all() and (alpha[:30] == 0).all()
    assert (alpha[:, :30] == 0).all() and (alpha[:, -30:] == 0).all()
    assert UNKNOWN not in alpha
    assert ((alpha > 0) & (alpha < 255)).any()


def test_keyed_people_come_without_the_screens_light(tmp_path):
    path = tmp_path / "screen.avi"
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (180, 144))
    for _ in range(5):
        video.write(blue_screen())
    video.release()
    frames = list(keyed(path, every=2))
    assert len(frames) == 3
    image, mask = frames[0]
    rim = (mask > 40) & (mask < 255)
    spill = np.minimum(image[..., 0], image[..., 1]).astype(int) - image[..., 2]
    assert spill[rim].mean() < 15


def person_and_front(mask) -> np.ndarray:
    return np.repeat(mask[..., None], 2, 2)


@pytest.mark.parametrize("stride", [2, 4])
@quick
@given(st.integers(0, 2**32 - 1))
def test_a_cell_with_anything_unknown_weighs_nothing(stride, seed):
    rng = np.random.default_rng(seed)
    mask = rng.choice([0, 90, 255], (24, 40)).astype(np.uint8)
    mask[rng.random(mask.shape) < 0.05] = UNKNOWN
    target = dataset.target(person_and_front(mask), soft=False, stride=stride)
    share, front, weight, front_weight, exact = np.moveaxis(target, -1, 0)
    rows, columns = 24 // stride, 40 // stride
    cells = mask.reshape(rows, stride, columns, stride).swapaxes(1, 2).reshape(rows, columns, -1)
    np.testing.assert_array_equal(weight == 0, (cells == UNKNOWN).any(-1))
    np.testing.assert_allclose(share, cells.mean(-1) / 255, atol=0.003)
    np.testing.assert_array_equal((front, front_weight), (share, weight))
    assert not exact.any()


def test_what_lies_outside_a_photograph_is_unknown():
    rng, photo = np.random.default_rng(6), draw_photo("selfie_0", (60, 80))
    _, masks = dataset.view(rng, photo, (64, 64), zoom=3, middle=np.array([30.0, 40.0]))
    mask = masks[..., 0]
    assert (mask[:10] == UNKNOWN).all() and (mask[:, -10:] == UNKNOWN).all()
    assert (mask == 255).any()
