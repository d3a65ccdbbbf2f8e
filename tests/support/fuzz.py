"""What the fuzz tests feed the program, and the child processes that it runs in.

Run as a program, it reads a JSON list of commands from stdin and answers with one line for each.
"""

import contextlib
import io
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).parents[2]

BATCH = 25  # inputs per child process
SECONDS = 20  # that an input may take, on a busy machine


def mutated(whole: bytes, rng: np.random.Generator) -> bytes:
    """Changes the bytes in the ways that files get damaged and attackers damage them."""
    data = bytearray(whole)
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(len(data))) if len(data) else 0
        # Half of the changes go to the header, which is short.
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
    """Runs the program with each list of arguments, in batches, each in a child process.

    Returns:
        For each list, the exit `code` and the `errors` printed; code None and the reason if the
        child crashed or hung.
    """
    answers = []
    while len(answers) < len(commands):
        batch = commands[len(answers) : len(answers) + BATCH]
        answers += run_batch(batch, folder)
    return answers


def run_batch(commands: list[list[str]], folder: Path) -> list[dict]:
    """The answers of one child, up to and including the first one that ended it."""
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
    """Stands in for engines.open_segmenter: a network that sees nobody and costs nothing."""
    from background_blur.matting.segmenter import PersonSegmenter

    return PersonSegmenter(
        lambda image: np.full((image.shape[0] // 4, image.shape[1] // 4, 1), -9.0)
    )


def serve() -> None:
    """In the child, runs main.main for each command on stdin with a network that costs nothing."""
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
            except SystemExit as exit:  # raised by argparse
                code = exit.code
            except BaseException as error:
                code = f"{type(error).__name__}: {error}"
        seconds = round(time.monotonic() - began, 2)
        print(json.dumps({"code": code, "errors": errors.getvalue(), "seconds": seconds}))
        sys.stdout.flush()


def seeds() -> dict[str, bytes]:
    """Small intact files of every kind that the program reads, by suffix."""
    from support.videos import encode

    rng = np.random.default_rng(0)
    images = [cv2.resize(rng.integers(0, 256, (6, 8, 3), np.uint8), (64, 48)) for _ in range(4)]
    with tempfile.TemporaryDirectory() as name:
        seed = f"{name}/seed"
        for suffix in (".png", ".jpg", ".webp", ".bmp", ".tiff"):
            cv2.imwrite(seed + suffix, images[0])
        cv2.imwrite(f"{seed}.deep.png", rng.integers(0, 65536, (48, 64, 4), np.uint16))
        encode(f"{seed}.mp4", images)
        encode(f"{seed}.avi", images, codec="mjpeg", pixels="yuvj420p")
        encode(f"{seed}.gif", images, codec="gif", pixels="rgb8")
        encode(f"{seed}.mkv", images, codec="ffv1", pixels="bgr0")
        encode(f"{seed}.webm", images, codec="libvpx-vp9")
        encode(f"{seed}.hdr.mkv", images, codec="ffv1", pixels="yuv420p10le", transfer=16)
        save_animations(seed, images)
        return {path.name.removeprefix("seed"): path.read_bytes() for path in Path(name).iterdir()}


def save_animations(seed: str, images) -> None:
    """Saves animations and pages, with EXIF and a colour profile, and a picture with those."""
    from PIL import Image, ImageCms

    exif = Image.Exif()
    exif[271] = "Camera"
    exif.get_ifd(34665)[36867] = "2024:05:06 07:08:09"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    tags = {"exif": exif.tobytes(), "icc_profile": profile}
    first, *others = map(Image.fromarray, images)
    first.save(f"{seed}.e.jpg", **tags)
    for suffix in (".png", ".webp", ".tiff"):
        first.save(f"{seed}.e{suffix}", save_all=True, append_images=others, **tags)


if __name__ == "__main__":
    serve()
