import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText

from parrot_core.errors import ParrotError
from parrot_core.model import load_parrot
from parrot_core.model.errors import CheckpointError


@pytest.fixture
def saved(parrot, tmp_path):
    """A folder with the shared model, to be damaged."""
    for part in parrot:
        part.save_pretrained(tmp_path)
    return tmp_path


def test_a_saved_model_loads_with_its_weights_settings_and_stops(saved, parrot) -> None:
    model, processor = load_parrot(saved)
    for name, weight in parrot[0].state_dict().items():
        assert torch.equal(model.state_dict()[name], weight), name
    assert not model.training
    assert model.generation_config.eos_token_id == parrot[0].generation_config.eos_token_id
    assert processor.num_image_tokens == parrot[1].num_image_tokens


def test_a_precision_can_be_asked_for(saved) -> None:
    model, _ = load_parrot(saved, dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}


def test_missing_weights_are_named(saved) -> None:
    weights = load_file(saved / "model.safetensors")
    del weights["experts.router"]
    save_file(weights, saved / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"lacks experts\.router"):
        load_parrot(saved)


def test_weights_of_no_use_are_named(saved) -> None:
    weights = load_file(saved / "model.safetensors")
    weights["experts.left_over"] = torch.zeros(2)
    save_file(weights, saved / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"of no use: experts\.left_over"):
        load_parrot(saved)


def test_weights_of_another_shape_are_named(saved) -> None:
    weights = load_file(saved / "model.safetensors")
    weights["experts.router"] = torch.zeros(5, 32)
    save_file(weights, saved / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"of other shapes: experts\.router \[5, 32\]"):
        load_parrot(saved)


LOADERS = {"load_parrot": load_parrot, "auto": AutoModelForImageTextToText.from_pretrained}


@pytest.mark.parametrize("load", LOADERS.values(), ids=LOADERS)
@pytest.mark.parametrize("kept", [0, 20, -1000])
def test_a_truncated_file_is_an_error(saved, load, kept) -> None:
    path = saved / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match="damaged"):
        load(saved)


@pytest.mark.parametrize("load", LOADERS.values(), ids=LOADERS)
def test_a_pickle_is_refused(saved, load) -> None:
    weights = load_file(saved / "model.safetensors")
    (saved / "model.safetensors").unlink()
    torch.save(weights, saved / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"in pickles only: pytorch_model\.bin") as caught:
        load(saved)
    assert "safetensors" in caught.value.hint


@pytest.mark.parametrize("load", LOADERS.values(), ids=LOADERS)
def test_a_pickle_under_the_name_of_safetensors_is_not_opened(saved, load) -> None:
    torch.save({"experts.router": torch.zeros(6, 32)}, saved / "model.safetensors")
    with pytest.raises(CheckpointError, match="damaged"):
        load(saved)


def test_a_shard_that_the_index_names_but_nobody_copied_is_named(parrot, tmp_path) -> None:
    parrot[0].save_pretrained(tmp_path, max_shard_size="40KB")
    parrot[1].save_pretrained(tmp_path)
    assert load_parrot(tmp_path)[0].device.type == "cpu"
    shard = sorted(tmp_path.glob("*.safetensors"))[1]
    shard.unlink()
    with pytest.raises(CheckpointError, match=shard.name):
        load_parrot(tmp_path)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"expert_kind": "three_layer"}, "unknown expert_kind 'three_layer'"),
        ({"reweighting": "sum"}, "unknown reweighting 'sum'"),
        ({"expert_kind": "gated"}, r"lacks experts\.gate_proj"),
        ({"num_experts": "six"}, "'num_experts' expected int, got str"),
        ({"vision_config": {"model_type": "eye"}}, "eye"),
        ({"model_type": None}, "no config.json that says what it is"),
    ],
)
def test_a_config_that_was_changed_is_told_from_what_it_says(saved, change, problem) -> None:
    path = saved / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ParrotError, match=problem):
        load_parrot(saved)


def test_a_config_that_is_no_table_is_no_parrots(saved) -> None:
    (saved / "config.json").write_text("[]")
    with pytest.raises(CheckpointError, match=r"no config\.json that says what it is"):
        load_parrot(saved)


def test_a_folder_without_a_tokenizer_is_an_error(saved) -> None:
    for path in saved.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(CheckpointError):
        load_parrot(saved)


def test_another_kind_of_model_is_refused(saved) -> None:
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps({**config, "model_type": "llava"}))
    with pytest.raises(CheckpointError, match="'llava', not a Parrot") as caught:
        load_parrot(saved)
    assert "join_parrot" in caught.value.hint


@pytest.mark.parametrize("name", ["/nowhere", "./nowhere", "../a/b/c", "", "~/parrot"])
def test_a_folder_that_is_not_there_is_not_asked_of_the_model_hub(name, monkeypatch) -> None:
    monkeypatch.setattr("huggingface_hub.file_download.http_get", pytest.fail)
    with pytest.raises(CheckpointError, match="there is no folder"):
        load_parrot(name)


def test_a_file_in_place_of_a_folder_is_an_error(saved) -> None:
    with pytest.raises(CheckpointError, match="is a file"):
        load_parrot(saved / "config.json")
