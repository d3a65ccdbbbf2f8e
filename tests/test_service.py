"""The systemd unit: what it runs, and whether systemd understands it."""

import configparser
import os
import shlex
import shutil
import signal
import subprocess
import sys

import pytest

from background_blur.cli import parse
from support import ROOT
from support.display import wait_until

UNIT = ROOT / "contrib" / "background-blur.service"
NODE = "background_blur"


@pytest.fixture(scope="module")
def service() -> configparser.SectionProxy:
    unit = configparser.RawConfigParser(delimiters="=")
    unit.read(UNIT, "utf-8")
    return unit["Service"]


def options(service) -> list[str]:
    """The program's options."""
    env, python, main, *words = shlex.split(service["ExecStart"])
    assert (env, python, main) == ("/usr/bin/env", ".venv/bin/python", "main.py")
    return words


def test_the_program_takes_its_options(service):
    args = parse(options(service))
    assert args.virtual_camera == "pipewire" and not args.window


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze here")
def test_systemd_understands_every_line(tmp_path):
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    command = ["systemd-analyze", "--user", "verify", UNIT]
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    ours = [line for line in result.stderr.splitlines() if UNIT.name in line]
    assert result.returncode == 0 and ours == []


def test_no_network_a_home_to_read_and_a_tmp_of_its_own(service):
    for name, value in (
        ("PrivateNetwork", "yes"),
        ("RestrictAddressFamilies", "AF_UNIX"),
        ("ProtectHome", "read-only"),
        ("ProtectSystem", "strict"),
        ("PrivateTmp", "yes"),
        ("NoNewPrivileges", "yes"),
    ):
        assert service[name] == value


@pytest.mark.slow
def test_it_starts_rests_and_stops_as_the_unit_says(service, pipewire, tmp_path):
    folder = tmp_path / "background-blur"
    folder.mkdir()
    (folder / "default.txt").write_text("--source demo\n--size 320x180  # no camera here\n")
    environment = {**pipewire.environment, "XDG_CONFIG_HOME": str(tmp_path)}
    process = pipewire.popen(
        sys.executable, "main.py", *options(service), cwd=ROOT, env=environment
    )
    try:
        assert "320x180" in process.stdout.readline()
        assert "paused until one does" in process.stderr.readline()
        assert pipewire.node(NODE)
        process.send_signal(getattr(signal, service["KillSignal"]))
        process.communicate(timeout=int(service["TimeoutStopSec"]))
    finally:
        process.kill()
        process.communicate()
    assert str(process.returncode) in service["SuccessExitStatus"].split()
    wait_until(lambda: not pipewire.node(NODE), "the camera to go")


@pytest.mark.slow
def test_a_missing_camera_is_tried_again_and_wrong_options_are_not(service, pipewire, tmp_path):
    for extra, code in (("--source 63", 1), ("--fps fast", 2)):
        command = [sys.executable, "main.py", *options(service), *extra.split()]
        result = pipewire.run(*command, cwd=ROOT, timeout=60)
        assert result.returncode == code
    assert service["Restart"] == "on-failure" and service["RestartPreventExitStatus"] == "2"
