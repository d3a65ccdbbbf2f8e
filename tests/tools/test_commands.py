"""What all commands have in common."""

import re
import subprocess
import sys

import pytest

import tools
from support import ROOT

COMMANDS = re.findall(r"python -m (tools\.\w+\.\w+)", tools.__doc__)
NEED_KERAS = "tools.training: Keras is missing; run: pip install -r requirements.txt\n"


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_helps_and_only_training_needs_keras(name, tmp_path):
    for module in ("keras", "tensorflow", "h5py"):
        (tmp_path / f"{module}.py").write_text("raise ModuleNotFoundError")
    block = "import sys, runpy; sys.modules['keras'] = None; sys.path.insert(0, sys.argv[2])"
    run = f"{block}; sys.argv = ['', '--help']; runpy.run_module({name!r}, run_name='__main__')"
    command = [sys.executable, "-c", run, "-", str(tmp_path)]
    child = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if "training" in name:
        assert (child.returncode, child.stderr) == (1, NEED_KERAS)
    else:
        assert child.returncode == 0 and f"usage: python -m {name}" in child.stdout


def test_every_command_is_listed():
    files = [path for path in (ROOT / "tools").rglob("*.py") if "__main__" in path.read_text()]
    found = {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files}
    assert found == set(COMMANDS)
