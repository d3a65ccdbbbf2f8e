"""How fresh a live picture is: the pipeline behind a camera of 30 frames/s, the machine kept busy.

A part of `tools.measuring.bench`. The camera is a real one, or our own, which hands out JPEGs
decoded at their time, as webcams do. The frames go through all of `main.py`'s loop and are finished
where they would be shown; their age there is the time since they were handed out.
"""

import io
import math
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import cast

import cv2
import numpy as np

from background_blur import app as program
from background_blur.capture.camera import Camera
from background_blur.capture.demo import Demo
from background_blur.controls import Viewer
from background_blur.frames import Result
from background_blur.matting.engines import open_segmenter
from background_blur.matting.quality import QualityController
from background_blur.opening import Sinks
from background_blur.pipeline import BackgroundBlur
from background_blur.settings import Settings
from background_blur.statistics import RunStatistics
from background_blur.system import SignalGuard
from tools.command import ToolError
from tools.measuring import recipes
from tools.measuring.figures import spread

FPS = 30
PICTURES = 64  # that the camera plays back and forth
NOISE = 3.0  # grey levels (standard deviation) of the camera
WARM_UP = 2.0  # seconds


class FakeCamera:
    """Plays like cv2.VideoCapture; a frame that nobody fetches in its time is gone."""

    def __init__(self, size: tuple[int, int], still: bool):
        """Of (width, height); a portrait that sways, or stands `still` but for the noise."""
        rng, demo = np.random.default_rng(0), Demo(size, paced=False)
        self.pictures = []
        for index in range(PICTURES):
            noise = rng.standard_normal((size[1], size[0], 3), np.float32)
            image = demo.picture(0 if still else index) + NOISE * noise
            jpeg = cv2.imencode(".jpg", np.clip(image, 0, 255).astype(np.uint8))[1]
            self.pictures.append(jpeg)
        self.pictures += self.pictures[-2:0:-1]
        self.began, self.index = 0.0, 0

    def isOpened(self) -> bool:
        return True

    def set(self, name: int, value: float) -> bool:
        return True

    def get(self, name: int) -> float:
        return 0

    def release(self) -> None:
        pass

    def read(self) -> tuple[bool, np.ndarray | None]:
        now = time.monotonic()
        self.began = self.began or now
        self.index = max(self.index + 1, int((now - self.began) * FPS))
        time.sleep(max(0.0, self.began + self.index / FPS - now))
        return True, cv2.imdecode(self.pictures[self.index % len(self.pictures)], cv2.IMREAD_COLOR)


class Watcher(Viewer):
    """Stands where the window is, and notes when frames come there and how old they are.

    So many seconds after the warm-up it wants no more.
    """

    def __init__(self, seconds: float = math.inf):
        self.seconds = seconds
        self.times: list[float] = []  # by time.monotonic
        self.ages: list[float] = []  # in ms

    def show(self, result: Result) -> bool:
        now = time.monotonic()
        self.times.append(now)
        self.ages.append(1000 * (now - (result.captured_at or now)))
        return now < self.times[0] + WARM_UP + self.seconds

    @property
    def ages_when_warm(self) -> list[float]:
        begin = self.times[0] + WARM_UP if self.times else 0
        return [age for age, now in zip(self.ages, self.times, strict=True) if now > begin]


def spin() -> None:
    while True:
        pass


@contextmanager
def load(count: int) -> Iterator[None]:
    """Keeps so many processes busy."""
    processes = [get_context("spawn").Process(target=spin, daemon=True) for _ in range(count)]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.join()


@dataclass(frozen=True)
class Scene:
    """What to measure on: the camera, its frame size, the duration in seconds, and other load.

    `camera` is a real one's number, or None for a stand-in, before which somebody sways unless it
    is `still`. `busy` processes keep a core busy each.
    """

    size: tuple[int, int]
    seconds: float
    busy: int = 0
    still: bool = False
    camera: int | None = None

    def source(self) -> Camera:
        if self.camera is not None:
            return Camera(self.camera, self.size)
        fake = cast(cv2.VideoCapture, FakeCamera(self.size, self.still))
        return Camera(0, self.size, open=lambda _: fake)


def measure(scene: Scene, threads: int) -> dict:
    """Runs the program's loop.

    Raises:
        UserError: no such camera, or no frame of it in time.
    """
    cv2.setNumThreads(threads)
    blur = BackgroundBlur(open_segmenter(threads=threads), Settings())
    statistics = RunStatistics()
    watcher = Watcher(scene.seconds)
    with ExitStack() as stack:
        stack.enter_context(load(scene.busy))
        source = stack.enter_context(scene.source())
        stack.enter_context(redirect_stdout(io.StringIO()))
        cpu = time.process_time()
        run = program.Loop(source, blur, Sinks(), statistics, SignalGuard(), watcher)
        run.quality = QualityController(FPS)
        run.run()
        cpu = time.process_time() - cpu
    if not watcher.ages_when_warm:
        raise ToolError("the camera gave no frame after the warm-up", "give a longer --live")
    return {
        "age": spread(watcher.ages_when_warm),
        "cpu_ms": round(1000 * cpu / statistics.frames, 2),
        "shown": statistics.frames,
        "dropped": source.dropped,
        "masks": dict(statistics.masks),
        "fully_blurred": statistics.failed,
        "quality": dict(statistics.levels),
    }


def measure_recipe(scene: Scene, path: Path, threads: int) -> dict:
    """Runs MediaPipe's documented recipe, of the network at `path`, on the same camera.

    Raises:
        UserError: no such camera, no frame of it in time, or not such a network.
    """
    cv2.setNumThreads(threads)
    recipe, shown = recipes.mediapipe(path, threads), 0
    with load(scene.busy), scene.source() as source:
        cpu, end = time.process_time(), time.monotonic() + WARM_UP + scene.seconds
        for frame in source:
            recipe(frame.image)
            shown += 1
            if time.monotonic() > end:
                break
        cpu = time.process_time() - cpu
    return {"shown": shown, "cpu_ms": round(1000 * cpu / max(1, shown), 2)}
