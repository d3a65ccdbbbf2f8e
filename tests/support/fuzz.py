"""What the fuzz tests feed the program, and the child processes that it runs in.

Run as a program, it takes the doors' inputs from a JSON list on stdin and answers one line each.
"""

import contextlib
import io
import json
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).parents[2]

BATCH = 25  # inputs per child process
SECONDS = 20  # that an input may take, on a busy machine


def mutated(whole: bytes, rng: np.random.Generator) -> bytes:
    """The bytes changed the way files break and attackers break them."""
    data = bytearray(whole)
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(len(data))) if len(data) else 0
        # Headers are short; half of the changes go there.
        at = at if rng.random() < 0.5 else min(at, int(rng.integers(400)))
        length = int(rng.choice([1, 2, 4, 16, 200]))
        kind = rng.integers(7)
        if kind == 0:
            data[at : at + length] = rng.bytes(length)
        elif kind == 1:
            data[at : at + 4] = rng.choice([b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff"])
        elif kind == 2:
            del data[at : at + length]
        elif kind == 3:
            del data[at:]
        elif kind == 4:
            data[at:at] = rng.bytes(length)
        elif kind == 5:
            data[at:at] = data[at : at + 50 * length]
        elif at < len(data):
            data[at] ^= 1 << int(rng.integers(8))
    return bytes(data)


def run_all(commands: list[list[str]], folder: Path) -> list[dict]:
    """Runs the program with each list of arguments, a batch of them in a child process.

    Returns:
        For each its exit `code` and what it said in `errors`; code None and the reason where the
        child crashed or hung at it.
    """
    answers = []
    while len(answers) < len(commands):
        batch = commands[len(answers) : len(answers) + BATCH]
        answers += run_batch(batch, folder)
    return answers


def run_batch(commands: list[list[str]], folder: Path) -> list[dict]:
    """The answers of one child, up to and with the first one that ended it."""
    began = time.monotonic()
    child = subprocess.Popen(
        [sys.executable, __file__, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        limit = SECONDS * (2 + len(commands) // 4)
        output, errors = child.communicate(json.dumps(commands).encode(), timeout=limit)
        reason = f"crashed, {child.returncode}: {errors[-500:]}"
    except subprocess.TimeoutExpired:
        child.kill()
        output, _ = child.communicate()
        reason = f"hung for {time.monotonic() - began:.0f} s"
    answers = [json.loads(line) for line in output.splitlines()]
    if len(answers) < len(commands):
        answers.append({"code": None, "errors": reason, "seconds": 0})
    return answers


def open_cheap(*_):
    """What stands in for engines.open_segmenter: a network that sees nobody and costs nothing."""
    from background_blur.matting.segmenter import PersonSegmenter

    return PersonSegmenter(
        lambda image: np.full((image.shape[0] // 4, image.shape[1] // 4, 1), -9.0)
    )


def serve() -> None:
    """The child: runs main.main for each command on stdin, with a network that costs nothing."""
    sys.path.insert(0, str(ROOT))
    import main
    from background_blur.matting import engines

    real = engines.open_segmenter
    for command in json.load(sys.stdin):
        engines.open_segmenter = real if "--weights" in command else open_cheap
        began, errors, output = time.monotonic(), io.StringIO(), io.StringIO()
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(output):
            try:
                code = main.main(command)
            except SystemExit as exit:  # argparse's
                code = exit.code
            except BaseException as error:
                code = f"{type(error).__name__}: {error}"
        seconds = round(time.monotonic() - began, 2)
        print(json.dumps({"code": code, "errors": errors.getvalue(), "seconds": seconds}))
        sys.stdout.flush()


def seeds(folder: Path) -> dict[str, bytes]:
    """Small whole files of every kind that the program reads, by suffix."""
    rng = np.random.default_rng(0)
    images = [cv2.resize(rng.integers(0, 256, (6, 8, 3), np.uint8), (64, 48)) for _ in range(4)]
    made = {}
    for suffix in (".png", ".jpg", ".webp", ".bmp", ".tiff"):
        made[suffix] = cv2.imencode(suffix, images[0])[1].tobytes()
    codecs = {
        ".mp4": ("libx264", "yuv420p"),
        ".avi": ("mjpeg", "yuvj420p"),
        ".gif": ("gif", "rgb8"),
        ".mkv": ("ffv1", "bgr0"),
        ".webm": ("libvpx-vp9", "yuv420p"),
    }
    for suffix, (codec, pixels) in codecs.items():
        made[suffix] = video(folder / f"seed{suffix}", images, codec, pixels)
    made[".hdr.mkv"] = video(folder / "seed.mkv", images, "ffv1", "yuv420p10le", transfer=16)
    return made | pillows(images)


def pillows(images) -> dict[str, bytes]:
    """Animations, pages, EXIF, a colour profile, 16 bits and alpha, by suffix."""
    from PIL import Image, ImageCms

    exif = Image.Exif()
    exif[271] = "Camera"
    exif.get_ifd(34665)[36867] = "2024:05:06 07:08:09"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    more = {"save_all": True, "append_images": [Image.fromarray(image) for image in images[1:]]}
    tags = {"exif": exif.tobytes(), "icc_profile": profile}
    made = {}
    for suffix, options in ((".a.png", more), (".a.webp", more), (".p.tiff", more), (".jpg", {})):
        file = io.BytesIO()
        kind = {".png": "PNG", ".webp": "WEBP", ".tiff": "TIFF", ".jpg": "JPEG"}[
            Path(f"x{suffix}").suffix
        ]
        Image.fromarray(images[0]).save(file, kind, **options, **tags)
        made[f".e{suffix}"] = file.getvalue()
    deep = np.random.default_rng(1).integers(0, 65536, (48, 64, 4), np.uint16)
    made[".deep.png"] = cv2.imencode(".png", deep)[1].tobytes()
    return made


def video(path: Path, images, codec: str, pixels: str, transfer: int = 2) -> bytes:
    import av

    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt, stream.codec_context.color_trc = pixels, transfer
        for image in images:
            frame = av.VideoFrame.from_ndarray(image, format="bgr24").reformat(format=pixels)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    data = path.read_bytes()
    path.unlink()
    return data


if __name__ == "__main__":
    serve()
