"""Photographs with masks become training batches that look like a webcam's world.

A photograph is `NAME.jpg`; its mask `NAME.png` is 8-bit grey: 255 person, 128 don't know,
0 background. A photograph without a mask shows nobody. The prefix before `_` says what it is.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

UNKNOWN = 128

# What a batch is made of. Upper bodies are whole street figures cropped as a webcam would;
# "pasted" are people cut out and put into rooms, the nearest to what the tool will see.
MIX = {"selfie": 0.26, "voc": 0.24, "ccp": 0.16, "coco": 0.02, "pasted": 0.22, "nobody": 0.10}


@dataclass
class Photo:
    name: str
    image: np.ndarray  # uint8 [h,w,3] BGR
    mask: np.ndarray  # uint8 [h,w]: 255, 128 or 0

    @property
    def prefix(self) -> str:
        return self.name.split("_")[0]


def read_photos(folder: Path) -> list[Photo]:
    """Reads all photographs of a folder, in order of their names.

    Raises:
        FileNotFoundError: no photograph there.
    """
    photos = [read_photo(path) for path in sorted(folder.glob("*.jpg"))]
    if not photos:
        raise FileNotFoundError(f"{folder}: no .jpg in it")
    return photos


def read_photo(path: Path) -> Photo:
    image = cv2.imread(str(path))
    mask_path = path.with_suffix(".png")
    if mask_path.exists():
        mask = cv2.imread(str(mask_path), cv2.IMREAD_GRAYSCALE)
    else:
        mask = np.zeros(image.shape[:2], np.uint8)
    return Photo(path.stem, image, mask)


class Batches:
    """Endless random batches. Batch `i` depends on `i` and the seed alone: training can resume."""

    def __init__(self, photos: list[Photo], batch_size: int, seed: int = 2018):
        self.batch_size, self.seed = batch_size, seed
        self.by_prefix = {}
        for photo in photos:
            self.by_prefix.setdefault(photo.prefix, []).append(photo)
        self.cutouts = [p for p in photos if p.prefix in ("selfie", "ccp") and stands_free(p)]
        self.empty = self.by_prefix.get("room", []) + self.by_prefix.get("none", [])

    def batch(self, i: int, size: tuple[int, int]):
        """Returns images [n,h,w,3] float32 RGB 0..255 and targets [n,h/4,w/4,2] float32.

        The targets are the person's share of each 4x4 cell and that cell's weight in the loss.
        """
        rng = np.random.default_rng((i, self.seed))
        kinds = rng.choice(list(MIX), self.batch_size, p=list(MIX.values()))
        pairs = [self.example(rng, kind, size) for kind in kinds]
        images = np.stack([image[..., ::-1] for image, _ in pairs]).astype(np.float32)
        targets = np.stack([target(mask) for _, mask in pairs])
        return images, targets

    def example(self, rng, kind: str, size):
        if kind == "pasted":
            image, mask = self.pasted(rng, size)
        else:
            pool = self.empty if kind == "nobody" else self.by_prefix[kind]
            image, mask = crop(rng, pool[rng.integers(len(pool))], size)
        if rng.random() < 0.5:
            image, mask = image[:, ::-1], mask[:, ::-1]
        image, mask = np.ascontiguousarray(image), np.ascontiguousarray(mask)
        if kind in ("selfie", "ccp", "pasted") and rng.random() < 0.12:
            headset(rng, image, mask)
        if rng.random() < 0.12:
            self.hold_up(rng, image, mask)
        return camera(rng, image, mask), mask

    def hold_up(self, rng, image, mask) -> None:
        """Covers a part with a thing. Whether it belongs to the person is not known."""
        other = self.empty[rng.integers(len(self.empty))].image
        thing = cv2.resize(other, mask.shape[::-1])
        middle = rng.uniform(0, 1, 2) * mask.shape[::-1]
        axes = rng.uniform(0.04, 0.2, 2) * mask.shape[0]
        box = (tuple(map(float, middle)), tuple(map(float, 2 * axes)), rng.uniform(0, 180))
        shape = np.zeros_like(mask)
        if rng.random() < 0.5:
            cv2.ellipse(shape, box, 255, -1)
        else:
            cv2.fillConvexPoly(shape, np.int32(cv2.boxPoints(box)), 255)
        image[shape > 0] = thing[shape > 0]
        if mask.any():
            mask[cv2.dilate(shape, np.ones((5, 5))) > 0] = UNKNOWN

    def pasted(self, rng, size):
        """One to three people cut out and put before a room, the nearest last."""
        image, _ = crop(rng, self.empty[rng.integers(len(self.empty))], size)
        mask = np.zeros(image.shape[:2], np.uint8)
        if rng.random() < 0.25:  # what stands behind a webcam user is out of focus
            image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 2.5))
        people = rng.choice([1, 2, 3], p=[0.82, 0.14, 0.04])
        for nearness in np.linspace(0.55, 1, people) if people > 1 else [1]:
            person = self.cutouts[rng.integers(len(self.cutouts))]
            image, mask = paste(rng, image, mask, person, nearness)
        return image, mask


def stands_free(photo: Photo) -> bool:
    """Whether the person does not touch the picture's sides in its upper three quarters."""
    sides = photo.mask[: photo.mask.shape[0] * 3 // 4, [0, -1]] > 0
    top = photo.mask[0] > 0
    return photo.mask.any() and sides.mean() < 0.02 and top.mean() < 0.02


def crop(rng, photo: Photo, size):
    """A random view of a photograph, of the asked shape, framed as its kind calls for.

    Where the view leaves the picture, its border is mirrored and marked as unknown.
    """
    width, height = size
    rows, columns = photo.mask.shape
    full = min(columns / width, rows / height)  # largest view inside, in photo pixels a pixel
    zoom = full * rng.uniform(0.45, 1.0) if rng.random() < 0.5 else full * rng.uniform(0.9, 1.35)
    middle = np.array([columns, rows]) / 2
    ys, xs = np.nonzero(photo.mask[::4, ::4] == 255)
    if photo.prefix == "ccp" and len(ys):  # head to somewhere between chest and knees
        top, tall = 4 * ys.min(), 4 * (ys.max() - ys.min())
        zoom = max(tall * rng.uniform(0.22, 0.75), columns * 0.25) / height
        middle = np.array([4 * np.median(xs), top + height * zoom * rng.uniform(0.3, 0.5)])
        middle[0] += rng.normal(0, 0.15) * width * zoom
    elif len(ys):
        slack = np.maximum(np.array([columns, rows]) - np.array(size) * zoom, 0)
        person = 4 * np.array([xs.mean(), ys.mean()])
        middle = middle + rng.uniform(-0.5, 0.5, 2) * slack
        middle = middle + rng.uniform(0, 0.5) * np.clip(person - middle, -slack / 2, slack / 2)
    else:
        slack = np.maximum(np.array([columns, rows]) - np.array(size) * zoom, 0)
        middle = middle + rng.uniform(-0.5, 0.5, 2) * slack
    return view(rng, photo, size, zoom, middle)


def view(rng, photo: Photo, size, zoom: float, middle):
    """Resamples the photograph around `middle`, `zoom` photo pixels a pixel, a little turned."""
    angle = rng.normal(0, 5) if rng.random() < 0.6 else 0
    matrix = cv2.getRotationMatrix2D(tuple(map(float, middle)), angle, 1 / zoom)
    matrix[:, 2] += np.array(size) / 2 - middle
    image = photo.image
    if zoom > 1.5:  # bilinear sampling would alias
        image = cv2.GaussianBlur(image, (0, 0), 0.3 * zoom)
    image = cv2.warpAffine(image, matrix, size, borderMode=cv2.BORDER_REFLECT)
    mask = warp_mask(photo.mask, matrix, size)
    inside = cv2.warpAffine(np.ones_like(photo.mask), matrix, size, flags=cv2.INTER_NEAREST)
    has_person = photo.mask.any()
    mask[(inside == 0) & has_person] = UNKNOWN
    return image, mask


def warp_mask(mask, matrix, size) -> np.ndarray:
    """Resamples person and unknown apart, so that no edge passes through 'unknown' on its way."""
    person = cv2.warpAffine((mask == 255).astype(np.float32), matrix, size)
    unknown = cv2.warpAffine((mask == UNKNOWN).astype(np.float32), matrix, size)
    out = np.round(person * 254)
    out[np.abs(out - UNKNOWN) < 0.5] += 1
    out[person > 0.999] = 255
    out[unknown > 0.05] = UNKNOWN
    return out.astype(np.uint8)


def paste(rng, image, mask, person: Photo, nearness: float):
    """Puts a cut-out person into a picture, cut off by its lower border as before a webcam."""
    height, width = mask.shape
    ys, xs = np.nonzero(person.mask[::4, ::4])
    top, bottom = 4 * ys.min(), 4 * ys.max()
    tall = bottom - top
    if person.prefix == "ccp":
        tall *= rng.uniform(0.25, 0.7)
    scale = height * rng.uniform(0.5, 1.05) * nearness / tall
    x = width * np.clip(rng.normal(0.5, 0.17 if nearness == 1 else 0.3), 0.1, 0.9)
    matrix = np.array([[scale, 0, x - 4 * np.median(xs) * scale], [0, scale, 0]], np.float64)
    matrix[1, 2] = height - (top + tall) * scale + 1
    source = person.image
    if scale < 0.67:
        source = cv2.GaussianBlur(source, (0, 0), 0.3 / scale)
    size = (width, height)
    layer = cv2.warpAffine(source, matrix, size, borderMode=cv2.BORDER_REPLICATE)
    cut = cv2.erode((person.mask > 0).astype(np.float32), np.ones((3, 3)))
    alpha = cv2.warpAffine(cut, matrix, size)
    alpha = cv2.GaussianBlur(alpha, (0, 0), rng.uniform(0.4, 1.0))[..., None]
    layer = match_light(rng, layer, image, alpha)
    image = (alpha * layer + (1 - alpha) * image).astype(np.uint8)
    label = warp_mask(person.mask, matrix, size)
    cover = alpha[..., 0]
    blended = np.round(cover * 255 + (1 - cover) * mask)
    blended[np.abs(blended - UNKNOWN) < 0.5] += 1
    blended[(label == UNKNOWN) | ((mask == UNKNOWN) & (cover < 0.5))] = UNKNOWN
    return image, blended.astype(np.uint8)


def headset(rng, image, mask) -> None:
    """Draws headphones onto the topmost head: a band over it, a cup at each side; all person."""
    ys, _ = np.nonzero(mask == 255)
    if len(ys) == 0 or ys.min() < 0.04 * mask.shape[0]:
        return
    top = ys.min()
    rows = mask[top : ys.max()] == 255
    ends = rows.shape[1] - rows[:, ::-1].argmax(1)
    widths = np.where(rows.any(1), ends - rows.argmax(1), 0)
    if len(widths) < 3:
        return
    head = int(np.median(widths[: len(widths) // 3]))  # its width, about
    if not 12 < head < 0.6 * mask.shape[1]:
        return
    row = min(top + int(head * rng.uniform(0.5, 0.75)), mask.shape[0] - 1)  # of the ears
    there = np.nonzero(mask[row] == 255)[0]
    if len(there) < 8 or np.ptp(there) > 1.5 * head:  # nobody there, or more than one
        return
    left, right = int(there[0]), int(there[-1])
    colour = [
        int(v) for v in np.clip(rng.choice([20, 40, 200, 235]) + rng.normal(0, 15, 3), 0, 255)
    ]
    thick = max(2, int(head * rng.uniform(0.05, 0.12)))
    middle, half = ((left + right) // 2, row), ((right - left) // 2, row - top + thick // 2)
    cup = max(2, int(head * rng.uniform(0.08, 0.14))), max(3, int(head * rng.uniform(0.15, 0.24)))
    for canvas, value in ((image, colour), (mask, 255)):
        cv2.ellipse(canvas, middle, half, 0, 180, 360, value, thick)
        cv2.ellipse(canvas, (left, row), cup, 0, 0, 360, value, -1)
        cv2.ellipse(canvas, (right, row), cup, 0, 0, 360, value, -1)


def match_light(rng, layer, image, alpha) -> np.ndarray:
    """Moves the person's mean colour some random way towards the room's."""
    weight = alpha / max(float(alpha.sum()), 1)
    person, room = (layer * weight).sum((0, 1)), image.mean((0, 1))
    gain = np.clip((room + 20) / (person + 20), 0.4, 2.0) ** rng.uniform(0, 0.8)
    return np.clip(layer * gain, 0, 255)


def camera(rng, image, mask) -> np.ndarray:
    """What a webcam and its room do to a picture: light, colour, noise, blur, compression."""
    x = image.astype(np.float32) / 255
    if rng.random() < 0.1 and mask.any():  # a window behind the person
        person = cv2.GaussianBlur((mask > 0).astype(np.float32), (0, 0), 2)[..., None]
        x = x * (person * rng.uniform(0.3, 0.8) + (1 - person) * rng.uniform(1.0, 1.8))
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
        if rng.random() < 0.3:  # the camera turns its gain up
            x = x * rng.uniform(1, 0.7 / light)
    elif rng.random() < 0.4:
        x = x + rng.normal(0, rng.uniform(0.005, 0.05), x.shape)
    x = (np.clip(x, 0, 1) * 255).astype(np.uint8)
    if rng.random() < 0.3:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 90))]
        x = cv2.imdecode(cv2.imencode(".jpg", x, quality)[1], cv2.IMREAD_COLOR)
    return x


def shade(rng, x) -> np.ndarray:
    """Light that falls off across the picture, as a lamp's at one side does."""
    height, width = x.shape[:2]
    angle = rng.uniform(0, 2 * np.pi)
    ramp = np.linspace(-1, 1, width) * np.cos(angle) + np.linspace(-1, 1, height)[:, None] * np.sin(
        angle
    )
    return x * (1 + rng.uniform(0.1, 0.6) * ramp[..., None].astype(np.float32))


def smear(rng, x) -> np.ndarray:
    """Defocus, or motion along a line."""
    if rng.random() < 0.6:
        return cv2.GaussianBlur(x, (0, 0), rng.uniform(0.4, 1.5))
    length = int(rng.integers(3, 8))
    kernel = np.zeros((length, length), np.float32)
    kernel[length // 2] = 1 / length
    turn = cv2.getRotationMatrix2D((length / 2 - 0.5, length / 2 - 0.5), rng.uniform(0, 180), 1)
    kernel = cv2.warpAffine(kernel, turn, (length, length))
    return cv2.filter2D(x, -1, kernel / max(kernel.sum(), 1e-6))


def target(mask) -> np.ndarray:
    """uint8 [h,w] -> float32 [h/4,w/4,2]: the person's share of each cell, and its weight.

    Cells on the outline weigh five times as much; cells with anything unknown weigh nothing.
    """
    size = (mask.shape[1] // 4, mask.shape[0] // 4)
    share = cv2.resize(mask, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    unknown = (mask == UNKNOWN).astype(np.uint8) * 255
    unknown = cv2.resize(unknown, size, interpolation=cv2.INTER_AREA)
    near = cv2.blur(share, (3, 3))
    weight = np.where((near > 0.02) & (near < 0.98), 5, 1) * (unknown == 0)
    return np.stack([share, weight.astype(np.float32)], -1)
