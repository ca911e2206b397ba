import functools
import itertools
import statistics

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import TrainingArguments

from parrot_core.data.samples import Sample, Turn
from parrot_core.errors import UsageError
from parrot_core.training.batches import LengthGrouped
from parrot_core.training.loop import _warmup_steps, train
from parrot_core.training.settings import LOGGED_EVERY, Run, Schedule

lengths_of_samples = st.lists(st.integers(0, 1000), min_size=1, max_size=300)


@given(lengths=lengths_of_samples, batch=st.integers(1, 9), seed=st.integers(0, 9))
def test_every_sample_comes_once(lengths, batch, seed):
    order = list(LengthGrouped(lengths, batch_size=batch, seed=seed))
    assert sorted(order) == list(range(len(lengths)))
    assert order == list(LengthGrouped(lengths, batch_size=batch, seed=seed))


def test_another_seed_and_another_pass_have_other_orders():
    lengths = list(range(100))
    sampler = LengthGrouped(lengths, batch_size=4, seed=0)
    first = list(sampler)
    sampler.set_epoch(1)
    assert list(sampler) != first
    assert list(LengthGrouped(lengths, batch_size=4, seed=1)) != first
    sampler.set_epoch(0)
    assert list(sampler) == first
    assert len(sampler) == 100


def test_samples_of_a_batch_are_about_equally_long():
    draw = torch.Generator().manual_seed(0)
    lengths = torch.randint(1, 1000, (640,), generator=draw).tolist()

    def spread(order):
        batches = [order[at : at + 8] for at in range(0, len(order), 8)]
        return statistics.fmean(
            max(lengths[i] for i in batch) - min(lengths[i] for i in batch) for batch in batches
        )

    grouped = list(LengthGrouped(lengths, batch_size=8, seed=0))
    assert spread(grouped) < spread(list(range(640))) / 5
    # Not sorted from short to long, which would teach the short ones first.
    means = [statistics.fmean(lengths[i] for i in grouped[at : at + 8]) for at in range(0, 640, 8)]
    falls = sum(later < earlier for earlier, later in itertools.pairwise(means))
    assert 20 < falls < 60


def test_a_short_batch_comes_last():
    """Anywhere else it would put all later batches across two lengths."""
    lengths = [number % 7 for number in range(8 * 16 + 3)]
    order = list(LengthGrouped(lengths, batch_size=8, seed=0))
    for at in range(0, 8 * 16, 8):
        batch = [lengths[i] for i in order[at : at + 8]]
        assert max(batch) - min(batch) <= 1


class Lines(torch.utils.data.Dataset):
    """Samples with words of several lengths."""

    def __init__(self, count):
        self.samples = [
            Sample(
                id=str(n),
                images=(),
                turns=(Turn(role="gpt", text="word " * (1 + n % 5)),),
                language=None,
                origin="here",
            )
            for n in range(count)
        ]

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        return self.samples[index]


def collate(samples):
    rows = [[1 + ord(letter) for letter in sample.turns[0].text] for sample in samples]
    width = max(map(len, rows))
    ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    return {
        "input_ids": ids,
        "attention_mask": (ids > 0).long(),
        "labels": ids.masked_fill(ids == 0, -100),
    }


def run(model, *, log=None, on_progress=None, samples=40, **schedule):
    return train(
        model,
        Lines(samples),
        collate=collate,
        schedule=Schedule(
            **{"learning_rate": 1e-3, "global_batch_size": 4, "warmup_steps": 0} | schedule
        ),
        run=Run(log=log or [].append, on_progress=on_progress),
    ).loss


def test_a_parameter_with_its_own_learning_rate_moves_by_it_and_the_others_by_theirs(tiny):
    """AdamW's first step moves every weight that has a gradient by the learning rate."""
    model = tiny.language_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    own, still = "model.norm.weight", "model.layers.0.mlp.up_proj.weight"
    run(model, steps=1, learning_rate=1e-3, learning_rates={own: 1e-2, still: 0.0})
    moved = {
        name: float((value - before[name]).abs().max())
        for name, value in model.state_dict().items()
    }
    assert moved.pop(own) == pytest.approx(1e-2, rel=1e-2)
    assert moved.pop(still) == 0.0
    assert moved["lm_head.weight"] == pytest.approx(1e-3, rel=1e-2)
    assert max(moved.values()) < 1.1e-3


class Divided(torch.nn.Module):
    def __init__(self, _):
        pytest.fail("the model was divided among GPUs")


def test_a_process_that_sees_several_gpus_learns_on_one(tiny, monkeypatch):
    """The library would divide each batch among all of them."""

    set_up = vars(TrainingArguments)["_setup_devices"].func

    def two_gpus(self):
        device = set_up(self)
        self._n_gpu = 2
        return device

    once = functools.cached_property(two_gpus)
    once.__set_name__(TrainingArguments, "_setup_devices")
    monkeypatch.setattr(TrainingArguments, "_setup_devices", once)
    monkeypatch.setattr(torch.nn, "DataParallel", Divided)
    assert run(tiny.language_model(), steps=1) > 0


def test_what_requires_no_gradient_stays(tiny):
    model = tiny.language_model()
    frozen = model.model.embed_tokens.weight.requires_grad_(requires_grad=False)
    before = frozen.clone()
    run(model, steps=2)
    assert torch.equal(frozen, before)


def test_the_log_says_how_it_goes_and_progress_counts_every_step(tiny):
    lines, progress = [], []
    steps = 2 * LOGGED_EVERY
    loss = run(tiny.language_model(), steps=steps, log=lines.append, on_progress=progress.append)
    assert [line["step"] for line in lines] == [1, LOGGED_EVERY, steps]
    for line in lines:
        assert set(line) == {
            "step",
            "loss",
            "learning_rate",
            "tokens_per_second",
            "samples_per_second",
            "grad_norm",
        }
        assert line["tokens_per_second"] > line["samples_per_second"] > 0
    assert lines[2]["loss"] < lines[0]["loss"]
    assert lines[2]["learning_rate"] < lines[1]["learning_rate"] < lines[0]["learning_rate"] <= 1e-3
    assert loss == lines[2]["loss"]
    assert [entry.step for entry in progress] == list(range(1, steps + 1))
    assert {entry.steps for entry in progress} == {steps}


@pytest.mark.parametrize("steps", [1, LOGGED_EVERY + 3])
def test_the_last_step_is_logged_however_many_there_are(tiny, steps):
    lines = []
    loss = run(tiny.language_model(), steps=steps, log=lines.append)
    assert lines[-1]["step"] == steps
    assert lines[-1]["loss"] == loss


@pytest.mark.parametrize(("steps", "rises"), [(1, 0), (33, 0), (34, 1), (100, 3)])
def test_a_share_of_steps_to_warm_up_leaves_a_short_run_its_learning_rate(steps, rises):
    assert _warmup_steps(Schedule(learning_rate=1.0, global_batch_size=1), steps) == rises


def test_the_only_step_of_a_run_teaches_something(tiny):
    model = tiny.language_model()
    before = model.lm_head.weight.clone()
    run(model, steps=1, warmup_steps=0.03)
    assert not torch.equal(model.lm_head.weight, before)


def test_epochs_count_where_steps_are_left_out(tiny):
    progress = []
    run(tiny.language_model(), epochs=2, samples=10, on_progress=progress.append)
    assert progress[-1].step == progress[-1].steps == 2 * 3


def test_the_same_seed_gives_the_same_weights(tiny):
    def trained(seed):
        model = tiny.language_model()
        run(model, steps=2, seed=seed)
        return model.lm_head.weight

    assert torch.equal(trained(3), trained(3))
    assert not torch.equal(trained(3), trained(4))


def test_a_loss_that_is_no_number_stops_the_run(tiny):
    model = tiny.language_model()
    with torch.no_grad():
        model.lm_head.weight.fill_(float("nan"))
    with pytest.raises(UsageError, match="the loss is nan at step 1"):
        run(model, steps=2 * LOGGED_EVERY)


def test_a_gradient_that_is_no_number_stops_the_run(tiny):
    """It would be seen in no loss any more where it is that of the last step."""
    model = tiny.language_model()
    model.lm_head.weight.register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(UsageError, match=r"the gradient's norm is (nan|inf) at step 1"):
        run(model, steps=1)
