"""Archives and tensors that are not what they claim to be."""

from __future__ import annotations

import json
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import upframe
from material import reference
from upframe.engine.models import resolve_model
from upframe.errors import WeightsError
from upframe.systems.ditn.model import DITN
from upframe.weights.checkpoints import read_checkpoint

STATE = DITN(2, dim=8, n_itl=1, n_sal=1).state_dict()


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.pth"
    torch.save(STATE, path)
    return path


def test_the_old_format_of_torch_is_read(tmp_path: Path) -> None:
    path = tmp_path / "old.pth"
    torch.save({"params": STATE}, path, _use_new_zipfile_serialization=False)
    state = read_checkpoint(path).state
    assert state.keys() == STATE.keys()
    assert all(torch.equal(state[key], STATE[key]) for key in STATE)


def test_one_flipped_bit_is_found(good: Path) -> None:
    value = STATE["conv_after_body.weight"]
    content = bytearray(good.read_bytes())
    place = bytes(content).index(value.numpy().tobytes()) + 5
    content[place] ^= 1
    good.write_bytes(content)
    with pytest.raises(WeightsError, match="checksum"):
        read_checkpoint(good)


def test_a_compressed_archive_is_not_unpacked(tmp_path: Path, good: Path) -> None:
    bomb = tmp_path / "bomb.pth"
    with (
        zipfile.ZipFile(good) as source,
        zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for record in source.infolist():
            target.writestr(record.filename, source.read(record))
    with pytest.raises(WeightsError, match="compressed"):
        read_checkpoint(bomb)


def test_an_archive_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "release.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("README.txt", "weights inside")
    with pytest.raises(WeightsError, match="not a PyTorch checkpoint"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda v: v[:1].expand(10**6, -1, -1, -1), "claims more values"),
        (lambda v: v.to_sparse(), "without plain values"),
        (lambda v: v.double() * torch.inf, "NaN or infinity"),
        (lambda v: (v * 100).to(torch.int8), "instead of floating-point"),
        (lambda v: v[0], "instead of"),
    ],
)
def test_tensors_that_are_no_weights(
    tmp_path: Path, spoil: Callable[[Tensor], Tensor], message: str
) -> None:
    path = tmp_path / "odd.pth"
    key = "conv_after_body.weight"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save({**STATE, key: spoil(STATE[key])}, path)
    with pytest.raises(WeightsError, match=message) as caught:
        upframe.load(path)
    assert key in str(caught.value)


def test_absurd_numbers_in_keys_make_no_absurd_network(tmp_path: Path) -> None:
    path = tmp_path / "odd.pth"
    torch.save({**STATE, "UFONE.999999999.ITLs.0.conv1.bias": torch.ones(8)}, path)
    with pytest.raises(WeightsError, match=r"lacks 'UFONE\.1\."):
        upframe.load(path)


def test_a_weight_file_upscales_a_video(
    good: Path, tmp_path: Path, clip: Callable[..., Path]
) -> None:
    source = clip("in.mp4", frames=3)
    report = upframe.upscale(source, tmp_path / "out.mp4", model=str(good), threads=1)
    assert (report.frames_out, report.model, report.runtime) == (3, "good", "torch")


def test_the_authors_file_through_the_engine() -> None:
    model = resolve_model(
        "balanced", str(reference("weights/ditn/DITN_Real_GAN_x4.pth"))
    )
    assert model.card.name == "DITN_Real_GAN_x4"
    with upframe.Upscaler(model=str(model.files["pth"]), threads=1) as upscaler:
        frame = torch.zeros(20, 30, 3, dtype=torch.uint8).numpy()
        (picture,) = upscaler.push(frame) + upscaler.flush()
    assert picture.shape == (80, 120, 3)


def test_a_header_of_any_length_is_no_pickle(tmp_path: Path) -> None:
    # the length comes first, and its lowest byte may be that of a pickle
    path = tmp_path / "w.safetensors"
    for extra in range(300):
        config = {"dim": 8, "note": "x" * extra}
        save_file({"w": torch.zeros(2)}, path, {"config": json.dumps(config)})
        if path.read_bytes()[:1] == b"\x80":
            break
    assert path.read_bytes()[:1] == b"\x80"
    assert read_checkpoint(path).declared == config
