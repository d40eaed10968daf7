from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

import ultravsr_parts as parts
from upframe.errors import UsageError
from upframe.nn.images import upsample
from upframe.systems.diffusion.autoencoder import Autoencoder, AutoencoderConfig
from upframe.systems.ultravsr.backbones import decoder_stages, place_in_vae
from upframe.systems.ultravsr.model import UltraVSR
from upframe.systems.ultravsr.rts import RecurrentTemporalShift
from upframe.systems.ultravsr.stream import Options, Session, _TiledStream, plan_grid

GIVEN = Options(factor=0.6)


def system(**settings: Any) -> UltraVSR:
    """Random everywhere, the temporal modules too."""
    arguments = {"text": parts.text(), "scale": 2, **settings}
    model = UltraVSR(parts.unet(), parts.vae(), parts.alphas(), **arguments)
    for module in model.modules():
        if isinstance(module, RecurrentTemporalShift):
            parts.shaken(module, 0)
    return model.eval()


def clip(frames: int, height: int = 10, width: int = 14) -> Tensor:
    generator = torch.Generator().manual_seed(frames)
    return torch.rand(frames, 3, height, width, generator=generator)


def streamed(
    model: UltraVSR, frames: Tensor, options: Options, sizes: int | list[int] = 1
) -> Tensor:
    session = Session(model, options)
    done = [out for part in torch.split(frames, sizes) for out in session.push(part)]
    return torch.stack(done + session.flush())


def brightness(pictures: Tensor) -> Tensor:
    """An estimator whose answer depends on what it is shown."""
    return pictures.mean((1, 2, 3))


@pytest.mark.parametrize("chunk", [1, 2, 5])
def test_a_stream_equals_the_whole_clip(chunk: int) -> None:
    model, frames = system(estimator=brightness), clip(12)
    with torch.no_grad():
        whole = model(frames[None], seed=3, first_index=40, colours="none")[0]
        still = model(frames[None].flip(1), seed=3, first_index=40, colours="none")[0]
    options = Options(chunk=chunk, seed=3, first_index=40, colours="none")
    out = streamed(model, frames, options)
    torch.testing.assert_close(out, whole, rtol=0, atol=1e-5)
    assert not torch.allclose(whole, still.flip(0), atol=1e-3)  # time matters at all


def test_a_model_has_colours_of_its_own() -> None:
    frames = clip(3)
    wavelet, plain = system(), system(colours="none")
    asked = streamed(wavelet, frames, replace(GIVEN, colours="none"))
    assert torch.equal(streamed(plain, frames, GIVEN), asked)
    assert not torch.equal(streamed(wavelet, frames, GIVEN), asked)
    with torch.no_grad():
        whole = plain(frames[None], torch.tensor([GIVEN.factor]))[0]
    torch.testing.assert_close(asked, whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("frames", [1, 2, 9, 10])
@pytest.mark.parametrize("colours", ["wavelet", "adain"])
def test_clips_of_any_length(frames: int, colours: str) -> None:
    model, x = system(estimator=brightness), clip(frames)
    with torch.no_grad():
        whole = model(x[None], colours=colours)[0]
    out = streamed(model, x, Options(chunk=4, colours=colours), sizes=3)
    torch.testing.assert_close(out, whole, rtol=0, atol=1e-5)


def test_how_frames_are_pushed_does_not_matter() -> None:
    model, frames = system(), clip(7)
    one = streamed(model, frames, replace(GIVEN, chunk=2), sizes=[1, 1, 1, 1, 1, 1, 1])
    other = streamed(model, frames, replace(GIVEN, chunk=2), sizes=[5, 2])
    assert torch.equal(one, other)


def test_a_session_holds_a_bounded_number_of_frames() -> None:
    model, frames = system(), clip(40, 4, 4)
    session, held = Session(model, GIVEN), []
    done = 0
    for number, frame in enumerate(torch.split(frames, 1)):
        done += len(session.push(frame))
        held.append(number + 1 - done)
    # two frames for each of four modules in the UNet and two in the decoder
    assert max(held) == held[-1] == held[12] == 12
    assert done + len(session.flush()) == 40


def test_a_session_can_be_used_again_and_may_be_empty() -> None:
    model = system(estimator=brightness)
    session = Session(model, Options(chunk=2))
    assert session.flush() == []
    for frames in (clip(3), clip(11)):
        out = torch.stack(session.push(frames) + session.flush())
        with torch.no_grad():
            whole = model(frames[None])[0]
        torch.testing.assert_close(out, whole, rtol=0, atol=1e-5)


def test_each_frame_may_have_its_text() -> None:
    model, frames = system(), clip(5)
    texts = torch.cat([parts.text(n) for n in range(5)])
    session = Session(model, replace(GIVEN, chunk=2, colours="none"))
    out = torch.stack(session.push(frames, texts) + session.flush())
    plain = streamed(model, frames, replace(GIVEN, colours="none"))
    same = texts[:1].expand(5, -1, -1)
    session = Session(model, replace(GIVEN, colours="none"))
    again = torch.stack(session.push(frames, same) + session.flush())
    assert not torch.allclose(out, plain, atol=1e-4)
    torch.testing.assert_close(again, plain, rtol=0, atol=1e-5)


def test_one_tile_is_the_whole_picture() -> None:
    model, frames = system(), clip(3)
    whole = streamed(model, frames, GIVEN)
    out = streamed(model, frames, replace(GIVEN, tile=64, overlap=8))
    assert torch.equal(out, whole)


def test_tiles_of_a_network_without_global_layers_join_exactly() -> None:
    own = Autoencoder(AutoencoderConfig((4, 8), latent_channels=4, layers_per_block=1))
    place_in_vae(own)
    parts.shaken(own, 1)
    for module in own.modules():
        if isinstance(module, RecurrentTemporalShift):
            # the attention of the temporal modules reaches over the whole picture
            module.RTSAtten.project_out.weight.data.zero_()
    model = UltraVSR(parts.unet(), own, parts.alphas(), text=parts.text(), scale=2)
    grid = plan_grid(model, Options(tile=62, overlap=28), (20, 192))
    assert len(grid) == 2
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(4, 4, 10, 96, generator=generator)
    with torch.no_grad():
        whole = decoder_stages(own)(z, 4)
        stream = _TiledStream(decoder_stages(own), grid, 2)
        outs = [stream.push(part) for part in torch.split(z, 2)] + [stream.flush()]
    joined = torch.cat([out for out in outs if out is not None])
    torch.testing.assert_close(joined, whole, rtol=0, atol=1e-5)


def test_tiles_run_the_whole_system() -> None:
    model, frames = system(), clip(3, 20, 40)
    options = replace(GIVEN, tile=24, overlap=8, colours="none")
    assert len(plan_grid(model, options, (40, 80))) == 2
    whole = streamed(model, frames, replace(GIVEN, colours="none"))
    out = streamed(model, frames, options)
    assert out.shape == whole.shape == (3, 3, 40, 80)
    # far from the seam nothing but the statistics of a tile differs
    difference = (out - whole).abs().mean()
    assert 0 < difference < 0.2 * (whole - upsample(frames, 2)).abs().mean()


def test_offloading_changes_nothing_and_leaves_networks_in_main_memory() -> None:
    model, frames = system(), clip(4)
    whole = streamed(model, frames, GIVEN)
    out = streamed(model, frames, replace(GIVEN, offload=True))
    assert torch.equal(out, whole)
    assert next(model.unet.parameters()).device.type == "cpu"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"chunk": 0}, "chunk of 0"),
        ({"tile": 40, "overlap": 32}, "cannot overlap"),
        ({"colours": "sepia"}, "'sepia'"),
        ({"seed": -1}, "seed of -1"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(settings: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Options(**settings)


def test_networks_that_are_elsewhere_are_refused() -> None:
    with pytest.raises(UsageError, match="set offload"):
        Session(system(), GIVEN, device="cuda")


def test_frames_that_do_not_fit_are_refused() -> None:
    session = Session(system(), GIVEN)
    with pytest.raises(ValueError, match=r"\(n, 3, h, w\)"):
        session.push(torch.zeros(3, 8, 8))
    session.push(clip(1))
    with pytest.raises(ValueError, match="one size"):
        session.push(clip(1, 8, 8))
    with pytest.raises(ValueError, match="one size"):
        session.push(clip(1), parts.text())
