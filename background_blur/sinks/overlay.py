"""What is written over the picture in the window, and nowhere else."""

from collections import deque
from time import monotonic

import cv2
import numpy as np

FONT = cv2.FONT_HERSHEY_SIMPLEX
COLUMN = 120  # pixels at scale 1, from one tabulator to the next
LINES = 24  # of text that fit below one another in a frame
FRAMES = 30  # that the figures are means of


def draw(image: np.ndarray, top: list[str], bottom: list[str]) -> np.ndarray:
    """Writes lines at the top left and at the bottom left, on darkened ground.

    Args:
        image: uint8 [H,W,3], left as it is.
        top, bottom: what to write, in ASCII; one tabulator a line at most.

    Returns:
        A copy with the text in it; the image itself where there is none.
    """
    if not (top or bottom):
        return image
    image = image.copy()
    leading = min(image.shape[:2]) / LINES  # pixels from line to line
    write(image, top, leading, 0)
    write(image, bottom, leading, image.shape[0] - round(leading * len(bottom)))
    return image


def write(image, lines: list[str], leading: float, y: float) -> None:
    """Writes lines from `y` downwards, smaller where the longest would not fit."""
    widest = max((text_width(text) for text in lines), default=0)
    if not widest:
        return
    scale = min(leading / 34, 0.96 * image.shape[1] / widest)  # letters are 21 high at scale 1
    margin = round(10 * scale)
    bottom, right = round(y + leading * len(lines)), round(scale * widest) + 2 * margin
    ground = image[max(0, round(y)) : bottom, :right]
    ground //= 4
    thick = max(1, round(1.6 * scale))
    for row, text in enumerate(lines):
        down = round(y + leading * (row + 0.72))
        for column, cell in enumerate(text.split("\t")):
            at = margin + round(scale * column * COLUMN), down
            cv2.putText(image, cell, at, FONT, scale, (255, 255, 255), thick, cv2.LINE_AA)


def text_width(text: str) -> int:
    """Pixels, at scale 1."""
    before, _, last = text.rpartition("\t")
    return COLUMN * bool(before) + cv2.getTextSize(last, FONT, 1, 2)[0][0]


class FrameStats:
    """What a running line does: means of its last 30 frames."""

    def __init__(self, line, source):
        self.line, self.source = line, source
        self.past = deque(maxlen=FRAMES + 1)  # (seconds, seconds spent a stage) of each frame
        self.age = None  # seconds from the last frame's arrival until it was finished

    def count(self, frame) -> None:
        """Notes that the line is done with a `source.Frame`."""
        now = monotonic()
        self.past.append((now, dict(self.line.seconds)))
        self.age = None if frame.taken is None else now - frame.taken

    def lines(self) -> list[str]:
        if len(self.past) < 2:
            return []
        (began, before), (now, after) = self.past[0], self.past[-1]
        frames = len(self.past) - 1
        lines = [f"{frames / max(now - began, 1e-6):.1f} frames/s"]
        for stage, spent in after.items():
            lines.append(f"{stage} {1000 * (spent - before.get(stage, 0)) / frames:.1f} ms")
        if self.age is not None:
            lines.append(f"age {1000 * self.age:.0f} ms")
        lines += [f"dropped {self.source.dropped}", f"hidden {self.line.hidden_frames}"]
        if self.line.beat:
            carrier = self.line.carrier
            lines += [f"carried {carrier.carried}", f"resting {carrier.rested}"]
            lines += [f"step {self.line.beat.number}"]
        return lines
