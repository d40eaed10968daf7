"""Weight files of the diffusion systems: saved, loaded, described, refused."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from safetensors.torch import load_file, save_file  # noqa: E402

import nano_parts as parts  # noqa: E402
import upframe  # noqa: E402
from upframe.errors import WeightsError  # noqa: E402
from upframe.systems.registry import detect, find_spec  # noqa: E402
from upframe.weights.loading import describe_file  # noqa: E402

SYSTEMS = tuple(parts.CONFIGS)


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_stored_system_comes_back_in_float32(name, tmp_path):
    path = parts.save(tmp_path, name)
    network = upframe.load(path)
    stored = load_file(path)
    assert {value.dtype for value in stored.values()} == {torch.float16}
    state = network.state_dict()
    assert set(state) == set(stored)
    for key, value in state.items():
        assert value.dtype == torch.float32
        assert torch.equal(value, stored[key].float())
    assert not network.training
    with torch.no_grad():
        out = network(parts.clip(2, 6, 8))
    assert out.shape == (1, 2, 3, 24, 32)


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_keys_tell_the_system_but_not_its_sizes(name, tmp_path):
    path = parts.save(tmp_path, name)
    state = load_file(path)
    spec = detect({key: tuple(value.shape) for key, value in state.items()})
    assert spec is find_spec(name)
    save_file(state, path)
    with pytest.raises(WeightsError, match="does not declare the sizes"):
        upframe.load(path)


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_card_says_what_the_engine_needs(name, tmp_path):
    card = describe_file(parts.save(tmp_path, name))
    assert (card.name, card.system, card.scale) == (f"{name}-tiny", name, 4)
    assert card.seeded
    assert card.tiling == ("own" if name == "ultravsr" else "none")
    assert card.masked == (name == "patchscaler")
    assert card.segment == (4 if name == "liftvsr" else 1)
    # two modules of the UNet and two of the decoder look two frames ahead each
    context = {"ultravsr": 8, "oasis": 2}.get(name, 0)
    assert card.context == context
    assert card.lookahead == (context or None)
    assert card.parameters > 10_000
    assert 500 < card.bytes_per_pixel < 50_000
    assert card.gflops_per_megapixel > 1
    assert card.config == parts.CONFIGS[name]


def rewritten(path, **changed):
    about = {"system": "oasis", "config": json.dumps(parts.OASIS), **changed}
    save_file(load_file(path), path, metadata=about)
    return path


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"transformer": 3}, "transformer"),
        ({"colour": "red"}, "colour"),
        ({"transformer": {**parts.OASIS["transformer"], "wings": 2}}, "wings"),
        ({"oasis": {"timestep": 2000}}, "timestep"),
        ({"oasis": {"scale": 2}}, "scale of 2"),
        ({"chunking": {"length": 4, "context": 1, "blend": 1}}, "4 latent frames"),
    ],
)
def test_configurations_that_make_no_sense_are_named(config, words, tmp_path):
    path = rewritten(
        parts.save(tmp_path, "oasis"), config=json.dumps({**parts.OASIS, **config})
    )
    with pytest.raises(WeightsError, match=words):
        upframe.load(path)


def test_other_sizes_than_those_of_the_weights_are_named(tmp_path):
    bigger = {**parts.OASIS["transformer"], "ffn_dim": 32}
    config = json.dumps({**parts.OASIS, "transformer": bigger})
    path = rewritten(parts.save(tmp_path, "oasis"), config=config)
    with pytest.raises(WeightsError, match=r"ffn.*instead of"):
        upframe.load(path)


def test_ultravsr_needs_an_estimator_or_a_factor(tmp_path):
    for change in ({"estimator": None}, {"factor": 0.5}):
        with pytest.raises(WeightsError, match="either an estimator or a factor"):
            find_spec("ultravsr").build({**parts.ULTRAVSR, **change})
    fixed = {**parts.ULTRAVSR, "estimator": None, "factor": 0.5}
    network = upframe.load(parts.save(tmp_path, "ultravsr", **fixed))
    with torch.no_grad():
        clip = parts.clip(2, 6, 8)
        assert torch.equal(network(clip), network(clip, torch.tensor([0.5])))


def test_lora_must_be_merged():
    config = {**parts.LIFTVSR, "liftvsr": {"rank": 4}}
    with pytest.raises(WeightsError, match="merged"):
        find_spec("liftvsr").build(config)


def test_a_system_of_another_version_is_named(tmp_path):
    path = rewritten(parts.save(tmp_path, "oasis"), system="mirage")
    with pytest.raises(WeightsError, match="no system 'mirage'"):
        upframe.load(path)


def test_raw_components_are_sent_to_what_makes_a_system_of_them(tmp_path):
    path = tmp_path / "model" / "transformer"
    path.mkdir(parents=True)
    with pytest.raises(WeightsError, match="components") as caught:
        upframe.load(tmp_path / "model")
    assert "LiftVSR.from_pixart" in caught.value.advice
    with pytest.raises(WeightsError, match="components"):
        upframe.upscale("in.mp4", model=str(tmp_path / "model"))


def test_without_diffusers_the_message_has_the_install_line(tmp_path):
    path = parts.save(tmp_path, "oasis")
    code = (
        "import sys; sys.modules['diffusers'] = None; import upframe\n"
        "try: upframe.load(sys.argv[1])\n"
        "except upframe.errors.MissingExtraError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "pip install 'upframe[diffusion]'" in done.stdout
