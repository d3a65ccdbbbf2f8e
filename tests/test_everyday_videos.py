"""Videos as phones, cameras, television and browsers make them come out as players show them."""

import http.server
import subprocess
import sys
import threading
import time
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from background_blur.capture import open_source
from support.captures import numbered, picture
from support.program import MAIN, run
from support.videos import encode, lasting, packets, pictures, rewritten, write

BARS = [(240, 60, 50), (60, 190, 80), (40, 60, 220), (128, 128, 128)]  # BGR


def bars(width: int, height: int) -> np.ndarray:
    return np.repeat(np.array([BARS], np.uint8), width // 4, axis=1).repeat(height, axis=0)


def coded(path: Path, images, matrix=2, limited=True, codec="libx264", tag=2, **options) -> Path:
    """Writes frames at 10 per second, coded by the matrix of that number in FFmpeg's scaler."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=10, options={"qp": "4", "bf": "0", **options})
        stream.height, stream.width = images[0].shape[:2]
        stream.codec_context.colorspace = tag
        stream.codec_context.color_range = 1 if limited else 2
        for index, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, "bgr24")
            frame = frame.reformat(
                format="yuv420p", dst_colorspace=matrix, dst_color_range=1 if limited else 2
            )
            frame.pts, frame.time_base, frame.colorspace = index, Fraction(1, 10), tag
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


def middles(path: Path) -> np.ndarray:
    """The luma and chroma in the middle of each bar of the last frame: [4,3]."""
    with av.open(str(path)) as file:
        *_, frame = file.decode(video=0)
    planes = frame.reformat(format="yuv444p").to_ndarray()
    at = [frame.width * (2 * bar + 1) // 8 for bar in range(4)]
    return planes[:, frame.height // 2, at].T.astype(int)


@pytest.mark.parametrize("size", [(1280, 720), (720, 576)])
@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_untagged_colours_are_read_and_written_as_players_take_them(tmp_path, size, suffix):
    hd = size[1] >= 720
    source = coded(tmp_path / "in.mp4", [bars(*size)] * 3, matrix=1 if hd else 5)
    out = tmp_path / f"out{suffix}"
    assert rewritten(source, out) is None
    assert np.abs(middles(source) - middles(out)).max() <= 3
    with av.open(str(out)) as file:
        assert next(file.decode(video=0)).colorspace in ((1,) if hd else (5, 6))


@pytest.mark.parametrize(
    "matrix, tag, limited", [(1, 1, True), (5, 6, True), (1, 1, False), (7, 7, True), (4, 4, True)]
)
def test_tagged_colours_are_read_by_their_tag(tmp_path, matrix, tag, limited):
    source = coded(tmp_path / "in.mkv", [bars(640, 360)] * 3, matrix, limited, tag=tag)
    with open_source(str(source)) as video:
        *_, frame = video
    shown = frame.image[180, [80, 240, 400, 560]].astype(int)
    assert np.abs(shown - BARS).max() <= 4


@pytest.mark.parametrize("tag, name", [(8, "YCgCo"), (10, "constant luminance")])
def test_rare_matrices_are_refused_by_name(tmp_path, tag, name):
    source = coded(tmp_path / "in.mkv", [bars(64, 48)], codec="ffv1", tag=tag)
    result = run("--source", source, "--output", tmp_path / "out.mp4")
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert name in line and "in.mkv" in line
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize(
    "aspect, stored, shown",
    [
        ("64/45", (360, 288), (512, 288)),
        ("8/9", (720, 480), (720, 540)),
        ("0/1", (64, 48), (64, 48)),
    ],
)
def test_pixels_become_square(tmp_path, aspect, stored, shown):
    image = np.zeros((stored[1], stored[0], 3), np.uint8)
    axes = 18 * stored[0] // shown[0], 18 * stored[1] // shown[1]
    cv2.ellipse(image, (stored[0] // 2, stored[1] // 2), axes, 0, 0, 360, [255] * 3, -1)
    path = encode(tmp_path / "in.mp4", [image], aspect=Fraction(aspect))
    with open_source(str(path)) as video:
        assert video.size == shown
        white = next(iter(video)).image[..., 0] > 128
    wide, high = white.any(axis=0).sum(), white.any(axis=1).sum()
    assert wide == pytest.approx(high, abs=3)


def combs(image: np.ndarray) -> float:
    """How much lines differ from the next one, compared with the one after that."""
    grey = image[..., 1].astype(float)
    return np.abs(np.diff(grey, axis=0)).mean() / (np.abs(grey[2:] - grey[:-2]).mean() + 0.1)


@pytest.mark.parametrize("codec, top", [("mpeg2video", "1"), ("libx264", "0")])
def test_interlaced_video_becomes_whole_frames(tmp_path, codec, top):
    path = tmp_path / "in.mkv"
    options = {"flags": "+ildct+ilme", "x264opts": "tff=1"} if codec == "libx264" else {}
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=25, options={"bf": "0", **options})
        stream.width, stream.height, stream.bit_rate = 320, 240, 4_000_000
        if codec == "mpeg2video":
            stream.codec_context.options = {"flags": "+ildct+ilme", "top": top}
        graph = av.filter.Graph()
        nodes = [
            graph.add("buffer", "video_size=320x240:pix_fmt=yuv420p:time_base=1/25"),
            graph.add("setfield", "tff"),
            graph.add("buffersink"),
        ]
        graph.link_nodes(*nodes).configure()
        for index in range(12):
            image = np.full((240, 320, 3), 40, np.uint8)
            image[0::2, 16 * index : 16 * index + 60] = 220
            image[1::2, 16 * index + 8 : 16 * index + 68] = 220
            frame = av.VideoFrame.from_ndarray(image, "bgr24").reformat(format="yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            graph.push(frame)
            file.mux(stream.encode(graph.pull()))
        file.mux(stream.encode(None))
    with av.open(str(path)) as file:
        before = list(file.decode(video=0))
    assert before[5].interlaced_frame
    with open_source(str(path)) as video:
        frames = list(video)
    assert [frame.time for frame in frames] == pytest.approx([n / 25 for n in range(12)])
    assert combs(frames[5].image) < 0.8 < 2 < combs(before[5].to_ndarray(format="bgr24"))


def test_what_changes_its_shape_midway_is_shown_whole(tmp_path):
    path = tmp_path / "in.ts"
    parts = [
        write(tmp_path / "0", form="mpegts", size=(160, 120)),
        write(tmp_path / "1", form="mpegts", size=(96, 160)),
        write(tmp_path / "2", form="mpegts", size=(320, 240)),
    ]
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    with open_source(str(path)) as video:
        frames = [frame.image for frame in video]
    assert {image.shape for image in frames} == {(120, 160, 3)}
    filled = (frames[35].max(axis=(0, 2)) > 20).sum()
    assert filled == pytest.approx(120 * 96 / 160, abs=2) and frames[35][:, 80].min() > 20
    assert frames[70].min() > 20


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_the_last_picture_of_an_animation_lasts_as_long_as_it_says(tmp_path, suffix):
    from PIL import Image

    greys = np.arange(50, 250, 50)[:, None, None, None] * np.ones((1, 48, 64, 3), np.uint8)
    first, *others = [Image.fromarray(image.astype(np.uint8)) for image in greys]
    for kind in (".gif", ".webp", ".png"):
        path, out = tmp_path / f"a{kind}", tmp_path / f"{kind}{suffix}"
        first.save(path, save_all=True, append_images=others, duration=[100, 100, 100, 3000])
        rewritten(path, out)
        assert lasting(out) == pytest.approx(3.3, abs=0.05)


def test_theoras_repeated_pictures_are_no_damage(tmp_path):
    """An empty packet is not the end of the file either."""
    path = tmp_path / "in.avi"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=25)
        stream.width, stream.height = 64, 48
        for index, image in enumerate(numbered(20, 64, 48)):
            frame = av.VideoFrame.from_ndarray(image, "bgr24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            for packet in stream.encode(frame):
                if index % 5 == 3:
                    packet = av.Packet(b"")
                    packet.pts = packet.dts = index
                    packet.stream = stream
                file.mux(packet)
        file.mux(stream.encode(None))
    with open_source(str(path)) as video:
        times = [frame.time for frame in video]
        assert video.warning is None
    assert times[-1] == pytest.approx(19 / 25) and len(times) == 16


@pytest.fixture
def server(tmp_path):
    """Serves a folder without ranges, and pictures as a camera sends them: five per second."""
    jpeg = cv2.imencode(".jpg", picture(64, 48))[1].tobytes()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self):
            if not self.path.startswith("/camera"):
                return super().do_GET()
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            for _ in range(15):
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                self.wfile.write(head.encode() + jpeg + b"\r\n")
                time.sleep(0.2)

        def log_message(self, *_):
            pass

    handler = partial(Handler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, args=[0.05], daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


@pytest.mark.parametrize("name, form", [("a.mp4", "mp4"), ("a.webm", "webm"), ("a.ts", "mpegts")])
def test_a_video_by_url_keeps_its_pictures_and_its_sound(server, tmp_path, name, form):
    options = {"mp4": {"movflags": "faststart"}, "webm": {"live": "1"}}.get(form)  # no duration
    picture, sound = ("libvpx", "libopus") if form == "webm" else ("libx264", "aac")
    path = tmp_path / name
    write(path, (sound,), picture=picture, form=form, options=options, seconds=2)
    assert rewritten(f"{server}/{name}", tmp_path / "out.mkv") is None
    assert len(pictures(tmp_path / "out.mkv")) == 50
    assert packets(tmp_path / "out.mkv")[-1][0] == pytest.approx(1.96, abs=0.1)


@pytest.mark.slow
def test_the_recording_of_a_camera_runs_in_real_time_whatever_rate_it_claims(server, tmp_path):
    command = [sys.executable, MAIN, "--source", f"{server}/camera", "--no-window"]
    began = time.monotonic()
    subprocess.run([*command, "--output", tmp_path / "out.mp4"], capture_output=True)
    took = time.monotonic() - began
    assert 15 / 25 + 0.5 < pictures(tmp_path / "out.mp4")[-1] < took
