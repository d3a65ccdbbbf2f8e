"""Text drawn over the image, in the window only."""

import cv2
import numpy as np

FONT = cv2.FONT_HERSHEY_SIMPLEX
COLUMN = 120  # pixels at scale 1, from one tab stop to the next
LINES = 24  # lines of text that fit into a frame


def draw(image: np.ndarray, top: list[str], bottom: list[str]) -> np.ndarray:
    """Writes lines at the top left and at the bottom left, on a darkened background.

    Args:
        image: uint8 [H,W,3] BGR, not changed.
        top, bottom: what to write, in ASCII; at most one tab per line.

    Returns:
        A copy with the text in it; the image itself if there is no text.
    """
    if not (top or bottom):
        return image
    image = image.copy()
    leading = min(image.shape[:2]) / LINES  # pixels from line to line
    write(image, top, leading, 0)
    write(image, bottom, leading, image.shape[0] - round(leading * len(bottom)))
    return image


def write(image: np.ndarray, lines: list[str], leading: float, y: float) -> None:
    """Writes lines from `y` downwards, smaller if the longest would not fit."""
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
