import errno
import json
import resource
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from parrot_core.errors import MissingError, UsageError
from parrot_core.model import join_parrot, load_parrot
from parrot_core.recipe import DataUse, LearningRates
from parrot_core.training.runs import (
    LOG_FILE,
    RUN_FILE,
    find_stage,
    log_file,
    open_run,
    read_log,
    save_run,
)
from parrot_core.training.stages import PARTS, choose_what_learns, train_stage


@pytest.fixture(scope="module")
def trained(workshop):
    """Both stages, run as a user would, two steps each: stage 2 finds stage 1 beside it."""
    runs = workshop.folder / "runs"
    train_stage(workshop.recipe, 1, output=runs / "first")
    train_stage(workshop.recipe, 2, output=runs / "second")
    return runs


@pytest.fixture
def joined(workshop):
    """What stage 1 begins with: the parts, and a projector drawn with the recipe's seed."""
    model, _ = join_parrot(
        language_model=workshop.recipe.model.language_model,
        vision_encoder=workshop.recipe.model.vision_encoder,
        tokenizer=workshop.recipe.model.language_model,
        image_processor=workshop.recipe.model.vision_encoder,
        generator=torch.Generator().manual_seed(workshop.recipe.seed),
        experts_enabled=False,
    )
    return model


def moved(before, after):
    """For each part that both models have, how far its weights lie apart at most."""
    distances = {}
    for name in PARTS:
        one, other = getattr(before, name), getattr(after, name)
        if one is not None and other is not None:
            pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
            distances[name] = max(float((a - b).abs().max()) for a, b in pairs)
    return distances


def test_stage_1_moves_the_projector_and_nothing_else(trained, joined):
    model, _ = load_parrot(trained / "first")
    distances = moved(joined, model)
    assert distances.pop("projector") > 1e-3
    assert distances == {"vision_encoder": 0.0, "language_model": 0.0}
    assert model.experts is None


def test_stage_2_moves_all_but_the_vision_encoder(trained):
    first, _ = load_parrot(trained / "first")
    second, _ = load_parrot(trained / "second")
    distances = moved(first, second)
    assert distances.pop("vision_encoder") == 0.0
    assert set(distances) == {"projector", "language_model"}
    assert min(distances.values()) > 1e-3


def fresh_experts(folder, seed):
    model, _ = load_parrot(folder)
    model.initialise_experts(torch.Generator().manual_seed(seed))
    return model


def test_stage_2_draws_experts_as_the_recipe_says_and_trains_them(trained, workshop):
    model, _ = load_parrot(trained / "second")
    assert model.config.experts_enabled
    assert (model.config.num_experts, model.config.expert_intermediate_size) == (3, 8)
    apart = moved(fresh_experts(trained / "second", workshop.recipe.seed), model)["experts"]
    assert 1e-3 < apart < 0.1


def test_stage_2_draws_experts_afresh_even_where_there_are_some(trained, workshop, tmp_path):
    """With a learning rate that moves nothing, what comes out is the draw."""
    recipe = replace(workshop.recipe, stage2=replace(workshop.recipe.stage2, learning_rate=1e-12))
    train_stage(recipe, 2, output=tmp_path / "again", init_from=trained / "second")
    model, _ = load_parrot(tmp_path / "again")
    drawn = fresh_experts(trained / "second", recipe.seed)
    had, _ = load_parrot(trained / "second")
    assert moved(drawn, model)["experts"] < 1e-6
    assert moved(had, model)["experts"] > 1e-3


def test_the_router_can_have_a_learning_rate_of_its_own(trained, workshop, tmp_path):
    settings = replace(
        workshop.recipe.stage2,
        learning_rate=1e-12,
        learning_rates=LearningRates(router=1e-2),
    )
    recipe = replace(workshop.recipe, stage2=settings)
    train_stage(recipe, 2, output=tmp_path / "run", init_from=trained / "first")
    model, _ = load_parrot(tmp_path / "run")
    drawn = fresh_experts(tmp_path / "run", recipe.seed)
    apart = {
        name: float((value - drawn.experts.state_dict()[name]).abs().max())
        for name, value in model.experts.state_dict().items()
    }
    assert apart.pop("router") > 1e-3
    assert max(apart.values()) < 1e-6


def test_without_experts_stage_2_trains_the_baseline(trained, workshop, tmp_path):
    experts = replace(workshop.recipe.model.experts, enabled=False)
    recipe = replace(workshop.recipe, model=replace(workshop.recipe.model, experts=experts))
    train_stage(recipe, 2, output=tmp_path / "run", init_from=trained / "first")
    model, _ = load_parrot(tmp_path / "run")
    assert model.experts is None
    first, _ = load_parrot(trained / "first")
    assert moved(first, model)["language_model"] > 1e-3


def test_the_projector_has_the_recipes_layers_and_keeps_them(workshop, tmp_path, caplog):
    model = replace(workshop.recipe.model, projector_layers=3, vision_feature_layer=-1)
    train_stage(replace(workshop.recipe, model=model), 1, output=tmp_path / "first")
    first, _ = load_parrot(tmp_path / "first")
    assert sum(isinstance(module, torch.nn.Linear) for module in first.projector) == 3
    assert not caplog.records
    train_stage(workshop.recipe, 2, output=tmp_path / "second")
    second, _ = load_parrot(tmp_path / "second")
    assert second.config.projector_layers == 3
    assert f"model.projector_layers = 2 is for stage 1: it is 3 in {tmp_path}" in caplog.text
    assert "model.vision_feature_layer = -2 is for stage 1: it is -1 in" in caplog.text


def test_an_image_size_that_the_encoder_does_not_take_is_refused(workshop, tmp_path):
    model = replace(workshop.recipe.model, image_size=100)
    with pytest.raises(UsageError, match=r"model\.image_size is 100, but .* takes images of"):
        train_stage(replace(workshop.recipe, model=model), 1, output=tmp_path)


def test_cached_features_train_the_same_model(trained, workshop, tmp_path):
    settings = replace(workshop.recipe.stage1, cache_vision_features=True)
    recipe = replace(workshop.recipe, stage1=settings)
    train_stage(recipe, 1, output=tmp_path / "run")
    cached, _ = load_parrot(tmp_path / "run")
    plain, _ = load_parrot(trained / "first")
    assert moved(plain, cached)["projector"] < 1e-5


def test_packed_batches_train_the_same_model(trained, workshop, tmp_path):
    recipe = replace(workshop.recipe, stage2=replace(workshop.recipe.stage2, packing="on"))
    train_stage(recipe, 2, output=tmp_path / "run", init_from=trained / "first")
    packed, _ = load_parrot(tmp_path / "run")
    padded, _ = load_parrot(trained / "second")
    assert max(moved(padded, packed).values()) < 1e-5
    # Bit for bit it would be padded still.
    assert max(moved(padded, packed).values()) > 0


def test_dropout_of_vision_features_changes_what_is_learned(trained, workshop, tmp_path):
    settings = replace(workshop.recipe.stage1, vision_feature_dropout=0.5)
    recipe = replace(workshop.recipe, stage1=settings)
    train_stage(recipe, 1, output=tmp_path / "run")
    model, _ = load_parrot(tmp_path / "run")
    plain, _ = load_parrot(trained / "first")
    assert moved(plain, model)["projector"] > 1e-5


def test_a_run_says_what_it_was(trained):
    run = json.loads((trained / "second" / RUN_FILE).read_text(encoding="utf-8"))
    assert (run["stage"], run["recipe"], run["seed"]) == ("2", "small", 0)
    assert run["samples"] == 8
    assert run["languages"] == {"en": 4, "tr": 4}
    assert set(run["learned"]) == {"projector", "experts", "language_model"}
    recipe = json.loads((trained / "second" / "recipe.json").read_text(encoding="utf-8"))
    assert recipe["stage2"]["weight_decay"] == 0.0
    log = (trained / "second" / LOG_FILE).read_text(encoding="utf-8").splitlines()
    assert json.loads(log[-1])["loss"] == run["loss"]


def test_the_same_recipe_trains_the_same_weights(trained, workshop, tmp_path):
    train_stage(workshop.recipe, 1, output=tmp_path / "again")
    one, other = (
        load_file(f / "model.safetensors") for f in (trained / "first", tmp_path / "again")
    )
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_stage_2_without_a_stage_1_says_so(workshop, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingError, match="no output of stage 1"):
        train_stage(workshop.recipe, 2, output=tmp_path / "runs" / "second")


def test_the_newest_run_of_the_recipe_is_found_and_no_other(tmp_path, caplog):
    def note(folder, **facts):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / RUN_FILE).write_text(json.dumps(facts), encoding="utf-8")

    note("old", stage="1", recipe="small", finished="2026-01-01T00:00:00Z")
    note("new", stage="1", recipe="small", finished="2026-02-01T00:00:00Z")
    note("other", stage="1", recipe="large", finished="2026-03-01T00:00:00Z")
    note("later", stage="2", recipe="small", finished="2026-04-01T00:00:00Z")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / RUN_FILE).write_text("{", encoding="utf-8")
    (tmp_path / "binary").mkdir()
    (tmp_path / "binary" / RUN_FILE).write_bytes(b"\xff\xfe")
    want = {"beside": tmp_path / "mine", "default": tmp_path / "nowhere"}
    assert find_stage("small", stage="1", **want) == tmp_path / "new"
    assert "broken" in caplog.text
    assert "binary" in caplog.text
    assert find_stage("tiny", stage="1", **want) is None
    elsewhere = {"beside": tmp_path / "no" / "mine", "default": tmp_path / "old"}
    assert find_stage("small", stage="1", **elsewhere) == tmp_path / "old"


def test_a_full_disk_keeps_what_was_there(trained, workshop, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(trained / "first", folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def save(staging):
        (staging / "config.json").write_text("{}", encoding="utf-8")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(MissingError, match="No space left") as caught:
        save_run(folder, recipe=workshop.recipe, stage="1", facts={}, save=save)
    assert "untouched" in caught.value.hint
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    load_parrot(folder)


def test_a_disk_that_fills_while_weights_are_written_keeps_what_was_there(
    trained, workshop, tmp_path
):
    """A limit on the size of files stands in for the disk; the weights' own writer meets it."""
    folder = tmp_path / "run"
    shutil.copytree(trained / "first", folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    model, _ = load_parrot(trained / "second")
    reached = []

    def save(staging):
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(
            resource.RLIMIT_FSIZE, (len(before["model.safetensors"]) // 2, limits[1])
        )
        try:
            model.save_pretrained(staging)
        finally:
            reached.append((staging / "config.json").is_file())
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    with pytest.raises(MissingError, match="cannot save to"):
        save_run(folder, recipe=workshop.recipe, stage="2", facts={}, save=save)
    assert reached == [True]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_log_that_finds_no_room_says_so(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40, limits[1]))
    try:
        with log_file(tmp_path) as log:
            for step in range(3):
                log({"step": step})
            with pytest.raises(MissingError, match=r"cannot write to .*log\.jsonl"):
                log({"step": 3})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert read_log(tmp_path) == [{"step": 0}, {"step": 1}, {"step": 2}]


def test_what_a_cut_off_run_left_is_cleared_away(tmp_path):
    (tmp_path / ".saving").mkdir()
    (tmp_path / ".saving" / "model.safetensors").write_bytes(b"half")
    (tmp_path / "model.safetensors").write_bytes(b"whole")
    with open_run(tmp_path):
        assert {path.name for path in tmp_path.iterdir()} == {"model.safetensors", ".lock"}


def test_a_second_run_in_a_folder_is_refused_while_the_first_is_at_work(
    workshop, tmp_path, monkeypatch
):
    monkeypatch.setattr("parrot_core.training.runs._KILLED_RUNS_END_WITHIN", 0.1)
    refused = []

    def start_another(_):
        with pytest.raises(UsageError, match="another run is at work in") as error:
            train_stage(workshop.recipe, 1, output=tmp_path)
        refused.append(error)

    train_stage(workshop.recipe, 1, output=tmp_path, on_start=start_another)
    assert len(refused) == 1
    assert not (tmp_path / ".lock").exists()
    train_stage(workshop.recipe, 1, output=tmp_path)


def test_a_run_that_cannot_be_read_is_no_finished_one(workshop, tmp_path, caplog):
    (tmp_path / RUN_FILE).write_bytes(b"\xff\xfe")
    steps = []
    train_stage(workshop.recipe, 1, output=tmp_path, resume=True, on_progress=steps.append)
    assert len(steps) == 2
    assert f"{RUN_FILE} is not readable" in caplog.text


def test_weights_of_the_run_before_do_not_stay_beside_those_of_this_one(workshop, tmp_path):
    """In more or fewer files: the library would take the wrong ones."""
    for name in ("model-00001-of-00002.safetensors", "model.safetensors.index.json"):
        (tmp_path / name).write_bytes(b"stale")
    (tmp_path / RUN_FILE).write_text("{}", encoding="utf-8")

    def save(folder):
        (folder / "model.safetensors").write_bytes(b"new")
        assert (tmp_path / RUN_FILE).is_file()

    save_run(tmp_path, recipe=workshop.recipe, stage="1", facts={}, save=save)
    assert {path.name for path in tmp_path.iterdir()} == {
        "model.safetensors",
        "recipe.json",
        RUN_FILE,
    }


def test_an_output_that_cannot_be_written_is_refused_before_any_work(workshop, tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    begun = []
    with pytest.raises(MissingError, match="cannot write to"):
        train_stage(
            replace(workshop.recipe, data=replace(workshop.recipe.data, folder="no/such/folder")),
            1,
            output=tmp_path / "file" / "run",
            on_start=begun.append,
        )
    assert not begun


def test_samples_in_a_language_that_the_recipe_does_not_name_are_refused(workshop, tmp_path):
    recipe = replace(workshop.recipe, languages=("en",))
    with pytest.raises(UsageError, match="samples in tr"):
        train_stage(recipe, 1, output=tmp_path / "run")


def test_a_data_set_that_is_not_there_says_where_it_is_to_be_had(workshop, tmp_path):
    uses = (DataUse(name="sharegpt4v-tr"), DataUse(file="one.json"))
    recipe = replace(workshop.recipe, stage1=replace(workshop.recipe.stage1, data=uses))
    with pytest.raises(MissingError, match=r"no data set sharegpt4v-tr: .*https://") as caught:
        train_stage(recipe, 1, output=tmp_path / "run")
    assert len(caught.value.problem.splitlines()) == 1


def test_a_sample_that_is_too_long_is_named(workshop, tmp_path):
    recipe = replace(workshop.recipe, stage1=replace(workshop.recipe.stage1, max_length=20))
    with pytest.raises(UsageError, match=r"one\.json.* tokens, 20 are allowed"):
        train_stage(recipe, 1, output=tmp_path / "run")


def test_what_learns_is_told_with_its_size(tiny):
    model, _ = tiny.parrot()
    parts = choose_what_learns(model, ["experts"])
    assert {name for name, (_, learns) in parts.items() if learns} == {"experts"}
    assert {name for name, p in model.named_parameters() if p.requires_grad} == {
        f"experts.{name}" for name, _ in model.experts.named_parameters()
    }
    assert sum(count for count, _ in parts.values()) == model.num_parameters()


def test_a_model_without_experts_cannot_train_experts_alone(tiny):
    model, _ = tiny.parrot(experts_enabled=False)
    with pytest.raises(UsageError, match="nothing to train"):
        choose_what_learns(model, ["experts"])
