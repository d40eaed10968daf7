"""The plan of memory against what torch's profiler sees, and at full size."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from torch.profiler import ProfilerActivity, profile

import oasis_parts as parts
from upframe.errors import RuntimeFailure, UsageError
from upframe.systems.diffusion.live_memory import live_bytes
from upframe.systems.oasis.components import WAN_1_3B
from upframe.systems.oasis.memory import MemoryPlan, plan_memory
from upframe.systems.oasis.model import OASIS, Chunking

CUT = Chunking(length=2, context=0, blend=0)


def test_it_counts_what_is_alive_at_once() -> None:
    def work() -> None:
        a = torch.empty(1000, device="meta")  # 4000 bytes
        b = a.view(10, 100)  # nothing
        c = b + 1  # 4000
        del a, b
        torch.cat((c, c))  # 8000, with c alone

    assert live_bytes(work) == 12_000


def test_on_a_cpu_it_is_what_the_profiler_sees(tmp_path: Path) -> None:
    system = parts.system("window", "global", "frame")
    system.save_pretrained(tmp_path)
    plan = plan_memory(OASIS.on_meta(tmp_path), 32, 32, chunking=CUT)
    frames = parts.clip(9, 32, 32).unbind(1)
    with (
        torch.inference_mode(),
        profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen,
    ):
        for _ in system.stream(frames, chunking=CUT):
            pass
    events = [
        event
        for event in seen.profiler.kineto_results.events()
        if event.name() == "[memory]"
    ]
    peak = live = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        live += event.nbytes()
        peak = max(peak, live)
    assert peak <= plan.working < 1.25 * peak
    values = (*system.parameters(), *system.buffers())
    assert plan.weights == sum(4 * value.numel() for value in values)


def test_longer_chunks_take_more_and_half_precision_less(tmp_path: Path) -> None:
    parts.system("window", "global", "frame").save_pretrained(tmp_path)
    plain = OASIS.on_meta(tmp_path)
    half = OASIS.on_meta(tmp_path, torch.bfloat16)
    assert half.transformer.blocks[0].scale_shift_table.dtype == torch.float32
    loaded = OASIS.from_pretrained(tmp_path, dtype=torch.bfloat16)
    kinds = {name: p.dtype for name, p in loaded.named_parameters()}
    assert kinds == {name: p.dtype for name, p in half.named_parameters()}
    plan, less = (
        plan_memory(system, 16, 16, chunking=CUT, on_cpu=False)
        for system in (plain, half)
    )
    assert less.weights < 0.7 * plan.weights
    assert less.working < 0.9 * plan.working
    longer = plan_memory(half, 16, 16, chunking=Chunking(4, 0, 0), on_cpu=False)
    assert longer.working > less.working


def test_the_full_size_can_be_planned_on_any_machine() -> None:
    with torch.device("meta"):
        own = WanTransformer3DModel(**{**WAN_1_3B, "in_channels": 48, "num_layers": 2})
        system = OASIS(own, AutoencoderKLWan()).eval()
    plan = plan_memory(system, 90, 160, chunking=CUT, on_cpu=False)
    # at least the finest features of the decoder: 96 channels, 4 frames, float32
    assert plan.working > 4 * 96 * 4 * 360 * 640


def test_what_does_not_fit_is_refused() -> None:
    MemoryPlan(2**30, 2**30).require(2**31)
    with pytest.raises(RuntimeFailure, match=r"2\.00 GiB.*there are 1\.00 GiB"):
        MemoryPlan(2**30, 2**30).require(2**30)
    with pytest.raises(UsageError, match="on_meta"):
        plan_memory(parts.system(), 16, 16)
