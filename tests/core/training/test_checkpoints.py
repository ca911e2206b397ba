"""Checkpoints: whole or of no account, two of them, and only for the run that they are of."""

import json
import os
import resource
import signal
from dataclasses import replace

import pytest
from safetensors.torch import load_file

from parrot_core.errors import MissingError, Stopped, UsageError
from parrot_core.training import checkpoints
from parrot_core.training.checkpoints import Checkpoint, check_identity, whole_checkpoints
from parrot_core.training.runs import LOG_FILE, read_log
from parrot_core.training.stages import train_stage
from parrot_core.training.trainer import TRAINED_FILE

SPEEDS = {"tokens_per_second", "samples_per_second"}


def made(folder, *steps):
    for step in steps:
        path = checkpoints.begin(folder, step)
        (path / "weights").write_bytes(b"1")
        checkpoints.finish(path, step=step, identity={"stage": "1"}, counted={"steps": 0})


def test_a_folder_without_its_marker_is_no_checkpoint(tmp_path):
    made(tmp_path, 10, 20)
    (checkpoints.begin(tmp_path, 30) / "weights").write_bytes(b"half")
    assert [found.step for found in whole_checkpoints(tmp_path)] == [10, 20]


def test_the_newest_two_are_kept_and_half_ones_are_not(tmp_path):
    made(tmp_path, 5, 10, 20)
    checkpoints.begin(tmp_path, 30)
    checkpoints.remove_old(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint-10", "checkpoint-20"}


def test_saving_a_step_again_takes_its_marker_away_first(tmp_path):
    made(tmp_path, 10)
    checkpoints.begin(tmp_path, 10)
    assert whole_checkpoints(tmp_path) == []


def test_a_marker_that_cannot_be_read_is_passed_over_with_a_word(tmp_path, caplog):
    made(tmp_path, 10, 20)
    (tmp_path / "checkpoint-20" / checkpoints.MARKER).write_text("{", encoding="utf-8")
    assert [found.step for found in whole_checkpoints(tmp_path)] == [10]
    assert "checkpoint-20" in caplog.text


@pytest.mark.parametrize("what", ["cut short", "missing"])
def test_a_checkpoint_that_lost_something_is_passed_over_with_a_word(tmp_path, caplog, what):
    made(tmp_path, 10, 20)
    weights = tmp_path / "checkpoint-20" / "weights"
    weights.unlink() if what == "missing" else weights.write_bytes(b"")
    assert [found.step for found in whole_checkpoints(tmp_path)] == [10]
    assert "checkpoint-20 is passed over: weights missing or cut short" in caplog.text


def test_a_marker_of_earlier_days_names_no_files_and_is_believed(tmp_path):
    made(tmp_path, 10)
    marker = tmp_path / "checkpoint-10" / checkpoints.MARKER
    entry = json.loads(marker.read_text())
    del entry["files"]
    marker.write_text(json.dumps(entry))
    assert [found.step for found in whole_checkpoints(tmp_path)] == [10]


def checkpoint_of(**identity):
    return Checkpoint(path="runs/x", step=3, identity=identity, counted={})


def test_another_run_cannot_go_on_from_a_checkpoint():
    was = checkpoint_of(stage2={"learning_rate": 1e-5}, seed=0)
    check_identity(was, {"stage2": {"learning_rate": 1e-5}, "seed": 0})
    with pytest.raises(UsageError, match=r"stage2\.learning_rate was 1e-05, is 2e-05") as error:
        check_identity(was, {"stage2": {"learning_rate": 2e-5}, "seed": 0})
    assert "same recipe" in error.value.hint


def test_another_number_of_processes_is_told_why_not():
    with pytest.raises(UsageError, match="saved by 4 processes") as error:
        check_identity(checkpoint_of(processes=4, zero=3), {"processes": 2, "zero": 3})
    assert error.value.hint == "Resume with --processes 4."
    with pytest.raises(UsageError, match=r"with ZeRO-3, .* a process alone cannot read it"):
        check_identity(checkpoint_of(processes=4, zero=3), {"processes": None, "zero": 0})


def test_a_checkpoint_without_zero_is_for_any_number_of_processes_but_not_for_zero():
    was = checkpoint_of(processes=None, zero=0, stage="2")
    check_identity(was, {"processes": None, "zero": 0, "stage": "2"})
    with pytest.raises(UsageError, match="saved without ZeRO, and this run uses ZeRO-3") as error:
        check_identity(was, {"processes": 2, "zero": 3, "stage": "2"})
    assert error.value.hint == "Resume with --processes 1, or without it: --set stage2.zero=0."


class StopAt:
    """Sends this process a signal after a step, as a batch system would."""

    def __init__(self, step, number=signal.SIGTERM):
        self.step = step
        self.number = number

    def __call__(self, progress):
        if progress.step == self.step:
            os.kill(os.getpid(), self.number)


@pytest.fixture(scope="module")
def long(workshop):
    stage = replace(workshop.recipe.stage1, steps=25, save_every=4, vision_feature_dropout=0.5)
    return replace(workshop.recipe, stage1=stage)


@pytest.fixture(scope="module")
def whole(long, workshop):
    return train_stage(long, 1, output=workshop.folder / "undisturbed")


def assert_same(one, other):
    logs = [
        [
            {key: value for key, value in entry.items() if key not in SPEEDS}
            for entry in read_log(run)
        ]
        for run in (one, other)
    ]
    assert logs[0] == logs[1]
    first, second = (load_file(run / "model.safetensors") for run in (one, other))
    assert all(bool((first[name] == second[name]).all()) for name in first | second)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_asked_to_stop_saves_and_ends_as_if_nothing_had_been(
    long, whole, tmp_path, number
):
    output = tmp_path / "run"
    for step in (6, 13):  # neither a step that is logged nor one at which a checkpoint is due
        with pytest.raises(Stopped, match=f"stopped at step {step} of 25") as error:
            train_stage(long, 1, output=output, resume=True, on_progress=StopAt(step, number))
        assert error.value.exit_code == 130
    told = []
    train_stage(long, 1, output=output, resume=True, on_resume=told.append)
    assert [checkpoint.step for checkpoint in told] == [13]
    assert_same(whole, output)


def test_resuming_a_finished_run_does_nothing(long, whole):
    before = (whole / LOG_FILE).stat().st_mtime_ns
    steps = []
    train_stage(long, 1, output=whole, resume=True, on_progress=steps.append)
    assert not steps
    assert (whole / LOG_FILE).stat().st_mtime_ns == before


def test_a_run_that_was_cut_off_is_not_overwritten(long, tmp_path):
    with pytest.raises(Stopped):
        train_stage(long, 1, output=tmp_path, on_progress=StopAt(2))
    with pytest.raises(UsageError, match="holds a run that was cut off, saved at step 2"):
        train_stage(long, 1, output=tmp_path)
    changed = replace(long, seed=1)
    with pytest.raises(UsageError, match="seed was 0, is 1"):
        train_stage(changed, 1, output=tmp_path, resume=True)


def test_a_run_goes_on_from_the_checkpoint_before_a_damaged_one(long, whole, tmp_path, caplog):
    with pytest.raises(Stopped):
        train_stage(long, 1, output=tmp_path, on_progress=StopAt(9))
    older, newer = (tmp_path / "checkpoints" / f"checkpoint-{step}" for step in (8, 9))
    (newer / "optimizer.pt").unlink()
    told = []
    train_stage(long, 1, output=tmp_path, resume=True, on_resume=told.append)
    assert [checkpoint.path for checkpoint in told] == [older]
    assert caplog.text.count("optimizer.pt missing or cut short") == 1
    assert_same(whole, tmp_path)


def test_a_run_whose_checkpoints_are_all_damaged_does_not_begin_anew_by_itself(long, tmp_path):
    with pytest.raises(Stopped):
        train_stage(long, 1, output=tmp_path, on_progress=StopAt(2))
    (tmp_path / "checkpoints" / "checkpoint-2" / "scheduler.pt").unlink()
    with pytest.raises(MissingError, match=r"no checkpoint in .* is whole any more"):
        train_stage(long, 1, output=tmp_path, resume=True)
    assert (tmp_path / "checkpoints" / "checkpoint-2").is_dir()


def test_weights_that_are_no_numbers_are_not_saved(long, tmp_path):
    stage = replace(long.stage1, learning_rate=1e30, max_grad_norm=1e30, save_every=1, keep=9)
    with pytest.raises(UsageError, match=r"the loss is (nan|inf) at step [2-9]"):
        train_stage(replace(long, stage1=stage), 1, output=tmp_path)
    for saved in whole_checkpoints(tmp_path / "checkpoints"):
        weights = load_file(saved.path / TRAINED_FILE)
        assert all(bool(value.isfinite().all()) for value in weights.values())


def test_a_full_disk_leaves_the_checkpoint_before_and_says_so_in_a_line(long, whole, tmp_path):
    """A limit on the size of files stands in for the disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(progress):
        if progress.step == 6:
            resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))

    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with pytest.raises(MissingError, match="cannot save the checkpoint of step 8") as error:
            train_stage(long, 1, output=tmp_path, on_progress=fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert "\n" not in error.value.problem
    assert "--resume" in error.value.hint
    assert [found.step for found in whole_checkpoints(tmp_path / "checkpoints")] == [4]
    train_stage(long, 1, output=tmp_path, resume=True)
    assert_same(whole, tmp_path)


def test_what_a_killed_process_wrote_after_its_checkpoint_is_written_anew(long, whole, tmp_path):
    with pytest.raises(Stopped):
        train_stage(long, 1, output=tmp_path, on_progress=StopAt(12))
    with (tmp_path / LOG_FILE).open("a", encoding="utf-8") as log:
        log.write(json.dumps({"step": 20, "loss": 0.0}) + '\n{"step": 2')
    train_stage(long, 1, output=tmp_path, resume=True)
    assert_same(whole, tmp_path)
