from __future__ import annotations

import pytest
import torch

import ultravsr_parts as parts
from upframe.errors import RuntimeFailure
from upframe.systems.diffusion.live_memory import live_bytes
from upframe.systems.ultravsr.backbones import SD21_UNET, SD21_VAE
from upframe.systems.ultravsr.degradation_estimator import DegradationEstimator
from upframe.systems.ultravsr.memory import plan_memory, planned_session
from upframe.systems.ultravsr.model import UltraVSR
from upframe.systems.ultravsr.stream import Options, Session


def system() -> UltraVSR:
    return UltraVSR(
        parts.unet(), parts.vae(), parts.alphas(), text=parts.text(), scale=2
    ).eval()


@pytest.mark.parametrize("chunk", [1, 3])
def test_memory_does_not_grow_and_is_as_planned(chunk: int) -> None:
    model, options = system(), Options(factor=0.5, chunk=chunk)

    def peak(frames: int) -> int:
        session = Session(model, options)

        def run() -> None:
            for _ in range(frames):
                session.push(torch.zeros(1, 3, 24, 32))

        return live_bytes(run)

    filled = peak(15)  # 12 frames fill the streams
    assert peak(18) == filled
    assert filled < plan_memory(model, (24, 32), options).working < 1.5 * filled


def test_the_plan_knows_chunks_tiles_and_offloading() -> None:
    model = system()
    model.estimator = DegradationEstimator(4)
    plain = plan_memory(model, (24, 32))
    assert plan_memory(model, (24, 32), Options(chunk=4)).working > plain.working
    assert plan_memory(model, (48, 64)).working > 3 * plain.working
    offloaded = plan_memory(model, (24, 32), Options(offload=True))
    assert offloaded.weights == plain.weights - min(plain.unet, plain.vae)
    assert plain.estimator == sum(p.nbytes for p in model.estimator.parameters())
    assert "GiB" in str(plain)
    assert "one network at a time" in str(offloaded)


def test_the_plan_is_announced_before_anything_runs() -> None:
    said: list[str] = []
    model = system().to(torch.bfloat16)
    session = planned_session(model, (12, 16), Options(factor=0.5), said.append)
    assert len(said) == 1
    assert said[0].startswith("memory: ")
    assert len(session.push(torch.zeros(2, 3, 12, 16)) + session.flush()) == 2
    half = plan_memory(model, (12, 16))
    assert half.unet == 2 * sum(p.numel() for p in model.unet.parameters())
    with pytest.raises(RuntimeFailure, match="smaller tiles"):
        planned_session(model, (12, 16), None, lambda _: None, available=1000)


@pytest.mark.slow
def test_full_size_is_planned_without_weights() -> None:
    diffusers = pytest.importorskip("diffusers")
    with torch.device("meta"):
        model = UltraVSR(
            diffusers.UNet2DConditionModel(**SD21_UNET),
            diffusers.AutoencoderKL(**SD21_VAE),
            parts.alphas(),
            text=torch.zeros(1, 77, 1024),
        ).half()
    plan = plan_memory(model, (180, 320), Options(tile=96))
    print(plan)
    assert plan.unet == 2 * (865_910_724 + 5_546_172)
    assert 1e9 < plan.working < 2e10
