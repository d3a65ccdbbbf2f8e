"""Converts HDR and wide-gamut video to what ordinary screens show: BT.709, 8 bits.

FFmpeg's `haldclut` filter looks up colours in a table made here. The tone mapping in FFmpeg's
scaler takes seconds to start and gives a darker picture; PyAV's packages do not include `zscale`.
"""

from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from background_blur.capture.orientation import side_data

if TYPE_CHECKING:
    from av import VideoFrame

BT709, UNKNOWN, BT2020, PQ, HLG = 1, 2, 9, 16, 18  # codes of ITU-T H.273
WHITE = 203.0  # cd/m2: diffuse white in HDR (BT.2408), and the brightest output
PEAK = 1000.0  # cd/m2: peak of HLG's reference screen; assumed for PQ that does not state its own
TICK = Fraction(1, 1000)
M1, M2, C1, C2, C3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128  # of PQ
LEVEL = 8  # of the table, which has LEVEL squared, 64, values along each axis

# Linear light, from BT.2020 primaries to BT.709 primaries (BT.2087).
TO_BT709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]
)


def is_wide(raw: "VideoFrame") -> bool:
    """Whether a frame's colours would look flat if taken for BT.709."""
    return raw.color_trc in (PQ, HLG) or raw.color_primaries == BT2020


def colour_format(raw: "VideoFrame") -> tuple[int, int, int]:
    """What all frames of one ToneMapper have in common: width, height and transfer function."""
    return raw.width, raw.height, raw.color_trc


class ToneMapper:
    """Converts frames of one format to BT.709."""

    def __init__(self, raw: "VideoFrame"):
        """Sets up the conversion for frames like `raw`, the first one."""
        from av import VideoFrame
        from av.filter import Graph
        from av.video.reformatter import VideoReformatter

        self.reformatter = VideoReformatter()
        self.accepts = colour_format(raw)
        side = LEVEL**3
        table = make_table(raw.color_trc, peak(raw)).reshape(side, side, 3)
        table = VideoFrame.from_ndarray(table, format="rgb48le")
        self.count = 0  # frames so far; the filter needs increasing timestamps
        self.graph = graph = Graph()
        inputs = [
            graph.add("buffer", f"video_size={w}x{h}:pix_fmt=rgb48le:time_base={TICK}")
            for w, h in (self.accepts[:2], (side, side))
        ]
        look_up = graph.add("haldclut", "clut=first")
        for number, node in enumerate(inputs):
            node.link_to(look_up, 0, number)
        self.frames = inputs[0]
        look_up.link_to(graph.add("buffersink"))
        graph.configure()
        table.pts, table.time_base = 0, TICK
        inputs[1].push(table)
        inputs[1].push(None)

    def __call__(self, raw: "VideoFrame") -> "VideoFrame":
        """Converts a frame of any pixel format to rgb48le, BT.709."""
        matrix = BT2020 if raw.colorspace == UNKNOWN else raw.colorspace
        frame = self.reformatter.reformat(raw, format="rgb48le", src_colorspace=matrix)
        frame.pts, frame.time_base = self.count, TICK
        self.count += 1
        self.frames.push(frame)
        return self.graph.vpull()


def peak(raw: "VideoFrame") -> float:
    """The peak brightness that a PQ video states (MaxCLL of CTA-861), in cd/m2."""
    level = np.frombuffer(side_data(raw, "CONTENT_LIGHT_LEVEL")[:4], np.uint32)
    return float(np.clip(level[0], 400, 10000)) if level.any() else PEAK


@lru_cache(4)
def make_table(transfer: int, peak: float) -> np.ndarray:
    """Maps every colour to BT.709: uint16 [64·64·64,3] RGB, red changing fastest, then green."""
    steps = np.linspace(0, 1, LEVEL**2)
    blue, green, red = np.meshgrid(steps, steps, steps, indexing="ij")
    signal = np.stack([red, green, blue], -1).reshape(-1, 3)
    linear = {PQ: pq_light, HLG: hlg_light}
    light = linear[transfer](signal) if transfer in linear else WHITE * signal**2.4  # cd/m2
    if transfer in linear:
        brightest = np.maximum(light.max(-1, keepdims=True), 1e-6)
        light *= roll_off(brightest, peak if transfer == PQ else PEAK) / brightest
    light = np.clip(light @ TO_BT709.T / WHITE, 0, 1)
    return np.round(65535 * light ** (1 / 2.4)).astype(np.uint16)  # BT.1886


def pq_light(signal: np.ndarray) -> np.ndarray:
    """SMPTE ST 2084: 0..1 -> cd/m2."""
    power = signal ** (1 / M2)
    return 10000 * (np.maximum(power - C1, 0) / (C2 - C3 * power)) ** (1 / M1)


def pq_signal(light: ArrayLike) -> np.ndarray:
    """cd/m2 -> 0..1, the inverse of `pq_light`."""
    power = (np.asarray(light) / 10000) ** M1
    return ((C1 + C2 * power) / (1 + C3 * power)) ** M2


def hlg_light(signal: np.ndarray) -> np.ndarray:
    """BT.2100 HLG on a 1000 cd/m2 screen: 0..1 -> cd/m2."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    luminance = scene @ [0.2627, 0.6780, 0.0593]
    return PEAK * scene * luminance[..., None] ** 0.2


def roll_off(light: np.ndarray, peak: float) -> np.ndarray:
    """Compresses light of up to `peak` to at most WHITE, in cd/m2; only highlights change.

    This is the curve of Report BT.2390: above its knee, a Hermite spline over PQ values.
    """
    top = pq_signal(peak)
    most = pq_signal(WHITE) / top
    value = np.minimum(pq_signal(light) / top, 1)
    knee = 1.5 * most - 0.5
    t = np.maximum(value - knee, 0) / (1 - knee)
    bent = (2 * t**3 - 3 * t**2 + 1) * knee
    bent += (t**3 - 2 * t**2 + t) * (1 - knee) + (3 * t**2 - 2 * t**3) * most
    return pq_light(np.where(value < knee, value, bent) * top)
