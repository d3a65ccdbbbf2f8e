"""Text drawn over the image, only in the window, on translucent panels set off from its border."""

import cv2
import numpy as np

from background_blur.sinks.window import opening_scale

SIZES = 13, 20  # line height in screen pixels, in small and in large windows
LINES = 36  # how many fit in a window between these two sizes
# Pixels at scale 1, at which letters are 21 pixels high:
LEADING = 34  # from line to line
COLUMN = 100  # from a key to what it does
PADDING = 16  # around the lines, and around the panel
ROOM = 0.92  # the largest share of the image that a panel may take
FONT = cv2.FONT_HERSHEY_SIMPLEX


def draw(
    image: np.ndarray, top: list[str], bottom: list[str], captions: tuple[str, ...] = ()
) -> np.ndarray:
    """Writes text over an image.

    Args:
        image: uint8 [H,W,3] BGR, not changed.
        top, bottom: lines for the top left and the bottom left, ASCII with at most one tab each.
        captions: one for the top right of each of the pictures side by side in the image.

    Returns:
        A copy with the text in it, or the image itself if there is no text.
    """
    if not (top or bottom or captions):
        return image
    image = image.copy()
    shown = opening_scale(image.shape[1], image.shape[0])
    size = np.clip(shown * min(image.shape[:2]) / LINES, *SIZES)
    scale = size / shown / LEADING
    panel(image, top, scale)
    panel(image, bottom, scale, low=True)
    for index, text in enumerate(captions):
        panel(np.array_split(image, len(captions), axis=1)[index], [text], scale, right=True)
    return image


def panel(
    image: np.ndarray, lines: list[str], scale: float, low: bool = False, right: bool = False
) -> None:
    """Writes lines into a corner of the image, smaller if they would not fit."""
    widest = max(map(text_width, lines), default=0)
    if not widest:
        return
    sides = np.array([LEADING * len(lines), widest]) + 2 * PADDING
    scale = min(scale, *(ROOM * np.array(image.shape[:2]) / sides))
    height, width = np.round(scale * sides).astype(int)
    gap = round(scale * PADDING)
    y = max(0, image.shape[0] - height - gap) if low else gap
    x = max(0, image.shape[1] - width - gap) if right else gap
    ground = image[y : y + height, x : x + width]
    ground //= 3
    write(ground, lines, scale)


def write(ground: np.ndarray, lines: list[str], scale: float) -> None:
    thick = max(1, round(1.6 * scale))
    for row, text in enumerate(lines):
        down = round(scale * (PADDING + LEADING * (row + 0.78)))
        for column, cell in enumerate(text.split("\t")):
            at = round(scale * (PADDING + column * COLUMN)), down
            cv2.putText(ground, cell, at, FONT, scale, (255, 255, 255), thick, cv2.LINE_AA)


def text_width(text: str) -> int:
    """In pixels, at scale 1."""
    before, _, last = text.rpartition("\t")
    return COLUMN * bool(before) + cv2.getTextSize(last, FONT, 1, 2)[0][0]
