"""Photographs with masks become training batches that look like a webcam's world.

A photograph is `NAME.jpg` or `.webp`; its mask `NAME.png` is 8-bit grey: 255 person, 128 don't
know, 0 background. A photograph without a mask shows nobody. The prefix before `_` says what it is:
of a `matte_`, `keyed_` or `cutout_` the PNG is the true alpha, 0..255, all of it known.

From here on a mask is a share of 0..255 in uint8, of which exactly 128 is "don't know"; a true 128
becomes 129. Each view of a photograph carries two: of any person, and of those in front.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from tools.camera_effects import camera, clothe, flicker, headset, print_on
from tools.cutouts import Cutout, foreground, lay, paste, place

UNKNOWN = 128
SUFFIXES = (".jpg", ".webp")

# What a batch is made of. Upper bodies are whole street figures cropped as a webcam would;
# "pasted" are people cut out and put into rooms, the nearest to what the tool will see.
MIX = {
    "selfie": 0.11,
    "picsart": 0.1,
    "pexels": 0.19,
    "vik": 0.04,
    "voc": 0.15,
    "ccp": 0.05,
    "coco": 0.01,
    "matte": 0.04,
    "keyed": 0.03,
    "pasted": 0.18,
    "nobody": 0.1,
}
# Whom "pasted" cuts out: keyed, matte and cutout people have a true alpha.
CUTOUT_MIX = {
    "keyed": 0.18,
    "matte": 0.15,
    "picsart": 0.23,
    "selfie": 0.16,
    "pexels": 0.13,
    "ccp": 0.07,
    "vik": 0.05,
    "cutout": 0.03,
}
UPRIGHT = ("selfie", "picsart", "matte")
SINGLE = ("selfie", "picsart", "matte", "keyed", "cutout", "ccp")  # one person mostly, in front
TRUE_ALPHA = ("matte_", "keyed_", "cutout_")
TWINS = 2  # views of a batch that come twice, see `Batches.batch`


@dataclass
class Photo:
    name: str
    image: np.ndarray  # uint8 [h,w,3] BGR
    mask: np.ndarray  # uint8 [h,w]: 255, 128 or 0; a share where `soft`
    soft: bool = False  # the mask's edges are a true or a nearly true alpha

    @property
    def prefix(self) -> str:
        return self.name.split("_")[0]

    @cached_property
    def front(self) -> np.ndarray:
        """The mask of those in front: known where one person stands clearly before the others."""
        return self.mask if self.prefix in SINGLE else front_of(self.mask)

    @cached_property
    def cutout(self) -> Cutout:
        colours = foreground(self.image, self.mask)
        mixed = self.prefix in ("pexels", "vik", "cutout")
        whole = self.prefix == "ccp" or mixed and is_tall(self.mask)
        return Cutout(colours, self.mask, self.soft, whole)


def read_photos(folder: Path, edges: Path | None = None) -> list[Photo]:
    """Reads all photographs of a folder, in order of their names.

    Args:
        edges: a folder of soft alphas (`NAME.png`, 0..255, another network's) that lend drawn masks
            the look of their edges, where the two agree but for those.

    Raises:
        FileNotFoundError: no photograph there.
    """
    paths = sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES)
    if not paths:
        raise FileNotFoundError(f"{folder}: no .jpg or .webp in it")
    return [soften(read_photo(path), edges) for path in paths]


def read_photo(path: Path) -> Photo:
    image = read_image(path)
    mask_path = path.with_suffix(".png")
    if not mask_path.exists():
        return Photo(path.stem, image, np.zeros(image.shape[:2], np.uint8))
    mask = read_image(mask_path, cv2.IMREAD_GRAYSCALE)
    if soft := path.name.startswith(TRUE_ALPHA):
        mask[mask == UNKNOWN] += 1
    return Photo(path.stem, image, mask, soft)


def read_image(path: Path, flags: int = cv2.IMREAD_COLOR) -> np.ndarray:
    """uint8 [h,w,3] BGR of a picture file; [h,w] with `cv2.IMREAD_GRAYSCALE`.

    Raises:
        OSError: missing, damaged, or not a picture.
    """
    image = cv2.imread(str(path), flags)
    if image is None:
        raise OSError(f"{path}: missing, damaged, or not a picture")
    return image


def soften(photo: Photo, edges: Path | None) -> Photo:
    """Gives the drawn mask another network's edges, in a narrow band along its own outline.

    Only where the two differ outside that band by less than 3 % of the person: the drawn mask says
    what is person, the other one at most how its edge looks.
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
    alpha[alpha == UNKNOWN] += 1
    return Photo(photo.name, photo.image, np.where(band, alpha, photo.mask), soft=True)


def front_of(mask) -> np.ndarray:
    """Tells apart who is in front by height alone; what cannot be told is unknown.

    Parts at least 0.8 as tall as the tallest are in front with it, parts under half of its height
    behind it, all others unknown, and so are specks, which may be anybody's.
    """
    count, parts, stats, _ = cv2.connectedComponentsWithStats((mask > 0).astype(np.uint8))
    if count <= 2:
        return mask
    heights, areas = stats[1:, cv2.CC_STAT_HEIGHT], stats[1:, cv2.CC_STAT_AREA]
    front, largest = mask.copy(), heights.max()
    for part, (height, area) in enumerate(zip(heights, areas, strict=True), 1):
        if height < 0.8 * largest:
            behind = height < 0.5 * largest and area > 0.01 * areas.max()
            front[parts == part] = 0 if behind else UNKNOWN
    return front


def is_tall(mask) -> bool:
    ys, xs = np.nonzero(mask)
    return bool(np.ptp(ys) > 1.9 * np.ptp(xs))


class Batches:
    """Endless random batches. Batch `i` depends on `i` and the seed alone: training can resume."""

    def __init__(self, photos: list[Photo], batch_size: int, seed: int = 2018, stride: int = 4):
        self.batch_size, self.seed, self.stride = batch_size, seed, stride
        self.by_prefix, self.cutouts = {}, {}
        for photo in photos:
            self.by_prefix.setdefault(photo.prefix, []).append(photo)
            if photo.prefix in CUTOUT_MIX and stands_free(photo):
                self.cutouts.setdefault(photo.prefix, []).append(photo)
        self.empty = self.by_prefix.get("room", []) + self.by_prefix.get("none", [])
        self.mix = shares(MIX, {*self.by_prefix, "pasted", "nobody"})
        self.cutout_mix = shares(CUTOUT_MIX, self.cutouts)

    def batch(self, i: int, size: tuple[int, int]):
        """Returns images and targets, both float32.

        Images [n,h,w,3] are RGB 0..255, targets as `target` makes them. The last TWINS are the
        first ones again as a camera sees them a moment later, under other noise and light.
        """
        rng = np.random.default_rng((i, self.seed))
        kinds = rng.choice(list(self.mix), self.batch_size, p=list(self.mix.values()))
        wide = size[0] > size[1]  # where upright pictures show less of a person than a webcam does
        kinds = ["pasted" if wide and k in UPRIGHT and rng.random() < 0.5 else k for k in kinds]
        examples = [self.example(rng, kind, size) for kind in kinds[:-TWINS]]
        examples += [(flicker(rng, image), masks, soft) for image, masks, soft in examples[:TWINS]]
        images = np.stack([image[..., ::-1] for image, _, _ in examples]).astype(np.float32)
        targets = np.stack([target(masks, soft, self.stride) for _, masks, soft in examples])
        return images, targets

    def example(self, rng, kind: str, size):
        """A view, uint8 [h,w,3] BGR, its masks, uint8 [h,w,2], and whether they are soft."""
        if kind == "pasted":
            image, masks, soft = self.pasted(rng, size)
        else:
            pool = self.empty if kind == "nobody" else self.by_prefix[kind]
            photo = pool[rng.integers(len(pool))]
            image, masks = crop(rng, photo, size)
            soft = photo.soft
            if kind == "nobody" and rng.random() < 0.15:
                self.hang_up(rng, image)
            if kind in (*SINGLE, "pexels", "vik") and rng.random() < 0.4:
                image, masks = self.join(rng, image, masks)
        if rng.random() < 0.5:
            image, masks = image[:, ::-1], masks[:, ::-1]
        image, masks = np.ascontiguousarray(image), np.ascontiguousarray(masks)
        if kind != "nobody" and rng.random() < 0.12:
            clothe(rng, image, masks)
        if kind != "nobody" and rng.random() < 0.1:
            print_on(rng, image, masks, self.any_picture(rng))
        if kind not in ("voc", "coco", "nobody") and rng.random() < 0.1:
            headset(rng, image, masks)
        if rng.random() < 0.05:
            self.hold_up(rng, image, masks)
        return camera(rng, image, masks[..., 0]), masks, soft

    def any_picture(self, rng) -> np.ndarray:
        """A photograph of anything, people more often than not, uint8 [h,w,3]."""
        prefixes = [
            p for p in ("picsart", "selfie", "pexels", "vik", "none") if p in self.by_prefix
        ]
        pool = self.by_prefix[rng.choice(prefixes)] if prefixes else self.empty
        return pool[rng.integers(len(pool))].image

    def hold_up(self, rng, image, masks) -> None:
        """Covers a part with a thing. Whether it belongs to the person is not known."""
        other = self.empty[rng.integers(len(self.empty))].image
        height, width = masks.shape[:2]
        thing = cv2.resize(other, (width, height))
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

    def hang_up(self, rng, image) -> None:
        """Hangs a small framed picture of somebody on the wall: nobody is there."""
        pool = self.by_prefix.get("picsart") or self.by_prefix.get("selfie")
        if not pool:
            return
        photo = pool[rng.integers(len(pool))].image
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

    def join(self, rng, image, masks):
        """Puts somebody behind the people of a view, whose mask then says who is in front."""
        share, unknown = masks[..., 0], masks[..., 0] == UNKNOWN
        if not np.array_equal(share, masks[..., 1]) or not (share == 255).any():
            return image, masks
        ys, xs = np.nonzero(share == 255)
        if np.ptp(ys) > 1.9 * np.ptp(xs):  # a whole figure; most cutouts are nearer than that
            return image, masks
        rise = (share.shape[0] - ys.min()) / share.shape[0] * rng.uniform(0.4, 1.0)
        aside = np.ptp(xs) * rng.uniform(0.15, 1.1) * rng.choice([-1, 1])
        spot = place(rng, self.someone(rng), share.shape, rise, np.median(xs) + aside)
        behind, cover, blank = paste(rng, image, spot)
        front = np.where(unknown, 1, share / np.float32(255))[..., None]
        joined = (front * image + (1 - front) * behind).astype(np.uint8)
        both = masks.copy()
        total = share + (255 - share.astype(np.float32)) * cover
        both[..., 0] = known_share(total)
        both[blank & (share < 255), 0] = UNKNOWN
        both[unknown] = UNKNOWN
        return joined, both

    def someone(self, rng) -> Cutout:
        prefix = rng.choice(list(self.cutout_mix), p=list(self.cutout_mix.values()))
        pool = self.cutouts[prefix]
        return pool[rng.integers(len(pool))].cutout

    def pasted(self, rng, size):
        """One to three people cut out and put before a room, the nearest last."""
        image, _ = crop(rng, self.empty[rng.integers(len(self.empty))], size)
        masks = np.zeros((*image.shape[:2], 2), np.uint8)
        if rng.random() < 0.1:
            self.hang_up(rng, image)
        if rng.random() < 0.25:  # what stands behind a webcam user is out of focus
            image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 2.5))
        people = rng.choice([1, 2, 3], p=[0.5, 0.38, 0.12])
        ratios = np.sort(rng.uniform(0.4, 1.0, people - 1)).tolist() + [1.0]
        rise = rng.uniform(0.5, 1.1)
        x = np.clip(rng.normal(0.5, 0.17), 0.1, 0.9)
        soft = True
        for ratio in ratios:
            someone = self.someone(rng)
            aside = rng.uniform(0.1, 0.5) * rng.choice([-1, 1]) if ratio < 1 else 0
            at = size[0] * np.clip(x + aside, 0.02, 0.98)
            spot = place(rng, someone, masks.shape[:2], rise * ratio, at)
            image, cover, blank = paste(rng, image, spot)
            touching = (cover > 0.5) & (masks[..., 0] > 127)
            before = rank(ratios, ratio, bool(touching.any()))
            masks = lay(masks, cover, blank, before)
            soft &= someone.soft
        return image, masks, soft


def rank(ratios: list[float], ratio: float, touching: bool) -> str:
    """What those pasted before this person are to them: "behind", or "unsure"."""
    last = max((r for r in ratios if r < ratio), default=0)
    return "behind" if touching or last < 0.75 * ratio else "unsure"


def shares(mix: dict[str, float], there) -> dict[str, float]:
    """The part of the mix that there is something for, adding up to 1 again."""
    total = sum(share for kind, share in mix.items() if kind in there)
    return {kind: share / total for kind, share in mix.items() if kind in there}


def known_share(value) -> np.ndarray:
    """float 0..255 -> uint8, never 128."""
    out = np.rint(value).astype(np.uint8)
    out[out == UNKNOWN] += 1
    return out


def stands_free(photo: Photo) -> bool:
    """Whether the person does not touch the picture's sides in its upper three quarters."""
    sides = photo.mask[: photo.mask.shape[0] * 3 // 4, [0, -1]] > 0
    top = photo.mask[0] > 0
    return bool((photo.mask == 255).any()) and sides.mean() < 0.02 and top.mean() < 0.02


def crop(rng, photo: Photo, size):
    """A random view of a photograph, of the asked shape, framed as its kind calls for.

    Where the view leaves the picture, its border is mirrored and marked as unknown.
    """
    width, height = size
    rows, columns = photo.mask.shape
    full = min(columns / width, rows / height)  # largest view inside, in photo pixels a pixel
    zoom = full * rng.uniform(0.45, 1.0) if rng.random() < 0.3 else full * rng.uniform(0.9, 1.35)
    middle = np.array([columns, rows]) / 2
    ys, xs = np.nonzero(photo.front[::4, ::4] == 255)
    if photo.prefix == "ccp" and len(ys):  # head to somewhere between chest and knees
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


def around(rng, xs, ys, size, whole):
    """The view a tracker would cut: the person's box, 12 % wider on each side, with its error."""
    box = np.array([np.ptp(xs), np.ptp(ys)]) + 4
    zoom = max(box / size) * 1.24 * np.exp(rng.normal(0, 0.1))
    zoom = max(zoom, 0.25)
    middle = np.array([xs.min() + xs.max(), ys.min() + ys.max()]) / 2
    middle = middle + rng.normal(0, 0.04, 2) * box
    reach = np.array(size) * zoom / 2
    inside = np.clip(middle, reach, np.maximum(whole - reach, reach))
    fits = 2 * reach <= whole
    return zoom, np.where(fits, inside, middle)


def view(rng, photo: Photo, size, zoom: float, middle):
    """Resamples the photograph around `middle`, `zoom` photo pixels a pixel, a little turned."""
    angle = rng.normal(0, 5) if rng.random() < 0.6 else 0
    matrix = cv2.getRotationMatrix2D(tuple(map(float, middle)), angle, 1 / zoom)
    matrix[:, 2] += np.array(size) / 2 - middle
    if rng.random() < 0.5:  # a frame is seldom of quite the input's shape
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


def warp_mask(mask, matrix, size) -> np.ndarray:
    """Resamples person and unknown apart, so that no edge passes through 'unknown' on its way."""
    unknown = mask == UNKNOWN
    person = cv2.warpAffine(np.where(unknown, 0, mask).astype(np.float32), matrix, size)
    out = known_share(np.where(person > 254.7, 255, np.minimum(person, 254)))
    if unknown.any():
        out[cv2.warpAffine(unknown.astype(np.float32), matrix, size) > 0.05] = UNKNOWN
    return out


def target(masks, soft: bool, stride: int) -> np.ndarray:
    """uint8 [h,w,2] -> float32 [h/s,w/s,5], the truth of each cell.

    The shares of person and of front, the weights of both in the loss, and whether its share is a
    true alpha, to be matched exactly. Cells along an outline weigh five times as much; cells with
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
