"""UltraVSR's recurrent temporal shift equals the authors' modules."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from golden.fixtures import Fixture, limit
from upframe.systems.ultravsr.model import RecurrentTemporalShift, RTSConv

FIXTURE = Fixture("ultravsr_rts")
CASES = list(FIXTURE.cases)


def _outputs(case: str, dtype: torch.dtype) -> dict[str, Tensor]:
    about = FIXTURE.cases[case]
    kind = {"RTSConv": RTSConv, "RecurrentTemporalShift": RecurrentTemporalShift}
    module = kind[about["upframe"]["cls"]](about["upframe"]["channels"]).eval()
    FIXTURE.fill(case, module)
    FIXTURE.check_state(case, module)
    given = FIXTURE.input(case)
    FIXTURE.check_input(case, given)
    x, frames = given.to(dtype), about["frames"]
    module = module.to(dtype)
    if isinstance(module, RTSConv):
        return {"conv": module(x, frames=frames)}
    return {
        "conv": module.RTSConv(x, frames=frames),
        "attention": module.RTSAtten(x, frames=frames),
        "both": module(x, frames=frames),
    }


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_the_authors_module(case: str, dtype: torch.dtype) -> None:
    with torch.inference_mode():
        outputs = _outputs(case, dtype)
    assert outputs.keys() == FIXTURE.cases[case]["steps"].keys()
    for output, out in outputs.items():
        step = FIXTURE.cases[case]["steps"][output]
        parts = {"channels": out[:, ::step], "means": out.mean((-2, -1))}
        for part, values in parts.items():
            error = FIXTURE.error(f"{case}.{output}.{part}", values)
            assert error < limit(dtype), (output, part, error)
