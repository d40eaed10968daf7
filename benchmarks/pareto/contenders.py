"""The models that are compared, what each needs, and how it is opened."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from upframe.engine.models import resolve_model
from upframe.errors import UpframeError, UsageError, WeightsError
from upframe.runtimes import registry
from upframe.runtimes.base import Runtime
from upframe.weights.card import ModelCard
from upframe.weights.index import PRESETS

CACHE = Path(__file__).parent / ".cache"
"""Weights of others and scores; nothing of it is committed."""
_SHARED = Path(__file__).resolve().parents[3] / "shared" / "weights"


@dataclass(frozen=True)
class Contender:
    """Something that upscales clips four times."""

    name: str
    kind: Literal["upframe", "ncnn", "basicvsr"]
    source: str
    """Name of a model or preset; or path of a weight file."""
    label: str
    """For table and plot."""
    ours: bool = False
    """Whether it ships with us as a preset."""

    def missing(self) -> str:
        """Why it cannot take part; empty if it can."""
        if self.kind != "upframe" and not Path(self.source).is_file():
            return f"{self.source} is not there; run: python -m benchmarks.pareto.fetch"
        if self.kind == "ncnn" and find_spec("ncnn") is None:
            return "ncnn is not installed; run: python -m benchmarks.pareto.fetch"
        if self.kind == "upframe":
            try:
                resolve_model("balanced", self.source)
            except UpframeError as error:
                return str(error)
        return ""

    def open(self, threads: int) -> Runtime:
        """Load it for the CPU.

        Raises:
            UpframeError: it cannot be loaded.
        """
        if self.kind == "upframe":
            model = resolve_model("balanced", self.source)
            return registry.open_runtime(
                model.card, model.files, device="cpu", threads=threads
            )
        path = Path(self.source)
        if self.kind == "ncnn":
            from benchmarks.pareto.peers.ncnn_image import NcnnRuntime

            card = _card(self.name, "BSD-3-Clause", ncnn_parameters(path))
            return NcnnRuntime(card, path, threads)
        from benchmarks.pareto.peers.basicvsr import BasicVSRRuntime

        return BasicVSRRuntime(_card(self.name, "Apache-2.0", 6_291_311), path, threads)

    def precision(self) -> str:
        """What it computes in; what upframe takes by itself, and float for others."""
        if self.kind != "upframe":
            return "fp32"
        model = resolve_model("balanced", self.source)
        return registry.choose(model.card, model.files, device="cpu").precision

    def digest(self) -> str:
        """Changes with what decides its frames: weights, and code of peers."""
        if self.kind == "upframe":
            return resolve_model("balanced", self.source).digest
        files = [Path(self.source)]
        if self.kind == "ncnn":
            files.append(files[0].with_suffix(".bin"))
        code = {"ncnn": "ncnn_image.py", "basicvsr": "basicvsr.py"}[self.kind]
        files.append(Path(__file__).parent / "peers" / code)
        digest = hashlib.sha256()
        for file in files:
            digest.update(file.read_bytes())
        return digest.hexdigest()


def presets() -> list[Contender]:
    """Our models that a preset means, each once."""
    models: dict[str, list[str]] = {}
    for preset, model in PRESETS.items():
        models.setdefault(model, []).append(preset)
    return [
        Contender(model, "upframe", model, f"{model} ({', '.join(names)})", ours=True)
        for model, names in models.items()
    ]


def peers() -> list[Contender]:
    """Models of others."""
    return [
        Contender("bicubic", "upframe", "bicubic", "bicubic (MATLAB)"),
        Contender("lanczos", "upframe", "lanczos", "Lanczos"),
        Contender("span-ch48", "ncnn", _cached("spanx4_ch48.param"), "SPAN-ch48"),
        Contender("span-ch52", "ncnn", _cached("spanx4_ch52.param"), "SPAN-ch52"),
        Contender(
            "animevideov3",
            "ncnn",
            _cached("realesr-animevideov3-x4.param"),
            "Real-ESRGAN animevideov3",
        ),
        Contender("ditn-real", "upframe", str(_ditn()), "DITN_Real, authors' weights"),
        Contender(
            "ditn-real-gan",
            "upframe",
            str(_ditn("GAN")),
            "DITN_Real_GAN, authors' weights",
        ),
        Contender(
            "basicvsr",
            "basicvsr",
            _cached("BasicVSR_Vimeo90K_BIx4.pth"),
            "BasicVSR (Vimeo-90K, BI)",
        ),
    ]


def choose(names: Sequence[str]) -> list[Contender]:
    """Contenders by name; all for none.

    Raises:
        WeightsError: there is none of this name.
    """
    known = {one.name: one for one in (*peers(), *presets())}
    for name in names:
        if name not in known:
            raise WeightsError(
                f"There is no model {name!r} in this comparison.",
                f"There are: {', '.join(known)}.",
            )
    return [known[name] for name in names] if names else list(known.values())


def named_files(given: Sequence[str]) -> dict[str, str]:
    """Name to file, from options that are given as ``NAME=FILE``.

    Raises:
        UsageError: one of them has no file.
    """
    pairs = dict(text.partition("=")[::2] for text in given)
    if not all(pairs.values()):
        raise UsageError("--weights takes NAME=FILE.", "Name the weights and the file.")
    return pairs


def ncnn_parameters(param: Path) -> int:
    """Trained values of a network in ncnn's text format.

    Convolutions tell the number of their weights in field 6 and, in field 0, of their
    channels, each with a bias where field 5 is 1; PReLU has one for each channel.
    """
    total = 0
    for line in param.read_text(encoding="ascii").splitlines()[2:]:
        kind = line.split(maxsplit=1)[0]
        fields = {int(k): v for k, v in re.findall(r" (-?\d+)=(\S+)", line)}
        if kind == "Convolution":
            total += int(fields[6])
            total += int(fields[0]) if fields.get(5) == "1" else 0
        elif kind == "PReLU":
            total += int(fields[0])
    return total


def _ditn(variant: str = "") -> Path:
    """The authors' weights of DITN_Real: put there by hand, or the shared ones."""
    name = "_".join(part for part in ("DITN_Real", variant, "x4.pth") if part)
    kept = CACHE / name
    return kept if kept.is_file() else _SHARED / "ditn" / name


def _cached(name: str) -> str:
    return str(CACHE / name)


def _card(name: str, licence: str, parameters: int) -> ModelCard:
    return ModelCard(
        name=name,
        system="peer",
        scale=4,
        summary="",
        licence=licence,
        parameters=parameters,
    )
