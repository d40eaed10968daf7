"""Options: one declaration, the same checks and words at every entrance."""

from __future__ import annotations

import inspect
import math
from dataclasses import asdict, fields
from fractions import Fraction
from pathlib import Path
from typing import get_type_hints

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import upframe
from e2e_support import InProcess
from upframe.engine.declaring import declarations
from upframe.engine.options import (
    Keywords,
    ModelKeywords,
    Options,
    StreamKeywords,
    StreamOptions,
)
from upframe.errors import UsageError
from upframe.evaluation.bench import bench
from upframe.evaluation.evaluate import evaluate
from upframe.evaluation.options import (
    BenchKeywords,
    BenchOptions,
    CalibrateKeywords,
    CalibrateOptions,
    EvaluateKeywords,
    EvaluateOptions,
)

REQUIRED = {EvaluateOptions: {"data": "missing", "protocol": "vid4"}}
CLASSES = (Options, StreamOptions, EvaluateOptions, BenchOptions)
FIELDS = [(cls, name) for cls in CLASSES for name in declarations(cls)]

junk = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([2**31, 2**64, -(2**64), 10**400]),
    st.floats(),
    st.fractions(),
    st.text(max_size=12),
    st.sampled_from(
        ["", " ", "nan", "-inf", "1e400", "1:99", "0x0", "1x", "9" * 40, "0GiB", "a=b"]
    ),
    st.binary(max_size=4),
    st.lists(st.integers(-2, 3000), max_size=3),
    st.tuples(st.integers(), st.integers()),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
    st.sampled_from([object(), print, 1j, Path("x"), np.float32("nan"), np.int64(3)]),
)


def entrances(cls):
    """Python functions that take the options of a class."""
    return {
        Options: [lambda **o: upframe.upscale("missing.mp4", "out.mp4", **o)],
        StreamOptions: [upframe.Upscaler],
        EvaluateOptions: [
            lambda **o: evaluate(model="bicubic", **{**REQUIRED[EvaluateOptions], **o})
        ],
        BenchOptions: [lambda **o: bench([], **o)],
    }[cls]


def refusal(function, **options):
    """The UsageError of a call, or None."""
    try:
        function(**options)
    except UsageError as error:
        return error
    return None


@settings(max_examples=1500, deadline=None)
@given(st.sampled_from(FIELDS), junk)
def test_a_value_is_taken_or_refused_with_advice_at_every_entrance(where, value):
    cls, name = where
    values = {**REQUIRED.get(cls, {}), name: value}
    error = refusal(cls, **values)
    if error is not None:
        assert error.message.startswith(f"{name}=")
        assert error.message.endswith(".")
        assert error.advice.endswith(".")
        for entrance in entrances(cls):
            there = refusal(entrance, **{name: value})
            assert there is not None
            assert there.message == error.message
        return
    # what is taken is in one form, in which it is taken again
    options = cls(**values)
    again = cls(**{one.name: getattr(options, one.name) for one in fields(cls)})
    assert again == options
    normal = getattr(options, name)
    assert not isinstance(normal, float) or math.isfinite(normal)


@pytest.fixture
def cli(monkeypatch, capsys):
    return InProcess(monkeypatch, capsys)


@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.sampled_from([(c, n) for c, n in FIELDS if c is not StreamOptions]),
    st.text(
        st.characters(codec="utf-8", exclude_characters="\0\n\r"),
        min_size=1,
        max_size=8,
    )
    | st.sampled_from(["0", "-1", "nan", "1e9", "1x1", "x", "1:99", "True", "auto"]),
)
def test_the_command_line_refuses_the_same_texts(cli, where, text):
    cls, name = where
    about = declarations(cls)[name]
    if about.kind == "flag":
        return
    value = [text] if about.kind == "list" else text
    error = refusal(cls, **{**REQUIRED.get(cls, {}), name: value})
    if error is None:
        return
    flag = about.flags[0]
    line = {
        Options: ["upscale", "missing.mp4", "-o", "out.mp4", "--dry-run"],
        EvaluateOptions: ["evaluate", "--model=bicubic", "--data=missing"]
        + (["--protocol=vid4"] if name != "protocol" else []),
        BenchOptions: ["bench"],
    }[cls]
    line += [f"{flag}={text}"] if flag.startswith("--") else [flag, text]
    ran = cli(*line)
    assert ran.code == 2
    assert flag in ran.err
    assert error.advice in ran.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"deinterlace": "nonsense"}, r"deinterlace='nonsense' is unknown. Use auto"),
        ({"threads": 0}, r"threads=0 is too small. Use 1"),
        ({"threads": True}, r"threads=True is no whole number"),
        ({"threads": 2.0}, r"threads=2.0 is no whole number"),
        ({"chunk_frames": 0}, r"chunk_frames=0 is too small"),
        ({"scale": float("nan")}, r"scale=nan is no number"),
        ({"scale": 0}, r"scale=0 is out of range. Use a number above 0"),
        ({"keep_ratio": 1.5}, r"keep_ratio=1.5 is out of range"),
        ({"start": -1}, r"start=-1 is out of range. Use 0 or more"),
        ({"duration": 0}, r"duration=0 is out of range. Use above 0"),
        ({"start": "1:99"}, r"start='1:99' is no time"),
        ({"size": "big"}, r"size='big' is no frame size"),
        ({"size": (0, 5)}, r"size=\(0, 5\) is no frame size"),
        ({"memory": "much"}, r"memory='much' is no memory size"),
        ({"overwrite": "no"}, r"overwrite='no' is neither"),
        ({"encoder_options": {"a": None}}, r"is not key=value"),
        ({"runtime": "openvinoo"}, r"runtime='openvinoo' is unknown"),
        ({"device": "gpu"}, r"device='gpu' is no device"),
        ({"codec": ""}, r"codec='' is no text"),
    ],
)
def test_refusals_name_the_value_and_what_can_be_given(options, words):
    with pytest.raises(UsageError, match=words):
        upframe.upscale("missing.mp4", "out.mp4", **options)


def test_a_runtime_that_does_not_exist_is_refused_in_a_dry_run(cli, tmp_path):
    ran = cli(tmp_path / "in.mp4", "--runtime", "nothing", "--dry-run")
    assert ran.code == 2
    assert "--runtime nothing is unknown" in ran.err


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("start", "1:30", Fraction(90)),
        ("duration", 2.5, Fraction(5, 2)),
        ("size", "1280x720", (1280, 720)),
        ("size", [1280, 720], (1280, 720)),
        ("memory", "2GiB", 2 * 2**30),
        ("rate", "30000/1001", Fraction(30000, 1001)),
        ("rate", 25, Fraction(25)),
        ("threads", "4", 4),
        ("threads", np.int64(4), 4),
        ("scale", "1.5", 1.5),
        ("encoder_options", {"crf": 20}, {"crf": "20"}),
        ("encoder_options", ["tune=film", "x=a=b"], {"tune": "film", "x": "a=b"}),
        ("mask_images", Path("masks"), "masks"),
        ("model", Path("a.pth"), "a.pth"),
    ],
)
def test_python_takes_what_the_command_line_takes(name, text, value):
    assert getattr(Options.from_keywords({name: text}, caller="t"), name) == value


def test_a_misspelled_option_is_a_type_error_as_usual():
    with pytest.raises(TypeError, match=r"upscale\(\) got an unexpected .* 'treads'"):
        upframe.upscale("a", "b", treads=3)
    with pytest.raises(TypeError, match="Upscaler"):
        upframe.Upscaler(treads=3)


@pytest.mark.parametrize(
    ("cls", "keywords"),
    [
        (Options, (Keywords,)),
        (StreamOptions, (StreamKeywords, ModelKeywords)),
        (EvaluateOptions, (EvaluateKeywords,)),
        (BenchOptions, (BenchKeywords,)),
        (CalibrateOptions, (CalibrateKeywords,)),
    ],
)
def test_keyword_types_are_in_step_with_the_declarations(cls, keywords):
    typed = {name for one in keywords for name in get_type_hints(one)}
    assert typed == set(declarations(cls))


@pytest.mark.parametrize(
    ("function", "cls"),
    [
        (upframe.upscale, Options),
        (upframe.Upscaler, StreamOptions),
        (evaluate, EvaluateOptions),
        (bench, BenchOptions),
    ],
)
def test_help_lists_every_option_with_its_default_and_description(function, cls):
    parameters = inspect.signature(function).parameters
    doc = " ".join(inspect.getdoc(function).split())
    for name, about in declarations(cls).items():
        assert f"{name}: {about.doc}" in doc
        default = parameters[name].default
        assert default is inspect.Parameter.empty or default == getattr(
            cls(**REQUIRED.get(cls, {})), name
        )
    assert "{options}" not in doc


def test_options_are_plain_values():
    assert asdict(Options())["preset"] == "balanced"
    assert all(about.doc.endswith(".") for about in declarations(Options).values())
