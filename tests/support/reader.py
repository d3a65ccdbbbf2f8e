"""Reads camera 0 as the program does and prints what happens to it, a line each; a child process.

reader.py WIDTHxHEIGHT FRAMES: ends after so many live frames, 0 for never.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from background_blur.capture.camera import Camera

size = tuple(int(side) for side in sys.argv[1].split("x"))
frames = int(sys.argv[2])


def say(**what) -> None:
    print(json.dumps(what), flush=True)


def quarters(image) -> list[list[float]]:
    """The mean blue, green and red of its quarters, in the order they are read in."""
    high, wide = image.shape[0] // 2, image.shape[1] // 2
    parts = [image[:high, :wide], image[:high, wide:], image[high:, :wide], image[high:, wide:]]
    return [part.mean(axis=(0, 1)).round(1).tolist() for part in parts]


with Camera(0, size) as camera:
    say(size=camera.size, fps=camera.fps, warning=camera.warning)
    told, count = "", 0
    for frame in camera:
        if camera.problem != told:
            say(problem=camera.problem, size=frame.image.shape[1::-1])
            told = camera.problem
        if not camera.problem:
            count += 1
            if count == frames:
                say(quarters=quarters(frame.image), seconds=frame.time)
                break
