"""Trains the person network, from the Coral numbers, on photographs with masks.

    python -m tools.train --data DIR --coral FILE.tflite --work DIR

Prints the loss and, every so often, figures on `DIR/val`; keeps the best weights there in
`WORK/person.weights.h5`, the latest in `WORK/last.weights.h5`; run again after an interruption, it
goes on from `WORK/state.npz`.
Plain Keras: `KERAS_BACKEND=jax` or `torch` runs it on whatever those find.

What makes it work, each found by trying:
- the pretrained norms' statistics stay frozen. They are then only a gain and a bias a channel, so
  for training they are folded into their kernels (`tools/fold.py`): the same, at twice the speed;
- kernels of the starting numbers differ in size by orders of magnitude, which Adam's steps, all
  of one size, would wreck. `fold` moves each channel's size into its gain, exactly;
- the new decoder has no statistics to freeze. It starts from gains and biases that make its
  features zero-mean, unit-variance on one batch (Salimans & Kingma 2016, arXiv:1602.07868);
- the backbone learns ten times slower than the decoder;
- every third round of steps runs on larger input, which pictures are looked at with too;
- an average of the weights over the last steps (EMA) is what is validated and kept.
"""

import argparse
import os
import shutil
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import keras
import numpy as np
from keras import layers, ops

import model
from background_blur.matting.segmenter import INPUT_SIZES, nearest_input_size, scaled_size
from tools.convert_weights import load_coral
from tools.dataset import UNKNOWN, Batches, Photo, read_photos
from tools.fold import Gained, fold, unfold

DECODER_RATE = 10  # the decoder's learning rate over the backbone's
AHEAD = 6  # batches made before they are needed
LARGER = 1.5  # side of the larger input over the usual one


def calm_decoder(folded: keras.Model, images) -> None:
    """Makes the decoder's untrained features zero-mean and unit-variance on these images."""
    for layer in folded.layers:
        if isinstance(layer, Gained) and is_decoder(layer.name):
            x = ops.convert_to_numpy(keras.Model(folded.input, layer.output)(images))
            deviation = x.std((0, 1, 2)) + 1e-5
            layer.gain.assign(layer.gain / deviation)
            layer.shift.assign((layer.shift - x.mean((0, 1, 2))) / deviation)


def is_decoder(name: str) -> bool:
    return "decoder" in name or "person_logit" in name


class TwoRateAdamW(keras.optimizers.AdamW):
    """AdamW whose learning rate is higher for the decoder."""

    def build(self, variables):
        super().build(variables)
        self.factors = [DECODER_RATE if is_decoder(v.path) else 1 for v in variables]

    def update_step(self, gradient, variable, learning_rate):
        factor = self.factors[self._get_variable_index(variable)]
        super().update_step(gradient, variable, learning_rate * factor)


def loss(target, logits):
    """Weighted cross-entropy, outlines five times as heavy, plus half the soft Dice loss.

    Args:
        target: float32 [n,h,w,2], the person's share and the weight of each cell.
        logits: float32 [n,h,w,1].
    """
    share, weight = target[..., :1], target[..., 1:]
    entropy = ops.maximum(logits, 0) - logits * share + ops.log1p(ops.exp(-ops.abs(logits)))
    entropy = ops.sum(entropy * weight) / (ops.sum(weight) + 1)
    known = ops.cast(weight > 0, "float32")
    person = ops.sigmoid(logits) * known
    both = ops.sum(person * share, (1, 2, 3))
    either = ops.sum(person, (1, 2, 3)) + ops.sum(share * known, (1, 2, 3))
    little = 0.01 * ops.cast(ops.shape(logits)[1] * ops.shape(logits)[2], "float32")
    return entropy + 0.5 * ops.mean(1 - (2 * both + little) / (either + little))


def schedule(step: int, steps: int, peak: float) -> float:
    """Learning rate: a short rise, then half a cosine down to zero."""
    rise = min(1.0, (step + 1) / 150)
    return peak * rise * 0.5 * (1 + np.cos(np.pi * step / steps))


def grid_of_step(step: int) -> tuple[int, int]:
    """The input size of a step: the shapes of cameras in turn, larger in every third round."""
    large = step // len(INPUT_SIZES) % 3 == 2
    return scaled_size(INPUT_SIZES[step % len(INPUT_SIZES)], LARGER if large else 1)


def ahead(batches: Batches, first: int, steps: int):
    """Yields (step, images, targets), made in a thread a few steps ahead."""

    def make(step):
        return step, *batches.batch(step, grid_of_step(step))

    with ThreadPoolExecutor(1) as maker:
        coming = deque()
        for step in range(first, steps):
            coming.append(maker.submit(make, step))
            if len(coming) > AHEAD:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()


class Learner:
    """Training steps on any input size: one compiled step a size, the weights shared."""

    def __init__(self, net: keras.Model, optimizer):
        self.net, self.optimizer, self.sized = net, optimizer, {}

    def learn(self, images, targets) -> float:
        return float(self.at(images.shape[1:]).train_on_batch(images, targets))

    def logits(self, image) -> np.ndarray:
        """uint8 [h,w,3] RGB -> float32 [h/4,w/4]"""
        return self.at(image.shape).predict_on_batch(image[None].astype(np.float32))[0, ..., 0]

    def at(self, shape: tuple[int, int, int]) -> keras.Model:
        if shape not in self.sized:
            image = layers.Input(shape)
            self.sized[shape] = keras.Model(image, self.net(image))
            self.sized[shape].compile(self.optimizer, loss=loss)
        return self.sized[shape]


def validate(learner: Learner, photos: list[Photo]) -> dict[str, float]:
    """Mean IoU a prefix of people, and the share of pixels marked where there is nobody."""
    figures = {}
    for photo in photos:
        height, width = photo.mask.shape
        small = cv2.resize(
            photo.image, nearest_input_size((width, height)), interpolation=cv2.INTER_AREA
        )
        mask = cv2.resize(learner.logits(small[..., ::-1]), (width, height)) > 0
        person, known = photo.mask == 255, photo.mask != UNKNOWN
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


def save_state(path: Path, net, optimizer, average: Average, step: int, best: float) -> None:
    """Writes everything needed to go on, never half."""
    groups = {"w": net.get_weights(), "e": average.values}
    groups["o"] = [ops.convert_to_numpy(v) for v in optimizer.variables]
    arrays = {f"{key}{i}": v for key, group in groups.items() for i, v in enumerate(group)}
    partial = path.with_suffix(".part.npz")
    np.savez(partial, step=step, best=best, **arrays)
    os.replace(partial, path)


def load_state(path: Path, net, optimizer, average: Average) -> tuple[int, float]:
    """Sets network, optimizer and average; returns (next step, best score so far)."""
    with np.load(path) as state:
        net.set_weights([state[f"w{i}"] for i in range(len(net.weights))])
        average.values = [state[f"e{i}"] for i in range(len(net.weights))]
        for i, variable in enumerate(optimizer.variables):
            variable.assign(state[f"o{i}"])
        return int(state["step"]), float(state["best"])


def keep(folded: keras.Model, path: Path) -> None:
    net = model.build("person")
    unfold(folded, net)
    net.save_weights(path)


def train(args) -> None:
    folded = build_start(args)
    batches = Batches(read_photos(args.data / "train"), args.batch, args.seed)
    held_out = read_photos(args.data / "val")
    if not args.start:
        calm_decoder(folded, batches.batch(0, INPUT_SIZES[0])[0])
    optimizer = TwoRateAdamW(args.rate, weight_decay=1e-4)
    optimizer.build(folded.trainable_variables)
    learner = Learner(folded, optimizer)
    average = Average(folded, 0.998)
    state, latest = args.work / "state.npz", args.work / "last.weights.h5"
    best, first = -np.inf, 0
    if state.exists():
        first, best = load_state(state, folded, optimizer, average)
    steps = args.images // args.batch
    began, losses = time.monotonic(), []
    for step, images, targets in ahead(batches, first, steps):
        optimizer.learning_rate = schedule(step, steps, args.rate)
        losses.append(learner.learn(images, targets))
        average.update(step)
        if (step + 1) % 25 == 0:
            speed = (step + 1 - first) * args.batch / (time.monotonic() - began)
            print(f"{step + 1}/{steps} loss {np.mean(losses[-25:]):.4f} {speed:.1f} images/s")
        if (step + 1) % args.every == 0 or step + 1 == steps:
            raw = folded.get_weights()
            folded.set_weights(average.values)
            keep(folded, latest)
            figures = validate(learner, held_out)
            if score(figures) > best:
                best = score(figures)
                shutil.copy(latest, args.work / "person.weights.h5")
            folded.set_weights(raw)
            print(" ".join(f"{k} {v:.4f}" for k, v in figures.items()), f"best {best:.4f}")
            save_state(state, folded, optimizer, average, step + 1, best)


def build_start(args) -> keras.Model:
    net = model.build("person")
    if args.start:
        net.load_weights(args.start)
    else:
        load_coral(net, args.coral)
    return fold(net)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with train/ and val/")
    parser.add_argument("--coral", type=Path, help="the Coral .tflite to start from")
    parser.add_argument("--start", type=Path, help="person weights to start from instead")
    parser.add_argument("--work", type=Path, required=True, help="folder for weights and state")
    parser.add_argument("--images", type=int, default=62_400, help="how many to train on")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=3e-4, help="peak rate of the backbone")
    parser.add_argument("--seed", type=int, default=2018, help="another one, other batches")
    parser.add_argument("--every", type=int, default=400, help="steps between validations")
    args = parser.parse_args()
    if not (args.coral or args.start):
        parser.error("give --coral or --start")
    args.work.mkdir(parents=True, exist_ok=True)
    train(args)


if __name__ == "__main__":
    main()
