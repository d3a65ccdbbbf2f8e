"""Simulates a webcam, its room, other clothes, hands and a headset on training pictures."""

import cv2
import numpy as np
from numpy.random import Generator

from tools.photos import UNKNOWN, known


def camera(rng: Generator, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Applies the effects of a webcam and its room: light, colour, noise, blur, compression."""
    x = image.astype(np.float32) / 255
    if rng.random() < 0.1 and mask.any():  # a window behind the person
        person = cv2.GaussianBlur((mask > 0).astype(np.float32), (0, 0), 2)[..., None]
        x = x * (person * rng.uniform(0.3, 0.8) + (1 - person) * rng.uniform(1.0, 1.8))
    elif rng.random() < 0.08 and mask.any():  # a lamp on the person in a dark room
        person = cv2.GaussianBlur((mask > 0).astype(np.float32), (0, 0), 4)[..., None]
        x = x * (person + (1 - person) * rng.uniform(0.1, 0.6))
    if rng.random() < 0.8:
        x = np.clip(x, 0, 1) ** rng.uniform(0.6, 1.6) * rng.uniform(0.6, 1.3)
        x = x * rng.normal(1, 0.08, 3)
    if rng.random() < 0.3:
        x = shade(rng, x)
    if rng.random() < 0.3:
        grey = x.mean(2, keepdims=True)
        x = grey + (x - grey) * rng.uniform(0, 1.5)
    if rng.random() < 0.3:
        x = smear(rng, x)
    if rng.random() < 0.18:
        light = rng.uniform(0.08, 0.4)
        x = np.clip(x, 0, 1) * light + rng.normal(0, rng.uniform(0.005, 0.03), x.shape)
        if rng.random() < 0.3:  # the camera turns up its gain
            x = x * rng.uniform(1, 0.7 / light)
    elif rng.random() < 0.4:
        x = x + rng.normal(0, rng.uniform(0.005, 0.05), x.shape)
    x = (np.clip(x, 0, 1) * 255).astype(np.uint8)
    if rng.random() < 0.3:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 90))]
        x = cv2.imdecode(cv2.imencode(".jpg", x, quality)[1], cv2.IMREAD_COLOR)
        assert x is not None  # it was just encoded
    return x


def shade(rng: Generator, x: np.ndarray) -> np.ndarray:
    """Makes light fall off across the picture, as from a lamp on one side."""
    height, width = x.shape[:2]
    angle = rng.uniform(0, 2 * np.pi)
    across, down = np.linspace(-1, 1, width), np.linspace(-1, 1, height)[:, None]
    ramp = across * np.cos(angle) + down * np.sin(angle)
    return x * (1 + rng.uniform(0.1, 0.6) * ramp[..., None].astype(np.float32))


def smear(rng: Generator, x: np.ndarray) -> np.ndarray:
    """Applies defocus, or motion blur along a line."""
    if rng.random() < 0.6:
        return cv2.GaussianBlur(x, (0, 0), rng.uniform(0.4, 1.5))
    length = int(rng.integers(3, 8))
    kernel = np.zeros((length, length), np.float32)
    kernel[length // 2] = 1 / length
    turn = cv2.getRotationMatrix2D((length / 2 - 0.5, length / 2 - 0.5), rng.uniform(0, 180), 1)
    kernel = cv2.warpAffine(kernel, turn, (length, length))
    return cv2.filter2D(x, -1, kernel / max(kernel.sum(), 1e-6))


def clothe(rng: Generator, image: np.ndarray, masks: np.ndarray) -> None:
    """Puts other clothes (plain, striped or checked) on the people, in the same light.

    They begin at about the chin of the topmost person, so a little higher on others.

    Args:
        image: uint8 [h,w,3] BGR, changed in place.
        masks: uint8 [h,w,2], of any person and of those in front; unknown parts are not covered.
    """
    mask = masks[..., 0]
    share = np.where(mask == UNKNOWN, 0, mask).astype(np.float32) / 255
    rows = np.nonzero((share > 0.5).any(1))[0]
    if len(rows) < 20:
        return
    height, width = share.shape
    chin = rows[0] + rng.uniform(0.35, 0.6) * np.ptp(rows)
    below = np.clip((np.arange(height) - chin) / (0.05 * height), 0, 1)[:, None]
    grey = cv2.GaussianBlur(image.mean(2), (0, 0), 1)
    light = 0.5 + 0.5 * np.clip(grey / (grey[share > 0.5].mean() + 1), 0.3, 2)
    y, x = np.mgrid[:height, :width]
    turn, period = rng.uniform(0, np.pi), rng.uniform(5, 40)
    waves = np.sin((x * np.cos(turn) + y * np.sin(turn)) * 2 * np.pi / period)
    if rng.random() < 0.5:
        waves = waves * np.sin((y * np.cos(turn) - x * np.sin(turn)) * 2 * np.pi / period)
    colour = 200 * rng.uniform(0, 1) ** 2 + rng.normal(0, 20, 3)
    other = rng.uniform(-60, 60, 3) * rng.choice([0, 1])
    cloth = (colour + other * np.clip(3 * waves, -1, 1)[..., None]) * light[..., None]
    cover = (share * below)[..., None]
    image[:] = np.clip(image * (1 - cover) + cloth * cover, 0, 255).astype(np.uint8)


def print_on(rng: Generator, image: np.ndarray, masks: np.ndarray, picture: np.ndarray) -> None:
    """Prints a picture on a person's chest, in colour, grey or one ink; all of it stays person.

    Args:
        image: uint8 [h,w,3] BGR, changed in place.
        masks: uint8 [h,w,2]; only what is certainly person is printed on.
        picture: uint8 [h,w,3] BGR, of anything, even faces.
    """
    height, width = masks.shape[:2]
    person = masks[..., 0] > 200
    rows = np.nonzero(person.any(1))[0]
    if not len(rows) or height - rows[0] < 0.3 * height:
        return
    tall = height - rows[0]
    columns = np.nonzero(person[height * 6 // 10 :])[1]
    x = (columns.mean() if len(columns) else width / 2) + tall * rng.uniform(-0.12, 0.12)
    y = rows[0] + tall * rng.uniform(0.5, 0.85)
    scale = tall * rng.uniform(0.15, 0.5) / picture.shape[0]
    high, wide = picture.shape[:2]
    matrix = np.array([[scale, 0, x - scale * wide / 2], [0, scale, y - scale * high / 2]])
    if scale < 0.67:
        picture = cv2.GaussianBlur(picture, (0, 0), 0.3 / scale)
    shape = np.full((high, wide), 255, np.uint8)
    if rng.random() < 0.5:
        shape[:] = 0
        cv2.ellipse(shape, (wide // 2, high // 2), (wide // 2, high // 2), 0, 0, 360, 255, -1)
    layer = cv2.warpAffine(picture, matrix, (width, height))
    cover = cv2.warpAffine(shape, matrix, (width, height)) / np.float32(255) * person
    style, grey = rng.integers(3), layer.mean(2, keepdims=True)
    if style == 1:
        layer = np.repeat(grey, 3, 2)
    elif style == 2:
        layer = np.where(grey > rng.uniform(70, 170), rng.integers(0, 256, 3), image)
    cover = cover[..., None] * rng.uniform(0.6, 1)
    image[:] = (image * (1 - cover) + layer * cover).astype(np.uint8)


def flicker(rng: Generator, image: np.ndarray) -> np.ndarray:
    """The same view, uint8 [h,w,3], a moment later: different noise, slightly different light."""
    later = image * rng.uniform(0.97, 1.03) + rng.normal(0, rng.uniform(1, 6), image.shape)
    return np.clip(np.rint(later), 0, 255).astype(np.uint8)


def raise_hand(rng: Generator, image: np.ndarray, masks: np.ndarray) -> None:
    """Draws a forearm and a hand before the topmost person; all of it is person, and in front.

    The skin is of the face's colour or of another, and often nearly that of the wall: such hands
    are the ones that a network takes for a hole.

    Args:
        image: uint8 [h,w,3] BGR, masks: uint8 [h,w,2]; both changed in place.
    """
    height, width = masks.shape[:2]
    person = masks[..., 1] == 255
    rows = np.flatnonzero(person.any(1))
    head = head_width(person, rows)
    if not 12 < head < 0.6 * width:
        return
    top = rows[0]
    columns = np.flatnonzero(person[min(top + head // 2, height - 1)])
    if not len(columns):
        return
    middle = int(np.median(columns))
    long = min(head * rng.uniform(0.8, 1.6), 0.7 * height)  # the hand
    palm = np.array(
        [rng.normal(middle, 0.8 * head), rng.uniform(min(top + 0.6 * head, height), height)]
    )
    cover, light, sleeve = draw_hand(rng, palm, long, (height, width))
    face, chest = (
        image[min(top + k * head // 2, height - 1), middle].astype(float) for k in (1, 4)
    )
    skin = face if rng.random() < 0.5 else rng.uniform(0.4, 1.3) * np.array([130, 155, 195])
    wall = image[masks[..., 0] == 0]
    if len(wall) and rng.random() < 0.5:
        skin = skin + rng.uniform(0.3, 0.9) * (wall.mean(0) - skin)
    light = np.where(sleeve > 0, 1, cv2.GaussianBlur(light, (0, 0), max(0.4, 0.02 * long)))
    colours = np.where(sleeve[..., None] > 0, chest, skin) * rng.uniform(0.8, 1.45)
    soft = cv2.GaussianBlur(np.maximum(cover, sleeve), (0, 0), rng.choice([0.5, 2], p=[0.8, 0.2]))
    layer = colours * light[..., None] + rng.normal(0, 4, image.shape)
    image[:] = np.clip(image + soft[..., None] * (layer - image), 0, 255).astype(np.uint8)
    for mask in np.moveaxis(masks, -1, 0):
        drawn = known(np.maximum(mask, 255 * soft))
        mask[:] = np.where((mask == UNKNOWN) & (soft < 0.95), mask, drawn)


def draw_hand(
    rng: Generator, palm: np.ndarray, long: float, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draws a hand of that length, raised from below.

    Returns:
        float32 [h,w] each: the cover of hand and forearm, their shading, and the sleeve's cover.
    """
    down, up = rng.normal(0, 0.6), rng.normal(np.pi, 0.6)  # where elbow and fingers point
    elbow, knuckles = palm + 2 * long * direction(down), palm + 0.3 * long * direction(up)
    parts = [(palm, elbow, 0.4), (palm, knuckles, 0.5)]
    spread, curled = rng.uniform(0.05, 0.35), rng.uniform(0.3, 1)
    for finger in np.arange(-1.5, 2):
        base = knuckles + 0.13 * long * finger * direction(up + np.pi / 2)
        parts.append((base, base + 0.5 * long * curled * direction(up + spread * finger), 0.14))
    thumb = palm + 0.5 * long * direction(up + rng.choice([-1, 1]) * rng.uniform(0.5, 1.1))
    parts.append((palm, thumb, 0.16))
    cover, light = np.zeros((2, *shape), np.float32)
    for start, end, thick in parts:
        draw_line(cover, start, end, thick * long, 1)
        draw_line(light, start, end, thick * long, 0.85)  # a darker rim
        draw_line(light, start, end, 0.75 * thick * long, rng.uniform(0.95, 1.1))
    sleeve = np.zeros(shape, np.float32)
    draw_line(sleeve, palm + rng.uniform(0.2, 0.9) * (elbow - palm), elbow, 0.5 * long, 1)
    return cover, light, sleeve


def draw_line(
    canvas: np.ndarray, start: np.ndarray, end: np.ndarray, thick: float, value: float
) -> None:
    """Draws a line with round ends."""
    begin, stop = (tuple(map(int, np.rint(point))) for point in (start, end))
    cv2.line(canvas, begin, stop, value, max(1, round(thick)), cv2.LINE_AA)


def direction(angle: float) -> np.ndarray:
    """The vector of length 1 at that angle from pointing down."""
    return np.array([np.sin(angle), np.cos(angle)])


def head_width(person: np.ndarray, rows: np.ndarray) -> int:
    """About how wide the topmost head is, in a bool [h,w] with somebody in these rows; or 0."""
    if len(rows) < 3:
        return 0
    inside = person[rows[0] : rows[-1]]
    ends = inside.shape[1] - inside[:, ::-1].argmax(1)
    widths = np.where(inside.any(1), ends - inside.argmax(1), 0)
    return int(np.median(widths[: max(1, len(widths) // 3)]))


def headset(rng: Generator, image: np.ndarray, masks: np.ndarray) -> None:
    """Draws headphones on the topmost head, a band and two cups, and marks them as person."""
    mask = masks[..., 1]
    ys, _ = np.nonzero(mask == 255)
    if len(ys) == 0 or ys.min() < 0.04 * mask.shape[0]:
        return
    top = ys.min()
    head = head_width(mask == 255, np.unique(ys))
    if not 12 < head < 0.6 * mask.shape[1]:
        return
    row = min(top + int(head * rng.uniform(0.5, 0.75)), mask.shape[0] - 1)  # of the ears
    there = np.nonzero(mask[row] == 255)[0]
    if len(there) < 8 or np.ptp(there) > 1.5 * head:  # nobody there, or more than one
        return
    left, right = int(there[0]), int(there[-1])
    shade_of_plastic = rng.choice([20, 40, 200, 235]) + rng.normal(0, 15, 3)
    colour = np.clip(shade_of_plastic, 0, 255).astype(int).tolist()
    thick = max(2, int(head * rng.uniform(0.05, 0.12)))
    middle, half = ((left + right) // 2, row), ((right - left) // 2, row - top + thick // 2)
    cup = max(2, int(head * rng.uniform(0.08, 0.14))), max(3, int(head * rng.uniform(0.15, 0.24)))
    for canvas, value in ((image, colour), (masks, (255, 255))):
        cv2.ellipse(canvas, middle, half, 0, 180, 360, value, thick)
        cv2.ellipse(canvas, (left, row), cup, 0, 0, 360, value, -1)
        cv2.ellipse(canvas, (right, row), cup, 0, 0, 360, value, -1)
