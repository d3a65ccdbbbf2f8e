"""frame -> mask, with the repository's own weights and with wrong ones."""

import hashlib
import itertools
import json
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from background_blur.errors import WeightsError
from background_blur.matting.engines import WEIGHTS, open_segmenter, with_one_signature
from background_blur.matting.segmenter import (
    FINE,
    INPUT_SIZES,
    SCALES,
    Masks,
    PersonSegmenter,
    nearest_input_size,
)
from support import ROOT

quick = settings(max_examples=50, deadline=None)
sides = st.integers(16, 4000)


@pytest.fixture(scope="module")
def segmenter():
    return open_segmenter()


def squash(size, grid) -> float:
    """How much more one axis is stretched than the other when `size` becomes `grid`; 1 if not."""
    ratio = size[0] / size[1] * grid[1] / grid[0]
    return max(ratio, 1 / ratio)


@quick
@given(sides, sides)
def test_no_grid_is_nearer_in_shape(width, height):
    chosen = nearest_input_size((width, height))
    assert chosen in INPUT_SIZES
    assert all(
        squash((width, height), chosen) < squash((width, height), g) + 1e-9 for g in INPUT_SIZES
    )


@quick
@given(st.floats(9 / 16, 16 / 9))
def test_frames_of_cameras_are_hardly_squashed(aspect):
    size = (1000 * aspect, 1000)
    assert squash(size, nearest_input_size(size)) < 1.2


@pytest.mark.parametrize(
    "size",
    [(1, 1), (17, 31), (99, 2001), (720, 1280), (3839, 2159)],
)
def test_a_frame_of_any_size_gets_a_mask(segmenter, size):
    frame = np.random.default_rng(3).integers(0, 256, (size[1], size[0], 3), np.uint8)
    width, height = nearest_input_size(size, FINE)
    for mask in segmenter.segment(frame):
        assert mask.shape in ((height // 2, width // 2), (height // 4, width // 4))
        assert mask.dtype == np.float32 and mask.flags.c_contiguous
        assert mask.min() >= 0 and mask.max() <= 1  # false for NaN, too


@pytest.mark.parametrize("scale", SCALES)
def test_the_person_of_a_portrait_is_found_at_every_scale(segmenter, portrait, scale):
    for mask in segmenter.segment(portrait, scale):
        check_portrait(mask)


def test_the_person_of_a_portrait_is_found_by_four_looks(segmenter, portrait):
    thorough = open_segmenter(thorough=True)
    masks, mirrored = thorough.segment(portrait), thorough.segment(cv2.flip(portrait, 1))
    for mask, other in zip(masks, mirrored, strict=True):
        check_portrait(mask)
        assert np.abs(mask - other[:, ::-1]).max() < 1e-3


def two_logits(image) -> np.ndarray:
    """An engine: someone everywhere, in front in the left half only."""
    height, width = image.shape[0] // 2, image.shape[1] // 2
    logits = np.full((height, width, 2), 5, np.float32)
    logits[:, width // 2 :, 1] = -5
    return logits


def test_everybody_and_those_in_front_are_told_apart():
    masks = PersonSegmenter(two_logits).segment(np.zeros((90, 160, 3), np.uint8))
    assert masks.person.shape == masks.front.shape == (112, 200)
    assert masks.person.min() > 0.99
    assert masks.front[:, :100].min() > 0.99 and masks.front[:, 100:].max() < 0.01


def test_what_the_outline_of_those_in_front_encloses_is_of_them():
    """Such as a face printed on a shirt, but not a gap next to an arm, which is open at the top."""
    person, front = np.zeros((2, 60, 80), np.float32)
    front[20:60, 10:70] = person[5:60, 10:80] = 1  # someone behind, at the right
    front[30:40, 20:30] = front[50:60, 40:50] = 0.2  # a print, and one cut off by the frame
    front[20:60, 60:64] = 0.3  # someone behind, between two who are in front
    person[50:60, 55:58] = front[50:60, 55:58] = 0.1  # a gap where nobody is
    solid = Masks(person, front).solid_front()
    assert (solid[30:40, 20:30] == 1).all() and (solid[50:60, 40:50] == 1).all()
    untouched = np.ones_like(front, bool)
    untouched[30:40, 20:30] = untouched[50:60, 40:50] = False
    assert np.array_equal(solid[untouched], front[untouched])


def test_a_network_of_one_logit_has_everybody_in_front():
    masks = PersonSegmenter(lambda image: two_logits(image)[..., 1:]).segment(
        np.zeros((90, 160, 3), np.uint8)
    )
    np.testing.assert_array_equal(masks.person, masks.front)


def check_portrait(mask):
    mask = cv2.resize(mask, (512, 512))
    assert mask[80:200, 180:260].mean() > 0.95  # face
    assert mask[290:390, 150:270].mean() > 0.95  # chest
    assert (mask[:60, :100] > 0.5).mean() < 0.02  # flag
    assert (mask[:100, 420:] > 0.5).mean() < 0.02  # shuttle


def test_red_and_blue_are_not_swapped(segmenter, portrait):
    class Seen(Exception):
        pass

    def engine(image):
        np.testing.assert_allclose(image[0, 0], [30, 20, 10], atol=1)
        raise Seen

    frame = np.full((240, 240, 3), (10, 20, 30), np.uint8)
    with pytest.raises(Seen):
        PersonSegmenter(engine).segment(frame)


@quick
@given(st.floats(allow_nan=False, width=32))
@example(1e38)
@example(-1e38)
def test_logits_of_any_size_become_probabilities(logit):
    segmenter = PersonSegmenter(lambda image: np.full((60, 60, 1), logit, np.float32))
    mask = segmenter.segment(np.zeros((8, 8, 3), np.uint8)).person
    assert np.all((mask >= 0) & (mask <= 1))
    assert np.all((mask > 0.5) == (logit > 0)) or abs(logit) < 1e-6


def test_the_sums_are_those_of_the_weights():
    lines = (WEIGHTS / "SHA256SUMS").read_text().splitlines()
    sums = {name: digest for digest, name in map(str.split, lines)}
    assert {"person.tflite", "person.weights.h5"} <= sums.keys()
    for name, digest in sums.items():
        assert hashlib.sha256((WEIGHTS / name).read_bytes()).hexdigest() == digest


def refusal(path: Path, engine: str = "litert") -> str:
    with pytest.raises(WeightsError) as caught:
        open_segmenter(engine, path)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message
    return message


@pytest.mark.parametrize("mark", [" ", "*"])  # as sha256sum writes them, and sha256sum -b
@pytest.mark.parametrize("name", ["person.tflite", "person.weights.h5"])
def test_a_changed_byte_is_noticed(tmp_path, name, mark):
    sums = (WEIGHTS / "SHA256SUMS").read_text().replace("  ", f" {mark}")
    (tmp_path / "SHA256SUMS").write_text(sums)
    data = bytearray((WEIGHTS / name).read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / name).write_bytes(data)
    assert "damaged" in refusal(tmp_path / name, "keras" if name.endswith("h5") else "litert")


@pytest.mark.parametrize("sums", [b"0123  another.tflite\n\nnonsense\n", b"\xff\xfe\0"])
def test_sums_that_do_not_name_the_file_do_not_matter(tmp_path, sums):
    shutil.copy(WEIGHTS / "person.tflite", tmp_path / "mine.tflite")
    (tmp_path / "SHA256SUMS").write_bytes(sums)
    open_segmenter(weights=tmp_path / "mine.tflite")


def test_weights_that_are_not_there(tmp_path):
    assert "no such weights file" in refusal(tmp_path / "absent.tflite")
    assert "not a file" in refusal(tmp_path)
    assert "not a file" in refusal(Path("/dev/null"))
    assert "no such weights file" in refusal(tmp_path / "absent.weights.h5", "keras")


def test_a_network_without_the_input_sizes_is_refused(tmp_path):
    one = with_one_signature((WEIGHTS / "person.tflite").read_bytes(), "320x176")
    (tmp_path / "other.tflite").write_bytes(one)
    assert "tools/training/export.py" in refusal(tmp_path / "other.tflite")


OPEN_EACH = """
import json, sys
from pathlib import Path
import numpy as np
from background_blur.errors import WeightsError
from background_blur.matting import engines

answers = {}
for path in map(Path, sys.argv[1:]):
    try:
        masks = engines.open_segmenter(weights=path).segment(np.zeros((90, 160, 3), np.uint8))
        answers[path.name] = str(masks.person.shape)
    except WeightsError as error:
        answers[path.name] = str(error)
print(json.dumps(answers))
"""


def test_damaged_weights_never_crash_the_interpreter(tmp_path):
    """In a process of its own: LiteRT maps the file, and a crash would take the tests with it."""
    whole = (WEIGHTS / "person.tflite").read_bytes()
    files = {f"cut_{at}": whole[:at] for at in (0, 7, 5000, len(whole) // 2, len(whole) - 1000)}
    files |= {"text": b"not weights\n" * 50, "zeros": bytes(5000)}
    files["keras"] = (WEIGHTS / "person.weights.h5").read_bytes()
    rng = np.random.default_rng(4)
    for i in range(6):  # the structure is at both ends, the numbers lie between
        data = np.frombuffer(whole, np.uint8).copy()
        start = 0 if i % 2 else len(data) - 200_000
        data[rng.integers(start, start + 3000, 20)] ^= 255
        files[f"changed_{i}"] = data.tobytes()
    for name, data in files.items():
        (tmp_path / f"{name}.tflite").write_bytes(data)
    command = [sys.executable, "-c", OPEN_EACH, *tmp_path.iterdir()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    assert len(answers) == len(files)
    for name, answer in answers.items():
        refused = name in answer and "tools/training/export.py" in answer and "\n" not in answer
        assert refused or (answer in ("(44, 80)", "(88, 160)") and name.startswith("changed"))


@pytest.mark.slow
def test_both_engines_give_the_same_mask_on_every_grid(segmenter, portrait):
    """Except for what int8 rounds away."""
    pytest.importorskip("tensorflow")
    original, means = open_segmenter("keras"), []
    for (width, height), scale in zip(INPUT_SIZES, itertools.cycle(SCALES), strict=False):
        zoom = 512 / max(width, height)
        frame = portrait[: round(height * zoom), : round(width * zoom)]
        compiled, expected = segmenter.segment(frame, scale), original.segment(frame, scale)
        grid = nearest_input_size((width, height), scale)
        for mask, same in zip(compiled, expected, strict=True):
            assert grid[1] // mask.shape[0] in (2, 4)
            assert mask.max() > 0.95 and mask.min() < 0.05
            difference = np.abs(mask - same)
            assert (difference > 0.1).mean() <= 0.03
            means.append(difference.mean())
    assert np.mean(means) <= 0.01


@pytest.mark.slow
def test_weights_that_keras_cannot_take(tmp_path):
    pytest.importorskip("tensorflow")
    import model

    whole = (WEIGHTS / "person.weights.h5").read_bytes()
    (tmp_path / "cut.weights.h5").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.weights.h5").write_text("not weights\n")
    model.build("voc").save_weights(tmp_path / "voc.weights.h5")
    shutil.copy(WEIGHTS / "person.tflite", tmp_path)
    for path in tmp_path.iterdir():
        assert "tools/training/train.py" in refusal(path, "keras")
