"""Loading: what trainers write, and what the net delivers instead of weights."""

from __future__ import annotations

import contextlib
import pickle
import struct
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

import upframe
from material import reference
from upframe.errors import UpframeError, UsageError, WeightsError
from upframe.systems.ditn.model import DITN
from upframe.weights.index import PRESETS
from upframe.weights.loading import describe_file, load

NETWORK = DITN(2, dim=8, n_itl=1, n_sal=2)
STATE = NETWORK.state_dict()
PICTURE = torch.rand(1, 3, 16, 20)


def _equals(path: Path) -> None:
    loaded = load(path)
    assert not loaded.training
    with torch.inference_mode():
        assert torch.equal(loaded(PICTURE), NETWORK.eval()(PICTURE))


@pytest.mark.parametrize(
    "wrapper",
    [
        None,
        "params_ema",
        "params",
        "params-ema",
        "state_dict",
        "model_state_dict",
        "model",
        "net",
    ],
)
@pytest.mark.parametrize("prefix", ["", "module.", "netG.", "generator."])
def test_wrappers_and_prefixes(tmp_path: Path, wrapper: str, prefix: str) -> None:
    state: dict[str, object] = {prefix + k: v for k, v in STATE.items()}
    path = tmp_path / "w.pth"
    torch.save(state if wrapper is None else {wrapper: state, "iter": 7}, path)
    _equals(path)


def test_averaged_weights_are_preferred(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    zeros = {k: torch.zeros_like(v) for k, v in STATE.items()}
    torch.save({"params": zeros, "params_ema": STATE}, path)
    _equals(path)


def test_a_gan_checkpoint_keeps_its_discriminator(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    state = {f"generator.{k}": v for k, v in STATE.items()}
    torch.save({"state_dict": {**state, "discriminator.w": torch.ones(1)}}, path)
    _equals(path)


def test_safetensors_and_half_precision(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file({k: v.half() for k, v in STATE.items()}, path)
    loaded = load(path)
    assert next(loaded.parameters()).dtype == torch.float32
    assert next(load(path, dtype=torch.float64).parameters()).dtype == torch.float64


def test_the_residual_path_survives(tmp_path: Path) -> None:
    network = DITN(2, dim=8, n_itl=1, n_sal=1, residual=True).eval()
    path = tmp_path / "w.pth"
    torch.save(network.state_dict(), path)
    with torch.inference_mode():
        assert torch.equal(load(path)(PICTURE), network(PICTURE))


def test_the_authors_files() -> None:
    for name in ("DITN_Real_x4", "DITN_Real_GAN_x4"):
        path = reference(f"weights/ditn/{name}.pth")
        card = describe_file(path)
        assert (card.system, card.scale, card.parameters) == ("ditn", 4, 444_112)
        assert load(path)(PICTURE).shape == (1, 3, 64, 80)


def test_bundled_models_and_presets() -> None:
    x = torch.rand(1, 2, 3, 17, 30)
    with torch.inference_mode():
        by_name, by_preset = (upframe.load(n)(x) for n in (PRESETS["fast"], "fast"))
    assert by_name.shape == (1, 2, 3, 68, 120)
    assert torch.equal(by_name, by_preset)


def test_names_that_mean_nothing() -> None:
    with pytest.raises(UpframeError, match="no network"):
        load("bicubic")
    with pytest.raises(UsageError, match="Did you mean ditn-s"):
        load("dittn-s")
    with pytest.raises(UsageError, match="cuda:77"):
        load("ditn-s", device="cuda:77")


class _Harmful:
    def __reduce__(self) -> tuple[object, ...]:
        return (print, ("ran foreign code",))


def _bad_files(folder: Path) -> dict[str, Path]:
    files: dict[str, Path] = {}

    def put(name: str, data: bytes) -> None:
        files[name] = folder / name
        files[name].write_bytes(data)

    def keep(name: str, state: object) -> None:
        files[name] = folder / name
        torch.save(state, files[name])

    put("page.pth", b"\n <!DOCTYPE html><html>Quota exceeded</html>")
    put("pointer.pth", b"version https://git-lfs.github.com/spec/v1\noid sha256:0")
    put("empty.pth", b"")
    put("noise.pth", bytes(range(256)) * 8)
    put("harmful.pth", pickle.dumps({"params": _Harmful()}))
    put("header.safetensors", struct.pack("<Q", 2**62) + b"{}")
    put("short.safetensors", b"\x02\0\0")
    put("json.safetensors", struct.pack("<Q", 4) + b"nope")
    keep("good.pth", STATE)
    put("cut.pth", files.pop("good.pth").read_bytes()[:-4000])
    save_file(STATE, folder / "good.safetensors")
    put("cut.safetensors", (folder / "good.safetensors").read_bytes()[:-400])
    keep("nan.pth", {**STATE, "sft.bias": torch.full((8,), torch.nan)})
    keep("other.pth", {"conv.weight": torch.ones(3)})
    keep("number.pth", 7)
    keep("nothing.pth", {})
    keep("numbers.pth", {"params": {"a": 1}})
    keep("missing.pth", {k: v for k, v in STATE.items() if "temperature" not in k})
    keep("shape.pth", {**STATE, "conv_after_body.weight": torch.ones(8, 8, 1, 1)})
    keep("channels.pth", {**STATE, "sft.weight": torch.ones(8, 4, 3, 3)})
    keep("flat.pth", {**STATE, "sft.weight": torch.ones(8)})
    keep("zero.pth", {**STATE, "upsample.0.weight": torch.ones(1, 8, 3, 3)})
    keep("scalar.pth", {**STATE, "UFONE.0.ITLs.0.ffn.dwconv.weight": torch.ones(())})
    files["absent.pth"] = folder / "absent.pth"
    files["folder.pth"] = folder / "folder.pth"
    files["folder.pth"].mkdir()
    return files


def test_entries_that_are_not_used_are_listed_and_ignored(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "extra.pth"
    torch.save({**STATE, "head.weight": torch.ones(3)}, path)
    network = load(path)
    assert set(network.state_dict()) == set(STATE)
    assert "'head.weight'" in caplog.text
    assert str(path) in caplog.text


def test_whatever_is_wrong_is_a_weights_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, path in _bad_files(tmp_path).items():
        with pytest.raises(WeightsError) as caught:
            load(path)
        assert name in str(caught.value), name
        assert caught.value.advice, name
    assert capsys.readouterr().out == ""


@given(st.data())
def test_damaged_anywhere_never_a_traceback(
    tmp_path: Path, data: st.DataObject
) -> None:
    suffix = data.draw(st.sampled_from([".pth", ".safetensors"]))
    path = tmp_path / f"w{suffix}"
    if suffix == ".pth":
        torch.save(STATE, path)
    else:
        save_file(STATE, path)
    content = bytearray(path.read_bytes())
    for _ in range(3):
        place = data.draw(st.integers(0, min(len(content), 4000) - 1))
        content[place] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    with contextlib.suppress(WeightsError):  # anything else is a fault
        load(path)
