"""Whatever the input, and wherever it comes in: one line or none, no traceback, no hang, no crash,
no loss. FUZZ_INPUTS in the environment says how many inputs there are in all.
"""

import hashlib
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import main
from background_blur import cli
from background_blur.matting.engines import WEIGHTS
from background_blur.system import PROGRAM
from support.fuzz import BATCH, mutated, run_all, seeds

INPUTS = int(os.environ.get("FUZZ_INPUTS", 200))
SEED = int(os.environ.get("FUZZ_SEED", 0))
QUICK = ["--no-window", "--threads", "1"]


def assert_all_well(commands, answers):
    for command, answer in zip(commands, answers, strict=True):
        lines = answer["errors"].splitlines()
        well = (
            (answer["code"] == 0 and len(lines) <= 2)  # about frames left out or hidden
            or (
                answer["code"] == 1
                and len(lines) in (1, 2)
                and lines[-1].startswith(f"{PROGRAM}: ")
            )
            or (answer["code"] == 2 and f"{PROGRAM}: error: " in lines[-1])
        )
        assert well and "Traceback" not in answer["errors"], (command, answer)


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_damaged_sources(tmp_path):
    """They result in one line only; the file itself and another one stay as they were."""
    rng, whole = np.random.default_rng(SEED), seeds()
    (tmp_path / "dear.mp4").write_bytes(b"dear")
    commands = []
    for index in range(INPUTS * 6 // 10):
        suffix = sorted(whole)[index % len(whole)]
        path = tmp_path / f"{index}{suffix}"
        path.write_bytes(mutated(whole[suffix], rng))
        if index % 5 == 4:  # under another kind's name
            path = path.rename(path.with_suffix(str(rng.choice(sorted(whole)))))
        commands.append(["--source", str(path), *QUICK])
        if index % 10 == 0:
            commands[-1] += ["--output", str(tmp_path / "dear.mp4")]
        elif index % 10 == 1:
            (tmp_path / "out").mkdir(exist_ok=True)
            commands[-1] += ["--output", str(tmp_path / "out" / f"{index}.mkv")]
        elif index % 10 < 6:
            kind = (".jpg", ".png", ".tiff", ".webp")[index % 10 - 2]
            commands[-1] += ["--output", str(tmp_path / "out" / f"{index}{kind}")]
    before = digests(tmp_path)
    answers = run_all(commands, tmp_path)
    assert_all_well(commands, answers)
    assert 0 < sum(answer["code"] == 0 for answer in answers) < len(answers)
    after = digests(tmp_path)
    assert before.items() <= after.items()
    new = set(after) - set(before)
    assert all(Path(path).parent.name == "out" and ".part." not in path for path in new)


@pytest.mark.parametrize("with_sums", [True, False])
@pytest.mark.parametrize(
    "name, engine",
    [("person.tflite", "litert"), ("person.weights.h5", "keras")],
)
def test_damaged_weights(tmp_path, name, engine, with_sums):
    """With the sums next to them, none is even parsed."""
    if engine == "keras" and not with_sums and "FUZZ_INPUTS" not in os.environ:
        pytest.skip("TensorFlow is slow: make fuzz runs it")
    if engine == "keras":
        pytest.importorskip("tensorflow")
    rng, whole = np.random.default_rng(SEED), (WEIGHTS / name).read_bytes()
    source = tmp_path / "a.png"
    source.write_bytes(seeds()[".png"])
    left = max(6, INPUTS // 20)
    while left > 0:
        commands = []
        for index in range(min(left, BATCH)):
            folder = tmp_path / str(index)
            folder.mkdir()
            if with_sums:
                shutil.copy(WEIGHTS / "SHA256SUMS", folder)
            (folder / name).write_bytes(mutated(whole, rng))
            weights = ["--weights", str(folder / name), "--engine", engine]
            commands.append(["--source", str(source), *weights, *QUICK])
        answers = run_all(commands, tmp_path)
        assert_all_well(commands, answers)
        if with_sums:
            assert all("damaged (its sha256" in answer["errors"] for answer in answers)
        for index in range(len(commands)):
            shutil.rmtree(tmp_path / str(index))  # megabytes each
        left -= BATCH


NAMES = [
    "a b.png",
    "äö 日本 🙂.png",
    "-v.png",
    "--force",
    "a:b.png",
    "100%d.png",
    "new\nline.png",
    "tab\there.png",
    "'quoted\".png",
    "*?[x].png",
    "$HOME.png",
    "~.png",
    "\udcff\udcfe.png",
    "x" * 250,
    "con.png",
    "…/../a.png",
]


@pytest.mark.parametrize("exists", [True, False])
def test_path_names(tmp_path, exists):
    picture, commands = seeds()[".png"], []
    target = tmp_path / "target.png"
    target.write_bytes(picture)
    links = tmp_path / "link.png", tmp_path / "loop.png"
    links[0].symlink_to(target)
    links[1].symlink_to(links[1])
    paths = [*links, *(tmp_path / name for name in NAMES)]
    for index, path in enumerate(paths):
        if exists and index >= len(links) and "/" not in NAMES[index - len(links)]:
            path.write_bytes(picture)
        output = tmp_path / f"out{index}" / path.name if exists else tmp_path / "out.png"
        output.parent.mkdir(exist_ok=True)
        commands.append(["--source", str(path), *QUICK, "--output", str(output)])
    commands.append(["--source", str(links[0]), *QUICK, "--output", str(target), "--force"])
    answers = run_all(commands, tmp_path)
    assert_all_well(commands, answers)
    assert target.read_bytes() == picture
    assert "is the source itself" in answers[-1]["errors"]


flags = st.sampled_from(
    [flag for action in cli.parser()._actions for flag in action.option_strings]
)
values = st.one_of(
    st.text(max_size=12),
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(["demo", "0", "1280x720", "litert", "result", "a.mp4", "b/", "http://", "\0"]),
)
safe = st.lists(st.one_of(flags, values), max_size=6).filter(
    # Nothing that would run forever or reach outside.
    lambda words: not any("/" in word or word in ("demo", "..") for word in words)
)


@pytest.fixture(scope="module")
def empty_folder(tmp_path_factory):
    folder, before = tmp_path_factory.mktemp("empty"), os.getcwd()
    os.chdir(folder)
    yield folder
    os.chdir(before)


@given(words=safe)
@settings(
    max_examples=max(50, INPUTS // 5),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
def test_command_lines(empty_folder, words):
    try:
        code = main.main(["--source", "nothing.mp4", "--no-window", *words])
    except SystemExit as exit:
        code = exit.code
    assert code in (0, 1, 2)
    assert code or "--help" in words or "-h" in words or "--version" in words
    assert not list(empty_folder.iterdir())
