"""Photos and folders as people have them, and starts in odd places, with the whole program."""

import io
import os
import stat
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pillow_heif
import pytest
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

from background_blur import __version__
from background_blur.requirements import missing_library
from support import ROOT
from support.program import MAIN, assert_one_line, read, run

pillow_heif.register_heif_opener()
FACE, WALL = np.s_[90:140, 200:240], np.s_[20:220, 0:60]


def encoded(portrait, kind: str, **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(portrait[..., ::-1]).save(file, kind, **options)
    return file.getvalue()


def tiled_heic(portrait) -> bytes:
    """As phones store them: decoders have to put the tiles together."""
    return encoded(portrait, "HEIF", quality=95, tile_size=256)


def photos(source, output, *options):
    return run("--source", source, "--output", output, *options)


def assert_face_kept_and_wall_blurred(path, portrait):
    image = cv2.cvtColor(np.asarray(Image.open(path).convert("RGB")), cv2.COLOR_RGB2BGR)
    assert image.shape == portrait.shape
    assert np.abs(image[FACE].astype(int) - portrait[FACE]).mean() < 6
    assert image[WALL].std() < 0.7 * portrait[WALL].std()


@pytest.fixture
def phone(tmp_path, portrait, clip):
    """A folder as a phone and a few programs leave it."""
    folder = tmp_path / "phone"
    for hidden in (".thumbnails", "@eaDir"):
        (folder / hidden).mkdir(parents=True)
        (folder / hidden / "t.jpg").write_bytes(encoded(portrait, "JPEG"))
    (folder / "a.heic").write_bytes(tiled_heic(portrait))
    (folder / "b.avif").write_bytes(encoded(portrait, "AVIF", quality=90))
    (folder / "c.jfif").write_bytes(encoded(portrait, "JPEG", quality=95, dpi=(300, 300)))
    (folder / "d").write_bytes(encoded(portrait, "JPEG", quality=95))
    (folder / "e.gif").write_bytes(encoded(portrait, "GIF"))
    mpo = {"save_all": True, "append_images": [Image.new("RGB", (64, 48))], "quality": 95}
    (folder / "f.jpg").write_bytes(encoded(portrait, "MPO", **mpo))
    (folder / "g.mp4").write_bytes(clip.read_bytes())
    moving = {"save_all": True, "append_images": [Image.new("RGB", (512, 512))], "duration": 100}
    (folder / "g.gif").write_bytes(encoded(portrait, "GIF", **moving))
    (folder / "._a.jpg").write_bytes(b"\0\5\x16\7Mac OS X")
    for name in (".DS_Store", "Thumbs.db", "desktop.ini"):
        (folder / name).write_bytes(b"\0")
    return folder


@pytest.mark.slow
def test_all_that_a_phones_folder_holds_is_done_as_what_it_is(phone, tmp_path, portrait):
    result = photos(phone, tmp_path / "out")
    assert (result.returncode, result.stderr) == (0, "")
    stills = ["a.jpg", "b.jpg", "c.jfif", "d.png", "e.png", "f.jpg"]
    written = sorted(path.name for path in (tmp_path / "out").rglob("*"))
    assert written == [*stills, "g.mp4", "g_.mp4"]
    for name in stills:
        assert_face_kept_and_wall_blurred(tmp_path / "out" / name, portrait)
    assert [len(read(tmp_path / "out" / name)) for name in ("g.mp4", "g_.mp4")] == [2, 25]
    assert Image.open(tmp_path / "out" / "c.jfif").info["dpi"] == (300, 300)
    again = photos(phone, tmp_path / "out", "--skip-existing")
    assert again.returncode == 0 and again.stdout.count("exists; skipped") == 2


@pytest.mark.slow
def test_the_output_may_be_the_folder_above(tmp_path, portrait):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(encoded(portrait, "PNG"))
    result = photos(tmp_path / "in", tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert_face_kept_and_wall_blurred(tmp_path / "a.png", portrait)


@pytest.mark.slow
def test_what_cannot_be_read_in_a_folder_is_named_and_counted(tmp_path, portrait):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "good.png").write_bytes(encoded(portrait, "PNG"))
    (folder / "cut.heic").write_bytes(tiled_heic(portrait)[:3000])
    (folder / "page.jpg").write_text("<html>Not Found</html>")
    (folder / "raw.cr3").write_bytes(b"\0\0\0\x18ftypcrx " + bytes(500))
    for name in ("notes.txt", "good.xmp", "IMG.AAE"):
        (folder / name).write_text("words")
    result = photos(folder, tmp_path / "out")
    assert result.returncode == 1
    assert os.listdir(tmp_path / "out") == ["good.png"]
    counted = next(line for line in result.stderr.splitlines() if "left out" in line)
    assert "3 of 4 pictures left out" in counted
    assert all(f"{name}: damaged" in counted for name in ("cut.heic", "page.jpg", "raw.cr3"))
    assert "neither picture nor video, left alone" in result.stderr and "notes.txt" in result.stderr


@pytest.mark.slow
def test_a_video_among_pictures_is_named_where_it_cannot_be_done(tmp_path, portrait, clip):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.mp4").write_bytes(clip.read_bytes())
    (folder / "b.png").write_bytes(encoded(portrait, "PNG"))
    result = photos(folder, tmp_path / "out.mp4")
    assert_one_line(result, "1 of 2 pictures left out", "a.mp4: a video")
    assert len(read(tmp_path / "out.mp4")) == 1


@pytest.mark.slow
def test_the_resolution_is_kept(tmp_path, portrait):
    from background_blur.metadata import Metadata
    from background_blur.sinks.encoding import encode_picture

    (tmp_path / "in").mkdir()
    names = ["8.jpg", "8.png", "8.tif", "8.bmp", "16.png", "16.tif"]
    for name in names:
        image = portrait.astype(np.uint16) * 257 if name.startswith("16") else portrait
        data = encode_picture(image, Path(name).suffix, Metadata(dpi=(300, 150)))
        (tmp_path / "in" / name).write_bytes(data)
    assert photos(tmp_path / "in", tmp_path / "out").returncode == 0
    for name in names:
        dpi = Image.open(tmp_path / "out" / name).info["dpi"]
        assert [round(float(it)) for it in dpi] == [300, 150], name


def test_a_raw_photo_is_not_taken_for_its_small_preview(tmp_path):
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    tags = ImageFileDirectory_v2()
    tags[254] = 1
    Image.new("RGB", (64, 48)).save(tmp_path / "a.dng", "TIFF", tiffinfo=tags)
    assert_one_line(photos(tmp_path / "a.dng", tmp_path / "out.jpg"), "a.dng: a raw photo")


def test_what_exists_under_a_number_is_no_camera(tmp_path, portrait):
    (tmp_path / "2024").mkdir()
    (tmp_path / "2024" / "a.png").write_bytes(encoded(portrait, "PNG"))
    result = run("--source", "2024", "--output", "out", cwd=tmp_path)
    assert result.returncode == 0 and os.listdir(tmp_path / "out") == ["a.png"]


def test_a_device_is_a_camera():
    assert_one_line(run("--source", "/dev/video63", "--no-window"), "camera")


@pytest.mark.parametrize(
    "options", [["--source", "-"], ["--source", "demo", "--output", "-"]], ids=" ".join
)
def test_pipes_are_refused(options, tmp_path):
    assert_one_line(run(*options, "--no-window", cwd=tmp_path), options[-2], "pipe")
    assert not os.listdir(tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="links and modes of POSIX systems")
def test_force_writes_through_a_link_and_keeps_a_file_private(tmp_path, portrait):
    (tmp_path / "in.png").write_bytes(encoded(portrait, "PNG"))
    (tmp_path / "disk").mkdir()
    real, link = tmp_path / "disk" / "real.png", tmp_path / "link.png"
    real.write_bytes(b"old")
    real.chmod(0o640)
    link.symlink_to(real)
    assert photos(tmp_path / "in.png", link, "--force").returncode == 0
    assert link.is_symlink() and cv2.imread(str(real)).shape == portrait.shape
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert sorted(os.listdir(tmp_path)) == ["disk", "in.png", "link.png"]
    assert os.listdir(tmp_path / "disk") == ["real.png"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        ["--source", "{}"],
        ["--source", "{}", "--check"],
        ["--source", "demo", "--output", "{}.mp4"],
        ["--fps", "{}"],
    ],
    ids=" ".join,
)
def test_a_password_is_never_printed(options, tmp_path):
    url = "rtsp://eve:s ecr@et@127.0.0.1:1/live"
    result = run(*(it.format(url) for it in options), "--no-window", cwd=tmp_path)
    said = result.stdout + result.stderr
    assert "127.0.0.1:1/live" in said
    assert "ecr" not in said and "et@" not in said


def test_a_terminal_that_lacks_characters_gets_others_in_their_place(tmp_path):
    (tmp_path / "休日.mp4").touch()
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    command = ["--source", "demo", "--output", "休日.mp4", "--skip-existing"]
    result = run(*command, env=environment, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (0, "??.mp4: exists; skipped\n")


@pytest.mark.slow
def test_weights_that_cannot_run_are_one_line_and_exit_code_1(tmp_path, portrait):
    (tmp_path / "in.png").write_bytes(encoded(portrait, "PNG"))
    data = bytearray((ROOT / "weights" / "person.tflite").read_bytes())
    details = Interpreter(model_content=bytes(data)).get_tensor_details()
    scales = (it["quantization_parameters"]["scales"] for it in details)
    at = data.index(next(it for it in scales if it.size > 100).tobytes())
    data[at - 10] ^= 4  # the last zero point, which is before the scales
    broken = tmp_path / "bad.tflite"
    broken.write_bytes(data)
    result = photos(tmp_path / "in.png", tmp_path / "out.png", "--weights", broken)
    assert_one_line(result, "the network failed")
    hidden = photos(tmp_path / "in.png", tmp_path / "hidden.png", "--hidden")
    assert (hidden.returncode, hidden.stderr) == (0, "")


@pytest.mark.parametrize("flags, more", [(["-I"], {}), ([], {"PYTHONSAFEPATH": "1"})])
def test_it_starts_where_python_leaves_its_folder_out(flags, more, tmp_path):
    command = [sys.executable, *flags, MAIN, "--version"]
    result = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env={**os.environ, **more}
    )
    assert result.stdout == f"main.py {__version__}\n", result.stderr


@pytest.mark.skipif(not hasattr(os, "setuid"), reason="users of POSIX systems")
@pytest.mark.parametrize("has_home", [True, False])
def test_a_home_that_is_closed_or_missing_does_no_harm(tmp_path, has_home):
    (tmp_path / "home").mkdir(mode=0)
    homes = {"HOME": str(tmp_path / "home")} if has_home else {}
    others = {k: v for k, v in os.environ.items() if k not in ("HOME", "XDG_CONFIG_HOME")}
    parse = """
import os
from background_blur import cli
cli.parse([])  # imports what the user below may not read
if os.getuid() == 0:
    os.setuid(54321)  # which nobody is
assert cli.parse([]).source == "0"
"""
    command = [sys.executable, "-c", parse]
    child = subprocess.run(command, cwd=ROOT, env={**others, **homes}, stderr=subprocess.PIPE)
    assert (child.returncode, child.stderr) == (0, b"")


def test_a_user_that_is_not_there_is_one_line():
    result = run("@~nosuchuser/call.txt")
    assert result.returncode == 2
    assert result.stderr == "main.py: error: ~nosuchuser/call.txt: No such file or directory\n"


def test_a_missing_library_is_named_with_what_installs_it():
    error = ImportError("libGL.so.1: cannot open shared object file: No such file or directory")
    said = missing_library(error)
    assert said == "libGL.so.1 missing; on Debian and Ubuntu run: sudo apt install libgl1"


def test_too_little_memory_is_one_line():
    resource = pytest.importorskip("resource")

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (10**9, 10**9))

    assert_one_line(run("--source", "demo", "--no-window", preexec_fn=limit), "memory")
