"""Parts of checkpoints, and what is said where a checkpoint holds another network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from upframe.errors import WeightsError
from upframe.training.stages import building, part_of


def test_a_part_loses_its_prefix_once_and_the_rest_is_left_out() -> None:
    one, two = torch.ones(1), torch.ones(2)
    state = {"vae.vae.x": one, "vae.y": two, "unet.x": one, "vaexx": one}
    part = part_of(state, "vae.")
    assert part == {"vae.x": one, "y": two}
    assert part["y"] is two


def test_the_message_names_file_network_reason_and_recipe() -> None:
    state = {"weight": torch.zeros(3, 2), "bias": torch.zeros(3)}
    with (
        pytest.raises(WeightsError, match=r"last\.ckpt holds no prior") as raised,
        building("prior", Path("last.ckpt"), "liftvsr-nano-prior"),
    ):
        nn.Linear(2, 4).load_state_dict(state)
    assert "size mismatch for bias" in raised.value.message
    assert "recipes/liftvsr-nano-prior.yaml" in raised.value.advice


def test_errors_that_say_more_already_pass() -> None:
    with (
        pytest.raises(WeightsError, match="no autoencoder"),
        building("prior", Path("last.ckpt"), "liftvsr-nano-prior"),
    ):
        raise WeightsError("x holds no autoencoder.")
