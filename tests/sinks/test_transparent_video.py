"""Videos with an alpha: written, decoded again by FFmpeg's libraries and by a browser."""

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import av
import cv2
import numpy as np
import pytest

from background_blur.frames import Frame
from background_blur.sinks.video import ALPHA_ENCODERS, VideoFile
from support import ROOT

SUFFIXES = sorted(ALPHA_ENCODERS)
RED = (40, 30, 200)
SIZE = (320, 180)


def cut_out(x: int, size=SIZE) -> np.ndarray:
    """uint8 [H,W,4]: a red square from x on, whole, above it a half transparent white stripe."""
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
    """The frames of a video, int [H,W,4] BGRA. FFmpeg's own VP9 decoder leaves out the alpha."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        decoder = stream.codec_context
        if decoder.name == "vp9":
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


def video_with_sound(path: Path, image: np.ndarray, codec: str, seconds=1.0) -> Path:
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, options={"bf": "0"})
        video.height, video.width = image.shape[:2]
        video.pix_fmt = "yuv420p"
        audio = container.add_stream(codec, rate=48000)
        audio.layout = "mono"
        for i in range(round(25 * seconds)):
            picture = av.VideoFrame.from_ndarray(image, "bgr24")
            picture.pts, picture.time_base = i, Fraction(1, 25)
            container.mux(video.encode(picture))
        kind = "flt" if codec == "libopus" else "fltp"
        for i in range(round(50 * seconds)):
            wave = np.sin(np.arange(960) / 20).astype(np.float32)[None]
            sound = av.AudioFrame.from_ndarray(wave, kind, "mono")
            sound.sample_rate, sound.pts, sound.time_base = 48000, 960 * i, Fraction(1, 48000)
            container.mux(audio.encode(sound))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))
    return path


def sound_of(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


# --- As its users start it


def run(*arguments) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "main.py"), *map(str, arguments)]
    headless = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=headless)


@pytest.mark.slow
@pytest.mark.parametrize("suffix, codec", [(".mov", "aac"), (".webm", "libopus")])
def test_a_recording_becomes_the_person_on_nothing_sound_and_all(tmp_path, portrait, suffix, codec):
    origin = video_with_sound(tmp_path / "in.mkv", portrait, codec)
    out = tmp_path / f"out{suffix}"
    result = run("--source", origin, "--background", "transparent", "--output", out)
    assert result.returncode == 0, result.stderr
    image = decode(out)[-1]
    assert image.shape == (512, 512, 4) and len(decode(out)) == 25
    assert image[90:140, 200:240, 3].min() >= 250  # her face
    assert image[90:140, 200:240, :3].mean() == pytest.approx(
        portrait[90:140, 200:240].mean(), abs=4
    )
    assert image[10:60, 440:].max() <= 8  # nothing of the room, seen or hidden
    assert len(sound_of(origin)) - len(sound_of(out)) <= 3


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.m4v", "out.jpg"])
def test_files_that_hold_no_alpha_are_refused_at_once(tmp_path, name):
    result = run("--source", "demo", "--background", "transparent", "--output", tmp_path / name)
    assert result.returncode == 2 and not list(tmp_path.iterdir())
    last = result.stderr.splitlines()[-1]
    assert "--background transparent" in last and ".mov" in last and ".webm" in last


# --- In a browser

PAGE = """<video muted></video><script>
const video = document.querySelector("video");
const tell = found => fetch("found", {{method: "POST", body: JSON.stringify(found)}});
const look = () => {{
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth; canvas.height = video.videoHeight;
  const context = canvas.getContext("2d");
  context.drawImage(video, 0, 0);
  tell({points}.map(([x, y]) => [...context.getImageData(x, y, 1, 1).data]));
}};
video.onerror = () => tell(video.error.message);
video.onloadeddata = () => {{
  video.requestVideoFrameCallback(look);
  video.currentTime = {time};
}};
fetch("video.webm").then(answer => answer.blob())
  .then(blob => video.src = URL.createObjectURL(blob));
</script>"""


def browser() -> str | None:
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)


def in_browser(path: Path, time: float, points, folder: Path) -> list[list[int]]:
    """The RGBA that a page reads from a video that it draws."""
    files = {"/": PAGE.format(time=time, points=points).encode(), "/video.webm": path.read_bytes()}
    found = queue.Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = files.get(self.path, b"")
            self.send_response(200 if body else 404)
            self.send_header("Content-Type", "video/webm" if "webm" in self.path else "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self):
            found.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    command = [browser(), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    command += [f"--user-data-dir={folder / 'profile'}", "--remote-debugging-port=0"]
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        command.append(f"http://127.0.0.1:{server.server_port}/")
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        with subprocess.Popen(command, start_new_session=True, **quiet) as process:
            try:
                return found.get(timeout=60)
            finally:
                os.killpg(process.pid, signal.SIGKILL)
                server.shutdown()


@pytest.mark.slow
@pytest.mark.skipif(
    browser() is None and "NEED_BROWSER" not in os.environ,
    reason="no Chromium here: apt install chromium",
)
def test_a_browser_sees_the_alpha(tmp_path):
    path = write(tmp_path / "out.webm", [cut_out(20 + 5 * i) for i in range(12)])
    points = [[120, 110], [10, 10], [10, 110]]  # the square, the stripe, nothing
    square, stripe, nothing = in_browser(path, 0.4, points, tmp_path)
    assert square == pytest.approx([*RED[::-1], 255], abs=6)
    assert stripe == pytest.approx([255, 255, 255, 128], abs=6)
    assert nothing[3] <= 3
