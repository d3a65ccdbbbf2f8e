"""Trains the person network on photographs with masks, starting from the Coral weights.

    python -m tools.training.train --data DIR --coral FILE.tflite --work DIR --until 18:30

Prints the loss and, every so often, figures on `DIR/val`. Keeps the weights that do best there in
`WORK/person.weights.h5` and the latest in `WORK/last.weights.h5`. If run again after an
interruption, it continues from `WORK/state.npz`.
It is plain Keras: `KERAS_BACKEND=jax` or `torch` runs it on whatever hardware those find.

What makes it work, each found by trial:
- the statistics of the pretrained norms stay frozen. They are then only a gain and a bias per
  channel, so `fold` puts them into their kernels for training: the same, at twice the speed;
- the pretrained kernels differ in size by orders of magnitude, and Adam's steps, which are all of
  one size, would wreck them. `fold` moves each channel's size into its gain, exactly;
- the new decoder has no statistics to freeze. It starts with gains and biases that make its
  features zero-mean and unit-variance on one batch (Salimans & Kingma 2016, arXiv:1602.07868);
- the backbone learns ten times more slowly than the decoder;
- some rounds of steps use larger inputs, as recordings and pictures do;
- the first views of a batch come twice, with different noise and light, and should get one mask:
  where the two differ, masks would flicker in front of a camera;
- the learning rate falls with the time left until `--until`, however fast the machine is;
- what is validated and kept is a moving average of the weights (EMA);
- with `--rounded`, a last run learns to tolerate the rounding to int8 that `export` applies.
"""

import argparse
import os
import shutil
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import cv2
import keras
import numpy as np
from keras import layers

import model
from background_blur.matting.segmenter import INPUT_SIZES, nearest_input_size, scaled_size
from tools.command import command_line, existing_file, existing_folder, reports_errors
from tools.cutouts import keyed
from tools.photos import UNKNOWN, Photo, read_photos
from tools.training.convert_weights import load_coral
from tools.training.dataset import TWINS, Batches, soften
from tools.training.fold import Gained, Tensor, fold, unfold

ops = cast(Any, keras.ops)  # Keras's annotations let every operation return None

DECODER_RATE = 10  # the decoder's learning rate relative to the backbone's
TWIN_WEIGHT = 2.5  # of the difference between the masks of twins, in the loss
AHEAD = 6  # batches to make before they are needed
DESIGNS = {"full": model.FULL, "slim": model.SLIM, "coarse": model.COARSE}
ROUNDS = (1, 1.25, 1, 1.5, 1, 1.25)  # scale of the input's sides, round by round


def calm(folded: keras.Model, images: np.ndarray, names: set[str]) -> None:
    """Makes the features of these untrained layers zero-mean and unit-variance on `images`."""
    for layer in folded.layers:
        if isinstance(layer, Gained) and layer.name in names:
            x = ops.convert_to_numpy(keras.Model(folded.input, layer.output)(images))
            deviation = x.std((0, 1, 2)) + 1e-5
            layer.gain.assign(layer.gain / deviation)
            layer.shift.assign((layer.shift - x.mean((0, 1, 2))) / deviation)


def is_decoder(name: str) -> bool:
    return "decoder" in name or "logit" in name


class TwoRateAdamW(keras.optimizers.AdamW):
    """AdamW whose learning rate is higher for the decoder."""

    def build(self, variables: list) -> None:
        super().build(variables)
        self.factors = [DECODER_RATE if is_decoder(v.path) else 1 for v in variables]

    def update_step(self, gradient: Tensor, variable: Any, learning_rate: Tensor) -> None:
        factor = self.factors[self._get_variable_index(variable)]
        super().update_step(gradient, variable, learning_rate * factor)


def loss(target: Tensor, logits: Tensor) -> Tensor:
    """The losses of all masks that a network returns, and of the first's alpha where it is true.

    Args:
        target: float32 [n,h,w,5], see `tools.training.dataset.target`.
        logits: float32 [n,h,w,1 or 2]: person and, if present, front.

    The last TWINS of the n show the same views as the first, so their masks should not differ.
    """
    outputs = logits.shape[-1]
    total = 0.0
    for i in range(outputs):
        share, weight = target[..., i : i + 1], target[..., 2 + i : 3 + i]
        known = ops.cast(target[..., 2:3] > 0, "float32")  # where it is known if anyone is there
        behind = ops.abs(target[..., :1] - share) * known  # few cells, but hard ones
        weight = weight * (1 + 3 * behind)
        total = total + mask_loss(share, weight, logits[..., i : i + 1])
    total = total / outputs + matte_loss(target[..., :1], target[..., 4:], logits[..., :1])
    twins = ops.abs(ops.sigmoid(logits[-TWINS:]) - ops.sigmoid(logits[:TWINS]))
    return total + TWIN_WEIGHT * ops.mean(twins)


def mask_loss(share: Tensor, weight: Tensor, logits: Tensor) -> Tensor:
    """Cross-entropy, with outlines weighing five times as much, plus half the soft Dice loss.

    All are float32 [n,h,w,1]: the person's share and the weight of each cell, and the logits.
    """
    entropy = ops.maximum(logits, 0) - logits * share + ops.log1p(ops.exp(-ops.abs(logits)))
    entropy = ops.sum(entropy * weight) / (ops.sum(weight) + 1)
    known = ops.cast(weight > 0, "float32")
    person = ops.sigmoid(logits) * known
    both = ops.sum(person * share, (1, 2, 3))
    either = ops.sum(person, (1, 2, 3)) + ops.sum(share * known, (1, 2, 3))
    little = 0.01 * ops.cast(ops.shape(logits)[1] * ops.shape(logits)[2], "float32")
    return entropy + 0.5 * ops.mean(1 - (2 * both + little) / (either + little))


def matte_loss(share: Tensor, exact: Tensor, logits: Tensor) -> Tensor:
    """L1 loss of the alpha and of its gradients, in the cells whose alpha is true."""
    error = ops.sigmoid(logits) - share
    along = ops.abs(error[:, :, 1:] - error[:, :, :-1]) * exact[:, :, 1:] * exact[:, :, :-1]
    down = ops.abs(error[:, 1:] - error[:, :-1]) * exact[:, 1:] * exact[:, :-1]
    total = ops.sum(ops.abs(error) * exact) + ops.sum(along) + ops.sum(down)
    return total / (ops.sum(exact) + 1)


def schedule(step: int, progress: float, peak: float) -> float:
    """The learning rate: a short warm-up, then half a cosine down to zero at a progress of 1."""
    rise = min(1.0, (step + 1) / 150)
    return peak * rise * 0.5 * (1 + np.cos(np.pi * min(progress, 1.0)))


class Plan:
    """When a run stops, after a number of steps or at a time of day, and how far it has come."""

    def __init__(
        self, steps: int, until: float | None = None, clock: Callable[[], float] = time.time
    ):
        self.steps, self.until, self.clock = steps, until, clock
        self.progress, self.last = 0.0, clock()

    def goes_on(self, step: int) -> bool:
        """Whether to do this step; advances `progress` by its share of what is left."""
        now = self.clock()
        if self.until is None:
            self.progress = step / self.steps
        else:
            left = max(self.until - self.last, 1e-6)
            self.progress += (1 - self.progress) * min(1.0, (now - self.last) / left)
        self.last = now
        return self.progress < 1


def grid_of_step(step: int) -> tuple[int, int]:
    """The input size of a step: the shapes of cameras in turn, larger in some rounds."""
    scale = ROUNDS[step // len(INPUT_SIZES) % len(ROUNDS)]
    return scaled_size(INPUT_SIZES[step % len(INPUT_SIZES)], scale)


Step = tuple[int, np.ndarray, np.ndarray]  # its number, images and targets


def ahead(batches: Batches, first: int, plan: Plan) -> Iterator[Step]:
    """Yields (step, images, targets), made a few steps ahead in a thread."""

    def make(step: int) -> Step:
        return step, *batches.batch(step, grid_of_step(step))

    with ThreadPoolExecutor(1) as maker:
        coming = deque(maker.submit(make, first + i) for i in range(AHEAD))
        step = first
        while plan.goes_on(step):
            coming.append(maker.submit(make, step + AHEAD))
            yield coming.popleft().result()
            step += 1
        for batch in coming:
            batch.cancel()


class Learner:
    """Training steps on any input size: one compiled step per size, with shared weights."""

    def __init__(self, net: keras.Model, optimizer: keras.Optimizer):
        self.net, self.optimizer = net, optimizer
        self.sized: dict[tuple, Any] = {}

    def learn(self, images: np.ndarray, targets: np.ndarray) -> float:
        return float(self.at(images.shape[1:]).train_on_batch(images, targets))

    def logits(self, image: np.ndarray) -> np.ndarray:
        """uint8 [h,w,3] RGB -> float32 [h/s,w/s,outputs]"""
        return self.at(image.shape).predict_on_batch(image[None].astype(np.float32))[0]

    def at(self, shape: tuple[int, int, int]) -> keras.Model:
        if shape not in self.sized:
            given = layers.Input(shape)
            self.sized[shape] = keras.Model(given, self.net(given))
            self.sized[shape].compile(self.optimizer, loss=loss, jit_compile=False)
        return self.sized[shape]


def validate(learner: Learner, photos: list[Photo]) -> dict[str, float]:
    """By prefix, the mean IoU or, for photographs without people, the share of pixels marked."""
    figures = {}
    for photo in photos:
        size = photo.mask.shape[::-1]
        small = cv2.resize(photo.image, nearest_input_size(size), interpolation=cv2.INTER_AREA)
        mask = cv2.resize(learner.logits(small[..., ::-1])[..., 0], size) > 0
        person, known = photo.mask > UNKNOWN, photo.mask != UNKNOWN
        if person.any():
            value = (mask & person).sum() / ((mask | person) & known).sum()
        else:
            value = mask[known].mean()
        figures.setdefault(photo.prefix, []).append(value)
    return {prefix: float(np.mean(values)) for prefix, values in figures.items()}


def score(figures: dict[str, float]) -> float:
    empty = {"room", "none"}
    people = [value for prefix, value in figures.items() if prefix not in empty]
    return float(np.mean(people) - sum(figures.get(prefix, 0) for prefix in empty))


class Average:
    """Exponential moving average of a network's weights."""

    def __init__(self, net: keras.Model, decay: float):
        self.net, self.decay = net, decay
        self.values = net.get_weights()

    def update(self, step: int) -> None:
        decay = min(self.decay, (step + 1) / (step + 10))
        for value, weight in zip(self.values, self.net.get_weights(), strict=True):
            value *= decay
            value += (1 - decay) * weight


@dataclass
class Run:
    """A training run: what learns, and everything that must be kept to resume it."""

    net: keras.Model  # folded
    design: model.Design
    optimizer: keras.Optimizer
    average: Average
    plan: Plan
    step: int = 0
    best: float = -np.inf

    def save(self, path: Path) -> None:
        """Atomically writes everything needed to resume."""
        groups = {"w": self.net.get_weights(), "e": self.average.values}
        groups["o"] = [ops.convert_to_numpy(v) for v in self.optimizer.variables]
        arrays = {f"{key}{i}": v for key, group in groups.items() for i, v in enumerate(group)}
        scalars = {"step": self.step, "best": self.best, "progress": self.plan.progress}
        partial = path.with_suffix(".part.npz")
        np.savez(partial, **scalars, **arrays)
        os.replace(partial, path)

    def load(self, path: Path) -> None:
        with np.load(path) as state:
            self.net.set_weights([state[f"w{i}"] for i in range(len(self.net.weights))])
            self.average.values = [state[f"e{i}"] for i in range(len(self.net.weights))]
            for i, variable in enumerate(self.optimizer.variables):
                variable.assign(state[f"o{i}"])
            self.step, self.best = int(state["step"]), float(state["best"])
            self.plan.progress = float(state["progress"])

    def keep(self, path: Path) -> None:
        net = model.build("person", design=self.design)
        unfold(self.net, net)
        model.save_person(net, self.design, path)


def transfer(source: keras.Model, net: keras.Model) -> set[str]:
    """Sets every layer of `net` that has the same name and shape in `source`.

    Returns:
        The names of the layers it set.
    """
    known, done = {layer.name: layer for layer in source.layers}, set()
    for layer in model.layers_with_weights(net):
        weights = known[layer.name].get_weights() if layer.name in known else []
        if [w.shape for w in weights] == [tuple(w.shape) for w in layer.weights]:
            layer.set_weights(weights)
            done.add(layer.name)
    return done


def start(args: argparse.Namespace) -> tuple[Run, set[str]]:
    """Makes a new run; also returns the names of the decoder's layers that start from scratch."""
    design = DESIGNS[args.design]
    net = model.build("person", design=design)
    if args.start:
        done = transfer(model.load_person(args.start)[0], net)
    else:
        done = set(load_coral(net, args.coral))
    folded = fold(net, args.rounded)
    new = {layer.name for layer in folded.layers if is_decoder(layer.name)} - done
    optimizer = TwoRateAdamW(args.rate, weight_decay=1e-4)
    optimizer.build(folded.trainable_variables)
    plan = Plan(args.images // args.batch, args.until)
    return Run(folded, design, optimizer, Average(folded, 0.999), plan), new


def read_training_photos(args: argparse.Namespace) -> list[Photo]:
    photos = [soften(photo, args.edges) for photo in read_photos(args.data / "train")]
    for path in sorted(args.keyed.iterdir()) if args.keyed else ():
        frames = keyed(path)
        photos += [Photo(f"keyed_{path.stem}_{i}", *f, soft=True) for i, f in enumerate(frames)]
    return photos


def train(args: argparse.Namespace) -> None:
    run, new = start(args)
    stride = run.design.mask_stride
    batches = Batches(read_training_photos(args), args.batch, args.seed, stride)
    held_out = read_photos(args.data / "val")[:: args.val_every]
    if new:
        calm(run.net, batches.batch(0, INPUT_SIZES[0])[0], new)
    learner = Learner(run.net, run.optimizer)
    state = args.work / "state.npz"
    if state.exists():
        run.load(state)
    first, began, losses = run.step, time.monotonic(), []
    run.plan.last = run.plan.clock()
    for step, images, targets in ahead(batches, first, run.plan):
        run.optimizer.learning_rate = schedule(step, run.plan.progress, args.rate)
        losses.append(learner.learn(images, targets))
        run.average.update(step)
        run.step = step + 1
        if run.step % 25 == 0:
            speed = (run.step - first) * args.batch / (time.monotonic() - began)
            print(
                f"step {run.step} progress {run.plan.progress:.3f} "
                f"loss {np.mean(losses[-25:]):.4f} {speed:.1f} images/s",
                flush=True,
            )
        if run.step % args.every == 0:
            take_stock(run, learner, held_out, args.work)
    take_stock(run, learner, held_out, args.work)


def take_stock(run: Run, learner: Learner, held_out: list[Photo], work: Path) -> None:
    """Validates the average, and keeps it as the latest and, if it is better, as the best."""
    raw = run.net.get_weights()
    run.net.set_weights(run.average.values)
    run.keep(work / "last.weights.h5")
    figures = validate(learner, held_out)
    if score(figures) > run.best:
        run.best = score(figures)
        shutil.copy(work / "last.weights.h5", work / "person.weights.h5")
    run.net.set_weights(raw)
    print(" ".join(f"{k} {v:.4f}" for k, v in figures.items()), f"best {run.best:.4f}", flush=True)
    run.save(work / "state.npz")


def hour(text: str) -> float:
    """ "HH:MM" -> the next such local time, in seconds since the epoch."""
    now, then = time.localtime(), time.strptime(text, "%H:%M")
    clock = then.tm_hour, then.tm_min, 0, 0, 0, -1
    hours = (time.mktime((*now[:2], now.tm_mday + days, *clock)) for days in (0, 1))
    return next(it for it in hours if it > time.time())


@reports_errors("training.train")
def main(argv: list[str] | None = None) -> int:
    parser = command_line("training.train", __doc__)
    add = parser.add_argument
    folder = {"type": existing_folder, "metavar": "DIR"}
    add("--data", **folder, required=True, help="folder with train/ and val/")
    add("--edges", **folder, help="folder of soft alphas that lend drawn masks their edges")
    add("--keyed", **folder, help="folder of clips of people in front of a blue screen")
    begin = parser.add_mutually_exclusive_group(required=True)
    begin.add_argument("--coral", type=existing_file, help="the Coral .tflite to start from")
    begin.add_argument("--start", type=existing_file, help="person weights to start from")
    add("--design", choices=DESIGNS, default="full", help="the network to train")
    add("--work", type=Path, required=True, metavar="DIR", help="folder for weights and state")
    add("--images", type=int, default=62_400, help="how many to train on")
    add("--until", type=hour, metavar="HH:MM", help="when to stop, instead of --images")
    add("--rounded", action="store_true", help="simulate rounding to int8; for a final run")
    add("--batch", type=int, default=16)
    add("--rate", type=float, default=3e-4, help="peak learning rate of the backbone")
    add("--seed", type=int, default=2018, help="another seed gives other batches")
    add("--every", type=int, default=400, help="steps between validations")
    add("--val-every", type=int, default=1, metavar="N", help="validate on every Nth photograph")
    args = parser.parse_args(argv)
    args.work.mkdir(parents=True, exist_ok=True)
    train(args)
    return 0


if __name__ == "__main__":
    sys.exit(main())
