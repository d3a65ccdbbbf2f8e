"""The sections `clips` and `talkers` of evaluate: people placed in rooms."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from tools.measuring import metrics, scenes
from tools.measuring.contenders import AlphaOf, Methods
from tools.measuring.photographs import score_alpha
from tools.measuring.report import Figures, Rows, mean_of
from tools.photos import Photo


def measure_clips(
    methods: Methods, people: list[Photo], rooms: list[Photo], real: Iterable[Path]
) -> Rows:
    """Measures the groups "moving" and "static", and each real clip as a group of its own."""
    for kind, make in {"moving": scenes.moving_clip, "static": scenes.static_clip}.items():
        for i, person in enumerate(people):
            clip = list(make(person, rooms[i % len(rooms)], seed=i))
            for name, begin in methods.items():
                yield kind, name, score_clip(begin(), clip)
    for path in real:
        for name, begin in methods.items():
            yield path.stem, name, score_clip(begin(), scenes.real_clip(path))


def measure_talkers(methods: Methods, keyed: Iterable[Path], rooms: list[Photo]) -> Rows:
    for i, path in enumerate(keyed):
        for name, begin in methods.items():
            clip = scenes.talker_clip(path, rooms[i % len(rooms)], seed=i)
            yield "talkers", name, score_clip(begin(), clip)


def score_clip(alpha_of: AlphaOf, clip: Iterable[scenes.Frame]) -> Figures:
    """Means over the frames of a clip, and its lag if its person moves."""
    rows, places, leaks, last_alpha, last_truth = [], [], [], None, None
    for frame in clip:
        alpha, row = alpha_of(frame.image), {}
        if frame.truth is not None:
            row |= score_alpha(alpha, frame.truth)
            leaks.append(metrics.share((alpha > 0.5) & (frame.truth == 0), frame.truth == 0))
            places.append((metrics.centre(alpha), metrics.centre(frame.truth)))
        if last_alpha is not None and last_truth is not None and frame.truth is not None:
            row["dtssd"] = metrics.dtssd(alpha, last_alpha, frame.truth, last_truth)
        if last_alpha is not None and frame.still is not None:
            row["flicker"] = metrics.flicker(alpha, last_alpha, frame.still)
        rows.append(row)
        last_alpha, last_truth = alpha, frame.truth
    figures = mean_of(rows)
    if leaks:
        figures["worst_leak"] = max(leaks)
    if places and np.ptp([true for _, true in places]) > 0:
        figures["lag"] = metrics.lag(*np.transpose(places))
    return figures
