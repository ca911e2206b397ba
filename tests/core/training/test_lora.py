"""Adapters on the language model: what learns, what stays, and what is saved."""

from dataclasses import replace

import pytest
import torch

from parrot_core.errors import UsageError
from parrot_core.model import load_parrot
from parrot_core.recipe import LoraRecipe
from parrot_core.training.lora import add_adapters, merge_adapters
from parrot_core.training.stages import choose_what_learns, train_stage

pytest.importorskip("peft")
SETTINGS = LoraRecipe(rank=2, alpha=8.0, dropout=0.0, target_modules=("q_proj", "up_proj"))


def batch(model):
    ids = torch.arange(24).view(2, 12) % 200
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def test_only_adapters_learn_in_the_language_model(tiny):
    model, _ = tiny.parrot()
    count = add_adapters(model, SETTINGS, seed=0)
    learning = [p for p in model.language_model.parameters() if p.requires_grad]
    assert sum(p.numel() for p in learning) == count == 2 * 2 * ((32 + 32) + (32 + 48))
    assert all(p.requires_grad for p in model.projector.parameters())
    assert all(p.requires_grad for p in model.experts.parameters())


@pytest.mark.parametrize("unknown", ["value_proj", "lm_head", "proj"])
def test_an_adapter_for_a_layer_that_is_not_there_is_refused(tiny, unknown):
    model, _ = tiny.parrot()
    settings = replace(SETTINGS, target_modules=("q_proj", "mlp.up_proj", unknown))
    with pytest.raises(UsageError, match=f"no linear layer .* is called {unknown}") as error:
        add_adapters(model, settings, seed=0)
    assert "down_proj, gate_proj, k_proj" in error.value.hint


def test_merged_weights_compute_what_the_adapters_did(tiny):
    model, _ = tiny.parrot()
    plain, _ = tiny.parrot()
    add_adapters(model, SETTINGS, seed=0)
    before = model.eval()(**batch(model)).logits
    torch.testing.assert_close(before, plain.eval()(**batch(plain)).logits)  # they begin at zero
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_B." in name:
                parameter.copy_(torch.randn_like(parameter) / 10)
    expected = model(**batch(model)).logits
    assert (expected - before).abs().max() > 0.1
    merged = merge_adapters(model.state_dict(), SETTINGS)
    assert set(merged) == set(plain.state_dict())
    plain.load_state_dict(merged)
    torch.testing.assert_close(plain(**batch(plain)).logits, expected, atol=1e-4, rtol=1e-4)


def test_where_weights_are_quantised_adapters_are_added_to_those_that_are_not(tiny):
    model, _ = tiny.parrot()
    base = {name: value.clone() for name, value in model.state_dict().items()}
    add_adapters(model, SETTINGS, seed=0)
    state = {name: torch.randn_like(value) for name, value in model.state_dict().items()}
    stem = "language_model.model.layers.0.self_attn.q_proj"
    state[f"{stem}.base_layer.weight.absmax"] = torch.zeros(3)
    merged = merge_adapters(state, SETTINGS, base=base)
    assert set(merged) == set(base)
    delta = 4 * state[f"{stem}.lora_B.default.weight"] @ state[f"{stem}.lora_A.default.weight"]
    torch.testing.assert_close(merged[f"{stem}.weight"], base[f"{stem}.weight"] + delta)
    assert torch.equal(merged["projector.0.weight"], state["projector.0.weight"])


def test_a_stage_with_adapters_leaves_an_ordinary_checkpoint(workshop, tmp_path):
    train_stage(workshop.recipe, 1, output=tmp_path / "first")
    parts = {}
    recipe = replace(workshop.recipe, stage2=replace(workshop.recipe.stage2, lora=SETTINGS))
    train_stage(recipe, 2, output=tmp_path / "second", on_start=parts.update)
    assert {name for name, (_, learns) in parts.items() if learns} == {
        "projector",
        "experts",
        "adapters",
    }
    first, _ = load_parrot(tmp_path / "first")
    second, _ = load_parrot(tmp_path / "second")
    was, now = first.language_model.state_dict(), second.language_model.state_dict()
    assert set(was) == set(now)
    moved = {name for name in was if not torch.equal(was[name], now[name])}
    assert moved
    assert all("q_proj.weight" in name or "up_proj.weight" in name for name in moved)
    for name in moved:
        assert torch.linalg.matrix_rank(now[name] - was[name], atol=1e-5) <= SETTINGS.rank
    assert not torch.equal(first.projector[0].weight, second.projector[0].weight)


def test_what_is_held_in_integers_does_not_learn_itself(tiny):
    """As four-bit weights are, beside which the adapters learn."""
    model, _ = tiny.parrot()
    packed = torch.nn.Parameter(torch.zeros(4, dtype=torch.uint8), requires_grad=False)
    model.language_model.model.layers[0].mlp.up_proj.weight = packed
    choose_what_learns(model, ["language_model"])
    assert not packed.requires_grad
    assert model.language_model.model.norm.weight.requires_grad


def test_a_stage_on_four_bit_weights_leaves_an_ordinary_checkpoint(workshop, tmp_path):
    pytest.importorskip("bitsandbytes")
    stage = replace(
        workshop.recipe.stage2, lora=LoraRecipe(rank=2, quantisation="4bit"), zero=0, steps=2
    )
    train_stage(workshop.recipe, 1, output=tmp_path / "first")
    train_stage(replace(workshop.recipe, stage2=stage), 2, output=tmp_path / "second")
    model, _ = load_parrot(tmp_path / "second")
    assert type(model.language_model.model.layers[0].mlp.up_proj) is torch.nn.Linear
