"""Turns photographs with masks into training batches that look like what a webcam sees.

Each view of a photograph has two masks, uint8 [h,w,2]: of any person, and of those in front.
"""

from collections.abc import Collection
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator

from background_blur.frames import Size
from tools.cutouts import lay, paste, standing
from tools.photos import MIXED, SINGLE, UNKNOWN, WHOLE, Photo, is_tall, known, read_image
from tools.training.camera_effects import camera, clothe, flicker, headset, print_on, raise_hand

Example = tuple[np.ndarray, np.ndarray, bool]  # uint8 [h,w,3] BGR; its masks; whether they are soft

# What a batch is made of. Upper bodies are whole figures on streets, cropped as a webcam would;
# "pasted" are people cut out and placed in rooms, closest to what the program will see.
MIX = {"selfie": 0.11, "picsart": 0.1, "pexels": 0.19, "vik": 0.04, "voc": 0.15, "ccp": 0.05}
MIX |= {"coco": 0.01, "matte": 0.04, "keyed": 0.03, "pasted": 0.18, "nobody": 0.1}
# The people that "pasted" cuts out; keyed, matte and cutout people have a true alpha.
CUTOUT_MIX = {"keyed": 0.18, "matte": 0.15, "picsart": 0.23, "selfie": 0.16, "pexels": 0.13}
CUTOUT_MIX |= {"ccp": 0.07, "vik": 0.05, "cutout": 0.03}
UPRIGHT = ("selfie", "picsart", "matte")
TWINS = 2  # views in a batch that come twice; see `Batches.batch`


def soften(photo: Photo, edges: Path | None) -> Photo:
    """Gives a drawn mask another network's edges, in a narrow band along its own outline.

    The edges are soft alphas `NAME.png` in the folder `edges`, used only if the two differ outside
    the band by less than 3 % of the person: the drawn mask decides what is person, and the other
    only how its edge looks.
    """
    path = edges and edges / f"{photo.name}.png"
    if not path or not path.exists() or photo.soft:
        return photo
    alpha = read_image(path, cv2.IMREAD_GRAYSCALE)
    person = (photo.mask == 255).astype(np.uint8)
    reach = 2 * int(round(0.012 * np.hypot(*person.shape))) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    band = (cv2.dilate(person, kernel) != cv2.erode(person, kernel)) & (photo.mask != UNKNOWN)
    differing = np.abs(alpha / 255 - person)[~band & (photo.mask != UNKNOWN)].sum()
    if differing > 0.03 * person.sum():
        return photo
    return Photo(photo.name, photo.image, np.where(band, known(alpha), photo.mask), soft=True)


class Batches:
    """Endless random batches. Batch `i` depends only on `i` and the seed; training can resume."""

    def __init__(self, photos: list[Photo], batch_size: int, seed: int = 2018, stride: int = 4):
        self.batch_size, self.seed, self.stride = batch_size, seed, stride
        self.by_prefix: dict[str, list[Photo]] = {}
        self.cutouts: dict[str, list[Photo]] = {}
        for photo in photos:
            self.by_prefix.setdefault(photo.prefix, []).append(photo)
            if photo.prefix in CUTOUT_MIX and stands_free(photo):
                self.cutouts.setdefault(photo.prefix, []).append(photo)
        self.empty = self.by_prefix.get("room", []) + self.by_prefix.get("none", [])
        self.mix = shares(MIX, {*self.by_prefix, "pasted", "nobody"})
        self.cutout_mix = shares(CUTOUT_MIX, self.cutouts)

    def batch(self, i: int, size: Size) -> tuple[np.ndarray, np.ndarray]:
        """Returns images and targets, both float32.

        Images [n,h,w,3] are RGB 0..255; targets are as `target` makes them. The last TWINS repeat
        the first, as a camera would see them a moment later, with different noise and light.
        """
        rng = np.random.default_rng((i, self.seed))
        kinds = rng.choice(list(self.mix), self.batch_size, p=list(self.mix.values()))
        wide = size[0] > size[1]  # then upright pictures show less of a person than a webcam does
        kinds = ["pasted" if wide and k in UPRIGHT and rng.random() < 0.5 else k for k in kinds]
        examples = [self.example(rng, kind, size) for kind in kinds[:-TWINS]]
        examples += [(flicker(rng, image), masks, soft) for image, masks, soft in examples[:TWINS]]
        images = np.stack([image[..., ::-1] for image, _, _ in examples]).astype(np.float32)
        targets = np.stack([target(masks, soft, self.stride) for _, masks, soft in examples])
        return images, targets

    def example(self, rng: Generator, kind: str, size: Size) -> Example:
        """Makes a view of this kind."""
        if kind == "pasted":
            image, masks, soft = self.pasted(rng, size)
        else:
            photo = pick(rng, self.empty if kind == "nobody" else self.by_prefix[kind])
            image, masks = crop(rng, photo, size)
            soft = photo.soft
            if kind == "nobody" and rng.random() < 0.15:
                self.hang_up(rng, image)
            if kind in (*SINGLE, *MIXED) and rng.random() < 0.5:
                image, masks = self.join(rng, image, masks)
        if rng.random() < 0.5:
            image, masks = image[:, ::-1], masks[:, ::-1]
        image, masks = np.ascontiguousarray(image), np.ascontiguousarray(masks)
        if kind != "nobody" and rng.random() < 0.12:
            clothe(rng, image, masks)
        if kind != "nobody" and rng.random() < 0.1:
            print_on(rng, image, masks, self.any_picture(rng))
        if kind not in ("voc", "coco", "nobody") and rng.random() < 0.2:
            raise_hand(rng, image, masks)
        if kind not in ("voc", "coco", "nobody") and rng.random() < 0.1:
            headset(rng, image, masks)
        if rng.random() < 0.05:
            self.hold_up(rng, image, masks)
        return camera(rng, image, masks[..., 0]), masks, soft

    def any_picture(self, rng: Generator) -> np.ndarray:
        """A photograph of anything, mostly of people, uint8 [h,w,3]."""
        kinds = ("picsart", "selfie", "pexels", "vik", "none")
        prefixes = [prefix for prefix in kinds if prefix in self.by_prefix]
        return pick(rng, self.by_prefix[rng.choice(prefixes)] if prefixes else self.empty).image

    def hold_up(self, rng: Generator, image: np.ndarray, masks: np.ndarray) -> None:
        """Covers part of the view with an object. Whether that belongs to the person is unknown."""
        height, width = masks.shape[:2]
        thing = cv2.resize(pick(rng, self.empty).image, (width, height))
        middle = rng.uniform(0, 1, 2) * (width, height)
        axes = rng.uniform(0.04, 0.2, 2) * height
        box = (tuple(map(float, middle)), tuple(map(float, 2 * axes)), rng.uniform(0, 180))
        shape = np.zeros((height, width), np.uint8)
        if rng.random() < 0.5:
            cv2.ellipse(shape, box, 255, -1)
        else:
            cv2.fillConvexPoly(shape, cv2.boxPoints(box).astype(np.int32), 255)
        image[shape > 0] = thing[shape > 0]
        if masks.any():
            masks[cv2.dilate(shape, np.ones((5, 5))) > 0] = UNKNOWN

    def hang_up(self, rng: Generator, image: np.ndarray) -> None:
        """Hangs a small framed picture of a person on the wall, which does not count as person."""
        pool = self.by_prefix.get("picsart") or self.by_prefix.get("selfie")
        if not pool:
            return
        photo = pick(rng, pool).image
        height, width = image.shape[:2]
        tall = int(height * rng.uniform(0.12, 0.3))
        wide = tall * photo.shape[1] // photo.shape[0]
        if tall < 8 or wide < 6 or wide + 4 >= width:
            return
        small = cv2.resize(photo, (wide, tall), interpolation=cv2.INTER_AREA)
        rim = max(1, tall // 16)
        colour = [int(v) for v in rng.integers(0, 256, 3)]
        small = cv2.copyMakeBorder(small, rim, rim, rim, rim, cv2.BORDER_CONSTANT, value=colour)
        tall, wide = small.shape[:2]
        y = int(rng.integers(0, max(1, (height - tall) // 2)))
        x = int(rng.integers(0, max(1, width - wide)))
        image[y : y + tall, x : x + wide] = small[: height - y, : width - x]

    def join(
        self, rng: Generator, image: np.ndarray, masks: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Puts a person behind the people in a view, whose mask then says who is in front."""
        share, unknown = masks[..., 0], masks[..., 0] == UNKNOWN
        if not np.array_equal(share, masks[..., 1]) or not (share == 255).any():
            return image, masks
        if is_tall(share == 255):  # a whole figure; most cut-outs are nearer than that
            return image, masks
        ys, xs = np.nonzero(share == 255)
        rise = (share.shape[0] - ys.min()) / share.shape[0] * rng.uniform(0.4, 1.0)
        aside = np.ptp(xs) * rng.uniform(0.15, 1.1) * rng.choice([-1, 1])
        x = (np.median(xs) + aside) / share.shape[1]
        behind, cover, blank = self.add_person(rng, image, self.someone(rng), rise, x)
        front = np.where(unknown, 1, share / np.float32(255))[..., None]
        joined = (front * image + (1 - front) * behind).astype(np.uint8)
        both = masks.copy()
        total = share + (255 - share.astype(np.float32)) * cover
        both[..., 0] = known(total)
        both[blank & (share < 255), 0] = UNKNOWN
        both[unknown] = UNKNOWN
        return joined, both

    def someone(self, rng: Generator) -> Photo:
        prefix = rng.choice(list(self.cutout_mix), p=list(self.cutout_mix.values()))
        return pick(rng, self.cutouts[prefix])

    def add_person(
        self, rng: Generator, image: np.ndarray, person: Photo, rise: float, x: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """As `paste`, but whole figures are cut off somewhere, as in front of a webcam."""
        shown = rng.uniform(0.25, 0.7) if person.whole else rng.uniform(0.8, 1)
        matrix = standing(person.mask, image.shape[1::-1], rise, x, shown)
        return paste(rng, image, person, matrix)

    def pasted(self, rng: Generator, size: Size) -> Example:
        """Places one to three cut-out people in a room, the nearest last."""
        image, _ = crop(rng, pick(rng, self.empty), size)
        masks = np.zeros((*image.shape[:2], 2), np.uint8)
        if rng.random() < 0.1:
            self.hang_up(rng, image)
        if rng.random() < 0.25:  # what is behind a webcam user is out of focus
            image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 2.5))
        people = rng.choice([1, 2, 3], p=[0.45, 0.4, 0.15])
        ratios = np.sort(rng.uniform(0.4, 1.0, people - 1)).tolist() + [1.0]
        rise = rng.uniform(0.5, 1.1)
        x = np.clip(rng.normal(0.5, 0.17), 0.1, 0.9)
        if people == 1 and rng.random() < 0.25:  # just coming into view
            x = rng.uniform(-0.08, 0.12)  # half of the views are mirrored afterwards
        soft = True
        for ratio in ratios:
            someone = self.someone(rng)
            aside = rng.uniform(0.1, 0.5) * rng.choice([-1, 1]) if ratio < 1 else 0
            at = np.clip(x + aside, 0.02, 0.98)
            image, cover, blank = self.add_person(rng, image, someone, rise * ratio, at)
            touching = (cover > 0.5) & (masks[..., 0] > 127)
            last = max((other for other in ratios if other < ratio), default=0)
            masks = lay(masks, cover, blank, bool(touching.any() or last < 0.85 * ratio))
            soft &= someone.soft
        return image, masks, soft


def pick(rng: Generator, photos: list[Photo]) -> Photo:
    return photos[rng.integers(len(photos))]


def shares(mix: dict[str, float], there: Collection[str]) -> dict[str, float]:
    """The part of the mix that there are photographs for, scaled to add up to 1 again."""
    total = sum(share for kind, share in mix.items() if kind in there)
    return {kind: share / total for kind, share in mix.items() if kind in there}


def stands_free(photo: Photo) -> bool:
    """Whether the person does not touch the picture's sides in its upper three quarters."""
    sides = photo.mask[: photo.mask.shape[0] * 3 // 4, [0, -1]] > 0
    top = photo.mask[0] > 0
    return bool((photo.mask == 255).any()) and sides.mean() < 0.02 and top.mean() < 0.02


def crop(rng: Generator, photo: Photo, size: Size) -> tuple[np.ndarray, np.ndarray]:
    """A random view of a photograph, of the given size, framed as suits its kind.

    Where the view extends beyond the picture, it is mirrored and marked as unknown.
    """
    width, height = size
    rows, columns = photo.mask.shape
    full = min(columns / width, rows / height)  # of the largest view inside: photo pixels per pixel
    zoom = full * rng.uniform(0.45, 1.0) if rng.random() < 0.3 else full * rng.uniform(0.9, 1.35)
    middle = np.array([columns, rows]) / 2
    ys, xs = np.nonzero(photo.front[::4, ::4] == 255)
    if photo.prefix == WHOLE and len(ys):  # head to somewhere between chest and knees
        top, tall = 4 * ys.min(), 4 * (ys.max() - ys.min())
        zoom = max(tall * rng.uniform(0.22, 0.75), columns * 0.25) / height
        middle = np.array([4 * np.median(xs), top + height * zoom * rng.uniform(0.3, 0.5)])
        middle[0] += rng.normal(0, 0.15) * width * zoom
    elif len(ys) and rng.random() < 0.35:
        zoom, middle = around(rng, 4 * xs, 4 * ys, size, (columns, rows))
    else:
        slack = np.maximum(np.array([columns, rows]) - np.array(size) * zoom, 0)
        middle = middle + rng.uniform(-0.5, 0.5, 2) * slack
        if len(ys):
            person = 4 * np.array([xs.mean(), ys.mean()])
            middle = middle + rng.uniform(0, 0.5) * np.clip(person - middle, -slack / 2, slack / 2)
    return view(rng, photo, size, zoom, middle)


def around(
    rng: Generator, xs: np.ndarray, ys: np.ndarray, size: Size, whole: Size
) -> tuple[float, np.ndarray]:
    """The view a tracker would choose: the person's box, 12 % wider on each side, with an error."""
    box = np.array([np.ptp(xs), np.ptp(ys)]) + 4
    zoom = max(box / size) * 1.24 * np.exp(rng.normal(0, 0.1))
    zoom = max(zoom, 0.25)
    middle = np.array([xs.min() + xs.max(), ys.min() + ys.max()]) / 2
    middle = middle + rng.normal(0, 0.04, 2) * box
    reach = np.array(size) * zoom / 2
    inside = np.clip(middle, reach, np.maximum(whole - reach, reach))
    fits = 2 * reach <= whole
    return zoom, np.where(fits, inside, middle)


def view(
    rng: Generator, photo: Photo, size: Size, zoom: float, middle: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Resamples a photograph around `middle`, slightly rotated, `zoom` photo pixels per pixel."""
    angle = rng.normal(0, 5) if rng.random() < 0.6 else 0
    matrix = cv2.getRotationMatrix2D(tuple(map(float, middle)), angle, 1 / zoom)
    matrix[:, 2] += np.array(size) / 2 - middle
    if rng.random() < 0.5:  # a frame seldom has exactly the input's shape
        squash = np.exp(rng.normal(0, 0.08))
        matrix[0] *= squash
        matrix[0, 2] += size[0] / 2 * (1 - squash)
    image = photo.image
    if zoom > 1.5:  # bilinear sampling would alias
        image = cv2.GaussianBlur(image, (0, 0), 0.3 * zoom)
    image = cv2.warpAffine(image, matrix, size, borderMode=cv2.BORDER_REFLECT)
    if not photo.mask.any():
        return image, np.zeros((size[1], size[0], 2), np.uint8)
    mask = warp_mask(photo.mask, matrix, size)
    front = mask if photo.front is photo.mask else warp_mask(photo.front, matrix, size)
    masks = np.stack([mask, front], -1)
    inside = cv2.warpAffine(np.ones_like(photo.mask), matrix, size, flags=cv2.INTER_NEAREST)
    masks[inside == 0] = UNKNOWN
    return image, masks


def warp_mask(mask: np.ndarray, matrix: np.ndarray, size: Size) -> np.ndarray:
    """Resamples person and unknown separately, so that no edge passes through "unknown"."""
    unknown = mask == UNKNOWN
    person = cv2.warpAffine(np.where(unknown, 0, mask).astype(np.float32), matrix, size)
    out = known(np.where(person > 254.7, 255, np.minimum(person, 254)))
    if unknown.any():
        out[cv2.warpAffine(unknown.astype(np.float32), matrix, size) > 0.05] = UNKNOWN
    return out


def target(masks: np.ndarray, soft: bool, stride: int) -> np.ndarray:
    """uint8 [h,w,2] -> float32 [h/s,w/s,5], the truth of each cell.

    It holds the shares of person and of front, their weights in the loss, and whether the share is
    a true alpha, to be matched exactly. Cells along an outline weigh five times as much; cells with
    anything unknown weigh nothing.
    """
    size = (masks.shape[1] // stride, masks.shape[0] // stride)
    planes = []
    for mask in (masks[..., 0], masks[..., 1]):
        share = cv2.resize(mask, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        unknown = (mask == UNKNOWN).astype(np.uint8) * 255
        unknown = cv2.resize(unknown, size, interpolation=cv2.INTER_AREA)
        near = cv2.blur(share, (3, 3) if stride == 4 else (5, 5))
        weight = np.where((near > 0.02) & (near < 0.98), 5, 1) * (unknown == 0)
        planes.append((share, weight.astype(np.float32)))
    (person, w_person), (front, w_front) = planes
    exact = np.full_like(person, soft) * (w_person == 5)
    return np.stack([person, front, w_person, w_front, exact], -1)
