"""`parrot train` in processes of its own: one or several, stopped, killed and resumed."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from parrot_core.model import load_parrot
from parrot_core.recipe import load_recipe
from parrot_core.training import train_stage
from parrot_core.training.checkpoints import whole_checkpoints

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from workshop import make_workshop

pytestmark = pytest.mark.slow

TINY = Path(__file__).parents[2] / "recipes" / "tiny.toml"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Tiny parts, their recipe and samples, some of them with pictures and some without."""
    folder = tmp_path_factory.mktemp("workshop")
    make_workshop(folder)
    return folder


def overrides(folder, stage):
    """What makes the tiny recipe tinier still."""
    return {
        "data.folder": folder / "data",
        "languages": '["en", "tr"]',
        "model.image_size": 64,
        "logging.every": 1,
        f"stage{stage}.data": '["one.json"]' if stage == 1 else '["two.json"]',
        f"stage{stage}.global_batch_size": 4,
        f"stage{stage}.steps": 6 if stage == 1 else 20,
    }


def command(folder, stage, name, *extra):
    values = overrides(folder, stage).items()
    said = [part for key, value in values for part in ("--set", f"{key}={value}")]
    output = folder / name / f"stage{stage}"
    return ["train", "--stage", stage, "--recipe", TINY, "--output", output, *said, *extra]


@pytest.fixture(scope="module")
def alone(folder):
    """Both stages in one process, this one."""
    for stage in (1, 2):
        values = [f"{key}={value}" for key, value in overrides(folder, stage).items()]
        recipe = load_recipe(TINY, overrides=values)
        train_stage(recipe, stage, output=folder / "alone" / f"stage{stage}")
    return folder / "alone"


def read_log(run):
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def losses(run):
    return [entry["loss"] for entry in read_log(run)]


def apart(one, other):
    """How far two runs' weights lie apart at most."""
    first, second = (load_file(run / "model.safetensors") for run in (one, other))
    assert set(first) == set(second)
    return max(float((first[name] - second[name]).abs().max()) for name in first)


def wait_for(what, process, seconds=200):
    for _ in range(seconds * 20):
        if what():
            return
        if process.poll() is not None:
            pytest.fail(process.communicate()[1])
        time.sleep(0.05)
    pytest.fail("it never came")


def test_stage_1_by_two_processes_of_torchrun_follows_the_curve_of_one(
    folder, alone, parrot_program
):
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m")
    code, _, stderr = parrot_program(
        *command(folder, 1, "together"), launcher=(*launcher, "parrot_cli")
    )
    assert code == 0, stderr
    together = folder / "together" / "stage1"
    run = json.loads((together / "run.json").read_text(encoding="utf-8"))
    assert (run["processes"], run["zero"]) == (2, 2)
    assert losses(alone / "stage1") == pytest.approx(losses(together), abs=2e-5)
    assert len(set(losses(together))) == 6
    assert apart(alone / "stage1", together) < 1e-4


@pytest.mark.gpu
@pytest.mark.parametrize("zero", [0, 2])
def test_a_gpu_follows_the_processors_curve(folder, parrot_program, zero):
    """In float32, and with the optimiser's states in main memory under DeepSpeed."""
    for place, hidden in (("processor", {"CUDA_VISIBLE_DEVICES": ""}), ("gpu", {})):
        for stage in (1, 2):
            extra = ["--set", f"stage{stage}.precision=float32"]
            extra += ["--set", f"stage{stage}.tf32=false"]
            if zero and place == "gpu" and stage == 2:
                extra += ["--set", "stage2.zero=2", "--set", "stage2.offload=optimizer"]
            said = command(folder, stage, f"{place}{zero}", *extra)
            code, _, stderr = parrot_program(*said, **hidden)
            assert code == 0, stderr
    for stage in (1, 2):
        one, other = (folder / f"{place}{zero}" / f"stage{stage}" for place in ("processor", "gpu"))
        assert losses(other) == pytest.approx(losses(one), rel=1e-2)


@pytest.mark.gpu
def test_a_gpu_trains_in_bfloat16_and_resumes(folder, start_parrot, parrot_program):
    """With flash attention and Liger's kernels where they are installed."""
    code, _, stderr = parrot_program(*command(folder, 1, "bfloat16"))
    assert code == 0, stderr
    extra = ["--init-from", folder / "bfloat16" / "stage1", "--set", "stage2.precision=bfloat16"]
    extra += ["--set", "stage2.steps=200"]
    code, _, stderr = parrot_program(*command(folder, 2, "bfloat16", *extra))
    assert code == 0, stderr
    stopped = folder / "bfloat16-stopped" / "stage2"
    process = start_parrot(*command(folder, 2, "bfloat16-stopped", *extra))
    wait_for(lambda: (stopped / "log.jsonl").is_file() and len(read_log(stopped)) > 3, process)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=300)
    assert process.returncode == 130
    code, _, stderr = parrot_program(*command(folder, 2, "bfloat16-stopped", *extra), "--resume")
    assert code == 0, stderr
    assert "resumes at step" in stderr
    # A GPU adds in no fixed order, and by and by AdamW makes steps of its own of that.
    whole = losses(folder / "bfloat16" / "stage2")
    assert losses(stopped)[:20] == pytest.approx(whole[:20], rel=5e-2)
    assert losses(stopped) == pytest.approx(whole, rel=5e-2, abs=5e-2)


def test_stage_2_by_two_processes_stopped_and_resumed_follows_the_curve_of_one(
    folder, alone, start_parrot, parrot_program
):
    together = folder / "together" / "stage2"
    extra = ("--processes", 2, "--init-from", alone / "stage1")
    process = start_parrot(*command(folder, 2, "together", *extra))
    wait_for(lambda: (together / "log.jsonl").is_file() and len(read_log(together)) > 3, process)
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == 130, stderr
    (checkpoint,) = whole_checkpoints(together / "checkpoints")
    assert_errors(stderr, f"error: stopped at step {checkpoint.step} of 20")

    code, _, stderr = parrot_program(*command(folder, 2, "together", *extra))
    assert code == 2
    assert_errors(stderr, f"error: {together} holds a run that was cut off", "hint: Go on with it")

    code, stdout, stderr = parrot_program(*command(folder, 2, "together", *extra), "--resume")
    assert code == 0, stderr
    assert stdout.splitlines() == [str(together)]
    assert f"resumes at step {checkpoint.step}" in stderr
    assert [entry["step"] for entry in read_log(together)] == list(range(1, 21))
    # AdamW makes steps of its own of rounding, by and by: the first ones are told apart by nothing.
    whole = alone / "stage2"
    assert losses(whole)[:10] == pytest.approx(losses(together)[:10], abs=1e-4)
    assert losses(whole) == pytest.approx(losses(together), abs=2e-2)
    shown = [entry.get("routing_by_language", {}).items() for entry in read_log(together)]
    assert {language for routing in shown for language, _ in routing} == {"en", "tr"}
    for row in (row for routing in shown for _, row in routing):
        assert len(row) == 6
        assert sum(row) == pytest.approx(1)
    model, _ = load_parrot(together)
    assert model.experts is not None


def test_a_process_with_text_alone_keeps_in_step_with_one_that_has_pictures(
    folder, alone, parrot_program
):
    """Two samples a step, one for each: in some steps one of the two has a picture."""
    overrides = ["stage2.global_batch_size=2", "stage2.steps=12"]
    recipe = load_recipe(folder / "small.toml", overrides=overrides)
    train_stage(recipe, 1, output=folder / "mixed" / "stage1")
    train_stage(recipe, 2, output=folder / "mixed" / "alone")
    code, _, stderr = parrot_program(
        *("train", "--stage", 2, "--recipe", folder / "small.toml", "--processes", 2),
        *("--output", folder / "mixed" / "together"),
        *(part for override in overrides for part in ("--set", override)),
    )
    assert code == 0, stderr
    one, two = (folder / "mixed" / name for name in ("alone", "together"))
    assert losses(one) == pytest.approx(losses(two), abs=1e-3)
    pictured = [len(entry.get("routing_by_language", {})) for entry in read_log(two)]
    assert 0 in pictured
    assert any(pictured)


def assert_errors(stderr, *beginnings):
    """Each is said once, by one process, and nothing else is."""
    said = [line for line in stderr.splitlines() if line.startswith(("error:", "hint:"))]
    assert "Traceback" not in stderr
    assert len([line for line in said if line.startswith("error:")]) == 1
    for beginning in beginnings:
        assert len([line for line in said if line.startswith(beginning)]) == 1, stderr


def small(folder, name, *extra):
    recipe = folder / "small.toml"
    return ["train", "--stage", 1, "--recipe", recipe, "--output", folder / name, *extra]


def test_workers_do_not_outlive_who_started_them(folder, start_parrot):
    extra = ("--processes", 2, "--set", "stage1.steps=100000")
    process = start_parrot(*small(folder, "orphans", *extra))
    wait_for(lambda: (folder / "orphans" / "log.jsonl").is_file(), process)
    workers = [
        int(path.name)
        for path in Path("/proc").glob("[0-9]*")
        if _parent(path) == process.pid and b"parrot_cli" in (path / "cmdline").read_bytes()
    ]
    assert len(workers) == 2
    process.kill()
    process.communicate()
    for _ in range(200):
        if not any(Path(f"/proc/{pid}").is_dir() for pid in workers):
            return
        time.sleep(0.1)
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    pytest.fail("workers are left")


def _parent(path):
    try:
        return int((path / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


def test_what_is_wrong_is_said_once_however_many_there_are(folder, parrot_program):
    extra = ("--processes", 2, "--set", "stage1.max_length=9")
    code, stdout, stderr = parrot_program(*small(folder, "wrong", *extra))
    assert code == 2
    assert stdout == ""
    assert_errors(stderr, "error: ", "hint: ")
    assert "9 are allowed" in stderr


def test_two_processes_without_zero_train_a_vision_encoder_as_one_does(folder, parrot_program):
    """What comes after the layer that is read has no gradient, and is not waited for."""
    parts = '["projector", "experts", "language_model", "vision_encoder"]'
    said = [f"stage2.trains={parts}", "stage2.zero=0", "stage2.steps=4"]
    recipe = load_recipe(folder / "small.toml", overrides=said)
    train_stage(recipe, 1, output=folder / "seeing" / "stage1")
    train_stage(recipe, 2, output=folder / "seeing" / "alone")
    code, _, stderr = parrot_program(
        *("train", "--stage", 2, "--recipe", folder / "small.toml", "--processes", 2),
        *("--output", folder / "seeing" / "together"),
        *(part for entry in said for part in ("--set", entry)),
    )
    assert code == 0, stderr
    one, two = (losses(folder / "seeing" / name) for name in ("alone", "together"))
    assert one == pytest.approx(two, abs=1e-4)


def test_options_that_would_say_nothing_are_refused(folder, parrot_program):
    for stage, *option in (
        ("language-model", "--processes", 2),
        ("language-model", "--init-from", folder),
        (1, "--gpu", "A100-80GB"),
        (1, "--json"),
    ):
        code, _, stderr = parrot_program("train", "--stage", stage, "--recipe", TINY, *option)
        assert code == 2
        assert_errors(stderr, "error: ", f"hint: Leave {option[0]} out.")


def test_a_batch_that_does_not_divide_is_refused_before_anything_starts(folder, parrot_program):
    for extra in ((), ("--dry-run",)):
        code, _, stderr = parrot_program(*small(folder, "uneven", "--processes", 3, *extra))
        assert code == 2
        assert "a global batch of 4 does not divide among 3 processes" in stderr
        assert "3 and 6" in stderr
        assert not (folder / "uneven").exists()
