"""Fake cameras that play a script in place of cv2.VideoCapture, and pictures for them to play."""

import threading
import time

import cv2
import numpy as np


def picture(width=64, height=48, seed=0) -> np.ndarray:
    """uint8 [H,W,3] BGR, smooth, so that codecs preserve it."""
    noise = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_LINEAR)


def numbered(count: int, width=16, height=16) -> list[np.ndarray]:
    return [np.full((height, width, 3), index, np.uint8) for index in range(count)]


COLOURS = np.array(  # BGR
    [[[30, 40, 200], [40, 180, 50]], [[200, 60, 40], [120, 120, 120]]], np.uint8
)


def colours(width: int, height: int) -> np.ndarray:
    """A picture with a different colour in each quarter."""
    return cv2.resize(COLOURS, (width, height), interpolation=cv2.INTER_NEAREST)


def detail(image: np.ndarray) -> float:
    """How much fine structure a picture has: the variance of its Laplacian."""
    return cv2.Laplacian(image, cv2.CV_64F).var()


def is_recognisable(image: np.ndarray) -> bool:
    return detail(image) > 100


def is_blurred(image: np.ndarray, original: np.ndarray) -> bool:
    """Whether the demo's upper corners (the flag and the shuttle) have lost their detail."""
    high, wide = image.shape[0] // 3, image.shape[1] // 5
    corners = np.s_[:high, :wide], np.s_[:high, -wide:]
    return all(detail(image[it]) < 0.3 * detail(original[it]) for it in corners)


def is_sharp(image: np.ndarray, original: np.ndarray) -> bool:
    """Whether the demo's face, at 640x360, has kept its detail."""
    face = np.s_[60:240, 240:400]
    return bool(detail(image[face]) > 0.3 * detail(original[face]))


def noise(height=48, width=64) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)


def threads() -> set:
    return {thread for thread in threading.enumerate() if thread.is_alive()}


class FakeCapture:
    """A cv2.VideoCapture that plays a script, arrays or None for a failure, and then `after`."""

    def __init__(self, script=(), after=None, opens=True, keeps=None, pause=0.002):
        self.script, self.after = iter(script), after
        self.opens, self.keeps, self.pause = opens, keeps or {}, pause
        self.asked, self.released = {}, False

    def __call__(self, number):
        self.number = number
        return self

    def isOpened(self):
        return self.opens

    def set(self, name, value):
        self.asked[name] = value
        return True

    def get(self, name):
        return self.keeps.get(name, self.asked.get(name, 0))

    def read(self):
        assert not self.released
        time.sleep(self.pause)
        image = next(self.script, self.after)
        return image is not None, image

    def release(self):
        self.released = True


class StepCapture(FakeCapture):
    """Delivers its frames one by one, when told to."""

    def __init__(self, script):
        super().__init__(script, pause=0)
        self.waits, self.steps = threading.Semaphore(0), threading.Semaphore(1)

    def read(self):
        self.waits.release()
        self.steps.acquire(timeout=5)
        return super().read()

    def play(self, count: int):
        """Lets `count` frames pass; returns when the camera waits for the next."""
        for _ in range(count):
            self.steps.release()
            self.waits.acquire(timeout=5)


class Unplugged:
    """Opens a new capture with each attempt to open the camera, until none are left."""

    def __init__(self, *captures):
        self.captures, self.opened = captures, []

    def __call__(self, number):
        index = len(self.opened)
        capture = self.captures[index] if index < len(self.captures) else FakeCapture(opens=False)
        assert all(former.released for former in self.opened)
        self.opened.append(capture)
        return capture
