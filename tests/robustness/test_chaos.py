"""Nothing sharp gets out: a source and a network fail at random, and every frame is checked.

The person is a box bluer than anything else, so the network of these tests can find it from the
picture alone; everything else is the background, fine noise that shows any part left unblurred.
"""

import os
import re
import subprocess
import sys

import av
import cv2
import numpy as np
import pytest

import main
from background_blur.capture.base import Source
from background_blur.capture.camera import read_capture
from background_blur.controls import Viewer
from background_blur.frames import Frame
from background_blur.imaging import flatten_alpha, letterbox
from background_blur.matting.quality import LEVELS
from background_blur.matting.segmenter import nearest_input_size
from background_blur.rendering.backgrounds import StillBackground
from background_blur.rendering.compositing import blur_background, compose
from background_blur.rendering.renderer import MIN_HIDING_STRENGTH
from background_blur.settings import TRANSPARENT, Settings
from background_blur.sinks.video import VideoFile
from support import ROOT
from support.display import wait_until
from support.segmenters import FakeBlur, FakeSegmenter

TITLE = "chaos"
SIZES = ((128, 72), (96, 96), (72, 128), (120, 90))


@pytest.fixture(autouse=True)
def one_thread():
    """Small pictures: threads would only wait for one another."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    yield
    cv2.setNumThreads(before)


class ChaosCamera:
    """Acts like cv2.VideoCapture: a box moves over noise; scenes cut, and reads go wrong."""

    def __init__(self, seed: int, sizes=SIZES):
        self.rng, self.sizes = np.random.default_rng(seed), sizes
        self.cut()

    def cut(self) -> None:
        width, height = self.size = self.sizes[self.rng.integers(len(self.sizes))]
        noise = self.rng.integers(0, 128, (height, width, 3), np.uint8)
        blobs = self.rng.integers(0, 128, (3, 4, 3), np.uint8)  # no two rooms share them
        self.room = noise + cv2.resize(blobs, self.size)
        self.room[..., 0] //= 2
        self.box = np.array([width, height]) // (3, 2)
        self.place = self.rng.uniform(0, 1, 2)

    def read(self):
        count = len(FAULTY_READS)
        fault = self.rng.choice([None, *FAULTY_READS], p=[0.9] + [0.1 / count] * count)
        if fault:
            return FAULTY_READS[fault](self)
        return True, self.picture()

    def picture(self) -> np.ndarray:
        self.place = np.clip(self.place + self.rng.normal(0, 0.01, 2), 0, 1)
        image = self.room.copy()
        left, top = ((np.array(self.size) - self.box) * self.place).astype(int)
        image[top : top + self.box[1], left : left + self.box[0], 0] = 255
        return image


def fails(camera):
    raise cv2.error("the driver is on fire")


def cuts(camera):
    camera.cut()
    return True, camera.picture()


def torn(camera):
    """The upper half of one picture over the lower half of a later one."""
    upper, half = camera.picture(), camera.size[1] // 2
    camera.place = camera.rng.uniform(0, 1, 2)
    return True, np.vstack([upper[:half], camera.picture()[half:]])


FAULTY_READS = {
    "raises": fails,
    "none": lambda camera: (False, None),
    "taken but none": lambda camera: (True, None),
    "cut": cuts,
    "torn": torn,
    "black": lambda camera: (True, np.zeros((*camera.size[::-1], 3), np.uint8)),
    "grey": lambda camera: (True, camera.picture()[..., 0].copy()),
    "four channels": lambda camera: (True, cv2.cvtColor(camera.picture(), cv2.COLOR_BGR2BGRA)),
    "numbers": lambda camera: (True, np.full((*camera.size[::-1], 3), np.nan)),
}


def true_mask(picture: np.ndarray) -> np.ndarray:
    """float32 [h,w], a quarter of a grid, of where the box is in the picture."""
    width, height = nearest_input_size((picture.shape[1], picture.shape[0]))
    box = (picture[..., 0] > 200).astype(np.float32)
    return cv2.resize(box, (width // 4, height // 4), interpolation=cv2.INTER_AREA)


class ChaosNetwork:
    """Returns each picture's true mask, or at random something else, once or for many frames."""

    def __init__(self, seed: int, faults):
        self.rng = np.random.default_rng(seed)
        self.faults, self.fault, self.left = faults, None, 0
        self.last = None

    def __call__(self, picture: np.ndarray):
        if self.left == 0 and self.rng.random() < 0.1:
            self.fault = str(self.rng.choice(list(self.faults)))
            self.left = int(self.rng.choice([1, 2, 5, 60]))
        mask = true_mask(picture)
        if self.left:
            self.left -= 1
            mask = self.faults[self.fault](mask, self.last)
        self.last = mask
        return mask


class ChaosQuality:
    """Takes any step at any frame."""

    def __init__(self, seed: int):
        self.rng = np.random.default_rng(seed)

    @property
    def level(self):
        return LEVELS[self.rng.integers(len(LEVELS))]


def raises(mask, last):
    raise RuntimeError("no such tensor")


def poked(value):
    def poke(mask, last):
        mask[mask.shape[0] // 2, mask.shape[1] // 2] = value
        return mask

    return poke


WRONG_MASKS = {
    "raises": raises,
    "none": lambda mask, last: None,
    "not an array": lambda mask, last: mask.tolist(),
    "nan": poked(np.nan),
    "inf": poked(np.inf),
    "negative": poked(-0.5),
    "over 1": poked(7.0),
    "all over 1": lambda mask, last: np.full_like(mask, 255),
    "whole numbers": lambda mask, last: np.ones(mask.shape, np.int64),
    "objects": lambda mask, last: np.full(mask.shape, None),
    "turned": lambda mask, last: np.tile(mask, (1, 3)),
    "three axes": lambda mask, last: mask[..., None],
    "tiny": lambda mask, last: np.ones((1, 1), np.float32),
    "no pixels": lambda mask, last: mask[:0],
    "all person": lambda mask, last: np.ones_like(mask),
    "nearly all person": lambda mask, last: np.maximum(mask, 0.97),
    "half person everywhere": lambda mask, last: np.maximum(mask, 0.45),
    "empty": lambda mask, last: np.zeros_like(mask),
    "stale": lambda mask, last: mask if last is None else last,
}


def detail(image: np.ndarray, where: np.ndarray) -> float:
    """The mean square of the Laplacian of the pixels in a uint8 [H,W] mask."""
    change = cv2.Laplacian(image, cv2.CV_32F)
    return float(np.square(change)[where > 0].mean())


def background(image: np.ndarray) -> np.ndarray:
    """uint8 [H,W], 255 where an output can show nothing of the box or of its soft edge."""
    reach = image.shape[0] // 6 | 1
    box = cv2.dilate((image[..., 0] > 200).astype(np.uint8), np.ones((2 * reach + 1,) * 2))
    box[0, :] = box[-1, :] = box[:, 0] = box[:, -1] = 1  # the Laplacian's own border
    return 255 * (1 - box)


def check(image: np.ndarray, out: np.ndarray) -> None:
    """Fails where the background of an output is sharper than that of a fully blurred one."""
    where = background(image)
    assert out.shape == image.shape
    assert where.any()
    none = np.zeros(image.shape[:2], np.uint8)
    blurred = compose(image, blur_background(image, none, MIN_HIDING_STRENGTH), none)
    limit = 1.5 * detail(blurred, where) + 2  # noise itself: about 100,000
    assert detail(out, where) <= limit


def chaos(
    seed: int, count: int, faults=WRONG_MASKS, sizes=SIZES, quality=None, track=False, **chosen
):
    """Yields (picture, result) for that many frames from a broken camera and network."""
    camera, network = ChaosCamera(seed, sizes), ChaosNetwork(seed, faults)
    blur, index = FakeBlur(network, Settings(**chosen), track=track), 0
    while index < count:
        image = read_capture(camera)
        if image is not None:
            index += 1
            yield image, blur(Frame(image, index / 30), quality and quality.level)


def test_the_check_finds_a_leak():
    image = ChaosCamera(0).picture()
    with pytest.raises(AssertionError):
        check(image, image)
    mask = cv2.dilate(true_mask(image), np.ones((31, 31)))  # too wide
    with pytest.raises(AssertionError):
        check(image, FakeBlur(lambda small: mask, Settings())(image).image)


def test_a_thousand_frames_of_chaos_into_a_file(tmp_path):
    path, sent, hidden = tmp_path / "chaos.mkv", [], []
    with VideoFile(path, 30) as file:
        for index, (image, result) in enumerate(chaos(seed=1, count=1000, track=True)):
            out = result.image
            check(image, out)
            hidden.append(result.fully_blurred_because)
            file.write(Frame(letterbox(out, (128, 72)), index / 30))
            if out.shape == (72, 128, 3):
                sent.append((index, cv2.resize(out, (16, 9), interpolation=cv2.INTER_AREA)))
    assert 100 < sum(map(bool, hidden)) < 900  # otherwise nothing was tried, or nothing let through
    assert len({reason for reason in hidden if reason}) >= 6
    with av.open(path) as video:
        read = [frame.to_ndarray(format="bgr24") for frame in video.decode(video=0)]
    assert len(read) == 1000
    for index, small in sent[::20]:  # the file holds what was checked, and nothing else
        there = cv2.resize(read[index], (16, 9), interpolation=cv2.INTER_AREA)
        assert cv2.absdiff(there, small).mean() < 12


class ChaosSource(Source):
    """That many frames from a broken camera, in sizes of one shape; keeps them."""

    live, size = True, (128, 72)

    def __init__(self, seed: int, count: int):
        self.camera = ChaosCamera(seed, [(128, 72), (160, 90), (192, 108)])
        self.left, self.given = count, []

    def __iter__(self):
        while self.left:
            image = read_capture(self.camera)
            if image is not None:
                self.left -= 1
                self.given.append(image)
                yield Frame(image, len(self.given) / 30)

    def close(self):
        self.left = 0


def test_a_thousand_frames_of_chaos_into_a_virtual_camera(fake, monkeypatch, capsys):
    """Through the whole program, so that nothing goes past the pipeline."""
    source = ChaosSource(seed=10, count=1000)
    monkeypatch.setattr("background_blur.capture.open_source", lambda *_, **__: source)
    monkeypatch.setattr(
        "background_blur.matting.engines.open_segmenter",
        lambda *_, **__: FakeSegmenter(ChaosNetwork(10, WRONG_MASKS)),
    )
    assert main.main(["--virtual-camera", "--no-window", "--threads", "1"]) == 0
    assert len(fake.images) == len(source.given) == 1000
    for image, out in zip(source.given, fake.images, strict=True):
        check(letterbox(image, source.size), out)
    hidden = int(re.search(r"(\d+) frames fully blurred", capsys.readouterr().err)[1])
    assert 100 < hidden < 900


class Fingers:
    """A window at which someone presses keys at random."""

    closed = False

    def __init__(self, seed: int):
        self.rng = np.random.default_rng(seed)

    def write(self, frame):
        pass

    def key(self):
        # Not "-", which blurs less.
        keys = ["v", "m", "p", "b", "+", "h", "space"]
        return str(self.rng.choice(keys)) if self.rng.random() < 0.2 else None


def test_hundreds_of_frames_of_chaos_with_keys_pressed_at_any_moment():
    source, settings = ChaosSource(seed=11, count=500), Settings()
    blur = FakeBlur(ChaosNetwork(11, WRONG_MASKS), settings, track=True)
    quality = ChaosQuality(11)
    green = StillBackground(np.full((1, 1, 3), (64, 177, 0), np.uint8))
    backgrounds = {"blur": None, "green": green, TRANSPARENT: TRANSPARENT}
    viewer, views = Viewer(Fingers(11), settings, source, backgrounds=backgrounds), set()
    for frame in source:
        done = blur(frame, quality.level)
        image = cv2.flip(frame.image, 1) if settings.mirror else frame.image
        out = done.image if done.image.shape[2] == 3 else flatten_alpha(done.image)
        check(image, out[:, -image.shape[1] :])
        if done.fully_blurred_because:
            check(image, out[:, : image.shape[1]])  # the left half of split, too
        views.add((settings.view, settings.people, done.fully_blurred_because))
        assert viewer.show(done)
    assert len(views) > 20


@pytest.mark.parametrize("track", [False, True], ids=["whole", "tracked"])
@pytest.mark.parametrize("quality", [None, ChaosQuality(2)], ids=["every frame", "propagated"])
@pytest.mark.parametrize("fault", WRONG_MASKS)
def test_each_fault_alone_lets_nothing_out(fault, quality, track):
    faults = {fault: WRONG_MASKS[fault]}
    for image, result in chaos(seed=2, count=40, faults=faults, quality=quality, track=track):
        check(image, result.image)


@pytest.mark.parametrize("fault", sorted(set(WRONG_MASKS) - {"empty", "stale"}))
def test_a_fault_that_never_ends_is_never_believed(fault):
    camera = ChaosCamera(3)
    blur = FakeBlur(lambda small: WRONG_MASKS[fault](true_mask(small), None), Settings())
    for _ in range(60):
        image = camera.picture()
        result = blur(image)
        check(image, result.image)
        assert result.fully_blurred_because


def test_a_mask_is_not_carried_over_a_cut():
    camera = ChaosCamera(4)
    blur = FakeBlur(true_mask, Settings())
    for _ in range(20):
        image = camera.picture()
        check(image, blur(image).image)
        camera.cut()


def test_an_old_mask_is_not_believed_when_only_the_person_moved():
    camera = ChaosCamera(5, [(128, 72)])
    camera.place[:] = 0.0, 0.5
    stale = true_mask(camera.picture())
    blur = FakeBlur(lambda small: stale, Settings())
    blur(camera.picture())
    assert blur.last_result.fully_blurred_because is None
    camera.place[:] = 1.0, 0.5
    for _ in range(5):
        image = camera.picture()
        check(image, blur(image).image)
        assert "old mask" in blur.last_result.fully_blurred_because


def test_a_covering_mask_is_believed_after_the_second_that_led_up_to_it_and_no_longer():
    camera = ChaosCamera(6)
    image, masks = camera.picture(), []
    grid = true_mask(image).shape

    def network(small):
        on_a_wall = (small[0] == 128).all()  # whether it is being checked for a close-up
        return np.ones(grid, np.float32) if on_a_wall else masks.pop(0)

    blur = FakeBlur(network, Settings())

    def covers(share):
        mask = np.zeros(grid, np.float32)
        mask[:, : round(share * grid[1])] = 1
        return mask

    masks = [covers(s) for s in np.linspace(0.4, 1, 90)]
    while masks:
        blur(image)
    assert blur.last_result.fully_blurred_because is None
    masks = [covers(1), np.full(grid, np.nan, np.float32), covers(1), covers(0.4), covers(1)]
    believed = []
    while masks:
        out = blur(image).image
        believed.append(blur.last_result.fully_blurred_because is None)
    assert believed == [True, False, False, True, False]
    check(image, out)


def test_hidden_frames_are_hidden_in_every_view():
    camera = ChaosCamera(7)
    image = camera.picture()
    for view in ("result", "split", "alpha"):
        out = FakeBlur(true_mask, Settings(view=view, hide=True, strength=0))(image).image
        for half in np.hsplit(out, out.shape[1] // image.shape[1]):
            check(image, half)


@pytest.mark.parametrize("colour", [(64, 177, 0), TRANSPARENT])
def test_chaos_before_another_background_shows_nothing_of_the_room(colour):
    chosen, expected = colour, (0, 0, 0, 0)
    if colour != TRANSPARENT:
        chosen, expected = StillBackground(np.full((1, 1, 3), colour, np.uint8)), colour
    hidden = set()
    for image, result in chaos(seed=9, count=300, background=chosen):
        assert (result.image[background(image) > 0] == expected).all()
        hidden.add(result.fully_blurred_because)
    assert len(hidden) > 4


# Shows chaos in a window; prints what went wrong, then "shown N".
SHOW = """
import sys
from background_blur.sinks.window import Window
from robustness.test_chaos import TITLE, chaos, check

shown = 0
with Window(TITLE) as window:
    for image, result in chaos(seed=8, count=10**6, sizes=[(128, 72)]):
        check(image, result.image)
        window.write(result)
        shown += 1
        if window.key() == "q":
            break
print("shown", shown)
"""


def test_chaos_in_a_real_window(display):
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    child = subprocess.Popen(
        [sys.executable, "-c", SHOW],
        env={**display.environment, "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(lambda: child.poll() is not None or shown_on(display) is not None, "a window")
        screens = [screen for _ in range(30) if (screen := shown_on(display)) is not None]
        sharp = [detail(screen, background(screen)) for screen in screens]
        display.press(TITLE, "q")
        output, errors = child.communicate(timeout=60)
    finally:
        child.kill()
    assert child.returncode == 0, errors
    assert int(output.split()[1]) > 20
    assert len(sharp) > 15 and max(sharp) < 1000  # unblurred: about 80,000


def shown_on(display):
    """uint8 [72,128,3], what the only window on the display shows; None while there is none."""
    screen = display.screenshot()
    left, top, width, height = cv2.boundingRect((screen.max(axis=2) > 0).astype(np.uint8))
    if min(width, height) < 60:
        return None
    return np.ascontiguousarray(screen[top : top + height, left : left + width])
