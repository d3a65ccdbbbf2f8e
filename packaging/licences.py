"""Copies the licences of everything in a bundle: licences.py BUNDLE FOLDER."""

import re
import shutil
import subprocess
import sys
import sysconfig
from importlib.metadata import distribution
from pathlib import Path

ROOT = Path(__file__).parents[1]
TEXTS = re.compile(r"(licen[cs]e|copying|notice|metadata)", re.IGNORECASE)


def packages() -> list[str]:
    """The names of the locked packages that the bundle is made from."""
    text = (ROOT / "requirements-call.txt").read_text()
    locked = re.findall(r"^([\w.-]+)==(?!.*(?:win32|!= 'linux'))", text, re.MULTILINE)
    return [*locked, "pyinstaller"]


def copy_of_package(name: str, folder: Path) -> None:
    files = distribution(name).files or []
    for file in (it for it in files if TEXTS.search(it.name) and it.suffix in ("", ".md", ".txt")):
        folder.joinpath(name).mkdir(exist_ok=True)
        shutil.copyfile(str(file.locate()), folder / name / "-".join(file.parts[1:]))


def copy_of_libraries(bundle: Path, folder: Path) -> None:
    """Copies the licences of bundled system libraries, as found in their Debian packages."""
    for library in bundle.glob("*.so*"):
        found = subprocess.run(["dpkg", "-S", f"*/{library.name}"], capture_output=True, text=True)
        if library.is_symlink() or found.returncode:
            continue
        package = found.stdout.partition(":")[0]
        shutil.copy(f"/usr/share/doc/{package}/copyright", folder / f"{package}.txt")


def main() -> None:
    bundle, folder = map(Path, sys.argv[1:])
    folder.mkdir(parents=True)
    for name in ("LICENSE", "NOTICE", "weights/MODEL_CARD.md"):
        shutil.copy(ROOT / name, folder)
    shutil.copy(ROOT / "packaging" / "LICENCES.md", folder / "README.md")
    shutil.copy(Path(sysconfig.get_path("stdlib")) / "LICENSE.txt", folder / "python.txt")
    for name in packages():
        copy_of_package(name, folder)
    copy_of_libraries(bundle / "_internal", folder)
    for name in ("GPL-2", "GPL-3", "LGPL-2.1", "LGPL-3"):
        shutil.copy(f"/usr/share/common-licenses/{name}", folder)


if __name__ == "__main__":
    main()
