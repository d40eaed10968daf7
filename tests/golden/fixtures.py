"""Outputs of the authors' code, and networks with the weights that produced them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from golden.rule import values

FOLDER = Path(__file__).parent


class Fixture:
    """One file: its cases by name, and the authors' outputs by ``case.output.part``."""

    def __init__(self, name: str) -> None:
        with safe_open(FOLDER / f"{name}.safetensors", "pt") as file:
            self.cases: dict[str, Any] = json.loads(file.metadata()["json"])["cases"]
            self.wanted = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118

    def input(self, case: str) -> Tensor:
        """The input of a case; the noise that a clip of MIA-VSR is cut from."""
        about = self.cases[case]
        name = about["input"].get("name", about["prefix"] + "input")
        return torch.from_numpy(values(name, tuple(about["input"]["shape"])))

    def check_input(self, case: str, given: Tensor) -> None:
        """The network gets what the authors' code got."""
        digest = hashlib.sha256(little_endian(given)).hexdigest()
        assert digest == self.cases[case]["input"]["sha256"]

    def fill(self, case: str, module: nn.Module) -> None:
        """Give every parameter the value that the rule makes from its name."""
        prefix = self.cases[case]["prefix"]
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                made = values(prefix + name, tuple(parameter.shape))
                parameter.copy_(torch.from_numpy(made))

    def check_state(self, case: str, module: nn.Module) -> None:
        """Names, shapes and values of a filled module are those of the authors."""
        about = self.cases[case]["state"]
        assert names_sha256(module.state_dict()) == about["names_sha256"]
        made = sorted(module.named_parameters())
        digest = hashlib.sha256()
        for _, parameter in made:
            digest.update(little_endian(parameter))
        assert len(made) == about["parameters"]
        assert digest.hexdigest() == about["values_sha256"]

    def error(self, key: str, actual: Tensor) -> float:
        """Largest difference from the stored output, over its largest value."""
        wanted = self.wanted[key]
        assert actual.shape == wanted.shape, key
        return float((actual - wanted).abs().max() / wanted.abs().max())


def names_sha256(state: Mapping[str, Tensor]) -> str:
    """Hash of the sorted lines ``name<TAB>[shape]``."""
    lines = sorted(f"{name}\t{list(value.shape)}\n" for name, value in state.items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def little_endian(tensor: Tensor) -> bytes:
    """The values as little-endian float32."""
    return tensor.detach().numpy().astype("<f4").tobytes()


def sampled(frames: Tensor, step: int) -> dict[str, Tensor]:
    """Every n-th pixel, and means along rows and columns, of ``(..., C, H, W)``."""
    return {
        "pixels": frames[..., ::step, ::step],
        "rows": frames.mean((-3, -1)),
        "columns": frames.mean((-3, -2)),
    }


def limit(dtype: torch.dtype) -> float:
    """Largest error that rounding explains; mistakes are 100 times as large."""
    return 1e-5 if dtype == torch.float32 else 1e-6
