"""What OASIS adds for training without Wan, and for prompts of one token."""

from __future__ import annotations

import pytest
import torch
from diffusers.models.transformers.transformer_wan import WanAttnProcessor

import oasis_parts as parts
from upframe.errors import WeightsError
from upframe.systems.diffusion.autoencoder import Autoencoder, AutoencoderConfig
from upframe.systems.oasis.attention import SingleTokenProcessor
from upframe.systems.oasis.initial_estimate import EstimateConfig, InitialEstimate
from upframe.systems.oasis.model import OASIS, OasisConfig

GUESS = OasisConfig(guess=EstimateConfig(width=6, blocks=1))


def guessing(channels: int = 12 + 4) -> OASIS:
    vae = Autoencoder(AutoencoderConfig((4, 4, 4, 4), 4, 1))
    return OASIS(parts.transformer(channels), vae, GUESS).eval()


def test_the_transformer_sees_the_guess_and_corrects_it() -> None:
    system = guessing()
    clip = parts.clip(3)
    assert isinstance(system.guess, InitialEstimate)
    last = system.transformer.proj_out
    with torch.inference_mode():
        x = torch.cat(list(system._inputs(clip.unbind(1), [], 0, 0)), dim=2)  # type: ignore[arg-type]
        guess = system.guess(x)
        correction = system.transformer(
            torch.cat((x, guess), 1),
            torch.tensor([399.0]),
            torch.zeros(1, 1, 8),
            return_dict=False,
        )[0]
        torch.testing.assert_close(system.latents(clip), guess + correction)
        last.weight.zero_()
        last.bias.zero_()
        torch.testing.assert_close(system.latents(clip), guess)
        # a frame's guess does not depend on other frames
        torch.testing.assert_close(system.guess(x[:, :, 1:2]), guess[:, :, 1:2])


def test_a_transformer_without_room_for_the_guess_is_refused() -> None:
    with pytest.raises(WeightsError, match="need 16 to 4"):
        guessing(12)


def test_cross_attention_to_one_token_is_that_tokens_value() -> None:
    block = parts.system().transformer.blocks[0]
    single = block.attn2.processor
    assert isinstance(single, SingleTokenProcessor)
    assert isinstance(single.usual, WanAttnProcessor)
    x = torch.randn(2, 7, 48, generator=torch.Generator().manual_seed(0))
    for tokens in (1, 3):
        prompt = torch.randn(2, tokens, 48, generator=torch.Generator().manual_seed(1))
        with torch.inference_mode():
            wanted = WanAttnProcessor()(block.attn2, x, prompt)
            torch.testing.assert_close(single(block.attn2, x, prompt), wanted)


def test_routing_again_does_not_stack_processors() -> None:
    system = parts.system()
    system.set_routing(parts.routing(system.transformer, "frame", "window", "global"))
    assert isinstance(
        system.transformer.blocks[0].attn2.processor.usual, WanAttnProcessor
    )
