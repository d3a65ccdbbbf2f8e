"""The systemd unit, run by a user manager of systemd."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from background_blur.capture import open_source
from support import ROOT
from support.captures import is_sharp
from support.display import wait_until
from support.pipewire import Watcher, stalls

pytestmark = stalls

SIZE = 640, 360
UNIT, NODE = ROOT / "contrib" / "background-blur.service", "background_blur"
TRY = "mount -t cgroup2 cgroup2 /sys/fs/cgroup && test -x /lib/systemd/systemd"
# Gives the manager what a system run by systemd has, and nothing of this machine's own. $0 is
# PipeWire's folder, $1 that of the options and units, $2 a new control group.
START = f"""{TRY} && mount -t tmpfs tmpfs /run && cd /run &&
mkdir -p systemd/system systemd/inaccessible/dir user config "$2" &&
touch systemd/inaccessible/reg systemd/inaccessible/chr &&
mount --bind "$0" user && mount --bind "$1" config && echo $$ > $2/cgroup.procs &&
XDG_RUNTIME_DIR=/run/user XDG_CONFIG_HOME=/run/config XDG_CACHE_HOME=/run/config/cache \
/lib/systemd/systemd --user --unit=basic.target
echo $$ > $2/../cgroup.procs; find $2 -depth -type d -exec rmdir {{}} +"""


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze here")
def test_systemd_understands_every_line(tmp_path):
    command = ["systemd-analyze", "--user", "verify", UNIT]
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert result.returncode == 0 and UNIT.name not in result.stderr


@pytest.fixture
def systemctl(pipewire, tmp_path):
    """Asks a user manager that has the unit; `tmp_path` holds the configuration."""
    if subprocess.run(["unshare", "-m", "sh", "-c", TRY], capture_output=True).returncode:
        pytest.skip("no root, or no systemd here: the unit is not run")
    for name in ("background-blur", "systemd/user", "cache"):
        (tmp_path / name).mkdir(parents=True)
    text = UNIT.read_text().replace("%h/background-blur", str(ROOT))
    text = text.replace(".venv/bin/python", sys.executable)
    (tmp_path / "systemd/user" / UNIT.name).write_text(text)
    folders = [pipewire.environment["XDG_RUNTIME_DIR"], tmp_path, f"/sys/fs/cgroup/{os.getpid()}"]
    manager = pipewire.popen("unshare", "-m", "sh", "-c", START, *folders)

    def systemctl(*words: str) -> str:
        within = ["nsenter", "-m", "-t", manager.pid, "env", "XDG_RUNTIME_DIR=/run/user"]
        result = pipewire.run(*within, "systemctl", "--user", *words)
        return result.stdout.strip() + result.stderr

    def has_begun() -> bool:
        return systemctl("is-system-running") in ("running", "degraded")

    try:
        wait_until(lambda: manager.poll() is not None or has_begun(), "the manager")
        if manager.poll() is not None:
            pytest.skip(f"no user manager can run here: {manager.communicate()[1]}")
        yield systemctl
    finally:
        if manager.poll() is None:
            systemctl("exit")
            assert manager.communicate(timeout=60) == ("", "")


def start(systemctl, tmp_path, options: str):
    """Starts the unit; returns what tells one of its properties."""
    (tmp_path / "background-blur/default.txt").write_text(options)
    assert systemctl("start", UNIT.name) == ""
    return lambda name: systemctl("show", "--value", f"--property={name}", UNIT.name)


def test_it_starts_hides_restarts_and_stops(systemctl, pipewire, tmp_path):
    with open_source("demo", SIZE) as source:
        demo = next(iter(source)).image
    show = start(systemctl, tmp_path, "--source demo\n--size 640x360  # no camera here\n")
    wait_until(lambda: pipewire.node(NODE), "the camera")
    with Watcher(pipewire, SIZE) as watcher:
        wait_until(lambda: is_sharp(watcher.frames(1)[0], demo), "the person")
        systemctl("kill", "--kill-whom=main", "--signal=SIGUSR1", UNIT.name)
        wait_until(lambda: not is_sharp(watcher.frames(1)[0], demo), "to be hidden")
    first = show("MainPID")
    status = Path(f"/proc/{first}/status").read_text()
    assert "NoNewPrivs:\t1" in status and "Seccomp:\t2" in status
    assert os.readlink(f"/proc/{first}/ns/net") != os.readlink("/proc/self/ns/net")
    look = f"ls /tmp; touch {ROOT}/file /usr/file /run/user/file"
    seen = pipewire.run("nsenter", "-m", "-t", first, "sh", "-c", look)
    assert seen.stdout == "" and seen.stderr.count("Read-only file system") == 3
    os.kill(int(first), signal.SIGKILL)
    wait_until(lambda: not pipewire.node(NODE), "the camera to go")
    wait_until(lambda: pipewire.node(NODE), "the camera to be back")
    assert show("MainPID") != first
    assert systemctl("stop", UNIT.name) == ""
    assert show("ActiveState") == "inactive" and not pipewire.node(NODE)


@pytest.mark.parametrize(
    "options, code, state", [("--source 63", "1", "activating"), ("--fps fast", "2", "failed")]
)
def test_a_missing_camera_is_tried_again_and_wrong_options_are_not(
    systemctl, tmp_path, options, code, state
):
    show = start(systemctl, tmp_path, options)
    wait_until(lambda: show("ExecMainStatus") == code, "the end")
    assert show("ActiveState") == state
