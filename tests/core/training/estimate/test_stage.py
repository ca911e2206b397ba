"""The estimate of whole stages, held against the paper and against a run."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from parrot_core.errors import MissingError, UsageError
from parrot_core.recipe import DataUse, load_recipe
from parrot_core.recipe.hardware import GPUS
from parrot_core.training.estimate import check_memory, estimate_stage
from parrot_core.training.estimate.lengths import find_tokenizer
from parrot_core.training.runs import RUN_FILE
from parrot_core.training.stages import train_stage

RECIPES = {path.stem: path for path in (Path(__file__).parents[4] / "recipes").glob("*.toml")}


@pytest.mark.parametrize("name", sorted(set(RECIPES) - {"tiny"}))
def test_a_recipe_takes_the_hours_and_fits_the_gpu_that_it_names(name):
    """At the assumed utilisation the paper's 7B run takes its 21 hours; others follow from it."""
    recipe = load_recipe(RECIPES[name])
    gpu = recipe.launch.gpu
    found = [estimate_stage(recipe, stage) for stage in (1, 2)]
    hours = sum(entry.hours[gpu] for entry in found)
    assert hours == pytest.approx(recipe.about.hours.value, rel=0.03)
    assert all(entry.memory.gpu < GPUS[gpu].memory_gb * 1e9 for entry in found)


def test_a_run_has_the_steps_the_samples_and_the_parameters_that_were_estimated(workshop, tmp_path):
    recipe = replace(
        workshop.recipe, stage1=replace(workshop.recipe.stage1, steps=None, epochs=3.0)
    )
    found = estimate_stage(recipe, 1)
    train_stage(recipe, 1, output=tmp_path / "run")
    run = json.loads((tmp_path / "run" / RUN_FILE).read_text(encoding="utf-8"))
    log = (tmp_path / "run" / "log.jsonl").read_text(encoding="utf-8").splitlines()
    assert {name: part.parameters for name, part in found.parts.items()} == run["parameters"]
    assert [name for name, part in found.parts.items() if part.trainable] == run["learned"]
    assert found.lengths[0].samples == run["samples"]
    assert json.loads(log[-1])["step"] == found.work.steps == 6


def test_samples_are_measured_where_the_file_is_there(workshop):
    found = estimate_stage(workshop.recipe, 2)
    (lengths,) = found.lengths
    assert (lengths.source, lengths.samples) == ("measured", 8)
    assert lengths.images == 6 / 8
    count = find_tokenizer(workshop.recipe.model.language_model)
    rows = json.loads((workshop.data / "two.json").read_text(encoding="utf-8"))
    turns = [turn["value"].replace("<image>", "") for row in rows for turn in row["conversations"]]
    tokens = sum(map(count, turns))
    assert lengths.text_tokens == pytest.approx(tokens / 8 + 5 * len(turns) / 8)
    assert lengths.longest_text >= lengths.text_tokens


def test_weights_and_counts_decide_how_much_is_drawn(workshop):
    def steps(**use):
        stage = replace(workshop.recipe.stage2, steps=None, data=(DataUse(file="two.json", **use),))
        return estimate_stage(replace(workshop.recipe, stage2=stage), 2).work.steps

    assert (steps(), steps(weight=3.0), steps(weight=0.5), steps(samples=20)) == (4, 12, 2, 10)


def test_hours_follow_from_the_gpus_their_number_and_their_utilisation(shipped):
    recipe = shipped("qwen2-7b", overrides=["launch.gpu=H100-80GB"])
    one = estimate_stage(recipe, 1, processes=1, utilisation=0.2).hours["H100-80GB"]
    more = estimate_stage(recipe, 1, processes=4, utilisation=0.4).hours["H100-80GB"]
    assert one == pytest.approx(8 * more)


def test_a_stage_that_cannot_fit_says_what_would_in_numbers(shipped):
    recipe = shipped("qwen2-7b", overrides=["launch.nodes=1"])
    with pytest.raises(MissingError) as caught:
        check_memory(recipe, 2, processes=1, gpu_bytes=24e9, gpu="RTX4090-24GB")
    assert "needs about" in caught.value.problem
    assert "1 × RTX4090-24GB, which has 24.0 GB" in caught.value.problem
    for words in ("--set stage2.offload=", "32 GPUs", "--set stage2.lora.quantisation=4bit"):
        assert words in caught.value.hint


def test_what_is_proposed_does_fit(shipped):
    recipe = shipped("qwen2-7b", overrides=["launch.nodes=1"])
    with pytest.raises(MissingError) as caught:
        check_memory(recipe, 2, processes=1, gpu_bytes=24e9, gpu="X")
    proposals = [way for way in caught.value.hint.split("; or with ") if "--set" in way]
    assert len(proposals) == 2
    for way in proposals:
        words = way.replace(",", " ").split()
        changes = [after for before, after in pairwise(words) if before == "--set"]
        changed = shipped("qwen2-7b", overrides=["launch.nodes=1", *changes])
        assert check_memory(changed, 2, processes=1, gpu_bytes=24e9, gpu="X") is None


def test_a_stage_whose_longest_samples_are_tight_is_only_warned_of(shipped):
    recipe = shipped("qwen2-7b")
    warning = check_memory(recipe, 2, processes=8, gpu_bytes=33e9, gpu="X")
    assert "lower stage2.device_batch_size" in warning
    assert check_memory(recipe, 2, processes=8, gpu_bytes=80e9, gpu="X") is None


def test_a_model_that_is_nowhere_is_named_while_the_hub_is_off(papers_recipe):
    with pytest.raises(MissingError, match="no model nobody/has-this: no such folder") as caught:
        estimate_stage(papers_recipe("nobody/has-this"), 1)
    assert "hf download nobody/has-this" in caught.value.hint


def test_processes_that_do_not_divide_the_batch_are_refused(shipped):
    recipe = shipped("qwen2-7b-lora")
    with pytest.raises(UsageError, match="does not divide among 7 processes"):
        estimate_stage(recipe, 1, processes=7)


def test_data_whose_size_nobody_knows_is_named(workshop):
    stage = replace(workshop.recipe.stage1, steps=None, data=(DataUse(file="no.json"),))
    with pytest.raises(MissingError, match=r"no data set no\.json"):
        estimate_stage(replace(workshop.recipe, stage1=stage), 1)
