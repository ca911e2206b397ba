"""Equations 2 to 5, each against a slow reading of the paper, and their laws."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from parrot_core.model.alignment import (
    ExpertMatrices,
    LanguageExperts,
    guide,
    mix,
    reweight,
    route,
)
from parrot_core.model.config import REWEIGHTINGS
from parrot_core.model.parts import initialise

M, V, N, C, E, HIDDEN = 3, 5, 7, 16, 6, 24


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def make_experts(*, gated: bool, k: int = E, seed: int = 0) -> LanguageExperts:
    experts = LanguageExperts(C, HIDDEN, num_experts=E, num_experts_per_tok=k, gated=gated)
    initialise(experts, torch.Generator().manual_seed(seed))
    if not gated:  # zero biases would hide a bias that is added wrongly
        with torch.no_grad():
            experts.up_bias.copy_(normal(E, HIDDEN, seed=8))
            experts.down_bias.copy_(normal(E, C, seed=9))
    return experts


def one_expert(experts: LanguageExperts, number: int, visual: Tensor) -> Tensor:
    """An expert as section 4.1 and the released code write it: separate linear layers."""
    up = visual @ experts.up_proj[number].T
    if experts.gate_proj is not None:
        gate = visual @ experts.gate_proj[number].T
        return (F.silu(gate) * up) @ experts.down_proj[number]
    hidden = F.silu(up + experts.up_bias[number])
    return hidden @ experts.down_proj[number] + experts.down_bias[number]


def slow_mixture(experts: LanguageExperts, visual: Tensor, weights: Tensor) -> Tensor:
    """Equation 4 by loops over images and their k most probable experts."""
    mixtures = []
    for image, row in zip(visual, weights, strict=True):
        chosen = row.argsort(descending=True)[: experts.num_experts_per_tok]
        parts = [row[i] * one_expert(experts, int(i), image) for i in chosen]
        mixtures.append(torch.stack(parts).sum(dim=0))
    return torch.stack(mixtures)


def test_equation_2_is_cross_attention_of_the_cls_token_to_the_words() -> None:
    query, text = normal(M, C), normal(M, N, C, seed=1)
    mask = torch.ones(M, N, dtype=torch.bool)
    expected = F.scaled_dot_product_attention(query.unsqueeze(1), text, text).squeeze(1)
    guided, attention = guide(query, text, mask=mask)
    torch.testing.assert_close(guided, expected)
    torch.testing.assert_close(attention, (query[:, None] @ text.mT / C**0.5).softmax(-1)[:, 0])


def test_text_guidance_ignores_what_is_masked() -> None:
    query, text = normal(M, C), normal(M, N, C, seed=1)
    mask = torch.arange(N) < torch.tensor([[N], [4], [1]])
    changed = torch.where(mask.unsqueeze(-1), text, normal(M, N, C, seed=2) * 100)
    guided, attention = guide(query, text, mask=mask)
    torch.testing.assert_close(guided, guide(query, changed, mask=mask)[0], rtol=0, atol=0)
    assert not attention[~mask].any()
    torch.testing.assert_close(attention.sum(dim=1), torch.ones(M))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_text_guidance_in_half_precision_is_that_of_float32_but_for_rounding(dtype) -> None:
    # Products of this size overflow in float16 unless they are scaled first.
    query, text = normal(M, 512) * 30, normal(M, N, 512, seed=1) * 30
    mask = torch.ones(M, N, dtype=torch.bool)
    query, text = query.to(dtype), text.to(dtype)
    guided, attention = guide(query * 0.01, text, mask=mask)
    expected, weights = guide(query.float() * 0.01, text.float(), mask=mask)
    assert guided.dtype == dtype
    assert attention.dtype == torch.float32
    torch.testing.assert_close(attention, weights, rtol=0, atol=0.03)
    torch.testing.assert_close(guided.float(), expected, rtol=0.03, atol=1.5)
    assert guide(query, text, mask=mask)[0].isfinite().all()


@settings(max_examples=25)
@given(seed=st.integers(0, 1000), size=st.floats(0.01, 100.0))
def test_text_guidance_lies_among_the_words_and_their_order_does_not_matter(seed, size) -> None:
    query, text = normal(M, C, seed=seed) * size, normal(M, N, C, seed=seed + 1)
    mask = normal(M, N, seed=seed + 2) > -1
    mask[:, 0] = True
    guided, attention = guide(query, text, mask=mask)
    assert (attention >= 0).all()
    torch.testing.assert_close(attention.sum(dim=1), torch.ones(M))
    lowest = text.masked_fill(~mask.unsqueeze(-1), float("inf")).amin(dim=1)
    highest = text.masked_fill(~mask.unsqueeze(-1), float("-inf")).amax(dim=1)
    assert ((guided >= lowest - 1e-5) & (guided <= highest + 1e-5)).all()
    order = torch.randperm(N, generator=torch.Generator().manual_seed(seed))
    again, _ = guide(query, text[:, order], mask=mask[:, order])
    torch.testing.assert_close(again, guided, rtol=1e-4, atol=1e-5)


@settings(max_examples=25)
@given(seed=st.integers(0, 1000), shift=st.floats(-50, 50))
def test_equation_3_depends_on_differences_only(seed, shift) -> None:
    guided, weight = normal(M, C, seed=seed), normal(E, C, seed=seed + 1)
    moved = weight + shift * normal(1, C, seed=seed + 2)  # the same for every expert
    torch.testing.assert_close(route(guided, moved), route(guided, weight), rtol=1e-3, atol=1e-4)


def test_a_single_guiding_word_is_the_guidance() -> None:
    text = normal(M, N, C)
    mask = F.one_hot(torch.tensor([0, 3, 6]), N).bool()
    guided, _ = guide(normal(M, C, seed=1), text, mask=mask)
    torch.testing.assert_close(guided, text[mask])


def test_equation_3_is_a_distribution_in_float32_whatever_the_precision() -> None:
    guided, weight = normal(M, C).bfloat16(), normal(E, C, seed=1).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        weights = route(guided, weight)
    assert weights.dtype == torch.float32
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(M))
    torch.testing.assert_close(weights, (guided.float() @ weight.float().T).softmax(dim=-1))


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("k", [1, 2, 5, 6])
def test_equation_4_sums_the_k_most_probable_experts(k, gated) -> None:
    experts = make_experts(gated=gated, k=k)
    visual, guided = normal(M, V, C, seed=2), normal(M, C, seed=3)
    mixture, weights = experts(visual, guided)
    torch.testing.assert_close(weights, route(guided, experts.router))
    torch.testing.assert_close(mixture, slow_mixture(experts, visual, weights))


def test_each_equation_is_a_function_with_its_number() -> None:
    for number, function in {2: guide, 3: route, 4: mix, 5: reweight}.items():
        assert function.__doc__.startswith(f"Equation {number}:")


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("k", [1, 3, 6])
def test_an_expert_that_is_switched_off_leaves_the_others_as_they_are(k, gated) -> None:
    experts = make_experts(gated=gated, k=k)
    visual, guided = normal(M, V, C), normal(M, C, seed=1)
    whole, weights = experts(visual, guided)
    without = []
    for expert in range(E):
        active = torch.arange(E) != expert
        mixture, same_weights = experts(visual, guided, active=active)
        torch.testing.assert_close(same_weights, weights, rtol=0, atol=0)
        chosen = weights.topk(k, dim=-1).indices
        share = weights[:, expert] * (chosen == expert).any(dim=-1)
        term = share[:, None, None] * one_expert(experts, expert, visual)
        torch.testing.assert_close(mixture, whole - term)
        without.append(whole - mixture)
    torch.testing.assert_close(sum(without), whole)
    nothing, _ = experts(visual, guided, active=torch.zeros(E, dtype=torch.bool))
    torch.testing.assert_close(nothing, torch.zeros_like(visual), rtol=0, atol=0)


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("k", [1, 3, E])
def test_gradients_of_the_stacked_experts_equal_those_of_separate_ones(k, gated) -> None:
    visual, guided = normal(M, V, C, seed=2), normal(M, C, seed=3)
    grads = []
    for slow in (False, True):
        experts = make_experts(gated=gated, k=k)
        mixture, weights = experts(visual, guided)
        if slow:
            mixture = slow_mixture(experts, visual, weights)
        mixture.square().sum().backward()
        grads.append({name: p.grad for name, p in experts.named_parameters()})
    assert grads[0].keys() == grads[1].keys()
    for name, grad in grads[0].items():
        torch.testing.assert_close(grad, grads[1][name], rtol=1e-4, atol=1e-5, msg=name)


def test_experts_that_nobody_chose_have_gradients_of_zero_not_none() -> None:
    """Or ranks that chose differently would wait for each other."""
    experts = make_experts(gated=False, k=1)
    mixture, weights = experts(normal(1, V, C), normal(1, C, seed=1))
    mixture.sum().backward()
    chosen = int(weights.argmax())
    others = [i for i in range(E) if i != chosen]
    for name in ("up_proj", "down_proj", "up_bias", "down_bias"):
        grad = experts.get_parameter(name).grad
        assert grad[others].abs().max() == 0, name
        assert grad[chosen].abs().max() > 0, name


def test_equation_5_as_the_paper_has_it_and_as_the_released_code_has_it() -> None:
    visual, mixture = normal(M, V, C), normal(M, V, C, seed=1)
    paper = reweight(visual, mixture, alpha=0.3, kind="input_plus_experts")
    released = reweight(visual, mixture, alpha=0.3, kind="experts_plus_weighted_input")
    torch.testing.assert_close(paper, visual + 0.3 * mixture)
    torch.testing.assert_close(released, mixture + 0.3 * visual)


def test_with_alpha_of_zero_the_papers_experts_change_nothing() -> None:
    visual, mixture = normal(M, V, C), normal(M, V, C, seed=1)
    assert torch.equal(reweight(visual, mixture, alpha=0, kind="input_plus_experts"), visual)
    assert torch.equal(
        reweight(visual, mixture, alpha=0, kind="experts_plus_weighted_input"), mixture
    )


def test_an_unknown_kind_of_reweighting_is_an_error() -> None:
    with pytest.raises(ValueError, match="'sum'"):
        reweight(normal(1, 1, C), normal(1, 1, C), alpha=1.0, kind="sum")


@settings(max_examples=25)
@given(
    order=st.permutations(range(E)),
    seed=st.integers(0, 1000),
    gated=st.booleans(),
    k=st.integers(1, E),
)
def test_the_order_of_the_experts_does_not_matter(order, seed, gated, k) -> None:
    experts, shuffled = make_experts(gated=gated, k=k), make_experts(gated=gated, k=k)
    with torch.no_grad():
        for name, parameter in shuffled.named_parameters():
            parameter.copy_(experts.get_parameter(name)[order])
    visual, guided = normal(M, V, C, seed=seed), normal(M, C, seed=seed + 1)
    mixture, weights = experts(visual, guided)
    same, permuted = shuffled(visual, guided)
    torch.testing.assert_close(permuted, weights[:, order])
    torch.testing.assert_close(same, mixture, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("gated", [False, True])
def test_compiled_top_k_experts_compute_the_same(gated) -> None:
    experts = make_experts(gated=gated, k=2)
    visual, guided = normal(M, V, C), normal(M, C, seed=1)
    active = torch.arange(E) != 3
    compiled = torch.compile(experts, backend="aot_eager")
    for switched in (None, active):
        mixture, weights = compiled(visual, guided, active=switched)
        expected, same = experts(visual, guided, active=switched)
        torch.testing.assert_close(mixture, expected)
        torch.testing.assert_close(weights, same)


@settings(max_examples=25)
@given(seed=st.integers(0, 1000), kind=st.sampled_from(REWEIGHTINGS))
def test_equation_5_is_linear_in_what_the_experts_make(seed, kind) -> None:
    visual, one, other = (normal(M, V, C, seed=seed + i) for i in range(3))
    alone = reweight(visual, one, alpha=0.4, kind=kind)
    both = reweight(visual, one + other, alpha=0.4, kind=kind)
    share = 0.4 if kind == "input_plus_experts" else 1.0
    torch.testing.assert_close(both - alone, share * other)


def test_all_experts_chosen_one_by_one_are_all_experts_at_once() -> None:
    """The two ways of computing equation 4 agree where both can."""
    for gated in (False, True):
        experts = make_experts(gated=gated)
        visual, guided = normal(M, V, C), normal(M, C, seed=1)
        weights = route(guided, experts.router)
        matrices = ExpertMatrices(*(getattr(experts, name) for name in ExpertMatrices._fields))
        whole = mix(visual, weights, matrices, k=E)
        smallest = weights.topk(E - 1, dim=-1).indices
        left = torch.ones(M, E).scatter(1, smallest, 0)[:, None, :, None]
        each = torch.stack([one_expert(experts, i, visual) for i in range(E)], dim=2)
        rest = (left * weights[:, None, :, None] * each).sum(dim=2)
        torch.testing.assert_close(mix(visual, weights, matrices, k=E - 1) + rest, whole)


@settings(max_examples=25)
@given(seed=st.integers(0, 1000), gated=st.booleans(), k=st.integers(1, E))
def test_a_batch_of_images_equals_its_images_one_by_one(seed, gated, k) -> None:
    experts = make_experts(gated=gated, k=k)
    visual, guided = normal(M, V, C, seed=seed), normal(M, C, seed=seed + 1)
    mixture, weights = experts(visual, guided)
    for i in range(M):
        alone, row = experts(visual[i : i + 1], guided[i : i + 1])
        torch.testing.assert_close(row[0], weights[i])
        torch.testing.assert_close(alone[0], mixture[i], rtol=1e-4, atol=1e-5)
