"""OASIS: sizes, the one pass, chunks against whole clips, files, errors."""

from __future__ import annotations

import importlib
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from safetensors.torch import load_file, save_file

import oasis_parts as parts
from upframe.errors import MissingExtraError, RuntimeFailure, UsageError, WeightsError
from upframe.systems.diffusion.autoencoder import Autoencoder, AutoencoderConfig
from upframe.systems.diffusion.components import file_sha256
from upframe.systems.oasis.components import WAN_1_3B, input_channels
from upframe.systems.oasis.files import CONFIG, ROUTING
from upframe.systems.oasis.model import OASIS, Chunking, OasisConfig
from upframe.systems.oasis.routed_attention import HeadKind

LOCAL: tuple[HeadKind, ...] = ("frame", "window", "window")
MIXED: tuple[HeadKind, ...] = ("window", "global", "frame")


def test_the_full_size_has_the_papers_number_of_parameters() -> None:
    with torch.device("meta"):
        vae = AutoencoderKLWan()
        channels = input_channels(4, 8, 4)
        wan = WanTransformer3DModel(**WAN_1_3B)
        own = WanTransformer3DModel(**{**WAN_1_3B, "in_channels": channels})
        system = OASIS(own, vae)
    dim, ffn, text, freq = 12 * 128, 8960, 4096, 256
    square = dim * dim + dim  # a linear layer of dim to dim with its bias
    attention = 4 * square + 2 * dim  # q, k, v, out, and the norms of q and k
    feed_forward = 2 * dim * ffn + ffn + dim
    block = 2 * attention + 2 * dim + feed_forward + 6 * dim  # norm2, modulation
    conditions = (freq * dim + dim + square) + 6 * square + (text * dim + dim + square)
    output = dim * 64 + 64 + 2 * dim
    assert block == 46_440_704
    for model, inputs in ((wan, 16), (own, 48)):
        embedding = inputs * 4 * dim + dim
        count = sum(p.numel() for p in model.parameters())
        assert count == embedding + conditions + 30 * block + output
        assert round(count / 1e9, 3) == 1.419
    assert count == 1_419_193_408
    trainable = sum(p.numel() for p in system.parameters() if p.requires_grad)
    assert trainable == count  # all of the transformer, nothing of the autoencoder


@pytest.mark.parametrize(
    ("frames", "height", "width"), [(1, 16, 16), (2, 17, 23), (5, 3, 1), (8, 16, 20)]
)
def test_any_clip_comes_out_four_times_larger(
    frames: int, height: int, width: int
) -> None:
    system = parts.system(*MIXED)
    with torch.inference_mode():
        out = system(parts.clip(frames, height, width))
    assert out.shape == (1, frames, 3, 4 * height, 4 * width)
    assert out.isfinite().all()


def test_the_decoder_equals_that_of_diffusers() -> None:
    system = parts.system()
    frames = parts.clip(9)
    with torch.inference_mode():
        z = system.latents(frames)
        assert z.shape == (1, 4, 3, 8, 10)
        config = system.vae.config
        mean, std = (
            torch.tensor(x).view(1, -1, 1, 1, 1)
            for x in (config.latents_mean, config.latents_std)
        )
        wanted = system.vae.decode(z * std + mean, return_dict=False)[0]
        got = system(frames)
    wanted = wanted.transpose(1, 2) * 0.5 + 0.5
    torch.testing.assert_close(got.clamp(0, 1), wanted, rtol=0, atol=1e-6)


def test_routing_changes_the_result_and_all_global_is_diffusers_own() -> None:
    system = parts.system()
    frames = parts.clip(9)
    plain = parts.transformer()
    x = torch.randn(1, 48, 3, 8, 10, generator=torch.Generator().manual_seed(1))
    given = (x, torch.tensor([399.0]), torch.zeros(1, 1, 8))
    with torch.inference_mode():
        wanted = plain(*given, return_dict=False)[0]
        got = system.transformer(*given, return_dict=False)[0]
        torch.testing.assert_close(got, wanted, rtol=0, atol=1e-5)
        before = system(frames)
        system.set_routing(parts.routing(system.transformer, *LOCAL))
        assert (system(frames) - before).abs().max() > 1e-3


@pytest.mark.parametrize("frames", [1, 4, 9, 29, 30, 46])
def test_chunks_equal_the_whole_clip_where_no_head_is_global(frames: int) -> None:
    # the random decoder magnifies rounding to 1.8e-5 in single precision
    system = parts.system(*LOCAL, noise_level=0.3).double()
    clip = parts.clip(frames, 16, 16).double()
    chunking = Chunking(length=9, context=parts.LAYERS, blend=2)
    with torch.inference_mode():
        whole = system(clip, seed=5)
        chunked = torch.stack(
            list(system.stream(clip.unbind(1), chunking=chunking, seed=5)), dim=1
        )
    torch.testing.assert_close(chunked, whole, rtol=0, atol=1e-5)
    assert (chunked - whole).abs().mean() < 1e-6


def test_too_little_context_or_global_heads_show_at_cuts() -> None:
    """So the test above could fail."""
    clip = parts.clip(46, 16, 16)
    for kinds, context in ((LOCAL, 0), (MIXED, parts.LAYERS)):
        system = parts.system(*kinds)
        chunking = Chunking(length=9, context=context, blend=2)
        with torch.inference_mode():
            chunked = list(system.stream(clip.unbind(1), chunking=chunking))
            gap = torch.stack(chunked, dim=1) - system(clip)
        assert gap.abs().max() > 1e-4


def test_a_stream_holds_no_more_frames_than_a_chunk_needs() -> None:
    system = parts.system(*MIXED)
    chunking = Chunking(length=3, context=0, blend=1)
    taken = 0

    def frames():  # type: ignore[no-untyped-def]
        nonlocal taken
        for frame in parts.clip(60, 8, 8).unbind(1):
            taken += 1
            yield frame

    ahead = []
    with torch.inference_mode():
        for shown, _ in enumerate(system.stream(frames(), chunking=chunking), 1):
            ahead.append(taken - shown)
    assert shown == 60
    assert max(ahead) <= 4 * (chunking.length + 1)


def test_noise_belongs_to_the_seed_and_the_number_of_the_frame() -> None:
    system = parts.system(*LOCAL, noise_level=0.5)
    clip = parts.clip(5)

    def run(**how: int) -> torch.Tensor:
        with torch.inference_mode():
            return torch.stack(list(system.stream(clip.unbind(1), **how)))

    assert torch.equal(run(seed=1), run(seed=1))
    assert not torch.equal(run(seed=1), run(seed=2))
    assert not torch.equal(run(seed=1), run(seed=1, first=7))


def test_without_noise_the_seed_means_nothing() -> None:
    system = parts.system(*MIXED)
    clip = parts.clip(5)
    with torch.inference_mode():
        assert torch.equal(system(clip, seed=1), system(clip, seed=2))


def test_training_moves_the_transformer_alone() -> None:
    system = parts.system(*MIXED).train()
    assert not system.vae.training
    clip = parts.clip(5)
    target = torch.full((1, 4, 2, 8, 10), 0.5)
    frozen = [p.clone() for p in system.vae.parameters()]
    optimiser = torch.optim.Adam(
        [p for p in system.parameters() if p.requires_grad], lr=1e-2
    )
    losses = []
    for _ in range(6):
        loss = (system.latents(clip) - target).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
    # attention to the one token of the prompt asks no queries
    silent = ("norm2", "attn2.to_q", "attn2.to_k", "attn2.norm_q", "attn2.norm_k")
    for name, parameter in system.transformer.named_parameters():
        assert (parameter.grad is None) == any(part in name for part in silent), name
    after = system.vae.parameters()
    assert all(torch.equal(a, b) for a, b in zip(frozen, after, strict=True))


def test_a_loss_on_pictures_reaches_the_transformer() -> None:
    system = parts.system(*MIXED).train()
    system(parts.clip(5)).square().mean().backward()
    assert system.transformer.patch_embedding.weight.grad.abs().sum() > 0


def test_gradient_checkpointing_gives_the_same_gradients() -> None:
    clip = parts.clip(9)
    gradients = []
    for checkpointing in (False, True):
        system = parts.system(*MIXED).train()
        if checkpointing:
            system.transformer.enable_gradient_checkpointing()
        system.latents(clip).square().mean().backward()
        gradients.append(system.transformer.blocks[0].attn1.to_q.weight.grad)
    torch.testing.assert_close(gradients[0], gradients[1])


def test_without_diffusers_the_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "upframe.systems.oasis.model")
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(MissingExtraError, match=r"upframe\[diffusion\]"):
        importlib.import_module("upframe.systems.oasis.model")


def test_a_decoder_of_pictures_works_too() -> None:
    vae = Autoencoder(AutoencoderConfig((4, 4, 4, 4), 4, 1, scaling_factor=2.0))
    system = OASIS(parts.transformer(12), vae).eval()
    clip = parts.clip(3)
    with torch.inference_mode():
        out = system(clip)
        z = system.latents(clip)
        assert z.shape[2] == 3
        wanted = vae.decoder(z[:, :, 1] / 2) * 0.5 + 0.5
    assert out.shape == (1, 3, 3, 64, 80)
    torch.testing.assert_close(out[:, 1], wanted)
    with pytest.raises(UsageError, match="type Autoencoder"):
        system.save_pretrained(Path("never"))


def test_half_precision_stays_near_and_overflow_is_said() -> None:
    system = parts.system(*MIXED)
    clip = parts.clip(5)
    with torch.inference_mode():
        wanted = system(clip)
        system.transformer.to(torch.bfloat16)
        assert (system(clip) - wanted).abs().mean() < 0.02
        system.transformer.to(torch.float16)
        system.transformer.proj_out.weight.data.fill_(6e4)
        with pytest.raises(RuntimeFailure, match="transformer's output"):
            system(clip)


def test_saved_and_loaded_it_is_the_same(tmp_path: Path) -> None:
    system = parts.system(*MIXED, timestep=200.0)
    system.save_pretrained(tmp_path)
    again = OASIS.from_pretrained(tmp_path, pin=file_sha256(tmp_path / CONFIG))
    assert again.routing == system.routing
    assert again.config.timestep == 200.0
    clip = parts.clip(5)
    with torch.inference_mode():
        assert torch.equal(again(clip), system(clip))
    half = OASIS.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert half.transformer.proj_out.weight.dtype == torch.bfloat16
    assert half.transformer.blocks[0].scale_shift_table.dtype == torch.float32


def test_files_that_are_not_those_pinned_are_refused(tmp_path: Path) -> None:
    parts.system(*MIXED).save_pretrained(tmp_path)
    weights = tmp_path / "transformer" / "diffusion_pytorch_model.safetensors"
    state = load_file(weights)
    state["proj_out.bias"] = state["proj_out.bias"] + 1
    save_file(state, weights)
    with pytest.raises(WeightsError, match="not the file that was pinned"):
        OASIS.from_pretrained(tmp_path)
    weights.unlink()
    with pytest.raises(WeightsError, match=r"model.safetensors is missing"):
        OASIS.from_pretrained(tmp_path)
    with pytest.raises(WeightsError, match="not the file that was pinned"):
        OASIS.from_pretrained(tmp_path, pin="0" * 64)


def test_a_config_without_pins_or_sense_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="cannot be read"):
        OASIS.from_pretrained(tmp_path)
    parts.system(*MIXED).save_pretrained(tmp_path)
    said = json.loads((tmp_path / CONFIG).read_text())
    kept = {name: pin for name, pin in said["files"].items() if "vae" not in name}
    (tmp_path / CONFIG).write_text(json.dumps({**said, "files": kept}))
    with pytest.raises(WeightsError, match="names no files of vae"):
        OASIS.from_pretrained(tmp_path)
    (tmp_path / CONFIG).write_text(json.dumps({**said, "version": 2}))
    with pytest.raises(WeightsError, match="version"):
        OASIS.from_pretrained(tmp_path)


def test_wan_gets_a_new_patch_embedding(tmp_path: Path) -> None:
    wan = parts.transformer(channels=4)
    wan.save_pretrained(tmp_path / "transformer")
    with pytest.raises(WeightsError, match="lacks the component vae"):
        OASIS.from_wan(tmp_path)
    parts.autoencoder().save_pretrained(tmp_path / "vae")
    system = OASIS.from_wan(tmp_path)
    assert system.transformer.config.in_channels == 48
    assert system.transformer.patch_embedding.weight.shape == (48, 48, 1, 2, 2)
    mine, theirs = system.transformer.state_dict(), wan.state_dict()
    for name, value in theirs.items():
        if not name.startswith("patch_embedding"):
            assert torch.equal(mine[name], value), name
    with torch.inference_mode():
        assert system(parts.clip(2)).isfinite().all()
    pins = {"vae/config.json": "0" * 64}
    with pytest.raises(WeightsError, match="pinned"):
        OASIS.from_wan(tmp_path, pins=pins)
    (tmp_path / "vae" / "config.json").unlink()
    parts.transformer().save_pretrained(tmp_path / "vae")
    with pytest.raises(WeightsError, match="holds a WanTransformer3DModel"):
        OASIS.from_wan(tmp_path)


def test_a_hub_needs_a_commit_and_offline_needs_an_earlier_fetch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UsageError, match="needs a commit"):
        OASIS.from_pretrained("someone/oasis")
    with pytest.raises(UsageError, match="needs a commit"):
        OASIS.from_pretrained("someone/oasis", commit="main")
    with pytest.raises(WeightsError, match="is not stored here"):
        OASIS.from_pretrained("someone/oasis", commit="a" * 40, offline=True)
    with pytest.raises(WeightsError, match="There is no folder"):
        OASIS.from_pretrained(tmp_path / "none" / "such")


class _Empty(BaseHTTPRequestHandler):
    """A mirror that has nothing."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_error(404)

    def do_HEAD(self) -> None:
        self.send_error(404)

    def log_message(self, *what: object) -> None:
        pass


def test_a_mirror_is_asked_and_what_it_lacks_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    for proxy in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    with HTTPServer(("127.0.0.1", 0), _Empty) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        mirror = f"http://127.0.0.1:{server.server_port}"
        with pytest.raises(WeightsError, match=r"someone/oasis at aaaaaaaa could not"):
            OASIS.from_pretrained("someone/oasis", commit="a" * 40, mirror=mirror)
        server.shutdown()
    assert any("someone/oasis" in path for path in _Empty.asked)


def test_a_fetched_commit_is_found_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    stored = tmp_path / "models--someone--oasis" / "snapshots" / ("a" * 40)
    parts.system(*MIXED).save_pretrained(stored)
    found = OASIS.from_pretrained("someone/oasis", commit="a" * 40, offline=True)
    assert found.routing.layers[0].heads == MIXED


def test_components_that_do_not_fit_are_refused() -> None:
    with pytest.raises(WeightsError, match="maps 16 channels to 4"):
        OASIS(parts.transformer(16), parts.autoencoder())
    with pytest.raises(WeightsError, match="does not divide"):
        OASIS(parts.transformer(), parts.autoencoder(), OasisConfig(scale=3))
    with pytest.raises(WeightsError, match="prompt"):
        OASIS(parts.transformer(), parts.autoencoder(), prompt=torch.zeros(1, 4, 9))


def test_a_routing_for_another_model_is_refused(tmp_path: Path) -> None:
    system = parts.system(*MIXED)
    system.save_pretrained(tmp_path)
    other = system.routing.model_copy(update={"architecture": "0" * 64})
    other.save(tmp_path / "other.json")
    with pytest.raises(WeightsError, match="belongs to another model"):
        OASIS.from_pretrained(tmp_path, routing=tmp_path / "other.json")
    (tmp_path / "torn.json").write_text((tmp_path / ROUTING).read_text()[:60])
    with pytest.raises(WeightsError, match="not valid"):
        OASIS.from_pretrained(tmp_path, routing=tmp_path / "torn.json")


def test_what_is_no_clip_is_refused() -> None:
    system = parts.system(*MIXED)
    with pytest.raises(UsageError, match="is no clip"):
        system(torch.zeros(1, 3, 16, 16))
    with pytest.raises(UsageError, match="is no clip"):
        system(torch.zeros(1, 0, 3, 16, 16))
    with pytest.raises(UsageError, match="is no clip"):
        system.latents(torch.zeros(1, 0, 3, 16, 16))
    sizes = [torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 16, 20)]
    with pytest.raises(UsageError, match="All frames of a clip have one size"):
        list(system.stream(sizes))
    with pytest.raises(UsageError, match="larger than the transformer's 64 patches"):
        system(torch.zeros(1, 1, 3, 4, 300))
    with pytest.raises(UsageError, match="cannot overlap"):
        Chunking(length=6, context=1, blend=2)
    assert list(system.stream([])) == []
