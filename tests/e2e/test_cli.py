"""The command line, and what importing the package costs and shows."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import upframe
from e2e_support import FAST, assert_complains, leftovers, run
from media_factory import Audio, Chapter, Subtitle, describe, write_images

QUICK = ("--model", FAST, "--scale", "2")
DONE_KEYS = {
    "event", "output", "frames_in", "frames_out", "width", "height", "seconds", "fps",
    "model", "runtime", "device", "precision", "peak_rss_mb", "warnings",
}  # fmt: skip


def test_one_command(clip, tmp_path):
    path = clip(frames=3)
    ran = run(path, "-o", tmp_path / "out.mp4", *QUICK)
    assert ran.code == 0, ran.err
    assert ran.out == ""
    assert "3 frames" in ran.err
    assert describe(tmp_path / "out.mp4").numbers == [0, 1, 2]


def test_upscale_may_be_spelled_out(cli, clip, tmp_path):
    ran = cli("upscale", clip(frames=3), "-o", tmp_path / "out.mp4", *QUICK)
    assert ran.code == 0
    assert describe(tmp_path / "out.mp4").numbers == [0, 1, 2]


def test_json(cli, clip, tmp_path):
    target = tmp_path / "out.mp4"
    ran = cli(clip(frames=7), "-o", target, *QUICK, "--json")
    assert ran.code == 0
    assert all("event" in event for event in ran.events)
    done = ran.done
    assert set(done) == DONE_KEYS
    assert done["output"] == str(target)
    assert done["frames_in"] == done["frames_out"] == 7
    assert (done["width"], done["height"]) == (128, 96)
    assert done["model"] == FAST
    assert done["warnings"] == []
    assert done["seconds"] > 0
    assert done["fps"] > 0
    assert 10 < done["peak_rss_mb"] < 4000


def test_json_of_a_real_process(clip, tmp_path):
    ran = run(clip(frames=3), "-o", tmp_path / "out.mp4", *QUICK, "--json")
    assert ran.code == 0
    assert set(ran.done) == DONE_KEYS


def test_report_of_python_has_the_same_names(clip, tmp_path):
    report = upframe.upscale(clip(frames=3), tmp_path / "out.mp4", model=FAST, scale=2)
    for key in DONE_KEYS - {"event"}:
        assert hasattr(report, key), key
    assert report.frames_in == report.frames_out == 3


def test_quiet(cli, clip, tmp_path):
    ran = cli(clip(frames=3), "-o", tmp_path / "out.mp4", *QUICK, "--quiet")
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    assert (tmp_path / "out.mp4").exists()


def test_dry_run_writes_nothing(cli, clip, tmp_path):
    box = tmp_path / "box"
    box.mkdir()
    path = clip(frames=3)
    plain = cli(path, "-o", box / "out.mp4", *QUICK, "--dry-run")
    assert plain.code == 0
    assert "128x96" in plain.out or "128 x 96" in plain.out
    as_json = cli(path, "-o", box / "out.mp4", *QUICK, "--dry-run", "--json")
    assert as_json.code == 0
    (plan,) = as_json.events
    assert plan["event"] == "plan"
    assert leftovers(box) == []


def test_never_and_overwrite(cli, clip, tmp_path):
    path, target = clip(frames=3), tmp_path / "out.mp4"
    target.write_text("old")
    ran = cli(path, "-o", target, *QUICK, "-n")
    assert ran.code == 0
    assert target.read_text() == "old"
    ran = cli(path, "-o", target, *QUICK, "-y")
    assert ran.code == 0
    assert describe(target).numbers == [0, 1, 2]


def test_never_without_a_name_skips_the_default_output(cli, clip, tmp_path):
    path = clip("holiday.mp4", frames=3)
    assert cli(path, *QUICK).code == 0
    (name,) = leftovers(tmp_path, path)
    (tmp_path / name).write_text("old")
    ran = cli(path, *QUICK, "-n")
    assert ran.code == 0
    assert f"{name} exists already; skipped" in ran.err
    assert (tmp_path / name).read_text() == "old"
    ran = cli(path, *QUICK, "-n", "--json")
    assert ran.events == [{"event": "skipped", "output": str(tmp_path / name)}]
    assert cli(path, *QUICK).code == 1


def test_an_output_in_the_place_of_an_input_is_refused_before_any_work(
    cli, clip, tmp_path
):
    # what people who know ffmpeg type first
    path, target = clip("a.mp4", frames=3), tmp_path / "out.mp4"
    ran = cli(path, target, *QUICK)
    assert ran.code == 2
    assert f"upframe {path} -o {target}" in ran.err
    assert leftovers(tmp_path, path) == []


@pytest.mark.parametrize(
    ("extra", "name", "code"),
    [
        (("--threads", "0"), "UsageError", 2),
        (("--no-such-option",), "UsageError", 2),
        ((), "InputError", 1),
    ],
)
def test_json_has_an_event_for_errors(cli, tmp_path, extra, name, code):
    (tmp_path / "in.mp4").write_text("no video")
    ran = cli(tmp_path / "in.mp4", "-o", tmp_path / "out.mp4", *extra, "--json")
    assert ran.code == code
    (event,) = ran.events
    assert (event["event"], event["error"], event["exit_code"]) == ("error", name, code)
    assert event["message"]
    assert event["advice"]
    assert event["message"] in ran.err


def test_json_names_the_input_that_failed(cli, clip, tmp_path):
    good, bad = clip("good.mp4", frames=3), tmp_path / "bad.mp4"
    bad.write_text("no video")
    ran = cli(bad, good, "-o", tmp_path / "out", *QUICK, "--json")
    assert ran.code == 3
    events = [(e["event"], e.get("input")) for e in ran.events]
    assert events[0] == ("error", str(bad))
    assert events[-1][0] == "done"


def test_default_output_is_beside_the_input(cli, clip, tmp_path):
    path = clip("holiday.mp4", frames=3)
    ran = cli(path, *QUICK, "--json")
    assert ran.code == 0
    (name,) = leftovers(tmp_path, path)
    assert name.startswith("holiday")
    assert ran.done["output"] == str(tmp_path / name)
    assert path.read_bytes()


def test_default_model_and_scale(cli, clip, tmp_path):
    # what `upframe input.mp4` means to a person with a video
    ran = cli(clip(frames=2, size=(32, 32)), "-o", tmp_path / "out.mp4", "--json")
    assert ran.code == 0, ran.err
    assert ran.done["model"] not in ("bicubic", "lanczos")
    assert (ran.done["width"], ran.done["height"]) == (128, 128)
    assert describe(tmp_path / "out.mp4").numbers == [0, 1]


@pytest.mark.parametrize("preset", ["fast", "balanced", "best"])
def test_presets(cli, clip, tmp_path, preset):
    path = clip(frames=2, size=(32, 32))
    ran = cli(path, "-o", tmp_path / "out.mp4", "--preset", preset, "--json")
    assert ran.code == 0, ran.err
    assert describe(tmp_path / "out.mp4").numbers == [0, 1]


def test_a_preset_may_be_named_as_a_model(cli, clip, tmp_path):
    path = clip(frames=2, size=(32, 32))
    one = cli(path, "-o", tmp_path / "a.mp4", "--preset", "fast", "--json").done
    two = cli(path, "-o", tmp_path / "b.mp4", "--model", "fast", "--json").done
    assert one["model"] == two["model"]


def test_several_inputs(cli, clip, tmp_path):
    one, two = clip("one.mp4", frames=3), clip("two.mkv", frames=4)
    box = tmp_path / "box"
    ran = cli("upscale", one, two, "-o", box, *QUICK)
    assert ran.code == 0, ran.err
    assert leftovers(box) == ["one.mp4", "two.mkv"]
    assert describe(box / "two.mkv").numbers == list(range(4))


def test_some_of_several_fail(cli, clip, tmp_path):
    one, bad = clip("one.mp4", frames=3), tmp_path / "bad.mp4"
    bad.write_text("no video")
    box = tmp_path / "box"
    ran = cli("upscale", bad, one, "-o", box, *QUICK)
    assert ran.code == 3
    assert "bad.mp4" in ran.err
    assert leftovers(box) == ["one.mp4"]
    (tmp_path / "worse.mkv").write_text("no video either")
    ran = cli("upscale", bad, tmp_path / "worse.mkv", "-o", box, *QUICK)
    assert ran.code == 1


def test_inputs_that_would_get_the_same_name(cli, clip, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, two = clip("a/x.mp4", frames=2), clip("b/x.mp4", frames=3)
    ran = cli("upscale", one, two, "-o", tmp_path / "box", *QUICK, "-y")
    outputs = leftovers(tmp_path / "box") if (tmp_path / "box").exists() else []
    assert ran.code != 0 or len(outputs) == 2


# ---- probe, models, doctor


def test_probe(cli, clip):
    path = clip(
        "in.mkv",
        audio=[Audio(language="deu")],
        subtitles=[Subtitle(language="fra")],
        chapters=[Chapter(0, 1, "x")],
        matrix="bt709",
    )
    ran = cli("probe", path, "--json")
    assert ran.code == 0
    facts = json.loads(ran.out)
    text = json.dumps(facts).replace("subrip", "srt")
    for word in ("h264", "aac", "srt", "deu", "fra", "64", "48"):
        assert word in text, word
    plain = cli("probe", path)
    assert plain.code == 0
    assert "64x48" in plain.out
    assert "aac" in plain.out


def test_probe_of_no_video(cli, tmp_path):
    (tmp_path / "bad.mp4").write_text("no video")
    assert_complains(cli("probe", tmp_path / "bad.mp4"), "bad.mp4")
    assert_complains(cli("probe", tmp_path / "missing.mp4", "--json"), "missing.mp4")


def test_probe_of_pictures(cli, tmp_path):
    folder = write_images(tmp_path / "in", frames=3)
    assert cli("probe", folder).code == 0


def test_models_list(cli):
    ran = cli("models", "list", "--json")
    assert ran.code == 0
    listed = json.loads(ran.out)
    names = {entry["name"] for entry in listed}
    assert {"bicubic", "lanczos", "ditn-s"} <= names
    plain = cli("models", "list")
    assert plain.code == 0
    assert all(name in plain.out for name in names)
    assert {card.name for card in upframe.list_models()} == names


def test_models_show(cli):
    ran = cli("models", "show", "ditn-s", "--json")
    assert ran.code == 0
    facts = json.loads(ran.out)
    assert facts["name"] == "ditn-s"
    assert facts["scale"] == 4
    assert_complains(cli("models", "show", "no-such-model"), code=(1, 2))


def test_doctor(cli):
    ran = cli("doctor", "--json")
    assert ran.code == 0
    assert json.loads(ran.out)


@pytest.mark.parametrize(
    "arguments",
    [("--help",), ("upscale", "--help"), ("probe", "--help"), ("models", "--help"),
     ("--version",)],
)  # fmt: skip
def test_help(cli, arguments):
    ran = cli(*arguments)
    assert ran.code == 0
    assert ran.out
    assert ran.err == ""


def test_help_knows_the_options_of_the_contract(cli):
    text = cli("upscale", "--help").out
    for option in (
        "--preset", "--model", "--scale", "--size", "--height", "--device", "--runtime",
        "--threads", "--memory", "--start", "--duration", "--deinterlace", "-c:v",
        "--crf", "--pix-fmt", "-e", "-y", "-n", "--fresh", "--dry-run", "--json",
        "--quiet", "-o",
    ):  # fmt: skip
        assert option in text, option


# ---- importing


def test_import_is_quick_and_light():
    code = (
        "import sys, time; t = time.perf_counter(); import upframe; "
        "t = time.perf_counter() - t; dir(upframe); "
        "heavy = {'torch', 'av', 'onnxruntime', 'numpy'} & set(sys.modules); "
        "print(t, *heavy)"
    )
    best = 9.0
    for _ in range(3):
        out = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.split()
        best = min(best, float(out[0]))
        assert "torch" not in out
    assert best < 0.5


def test_upscaling_never_imports_torch(clip, tmp_path):
    code = (
        "import sys, upframe; "
        f"upframe.upscale({str(clip(frames=2, size=(32, 32)))!r}, "
        f"{str(tmp_path / 'out.mp4')!r}, model='ditn-s'); "
        "upframe.list_models(); "
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_public_names():
    visible = {name for name in dir(upframe) if not name.startswith("_")}
    assert visible == set(upframe.__all__) - {"__version__"}
    assert sorted(upframe.__all__) == list(upframe.__all__)
    for name in upframe.__all__:
        assert getattr(upframe, name) is not None
    wanted = {"upscale", "Upscaler", "list_models", "load", "Report", "ModelCard",
              "UpframeError"}  # fmt: skip
    assert wanted <= visible
    with pytest.raises(AttributeError):
        _ = upframe.no_such_name


def test_errors_derive_from_one():
    for name in upframe.__all__:
        thing = getattr(upframe, name)
        if isinstance(thing, type) and issubclass(thing, Exception):
            assert issubclass(thing, upframe.UpframeError)
