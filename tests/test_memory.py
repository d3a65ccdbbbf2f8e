"""Memory: one full-size picture per frame, the caller's own, and only as much network as used."""

import tracemalloc

import cv2
import numpy as np
import pytest

from background_blur.matting import engines
from background_blur.matting.quality import LEVELS
from background_blur.matting.segmenter import COMPILED_SIZES
from background_blur.rendering.backgrounds import StillBackground
from background_blur.settings import Settings
from support.segmenters import FakeBlur

SIZES = [(3840, 2160), (2160, 3840)]  # large, so that what is full-size stands out


def moving(size, index: int) -> np.ndarray:
    """uint8 [H,W,3]: soft blobs that move by a few pixels per frame."""
    rough = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    picture = cv2.resize(rough, (size[0] // 4 + 40, size[1] // 4 + 40))[:, index % 40 :]
    return cv2.resize(picture[: size[1] // 4, : size[0] // 4], size)


def someone(image, scale: float = 1.0) -> np.ndarray:
    """A network that sees a person in the middle of every picture."""
    mask = np.zeros((88, 160), np.float32) if image.shape[1] > image.shape[0] else None
    mask = np.zeros((160, 88), np.float32) if mask is None else mask
    height, width = mask.shape
    mask[height // 4 :, width // 3 : 2 * width // 3] = 1
    return cv2.GaussianBlur(mask, (0, 0), 1)


def most_at_once(blur: FakeBlur, image: np.ndarray, level=None) -> int:
    """The most bytes, beyond the finished picture, that a frame takes while it is being finished.

    NumPy reports its arrays to `tracemalloc`, and OpenCV allocates NumPy arrays.
    """
    tracemalloc.start()
    try:
        result = blur(image, level)
        return tracemalloc.get_traced_memory()[1] - result.image.nbytes
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("background", ["blur", "picture"])
@pytest.mark.parametrize("level", [None, LEVELS[1]])
def test_a_frame_takes_no_full_size_memory_but_the_finished_picture(size, background, level):
    settings = Settings()
    if background == "picture":
        settings.background = StillBackground(np.full((9, 16, 3), 200, np.uint8))
    blur = FakeBlur(someone, settings)
    frames = [moving(size, index) for index in range(6)]
    for frame in frames[:3]:
        blur(frame, level)
    grey_plane = size[0] * size[1]  # bytes
    assert max(most_at_once(blur, frame, level) for frame in frames[3:]) < grey_plane


def test_the_count_above_sees_a_full_size_copy():
    class Wasteful(FakeBlur):
        def __call__(self, frame, level=None):
            return super().__call__(cv2.flip(frame, 1), level)

    frame = moving(SIZES[0], 0)
    assert most_at_once(Wasteful(someone, Settings()), frame) > frame.nbytes


@pytest.mark.parametrize("level", [None, LEVELS[1]])
@pytest.mark.parametrize("settings", [Settings(), Settings(mirror=True), Settings(view="alpha")])
def test_a_picture_handed_out_stays_as_it_is_whatever_is_finished_later(level, settings):
    blur = FakeBlur(someone, settings)
    frames = [moving((640, 360), index) for index in range(8)]
    results = [blur(frame, level) for frame in frames]
    kept = [(r.image.copy(), r.working_alpha.copy()) for r in results]
    results += [blur(frame, level) for frame in frames]
    for (image, alpha), result in zip(kept, results, strict=False):
        assert np.array_equal(image, result.image)
        assert np.array_equal(alpha, result.working_alpha)
    held = [array for r in results for array in (r.image, r.working_alpha)] + frames
    for index, array in enumerate(held):
        assert not any(np.shares_memory(array, other) for other in held[index + 1 :])


def test_an_input_size_is_prepared_when_it_is_first_needed_and_a_few_are_kept(monkeypatch):
    prepared = []
    original = engines.with_one_signature
    monkeypatch.setattr(
        engines,
        "with_one_signature",
        lambda model, name: prepared.append(name) or original(model, name),
    )
    path = engines.DEFAULT_WEIGHTS["litert"]
    engine = engines.open_litert(path, path.read_bytes(), threads=1)
    assert prepared == []
    first, *others = COMPILED_SIZES[: engines.SIZES_READY]
    for size in (first, first, *others, first):
        engine(np.zeros((size[1], size[0], 3), np.float32))
    assert prepared == [f"{w}x{h}" for w, h in (first, *others)]
    for size in (COMPILED_SIZES[-1], first, others[0]):  # the least recently used had to go
        engine(np.zeros((size[1], size[0], 3), np.float32))
    assert len(prepared) == engines.SIZES_READY + 2


@pytest.mark.slow
def test_each_size_prepared_alone_gives_what_the_whole_file_gives():
    from ai_edge_litert.interpreter import Interpreter

    path, rng = engines.DEFAULT_WEIGHTS["litert"], np.random.default_rng(0)
    engine = engines.open_litert(path, path.read_bytes(), threads=1)
    whole = Interpreter(str(path), num_threads=1)
    for width, height in COMPILED_SIZES:
        image = rng.uniform(0, 255, (height, width, 3)).astype(np.float32)
        runner = whole.get_signature_runner(f"{width}x{height}")
        assert np.array_equal(engine(image), runner(image=image[None])["logits"][0])
