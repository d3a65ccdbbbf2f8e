"""The program as its users start it: `python main.py ...` in a process of its own."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

import main
from background_blur import __version__, app
from background_blur.capture import open_source
from background_blur.cli import parser
from background_blur.errors import UserError
from background_blur.opening import TITLE
from background_blur.settings import PEOPLE, VIEWS, Settings
from support import ROOT
from support.captures import detail
from support.display import wait_until

MAIN = str(ROOT / "main.py")
TEXT = {"capture_output": True, "text": True, "timeout": 60}


def run(*arguments, timeout=60, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, MAIN, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, **options)


def start(*arguments, **options) -> subprocess.Popen:
    command = [sys.executable, MAIN, *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, **pipes, **options)


def headless() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    """One second of the demo as a file, 320x180, 25 frames a second."""
    from background_blur.sinks.video import VideoFile

    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    source = open_source("demo", (320, 180), 25)
    source.live = False
    with VideoFile(path, 25) as file:
        for _, frame in zip(range(25), source, strict=False):
            file.write(frame)
    return path


def read(path: Path) -> list[np.ndarray]:
    with open_source(str(path)) as source:
        return [frame.image for frame in source]


# --- Usage


def test_help_lists_every_flag_and_imports_nothing_heavy():
    code = "import sys, main\ntry: main.main(['--help'])\nfinally: print(sorted(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, **TEXT)
    assert result.returncode == 0
    for action in parser()._actions:
        assert all(flag in result.stdout for flag in action.option_strings)
    for heavy in ("cv2", "numpy", "av", "tensorflow", "keras", "ai_edge_litert", "imutils"):
        assert f"'{heavy}'" not in result.stdout


def test_the_choices_are_those_of_the_line():
    actions = {action.dest: action for action in parser()._actions}
    assert (actions["view"].choices, actions["people"].choices) == (VIEWS, PEOPLE)
    assert actions["people"].default == Settings().people


@pytest.mark.parametrize(
    "call, program", [(["main.py"], "main.py"), (["-m", "background_blur"], "background-blur")]
)
def test_it_calls_itself_as_it_was_called(call, program):
    def say(*arguments) -> str:
        done = subprocess.run([sys.executable, *call, *arguments], cwd=ROOT, **TEXT)
        return done.stdout + done.stderr

    assert say("--version") == f"{program} {__version__}\n"
    assert say("--fps", "0").splitlines()[-1].startswith(f"{program}: error: ")
    assert say("--source", "nowhere").startswith(f"{program}: nowhere: ")
    usage, *_, examples = say("--help").split("\n\n", 1)
    assert usage.startswith(f"usage: {program} ") and f"{program} --source demo" in examples


@pytest.mark.parametrize(
    "arguments",
    [
        ["--size", "0x0"],
        ["--size", "1280"],
        ["--size", "axb"],
        ["--size", "99999x99999"],
        ["--size", "-5x100"],
        ["--fps", "0"],
        ["--fps", "nan"],
        ["--strength", "1.5"],
        ["--strength", "nan"],
        ["--background", "#12"],
        ["--background", "#00b14g"],
        ["--threads", "0"],
        ["--view", "sideways"],
        ["--skip-existing"],
        ["--skip-existing", "--force", "--output", "out"],
        ["--no-such-flag"],
        ["leftover"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_code_2_and_names_the_flag(arguments):
    result = run(*arguments)
    assert result.returncode == 2
    assert arguments[0].lstrip("-") in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr


def test_a_mistyped_flag_gets_a_suggestion_on_the_command_line_and_in_files(tmp_path):
    (tmp_path / "options.txt").write_text("--sorce demo")
    for arguments in (["--sorce", "demo"], [f"@{tmp_path / 'options.txt'}"]):
        [line] = run(*arguments).stderr.splitlines()
        assert line.endswith("unrecognized arguments: --sorce demo; did you mean --source?")


@pytest.mark.parametrize(
    "output, what", [([], "needs an --output"), (["--output", "x.mp4"], "x.mp4 holds no")]
)
def test_where_nothing_holds_transparency_it_says_what_does(output, what):
    result = run("--background", "transparent", *output)
    assert result.returncode == 2
    assert what in result.stderr and "give .png, .mov, .webm or a folder\n" in result.stderr


# --- One line on what went wrong


def assert_one_line(result, *parts):
    assert result.returncode == 1
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("main.py: ")
    for part in parts:
        assert part in lines[0]


def test_no_such_path():
    assert_one_line(run("--source", "/nowhere/at all.mp4"), "/nowhere/at all.mp4")


def test_not_media(tmp_path):
    path = tmp_path / "notes.mp4"
    path.write_text("these are notes\n" * 100)
    assert_one_line(run("--source", path), "notes.mp4")


def test_no_camera():
    if any(Path("/dev").glob("video*")):
        pytest.skip("this machine has a camera")
    assert_one_line(run("--source", "7"), "camera")


def test_no_display(clip):
    assert_one_line(run("--source", clip, env=headless()), "display", "--output")


def test_output_exists_is_kept(clip, tmp_path):
    out = tmp_path / "out.mp4"
    out.write_bytes(b"dear")
    assert_one_line(run("--source", clip, "--output", out), "--force")
    assert out.read_bytes() == b"dear"


@pytest.mark.slow
def test_the_source_is_never_overwritten(tmp_path, portrait):
    photo = tmp_path / "photo.png"
    cv2.imwrite(str(photo), portrait)
    before = photo.read_bytes()
    for out in (tmp_path, photo):
        result = run("--source", photo, "--output", out, "--force", "--no-window")
        assert_one_line(result, "photo.png", "source")
        assert photo.read_bytes() == before


def test_the_background_is_never_overwritten(clip, tmp_path, portrait):
    photo = tmp_path / "photo.png"
    cv2.imwrite(str(photo), portrait)
    command = ["--source", ROOT / "assets" / "portrait.jpg", "--background", photo, "--force"]
    assert_one_line(run(*command, "--output", photo), "background itself")


def test_figures_nobody_reads_are_one_line():
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    photo = ROOT / "assets" / "portrait.jpg"
    with open("/dev/full", "w") as full:
        process = subprocess.run(
            [sys.executable, MAIN, "--source", str(photo), "--no-window"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert_one_line(process, "disk")


def test_output_in_no_folder(clip, tmp_path):
    assert_one_line(run("--source", clip, "--output", tmp_path / "no" / "out.mp4"), "out.mp4")


@pytest.mark.slow
@pytest.mark.parametrize("more", [[], ["--no-window"], ["--virtual-camera", "3"], ["--force"]])
def test_an_empty_output_as_of_an_unset_variable_is_an_error(clip, more):
    result = run("--source", clip, "--output", "", *more, env=headless())
    assert_one_line(result, "--output", "empty name", "out.mp4")
    assert result.stdout == ""


@pytest.mark.slow
def test_keras_with_weights_of_another_kind_is_one_line(tmp_path, clip):
    weights = ROOT / "weights" / "person.tflite"
    command = ["--source", clip, "--engine", "keras", "--weights", weights, "--no-window"]
    result = run(*command, timeout=300)
    assert_one_line(result, "person.tflite: not weights of the person network")


@pytest.mark.parametrize("name", ["none.tflite", "text.tflite", "none.weights.h5"])
def test_wrong_weights_leave_no_output(clip, tmp_path, name):
    weights, out = tmp_path / name, tmp_path / "out.mp4"
    if name.startswith("text"):
        weights.write_text("no weights")
    assert_one_line(run("--source", clip, "--output", out, "--weights", weights), name)
    assert {p.name for p in tmp_path.iterdir()} <= {name}


# --- Files


def test_video_to_video_keeps_frames_size_and_rate(clip, tmp_path):
    out = tmp_path / "out.mp4"
    result = run("--source", clip, "--output", out, env=headless())
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    with open_source(str(out)) as source:
        assert source.size == (320, 180)
        assert source.fps == 25
        assert source.count == 25
    before, after = read(clip), read(out)
    assert len(after) == 25
    corner = np.s_[:40, -60:]  # background
    assert detail(after[20][corner]) < 0.3 * detail(before[20][corner])


def test_an_odd_size_is_told_of_once(tmp_path, portrait):
    folder, out = tmp_path / "in", tmp_path / "out.mp4"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(folder / name), portrait[:181, :320])
    result = run("--source", folder, "--output", out, env=headless())
    assert result.returncode == 0
    (line,) = result.stderr.splitlines()
    assert line.startswith("main.py: ") and "320x181 became 320x182" in line


@pytest.mark.slow
def test_split_shows_both_and_alpha_is_grey(clip, tmp_path):
    for view in ("split", "alpha"):
        out = tmp_path / f"{view}.mp4"
        result = run("--source", clip, "--output", out, "--view", view, "--no-window")
        assert result.returncode == 0, result.stderr
    assert read(tmp_path / "split.mp4")[0].shape == (180, 640, 3)
    alpha = read(tmp_path / "alpha.mp4")[0].astype(int)
    assert np.ptp(alpha, axis=2).max() <= 6
    assert alpha[150, 160].mean() > 240
    assert alpha[5, 310].mean() < 15


def test_picture_to_picture(tmp_path, portrait):
    photo, out = tmp_path / "photo.png", tmp_path / "out.png"
    cv2.imwrite(str(photo), portrait)
    result = run("--source", photo, "--output", out, env=headless())
    assert result.returncode == 0, result.stderr
    blurred = cv2.imread(str(out))
    face = np.s_[90:140, 200:240]
    assert np.array_equal(blurred[face], portrait[face])
    flag = np.s_[20:220, 0:60]
    assert detail(blurred[flag]) < 0.1 * detail(portrait[flag])


def test_folder_to_folder_each_picture_on_its_own(tmp_path, portrait):
    folder, out = tmp_path / "in", tmp_path / "out"
    (folder / "sub").mkdir(parents=True)
    cv2.imwrite(str(folder / "a.png"), portrait)
    cv2.imwrite(str(folder / "b.jpg"), portrait[:, ::-1])
    cv2.imwrite(str(folder / "sub" / "c.png"), portrait)
    assert run("--source", folder, "--output", out, env=headless()).returncode == 0
    names = sorted(str(p.relative_to(out)) for p in out.rglob("*.*"))
    assert names == ["a.png", "b.jpg", "sub/c.png"]
    first, last = (cv2.imread(str(out / name)) for name in ("a.png", "sub/c.png"))
    assert np.array_equal(first, last)


@pytest.mark.slow
def test_an_interrupted_folder_goes_on_where_it_was(tmp_path, portrait):
    folder, out = tmp_path / "in", tmp_path / "in" / "out"  # results are not sources, too
    (folder / "sub").mkdir(parents=True)
    names = ["a.jpg", "a.png", "sub/c.png"]
    for name in names:
        cv2.imwrite(str(folder / name), portrait[::4, ::4])
    out.mkdir()
    (out / "a.jpg").write_bytes(b"done")
    command = ["--source", folder, "--output", out]
    assert_one_line(run(*command, env=headless()), "a.jpg", "exists", "--force", "--skip-existing")
    result = run(*command, "--skip-existing", env=headless())
    assert result.returncode == 0
    assert result.stdout.startswith("2 frames")
    assert result.stdout.endswith(f"\nsaved 2 pictures in {out}\n")
    assert result.stderr == f"main.py: 1 picture skipped: already in {out}\n"
    assert (out / "a.jpg").read_bytes() == b"done"
    made = {path: path.stat().st_mtime_ns for path in out.rglob("*.*")}
    assert sorted(path.relative_to(out).as_posix() for path in made) == names
    result = run(*command, "--skip-existing", env=headless())
    assert (result.returncode, result.stdout) == (0, "")
    assert result.stderr == f"main.py: 3 pictures skipped: already in {out}\n"
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.*")} == made


@pytest.mark.slow
def test_skipping_tells_transparent_pictures_of_one_name_apart(tmp_path, portrait):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for name in ("a.jpg", "a.png"):
        cv2.imwrite(str(folder / name), portrait[::4, ::4])
    command = ["--source", folder, "--output", out, "--background", "transparent"]
    assert run(*command, env=headless()).returncode == 0
    (out / "a_.png").unlink()
    result = run(*command, "--skip-existing", env=headless())
    assert result.stdout.startswith("1 frame;"), result.stderr
    assert sorted(path.name for path in out.iterdir()) == ["a.png", "a_.png"]


@pytest.mark.slow
def test_frames_of_a_video_that_exist_are_skipped_too(clip, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "frame_000002.png").write_bytes(b"done")
    result = run("--source", clip, "--output", out, "--skip-existing", env=headless())
    assert result.returncode == 0
    assert result.stderr == f"main.py: 1 picture skipped: already in {out}\n"
    assert len(list(out.iterdir())) == 25
    assert (out / "frame_000002.png").read_bytes() == b"done"


def test_a_file_that_exists_is_skipped(clip, tmp_path):
    out = tmp_path / "out.mp4"
    out.write_bytes(b"done")
    result = run("--source", clip, "--output", out, "--skip-existing", env=headless())
    assert (result.returncode, result.stdout) == (0, f"{out}: exists; skipped\n")
    assert out.read_bytes() == b"done"


@pytest.mark.slow
@pytest.mark.parametrize("damaged", [2, 5])
def test_every_unreadable_picture_of_a_folder_is_named(tmp_path, portrait, damaged):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    cv2.imwrite(str(folder / "good.png"), portrait[::4, ::4])
    bad = [f"bad{index}.png" for index in range(damaged)]
    for name in bad:
        (folder / name).write_bytes(b"not a picture")
    result = run("--source", folder, "--output", out, env=headless())
    assert result.returncode == 1
    assert [path.name for path in out.iterdir()] == ["good.png"]
    lines = result.stderr.splitlines()
    assert all(line.startswith("main.py: ") for line in lines)
    assert f"{damaged} of {damaged + 1} pictures left out" in lines[0]
    if damaged == 2:
        assert len(lines) == 1 and all(f"{name}: damaged" in lines[0] for name in bad)
    else:
        assert [line for line, name in zip(lines[1:], bad, strict=True) if name not in line] == []


@pytest.mark.slow
@pytest.mark.parametrize("size", [(16, 16), (33, 17), (641, 359), (3840, 2160)])
def test_pictures_of_odd_and_extreme_sizes(tmp_path, portrait, size):
    photo, out = tmp_path / "photo.png", tmp_path / "out.png"
    cv2.imwrite(str(photo), cv2.resize(portrait, size))
    result = run("--source", photo, "--output", out, env=headless())
    assert result.returncode == 0, result.stderr
    assert cv2.imread(str(out)).shape == (size[1], size[0], 3)


def test_no_window_no_output_prints_figures(clip):
    result = run("--source", clip, "--no-window", env=headless())
    assert result.returncode == 0
    assert result.stdout.startswith("25 frames, ")
    assert "segment" in result.stdout
    assert result.stderr == ""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no terminals of this kind")
def test_a_terminal_sees_a_bar_with_the_time_left_and_the_output_stays_clean(clip, tmp_path):
    import pty
    import termios

    terminal, end = pty.openpty()
    termios.tcsetwinsize(end, (24, 80))
    command = [sys.executable, MAIN, "--source", clip, "--output", tmp_path / "out.mp4"]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=end, text=True, env=headless())
    os.close(end)
    bar = os.read(terminal, 2**16).decode()
    os.close(terminal)
    assert re.search(r"\d+/25 \[\d\d:\d\d<\d\d:\d\d, ", bar), bar
    assert result.stdout.startswith("25 frames, ")
    assert result.stdout.endswith(f"\nsaved {tmp_path / 'out.mp4'}: 25 frames, 1.0 s\n")


@pytest.mark.parametrize("options, expected", [([], 1), (["--threads", "3"], 3)])
def test_the_network_takes_one_thread_unless_told_otherwise(
    options, expected, clip, monkeypatch, capsys
):
    def open_pipeline(_, threads, *__):
        raise UserError(f"{threads} {cv2.getNumThreads()}")

    monkeypatch.setattr(app, "open_pipeline", open_pipeline)
    before = cv2.getNumThreads()
    assert main.main(["--source", str(clip), "--no-window", *options]) == 1
    cv2.setNumThreads(before)
    assert capsys.readouterr().err == f"background-blur: {expected} {expected}\n"


def test_a_single_picture_is_one_frame_and_has_no_rate():
    result = run("--source", ROOT / "assets" / "portrait.jpg", "--no-window", env=headless())
    assert result.stdout.startswith("1 frame; processor time in ms: ")


def test_the_default_path_imports_no_tensorflow(clip):
    code = (
        "import sys, main\n"
        f"assert main.main(['--source', {str(clip)!r}, '--no-window']) == 0\n"
        "assert not {'tensorflow', 'keras', 'jax', 'torch', 'skimage'} & set(sys.modules)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


# --- Stopping


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_ends_it_and_leaves_a_playable_file(tmp_path, number, code):
    out = tmp_path / "out.mp4"
    command = ["--source", "demo", "--size", "320x180", "--output", out, "--no-window"]
    process = start(*command)
    # The encoder holds frames back at first, so wait for what it has surely written.
    part = lambda: sum(p.stat().st_size for p in tmp_path.glob("*.part.mp4")) > 1000  # noqa: E731
    wait_until(part, "no frame was written")
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == code, errors
    assert "Traceback" not in errors
    assert [p.name for p in tmp_path.iterdir()] == ["out.mp4"]
    assert len(read(out)) > 0


# --- In a real window


def wait_for_window(display):
    wait_until(lambda: display.is_shown(TITLE) and display.screenshot().any(), "no window")


@pytest.mark.parametrize("key", ["q", "Escape"])
def test_a_key_stops_it(display, key):
    process = start("--source", "demo", env=display.environment)
    wait_for_window(display)
    display.press(TITLE, key)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert errors == ""


def test_what_space_hides_is_no_warning(display):
    process = start("--source", "demo", "--size", "320x180", env=display.environment)
    wait_for_window(display)
    display.press(TITLE, "space")
    time.sleep(1)
    display.press(TITLE, "space")
    display.press(TITLE, "q")
    told, errors = process.communicate(timeout=30)
    assert process.returncode == 0
    assert errors == ""
    assert re.search(r"^\d+ frames hidden by you$", told, re.MULTILINE), told


def test_the_windows_x_stops_it(display):
    process = start("--source", "demo", env=display.environment)
    wait_for_window(display)
    display.click_close(TITLE)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert errors == ""


def test_ctrl_c_stops_it(display):
    process = start("--source", "demo", env=display.environment)
    wait_for_window(display)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    assert errors == ""


def test_the_window_shows_the_person_sharp_and_the_background_blurred(display):
    shots = []
    for strength in ("0.5", "0"):
        process = start(
            "--source", "demo", "--size", "640x360", "--strength", strength, env=display.environment
        )
        wait_for_window(display)
        wait_until(lambda: display.screenshot()[340, 320].any(), "nothing drawn")
        shots.append(display.screenshot()[:360, :640])
        display.press(TITLE, "q")
        process.communicate(timeout=30)
    blurred, plain = shots
    background, face = np.s_[20:120, 560:630], np.s_[60:200, 260:360]
    assert detail(blurred[background]) < 0.3 * detail(plain[background])
    assert detail(blurred[face]) > 0.6 * detail(plain[face])


def test_a_picture_stays_in_the_window_until_a_key(display, tmp_path, portrait):
    photo = tmp_path / "photo.png"
    cv2.imwrite(str(photo), portrait)
    process = start("--source", photo, env=display.environment)
    wait_for_window(display)
    time.sleep(1)
    assert process.poll() is None
    display.press(TITLE, "n")
    assert process.wait(timeout=30) == 0
