"""The tools that make the weights: photographs into batches, training, export."""

import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support import ROOT
from tools import dataset
from tools.camera_effects import clothe
from tools.cutouts import Cutout, foreground, key, keyed, lay, paste, place
from tools.dataset import MIX, TRUE_ALPHA, UNKNOWN, Batches, Photo, read_photos

quick = settings(max_examples=30, deadline=None)
PREFIXES = [*(kind for kind in MIX if kind not in ("pasted", "nobody")), "room", "none"]


def draw_photo(name: str, size: tuple[int, int], seed: int = 0) -> Photo:
    """Noise with an oval "person", a rim of unknown around it; nobody for `room` and `none`."""
    rng, (width, height) = np.random.default_rng(seed), size
    image = rng.integers(0, 256, (height, width, 3), np.uint8)
    mask = np.zeros((height, width), np.uint8)
    if name.split("_")[0] not in ("room", "none"):
        middle, radii = (width // 2, height * 6 // 10), (width // 4, height * 3 // 10)
        cv2.ellipse(mask, middle, radii, 0, 0, 360, UNKNOWN, -1)
        cv2.ellipse(mask, middle, (radii[0] - 2, radii[1] - 2), 0, 0, 360, 255, -1)
        image[mask == 255] = rng.integers(0, 256, 3)
    if soft := name.startswith(TRUE_ALPHA):
        mask[mask == UNKNOWN] += 1
    return Photo(name, image, mask, soft)


def draw_all(size=(61, 83), each=2) -> list[Photo]:
    return [
        draw_photo(f"{prefix}_{i}", size, seed)
        for seed, (prefix, i) in enumerate((p, i) for p in PREFIXES for i in range(each))
    ]


def write_photo(folder: Path, photo: Photo) -> None:
    cv2.imwrite(str(folder / f"{photo.name}.jpg"), photo.image)
    if photo.mask.any():
        cv2.imwrite(str(folder / f"{photo.name}.png"), photo.mask)


# photographs into batches


def test_without_keras_a_tool_says_in_one_line_what_is_missing():
    run = "import runpy, sys; sys.modules['keras'] = None; runpy.run_module('tools.train')"
    child = subprocess.run([sys.executable, "-c", run], cwd=ROOT, capture_output=True, text=True)
    assert child.returncode == 1
    assert child.stderr == "tools: Keras is missing; run: pip install -r requirements.txt\n"


def test_photographs_are_read_with_their_masks(tmp_path):
    for photo in draw_all():
        write_photo(tmp_path, photo)
    photos = read_photos(tmp_path)
    assert [p.name for p in photos] == sorted(p.name for p in draw_all())
    drawn = {p.name: p for p in draw_all()}
    for photo in photos:
        assert photo.image.shape == (83, 61, 3) and photo.prefix in PREFIXES
        np.testing.assert_array_equal(photo.mask, drawn[photo.name].mask)


def test_a_folder_without_photographs_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="no .jpg or .webp"):
        read_photos(tmp_path)


def test_other_formats_are_read_and_a_true_alpha_has_nothing_unknown(tmp_path):
    ramp = np.tile(np.arange(256, dtype=np.uint8), (20, 1))
    for name in ("pexels_1", "matte_1"):
        cv2.imwrite(str(tmp_path / f"{name}.webp"), np.zeros((20, 256, 3), np.uint8))
        cv2.imwrite(str(tmp_path / f"{name}.png"), ramp)
    matte, pexels = read_photos(tmp_path)
    assert matte.soft and not pexels.soft
    np.testing.assert_array_equal(matte.mask, np.where(ramp == UNKNOWN, 129, ramp))
    np.testing.assert_array_equal(pexels.mask, ramp)


def lend_edges(tmp_path, alpha) -> Photo:
    """A drawn photograph, read with another network's alpha beside it."""
    photos, edges = tmp_path / "photos", tmp_path / "edges"
    photos.mkdir()
    edges.mkdir()
    write_photo(photos, draw_photo("selfie_0", (120, 160)))
    cv2.imwrite(str(edges / "selfie_0.png"), alpha)
    return read_photos(photos, edges)[0]


def test_another_networks_edges_replace_the_drawn_ones_in_a_narrow_band(tmp_path):
    drawn = draw_photo("selfie_0", (120, 160)).mask
    alpha = cv2.GaussianBlur((drawn == 255).astype(np.float32) * 255, (0, 0), 1).round()
    photo = lend_edges(tmp_path, alpha.astype(np.uint8))
    assert photo.soft
    changed = (photo.mask != drawn).astype(np.uint8)
    assert changed.any()
    outline = cv2.morphologyEx(
        (drawn == 255).astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((7, 7), np.uint8)
    )
    assert not changed[outline == 0].any()
    assert (photo.mask[drawn == UNKNOWN] == UNKNOWN).all()


def test_a_network_that_sees_other_people_lends_no_edges(tmp_path):
    drawn = draw_photo("selfie_0", (120, 160)).mask
    alpha = np.where(drawn == 255, 255, 0).astype(np.uint8)
    alpha[:40, :40] = 255
    photo = lend_edges(tmp_path, alpha)
    assert not photo.soft
    np.testing.assert_array_equal(photo.mask, drawn)


def rectangles(*boxes) -> np.ndarray:
    mask = np.zeros((200, 300), np.uint8)
    for top, left, bottom, right in boxes:
        mask[top:bottom, left:right] = 255
    return mask


NEAR, AS_NEAR, FAR, PERHAPS = (
    (20, 20, 200, 100), (30, 120, 200, 180), (100, 200, 160, 230), (80, 240, 200, 290),
)  # fmt: skip


def test_who_is_in_front_is_told_by_height():
    front = dataset.front_of(rectangles(NEAR, AS_NEAR, FAR, PERHAPS))
    for (top, left, bottom, right), value in zip(
        (NEAR, AS_NEAR, FAR, PERHAPS), (255, 255, 0, UNKNOWN), strict=True
    ):
        assert (front[top:bottom, left:right] == value).all()
    alone = rectangles(NEAR)
    assert dataset.front_of(alone) is alone


def test_a_batch_depends_on_its_number_alone():
    first, second = Batches(draw_all(), 8), Batches(draw_all(), 8)
    first.batch(0, (64, 48))
    made, again = first.batch(1, (64, 48)), second.batch(1, (64, 48))
    for array, same in zip(made, again, strict=True):
        np.testing.assert_array_equal(array, same)
    assert np.abs(made[0] - second.batch(2, (64, 48))[0]).mean() > 1


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


def cutout(size=(40, 60), soft=True) -> Cutout:
    photo = draw_photo("matte_0" if soft else "selfie_0", size)
    return Cutout(photo.image, photo.mask, soft, whole=False)


def test_whoever_is_laid_over_others_is_in_front_of_them():
    rng, size = np.random.default_rng(4), (80, 120)
    masks = np.zeros((*size, 2), np.uint8)
    first = paste(rng, np.zeros((*size, 3), np.uint8), place(rng, cutout(), size, 0.9, 50))
    second = paste(rng, first[0], place(rng, cutout(), size, 0.9, 70))
    masks = lay(masks, *first[1:], "behind")
    assert (masks[..., 0] == masks[..., 1]).all() and (masks > UNKNOWN).any()
    behind, unsure = lay(masks, *second[1:], "behind"), lay(masks, *second[1:], "unsure")
    alone = (first[1] > 0.99) & (second[1] == 0)
    assert alone.any()
    for laid, front in ((behind, 0), (unsure, UNKNOWN)):
        assert (laid[alone, 0] > 250).all() and (laid[alone, 1] == front).all()
        assert (laid[second[1] > 0.99] > 250).all()


def test_somebody_joined_to_a_view_is_behind_its_people():
    batches, rng = Batches(draw_all((80, 80)), 1), np.random.default_rng(8)
    truth = np.zeros((64, 96), np.uint8)
    truth[24:, 30:60] = 255
    image = np.full((64, 96, 3), 77, np.uint8)
    added = 0
    for _ in range(10):
        joined, masks = batches.join(rng, image, np.repeat(truth[..., None], 2, 2))
        np.testing.assert_array_equal(masks[..., 1], truth)
        assert (joined[truth == 255] == 77).all()
        assert (masks[truth == 255, 0] == 255).all()
        added += int((masks[truth == 0, 0] == 255).sum())
    assert added > 1000


def test_a_persons_own_colours_are_found_along_a_soft_outline():
    """A red person before green: at the rim they mix, the person's own colour is red."""
    alpha = np.zeros((60, 80), np.float32)
    alpha[:, 40:] = 1
    alpha = cv2.GaussianBlur(alpha, (0, 0), 2)
    image = alpha[..., None] * (0, 0, 200) + (1 - alpha[..., None]) * (0, 200, 0)
    mask = np.rint(alpha * 255).astype(np.uint8)
    colours = foreground(np.rint(image).astype(np.uint8), mask)
    rim = (mask > 60) & (mask < 250)
    assert np.abs(colours[rim].astype(int) - (0, 0, 200)).mean() < 12


def blue_screen() -> np.ndarray:
    """Somebody in a dull shirt before an unevenly lit blue screen: uint8 [144,180,3]."""
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


def test_other_clothes_cover_the_people_below_their_chins_and_nothing_else():
    image = np.full((120, 160, 3), 90, np.uint8)
    masks = np.zeros((120, 160, 2), np.uint8)
    masks[20:, 40:100] = 255
    masks[20:, 100] = 60  # a soft edge
    masks[60:80, 120:140] = 128
    for seed in range(10):
        dressed = image.copy()
        clothe(np.random.default_rng(seed), dressed, masks)
        changed = (dressed != image).any(2)
        assert not changed[np.isin(masks[..., 0], (0, 128))].any()
        difference = np.abs(dressed.astype(int) - image).mean(2)
        assert difference[-20:, 100].mean() < 0.5 * difference[-20:, 40:100].mean()
        assert not changed[:50, 40:100].any()
        assert changed[-20:, 40:100].mean() > 0.9


def test_nobody_gets_no_clothes():
    image = np.full((120, 160, 3), 90, np.uint8)
    clothe(np.random.default_rng(0), image, np.zeros((120, 160, 2), np.uint8))
    assert (image == 90).all()


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


def test_outlines_weigh_more_than_planes():
    mask = np.zeros((64, 64), np.uint8)
    mask[:, 32:] = 255
    target = dataset.target(person_and_front(mask), soft=True, stride=4)
    weight, exact = target[..., 2], target[..., 4]
    assert (
        (weight[:, 7:9] == 5).all() and (weight[:, :6] == 1).all() and (weight[:, 10:] == 1).all()
    )
    np.testing.assert_array_equal(exact, weight == 5)


@quick
@given(st.floats(-180, 180), st.floats(0.3, 3), st.integers(0, 99))
def test_turning_a_mask_makes_nothing_unknown(angle, scale, seed):
    mask = np.random.default_rng(seed).choice([0, 255], (30, 40)).astype(np.uint8)
    matrix = cv2.getRotationMatrix2D((20, 15), angle, scale)
    assert UNKNOWN not in dataset.warp_mask(mask, matrix, (40, 30))


def test_a_mask_that_does_not_turn_does_not_change():
    mask = draw_photo("selfie_0", (60, 80)).mask
    same = dataset.warp_mask(mask, np.eye(2, 3), (60, 80))
    np.testing.assert_array_equal(same, mask)


def test_what_lies_outside_a_photograph_is_unknown():
    rng, photo = np.random.default_rng(6), draw_photo("selfie_0", (60, 80))
    _, masks = dataset.view(rng, photo, (64, 64), zoom=3, middle=np.array([30.0, 40.0]))
    mask = masks[..., 0]
    assert (mask[:10] == UNKNOWN).all() and (mask[:, -10:] == UNKNOWN).all()
    assert (mask == 255).any()


# the network in training; from here on Keras is needed


@pytest.fixture(scope="module")
def person():
    """The person network with random norms, as a pretrained one has them."""
    import model

    net, rng = model.build("person", design=model.SLIM), np.random.default_rng(7)
    for layer in net.layers:
        if layer.name.endswith("_BN"):
            gamma, beta, mean, variance = (w.shape for w in layer.weights)
            values = [rng.uniform(1, 3, gamma), rng.normal(0, 0.5, beta)]
            values += [rng.normal(0, 0.1, mean), rng.uniform(0.1, 1, variance)]
            layer.set_weights(values)
    return net


@pytest.fixture(scope="module")
def spare():
    """A person network to load things into; building one takes seconds."""
    import model

    return model.build("person", design=model.SLIM)


@pytest.fixture(scope="module")
def folded(person):
    from tools.fold import fold

    return fold(person)


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(8)
    return rng.uniform(0, 255, (2, 32, 64, 3)).astype(np.float32)


def assert_same_function(net, other, images):
    expected = np.asarray(net(images))
    assert expected.std() > 1e-3
    np.testing.assert_allclose(np.asarray(other(images)), expected, atol=1e-3 * expected.std())


@pytest.mark.slow
def test_folding_does_not_change_the_function(person, folded, images):
    import keras

    assert not any(isinstance(x, keras.layers.BatchNormalization) for x in folded.layers)
    assert_same_function(person, folded, images)


@pytest.mark.slow
def test_unfolding_restores_the_function(person, folded, spare, images):
    from tools.fold import unfold

    unfold(folded, spare)
    assert_same_function(person, spare, images)


@pytest.mark.slow
def test_a_calmed_decoder_has_unit_features(person, images):
    import keras

    from tools.fold import Gained, fold
    from tools.train import calm, is_decoder

    folded = fold(person)
    calm(folded, images, {x.name for x in folded.layers if is_decoder(x.name)})
    calmed = [x for x in folded.layers if isinstance(x, Gained) and "decoder" in x.name]
    assert calmed
    outputs = keras.Model(folded.input, [layer.output for layer in calmed])(images)
    for features in map(np.asarray, outputs):
        alive = features.std((0, 1, 2)) > 0.01
        assert alive.mean() > 0.5  # behind a ReLU a channel may be silent
        np.testing.assert_allclose(features.mean((0, 1, 2)), 0, atol=0.02)
        np.testing.assert_allclose(features.std((0, 1, 2))[alive], 1, atol=0.02)


@pytest.mark.slow
def test_another_design_takes_over_every_layer_of_the_same_shape(person):
    import model
    from tools.train import transfer

    net = model.build("person", design=model.Design(width=0.5))
    done = transfer(person, net)
    new = {layer.name for layer in model.layers_with_weights(net)} - done
    assert new == {"decoder_refine_depthwise", "decoder_refine_depthwise_BN", "person_logit"} | {
        "decoder_refine",
        "decoder_refine_BN",
    }
    for name in ("Conv", "concat_projection", "decoder_4_BN"):
        pairs = zip(net.get_layer(name).weights, person.get_layer(name).weights, strict=True)
        assert all(np.array_equal(mine, theirs) for mine, theirs in pairs)


@pytest.fixture(scope="module")
def loss():
    from tools.train import loss

    return lambda targets, logits: float(loss(targets, logits))


def example_targets():
    """The truth of person and front, some of it unknown, an exact alpha along outlines."""
    rng = np.random.default_rng(9)
    shares = (rng.random((2, 12, 20, 2)) < 0.4).astype(np.float32)
    weights = rng.choice([0, 1, 5], shares.shape).astype(np.float32)
    exact = (weights[..., :1] == 5).astype(np.float32)
    return np.concatenate([shares, weights, exact], -1)


@pytest.mark.slow
def test_the_loss_prefers_what_is_right(loss):
    targets = example_targets()
    right = np.where(targets[..., :2] > 0.5, 20, -20).astype(np.float32)
    unsure = np.zeros_like(right)
    assert 0 <= loss(targets, right) < 0.01 < loss(targets, unsure) < loss(targets, -right)


@pytest.mark.slow
@pytest.mark.parametrize("size", [0, 1, 1e4, 1e30])
def test_the_loss_is_finite(loss, size):
    targets = example_targets()
    logits = np.float32(size) * np.ones_like(targets[..., :2])
    nothing_known = targets * [1, 1, 0, 0, 0]
    for these in (targets, nothing_known.astype(np.float32), np.zeros_like(targets)):
        assert np.isfinite(loss(these, logits)) and np.isfinite(loss(these, -logits))


@pytest.mark.slow
def test_cells_without_weight_do_not_count(loss):
    targets, rng = example_targets(), np.random.default_rng(10)
    logits = rng.normal(0, 3, (2, 12, 20, 2)).astype(np.float32)
    weightless = targets[..., 2:4] == 0
    other_logits = np.where(weightless, -5 * logits, logits)
    other_targets = targets.copy()
    other_targets[..., :2] = np.where(weightless, 1 - targets[..., :2], targets[..., :2])
    assert loss(other_targets, other_logits) == pytest.approx(loss(targets, logits), rel=1e-5)


@pytest.mark.slow
def test_a_true_alpha_is_matched_where_a_drawn_edge_need_not_be(loss):
    """Half covered cells: with an exact alpha, being sure of either costs more than elsewhere."""
    targets = np.zeros((1, 8, 8, 5), np.float32)
    targets[..., :2], targets[..., 2:4] = 0.5, 5
    exact = targets.copy()
    exact[..., 4] = 1
    sure, half = np.full((1, 8, 8, 2), 4, np.float32), np.zeros((1, 8, 8, 2), np.float32)
    assert loss(exact, half) == pytest.approx(loss(targets, half))
    assert loss(exact, sure) > loss(targets, sure) + 0.4


@pytest.mark.slow
def test_the_learning_rate_rises_and_falls_to_nothing():
    from tools.train import schedule

    rates = [schedule(step, step / 1000, 3e-4) for step in range(1001)]
    peak = int(np.argmax(rates))
    assert 100 < peak < 200 and 0.9 * 3e-4 < rates[peak] <= 3e-4
    assert np.all(np.diff(rates[: peak + 1]) > 0) and np.all(np.diff(rates[peak:]) < 0)
    assert rates[0] < 0.01 * 3e-4 and rates[-1] == pytest.approx(0, abs=1e-12)


@pytest.mark.slow
def test_a_run_with_an_hour_to_end_at_is_through_by_then_however_slow_it_becomes():
    from tools.train import Plan

    now = [1000.0]
    plan, steps, progress = Plan(0, until=1100.0, clock=lambda: now[0]), 0, [0.0]
    while plan.goes_on(steps):
        now[0] += 1 if steps < 40 else 7  # somebody else needs the processor
        steps += 1
        progress.append(plan.progress)
    assert 40 < steps < 60 and 1100 <= now[0] <= 1107
    assert np.all(np.diff(progress) >= 0) and max(progress) <= 1
    assert progress[40] == pytest.approx(0.39, abs=0.02)  # as far as the time is

    later = Plan(0, until=1200.0, clock=lambda: now[0])  # resumed, with another hour to end at
    later.progress = 0.5
    now[0] += 40
    later.goes_on(steps)
    assert 0.5 < later.progress < 0.9


@pytest.fixture
def short_training(monkeypatch):
    """One small input size in the place of five, and no graphs: each would be compiled anew."""
    import tensorflow as tf

    from background_blur.matting import segmenter
    from tools import train

    for module in (segmenter, train):
        monkeypatch.setattr(module, "INPUT_SIZES", ((48, 32),))
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.mark.slow
def test_training_resumes_as_if_never_interrupted(
    person, spare, tmp_path, monkeypatch, capsys, short_training
):
    import model
    from tools import train

    data, start = tmp_path / "data", tmp_path / "start.weights.h5"
    for part in ("train", "val"):
        (data / part).mkdir(parents=True)
        for photo in draw_all(each=1):
            if part == "train" or photo.prefix in ("selfie", "room"):
                write_photo(data / part, photo)
    model.save_person(person, model.SLIM, start)

    def run(work):
        command = ["train", "--data", data, "--start", start, "--design", "slim"]
        command += ["--work", work, "--images", 8, "--batch", 4, "--every", 1]
        monkeypatch.setattr(sys, "argv", list(map(str, command)))
        train.main()
        with np.load(work / "state.npz") as state:
            return dict(state)

    def save_and_copy(self, path):
        save(self, path)
        if self.step == 1:  # after the first of two steps, where the other run shall go on
            (tmp_path / "resumed").mkdir()
            shutil.copy(path, tmp_path / "resumed")

    save = train.Run.save
    monkeypatch.setattr(train.Run, "save", save_and_copy)
    through = run(tmp_path / "through")
    monkeypatch.setattr(train.Run, "save", save)
    resumed = run(tmp_path / "resumed")

    assert through["step"] == resumed["step"] == 2
    assert through.keys() == resumed.keys()
    for name, value in through.items():
        np.testing.assert_allclose(resumed[name], value, rtol=1e-3, atol=1e-5, err_msg=name)
        assert np.all(np.isfinite(value)), name
    assert any(np.any(through[f"w{i}"] != through[f"e{i}"]) for i in range(10))  # it learns
    printed = capsys.readouterr().out
    assert "selfie" in printed and "best" in printed
    for name in ("person.weights.h5", "last.weights.h5"):
        spare.load_weights(tmp_path / "through" / name)
    assert sorted(p.name for p in (tmp_path / "through").iterdir()) == [
        "last.weights.h5",
        "person.weights.h5",
        "state.npz",
    ]


@pytest.mark.slow
def test_a_batch_that_cannot_be_made_ends_training():
    from tools.train import Plan, ahead

    class Broken:
        def batch(self, step, size):
            raise KeyError(step)

    with pytest.raises(KeyError):
        list(ahead(Broken(), 0, Plan(2)))


# export


def exported(monkeypatch, spare, images, runs, out: Path) -> None:
    """Writes weights in files of these names whose mean is that of `spare`, and exports them."""
    import model
    from tools import export

    trained = spare.get_weights()
    for run, share in zip(runs, (1.125, 0.875), strict=True):
        spare.set_weights([share * weight for weight in trained])
        model.save_person(spare, model.SLIM, run)
    spare.set_weights(trained)
    out.parent.mkdir()
    compile_network = export.compile_network
    sizes = [(64, 32), (32, 64)]
    monkeypatch.setattr(
        export, "compile_network", lambda net, batches: compile_network(net, batches, sizes)
    )
    monkeypatch.setattr(export, "pictures", lambda data: [images])
    monkeypatch.setattr(sys, "argv", ["export", *map(str, runs), str(out), "--data", "photos"])
    export.main()


@pytest.mark.slow
def test_export_writes_one_network_twice(folded, spare, images, tmp_path, monkeypatch):
    from ai_edge_litert.interpreter import Interpreter

    from background_blur.matting.engines import read_weights
    from tools.fold import fix_limits, fold, unfold

    unfold(folded, spare)
    kernel, bias = spare.get_layer("logits").get_weights()
    deviation = np.asarray(spare(images)).std()
    spare.get_layer("logits").set_weights([2 / deviation * kernel, bias])  # as logits are
    compiled = tmp_path / "out" / "person.tflite"
    runs = [tmp_path / "a.weights.h5", tmp_path / "b.weights.h5"]
    expected = np.asarray(spare(images))
    exported(monkeypatch, spare, images, runs, compiled)

    spare.load_weights(compiled.with_suffix(".weights.h5"))
    np.testing.assert_allclose(np.asarray(spare(images)), expected, atol=1e-4)
    rounded = fold(spare, rounded=True)
    fix_limits(rounded, [images])
    for one in (images[:1], images[1:].transpose(0, 2, 1, 3)):
        height, width = one.shape[1:3]
        runner = Interpreter(str(compiled)).get_signature_runner(f"{width}x{height}")
        logits = runner(image=one)["logits"]
        exact, simulated = np.asarray(spare(one)), np.asarray(rounded(one))
        error = np.abs(logits - exact).mean()
        assert error < 0.1 * exact.std()
        assert error < 1.25 * np.abs(simulated - exact).mean() + 8 / 255  # half of their own step
    sums = (compiled.parent / "SHA256SUMS").read_text().splitlines()
    assert [line.split()[1] for line in sums] == ["person.tflite", "person.weights.h5"]
    read_weights(compiled)


@pytest.mark.slow
def test_the_compiled_network_computes_in_int8_and_writes_its_tables_once():
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    from background_blur.matting.engines import DEFAULT_WEIGHTS
    from tools.export import without_repetition

    data = DEFAULT_WEIGHTS["litert"].read_bytes()
    content = schema.ModelT.InitFromPackedBuf(data, 0)
    convolutions = (schema.BuiltinOperator.CONV_2D, schema.BuiltinOperator.DEPTHWISE_CONV_2D)
    codes = [code.builtinCode for code in content.operatorCodes]
    for graph in content.subgraphs:
        operators = [op for op in graph.operators if codes[op.opcodeIndex] in convolutions]
        in_floats = [
            op for op in operators if graph.tensors[op.inputs[0]].type != schema.TensorType.INT8
        ]
        assert len(operators) > 60 and len(in_floats) == 2  # see the docstring of tools.export
    builder = flatbuffers.Builder(len(data))
    builder.Finish(content.Pack(builder), b"TFL3")
    repetitive = bytes(builder.Output())
    assert len(without_repetition(repetitive)) == len(data) < len(repetitive) / 2


@pytest.mark.slow
def test_rounded_features_have_256_values_within_their_limits(person, images):
    import keras

    from tools.fold import Rounded, fix_limits, fold

    rounded = fold(person, rounded=True)
    layers = [layer for layer in rounded.layers if isinstance(layer, Rounded)]
    fix_limits(rounded, [images, images[:1]])
    outputs = keras.Model(rounded.input, [layer.output for layer in layers])(images)
    assert len(layers) > 60
    for layer, features in zip(layers, map(np.asarray, outputs), strict=True):
        assert layer.limits
        low, high = layer.limits
        step = (high - low) / 255
        assert low <= 0 < high and len(np.unique(features)) <= 256
        assert low - step <= features.min() and features.max() <= high + step


def test_the_ranges_are_taken_from_pictures_of_every_input_size(tmp_path, monkeypatch):
    pytest.importorskip("tensorflow")
    from tools import export

    monkeypatch.setattr(export, "COMPILED_SIZES", [(64, 32), (32, 64)])
    (tmp_path / "train").mkdir()
    for photo in draw_all():
        write_photo(tmp_path / "train", photo)
    batches = export.pictures(tmp_path)
    assert [batch.shape for batch in batches] == [(8, 32, 64, 3), (8, 64, 32, 3)]
    assert all(batch.dtype == np.float32 and batch.max() <= 255 for batch in batches)


@pytest.mark.slow
def test_an_export_without_pictures_changes_no_file(tmp_path, monkeypatch):
    from background_blur.matting.engines import WEIGHTS
    from tools import export

    (tmp_path / "train").mkdir()
    given = tmp_path / "person.weights.h5"
    shutil.copy(WEIGHTS / "person.weights.h5", given)
    before = given.read_bytes()
    argv = ["export", str(given), str(tmp_path / "person.tflite"), "--data", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", argv)
    with pytest.raises(SystemExit) as stop:
        export.main()
    assert str(tmp_path / "train") in str(stop.value)
    assert given.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["person.weights.h5", "train"]


@pytest.mark.slow
def test_rounding_changes_the_function_a_little_and_the_weights_not_at_all(person, spare, images):
    from tools.fold import fold, unfold

    rounded = fold(person, rounded=True)
    expected, actual = np.asarray(person(images)), np.asarray(rounded(images))
    assert 0 < np.abs(actual - expected).mean() < 0.25 * expected.std()
    unfold(rounded, spare)
    assert_same_function(person, spare, images)


@pytest.mark.slow
def test_gradients_pass_through_rounding(person, images):
    import tensorflow as tf

    from tools.fold import fold

    rounded = fold(person, rounded=True)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(rounded(images) ** 2)
    gradients = tape.gradient(total, rounded.trainable_variables)
    assert all(gradient is not None for gradient in gradients)
    moving = [bool(np.any(np.asarray(gradient))) for gradient in gradients]
    assert np.mean(moving) > 0.9
