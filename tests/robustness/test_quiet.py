"""No network, and no file that nobody asked for."""

import os
import shutil
import subprocess
import sys

import pytest

from support import ROOT
from support.fuzz import seeds

# Runs the program; refuses to let Python connect to anything, and reports that and what it writes.
WATCHED = """
import os, sys

asked = []

def watch(event, args):
    if event.startswith("socket.") and event != "socket.gethostname":
        asked.append(event)
        raise OSError("no network here")
    if event == "open" and isinstance(args[0], str):
        writes = args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if writes and args[0] != os.devnull:
            asked.append(args[0])

sys.addaudithook(watch)
import main
code = main.main(sys.argv[1:])
for what in asked:
    print("asked:", what)
sys.exit(code)
"""


@pytest.fixture(scope="module")
def unshared() -> list[str]:
    """What to put before a command so that it runs without any network, even for C libraries."""
    command = ["unshare", "--map-root-user", "--net"]
    works = shutil.which("unshare") and subprocess.run([*command, "true"]).returncode == 0
    return command if works else []


def test_the_default_path_needs_no_network_and_writes_nothing_unasked(tmp_path, unshared):
    places = {name: tmp_path / name for name in ("home", "tmp", "here", "out")}
    for place in places.values():
        place.mkdir()
    source, out = tmp_path / "source.mp4", places["out"] / "result.mp4"
    source.write_bytes(seeds()[".mp4"])
    environment = {k: v for k, v in os.environ.items() if not k.startswith("XDG_")}
    environment |= {"HOME": str(places["home"]), "TMPDIR": str(places["tmp"])}
    environment |= {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    arguments = ["--source", str(source), "--output", str(out), "--no-window"]
    child = subprocess.run(
        [*unshared, sys.executable, "-c", WATCHED, *arguments],
        cwd=places["here"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert child.returncode == 0, child.stderr
    asked = [line for line in child.stdout.splitlines() if line.startswith("asked: ")]
    assert [line for line in asked if ".part.mp4" not in line] == []
    assert asked  # at least the part, so the watch works
    assert sorted(tmp_path.rglob("*")) == sorted([*places.values(), source, out])
