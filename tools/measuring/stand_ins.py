"""The sources of the bench: a video, and a fake camera that plays the same pictures."""

import time
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from background_blur.capture import open_source
from background_blur.frames import Size

FPS = 30
PICTURES = 64  # how many are played back and forth
NOISE = 3.0  # grey levels (standard deviation) of the camera


def film(clip: Path | None, size: Size) -> list[np.ndarray]:
    """The first pictures of a clip, or of the demo if None, at this size: uint8 [H,W,3] each."""
    with open_source(str(clip or "demo"), size) as source:
        source.unpace()
        return [frame.image for frame in islice(source, PICTURES)]


def back_and_forth(pictures: list) -> list:
    return pictures + pictures[-2:0:-1]


def write_video(path: Path, pictures: list[np.ndarray], count: int) -> None:
    """Writes `count` frames as H.264."""
    import av
    from av.video.stream import VideoStream

    height, width = pictures[0].shape[:2]
    played = back_and_forth(pictures)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = width, height
        stream.pix_fmt, stream.options = "yuv420p", {"preset": "veryfast", "crf": "20"}
        for index in range(count):
            frame = av.VideoFrame.from_ndarray(played[index % len(played)], format="bgr24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


class FakeCapture:
    """Plays JPEGs with camera noise; frames that are not fetched in time are lost."""

    def __init__(self, pictures: list[np.ndarray]):
        rng = np.random.default_rng(0)
        noisy = (it + NOISE * rng.standard_normal(it.shape, np.float32) for it in pictures)
        coded = [cv2.imencode(".jpg", it.clip(0, 255).astype(np.uint8))[1] for it in noisy]
        self.pictures = back_and_forth(coded)
        self.began, self.index = 0.0, 0

    def isOpened(self) -> bool:
        return True

    def set(self, name: int, value: float) -> bool:
        return True

    def get(self, name: int) -> float:
        return 0

    def release(self) -> None:
        pass

    def read(self) -> tuple[bool, np.ndarray]:
        now = time.monotonic()
        self.began = self.began or now
        self.index = max(self.index + 1, int((now - self.began) * FPS))
        time.sleep(max(0.0, self.began + self.index / FPS - now))
        jpeg = self.pictures[self.index % len(self.pictures)]
        return True, np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR))
