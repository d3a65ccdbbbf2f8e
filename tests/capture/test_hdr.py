"""HDR and wide-gamut videos look as on an HDR screen, except for their brightest highlights."""

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from background_blur.capture import open_source
from background_blur.capture.hdr import (
    BT2020,
    HLG,
    PQ,
    TO_BT709,
    WHITE,
    hlg_light,
    pq_signal,
    roll_off,
)

SDR_2020 = 14  # the transfer of BT.2020, 10 bits
FROM_BT709 = np.linalg.inv(TO_BT709)


def write_video(path: Path, signal: np.ndarray, transfer: int, **colours) -> Path:
    """Writes one frame of a float [H,W,3] RGB signal, 0..1, as 10-bit BT.2020."""
    tags = {"colorspace": BT2020, "color_primaries": BT2020, "color_trc": transfer, **colours}
    red, green, blue = np.moveaxis(signal, -1, 0)
    luma = 0.2627 * red + 0.6780 * green + 0.0593 * blue
    planes = 64 + 876 * luma, 512 + 896 * (blue - luma) / 1.8814, 512 + 896 * (red - luma) / 1.4746
    height, width = luma.shape
    with av.open(path, "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv444p10le"
        frame = av.VideoFrame(width, height, "yuv444p10le")
        for target in (stream.codec_context, frame):
            for name, value in {**tags, "color_range": 1}.items():
                setattr(target, name, value)
        for plane, values in zip(frame.planes, planes, strict=True):
            rows = np.zeros((height, plane.line_size // 2), np.uint16)
            rows[:, :width] = np.clip(np.round(values), 0, 1023)
            plane.update(rows)
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def first_frame(path: Path) -> np.ndarray:
    with open_source(str(path)) as video:
        return next(iter(video)).image


def test_transparent_hdr_shows_nothing_of_what_lies_under_it(tmp_path):
    path = tmp_path / "v.mkv"
    with av.open(path, "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuva444p"
        image = np.zeros((48, 64, 4), np.uint8)
        image[:, 32:] = 255
        frame = av.VideoFrame.from_ndarray(image, format="bgra")
        for target in (stream.codec_context, frame):
            target.color_primaries, target.color_trc = BT2020, PQ
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert first_frame(path).min() > 250


def patches(colours: list) -> np.ndarray:
    """[32,32·N,3]: squares side by side."""
    return np.repeat(np.repeat(np.array([colours], float), 32, axis=0), 32, axis=1)


def hlg_signal(light: np.ndarray) -> np.ndarray:
    """cd/m2 of greys -> 0..1, by inverting the tested function numerically."""
    steps = np.linspace(0, 1, 20001)
    return np.interp(light, hlg_light(np.repeat(steps[:, None], 3, 1))[:, 0], steps)


NITS = [0, 1, 10, 26, 60, 203, 1000]
SHOWN = {  # grey levels in SDR: BT.1886 of the curve's output
    PQ: [0, 28, 73, 108, 153, 230, 255],
    HLG: [0, 28, 73, 108, 153, 230, 255],
}


@pytest.mark.parametrize("transfer", SHOWN)
def test_hdr_greys_keep_dark_and_middle_tones_and_bend_highlights_in(tmp_path, transfer):
    signal = (pq_signal if transfer == PQ else hlg_signal)(patches([[nits] * 3 for nits in NITS]))
    shown = first_frame(write_video(tmp_path / "v.mkv", signal, transfer))[16, 16::32].astype(int)
    assert np.ptp(shown, axis=1).max() <= 2
    assert np.abs(shown[:, 0] - SHOWN[transfer]).max() <= 3


def test_hdr_looks_like_the_sdr_picture_that_it_was_made_of(tmp_path, portrait):
    sdr = cv2.resize(portrait, (256, 256), interpolation=cv2.INTER_AREA)
    light = WHITE * (sdr[..., ::-1] / 255.0) ** 2.4 @ FROM_BT709.T
    signal = pq_signal(np.maximum(light, 0))
    as_if_sdr = write_video(tmp_path / "flat.mkv", signal, 1, colorspace=1, color_primaries=1)
    flat = first_frame(as_if_sdr).astype(int)
    shown = first_frame(write_video(tmp_path / "v.mkv", signal, PQ)).astype(int)
    assert np.abs(shown - sdr).mean() < 6 < 25 < np.abs(flat - sdr).mean()


def test_wide_gamut_colours_come_back_as_they_were(tmp_path):
    colours = np.array([[200, 30, 40], [40, 180, 60], [30, 50, 210], [128] * 3, [235, 200, 170]])
    light = (patches(list(colours / 255)) ** 2.4) @ FROM_BT709.T
    path = write_video(tmp_path / "v.mkv", np.maximum(light, 0) ** (1 / 2.4), SDR_2020)
    shown = first_frame(path)[16, 16::32, ::-1].astype(int)
    difference = np.abs(shown - colours)
    assert difference.max() <= 8  # the darkest part of a glowing green
    assert difference.mean() < 1


@pytest.mark.parametrize("missing", ["colorspace", "color_primaries"])
def test_hdr_with_a_tag_missing_is_hdr(tmp_path, missing):
    signal = pq_signal(patches([[60, 60, 60], [100, 30, 20]]))
    whole = first_frame(write_video(tmp_path / "a.mkv", signal, PQ)).astype(int)
    lacking = first_frame(write_video(tmp_path / "b.mkv", signal, PQ, **{missing: 2})).astype(int)
    assert np.abs(whole - lacking).max() <= 2


@given(st.floats(0.001, 9999), st.floats(400, 10000))
def test_the_curve_rises_and_ends_at_white(light, peak):
    bent, brighter = roll_off(np.array([light, light * 1.01]), peak)
    assert 0 <= bent <= brighter * (1 + 1e-9) <= WHITE * 1.001
    assert bent <= light * 1.001
    assert light > 40 or abs(bent - light) < 0.01 * light
