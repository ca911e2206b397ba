import json

import pytest
import torch
from safetensors.torch import load_file, save_file

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
    with pytest.raises(CheckpointError, match="other shapes"):
        load_parrot(saved)


def test_a_truncated_file_is_an_error(saved) -> None:
    path = saved / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match="damaged"):
        load_parrot(saved)


def test_a_pickle_is_refused(saved) -> None:
    weights = load_file(saved / "model.safetensors")
    (saved / "model.safetensors").unlink()
    torch.save(weights, saved / "pytorch_model.bin")
    with pytest.raises(CheckpointError) as caught:
        load_parrot(saved)
    assert "safetensors" in caught.value.hint


def test_another_kind_of_model_is_refused(saved) -> None:
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps({**config, "model_type": "llava"}))
    with pytest.raises(CheckpointError, match="'llava', not a Parrot") as caught:
        load_parrot(saved)
    assert "join_parrot" in caught.value.hint


def test_a_folder_that_is_not_there_is_an_error(tmp_path) -> None:
    with pytest.raises(CheckpointError, match="nowhere"):
        load_parrot(tmp_path / "nowhere")
