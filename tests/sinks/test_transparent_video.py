"""Videos with an alpha: written, and decoded by FFmpeg's libraries."""

from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from background_blur.frames import Frame
from background_blur.sinks.video import ALPHA_ENCODERS, VideoFile
from support.program import run
from support.videos import packets
from support.videos import write as write_video

SUFFIXES = sorted(ALPHA_ENCODERS)
RED = (40, 30, 200)
SIZE = (320, 180)


def cut_out(x: int, size=SIZE) -> np.ndarray:
    """uint8 [H,W,4]: an opaque red square from x on, with a half-transparent white stripe above."""
    image = np.zeros((size[1], size[0], 4), np.uint8)
    image[60:160, x : x + 100] = (*RED, 255)
    image[:40] = (255, 255, 255, 128)
    return image


def write(path: Path, images, fps=25, sound=None) -> Path:
    with VideoFile(path, fps, tracks=sound, alpha=True) as file:
        assert file.warning is None
        for index, image in enumerate(images):
            file.write(Frame(image, index / fps))
    return path


def decode(path: Path) -> list[np.ndarray]:
    """The frames of a video, int [H,W,4] BGRA. FFmpeg's own VP9 decoder ignores the alpha."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        decoder = stream.codec_context
        if decoder.name == "vp9":
            assert stream.metadata["alpha_mode"] == "1"  # browsers rely on it
            decoder = av.CodecContext.create("libvpx-vp9", "r")
        frames = [frame for packet in container.demux(stream) for frame in decoder.decode(packet)]
        matrix = "ITU709" if frames[0].height >= 720 else "ITU601"
        return [frame.reformat(format="bgra", src_colorspace=matrix).to_ndarray().astype(int)
                for frame in frames]  # fmt: skip


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_colours_and_alpha_come_back(tmp_path, suffix):
    wanted = [cut_out(20 + 5 * i) for i in range(12)]
    found = decode(write(tmp_path / f"out{suffix}", wanted))
    assert len(found) == 12
    for image, truth in zip(found, wanted, strict=True):
        assert np.abs(image[..., 3].astype(int) - truth[..., 3]).mean() < 2
        inside = cv2.erode((truth[..., 3] == 255).astype(np.uint8), np.ones((9, 9))) == 1
        assert image[inside].mean(0)[:3] == pytest.approx(RED, abs=4)
        assert image[inside, 3].min() >= 250
        assert image[50, :10, 3].max() <= 3 and image[10, 100, 3] == pytest.approx(128, abs=3)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("size", [(321, 181), (1280, 720)])
def test_odd_and_large_sizes(tmp_path, suffix, size):
    found = decode(write(tmp_path / f"out{suffix}", [cut_out(30, size)] * 3))
    assert found[0].shape == (size[1], size[0], 4)
    assert found[-1][100, 80, :3] == pytest.approx(RED, abs=5)
    assert found[-1][100, 80, 3] >= 250 and found[-1][170, 10, 3] <= 3


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_opaque_frames_among_them_stay_opaque(tmp_path, suffix):
    opaque = np.full((SIZE[1], SIZE[0], 3), RED, np.uint8)  # the window's `b` key, say
    found = decode(write(tmp_path / f"out{suffix}", [cut_out(20), opaque, cut_out(20)]))
    assert found[1][..., 3].min() >= 253
    assert found[2][50, 5, 3] <= 3


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_frames_of_another_size_are_fitted_between_nothing(tmp_path, suffix):
    found = decode(write(tmp_path / f"out{suffix}", [cut_out(20), cut_out(0, (180, 180))]))
    assert found[1].shape[:2] == (SIZE[1], SIZE[0])
    assert found[1][100, :60, 3].max() <= 5 and found[1][100, 120, 3] >= 250


@pytest.mark.slow
@pytest.mark.parametrize("suffix, codec", [(".mov", "aac"), (".webm", "libopus")])
def test_a_recording_becomes_the_person_on_nothing_sound_and_all(tmp_path, portrait, suffix, codec):
    origin = write_video(tmp_path / "in.mkv", (codec,), image=portrait)
    out = tmp_path / f"out{suffix}"
    result = run("--source", origin, "--background", "transparent", "--output", out)
    assert result.returncode == 0, result.stderr
    image = decode(out)[-1]
    assert image.shape == (512, 512, 4) and len(decode(out)) == 25
    assert image[90:140, 200:240, 3].min() >= 250  # her face
    assert image[90:140, 200:240, :3].mean() == pytest.approx(
        portrait[90:140, 200:240].mean(), abs=4
    )
    assert image[10:60, 440:].max() <= 8  # nothing of the room, visible or hidden
    assert len(packets(origin)) - len(packets(out)) <= 3
