"""Samples in one row without padding learn what they learn in rows of their own."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, modeling_flash_attention_utils

from parrot_core.model.backbones import LANGUAGE_MODELS

PACKED = [family for family, row in LANGUAGE_MODELS.items() if row.packs]


def user(content):
    return {"role": "user", "content": content}


def assistant(content):
    return {"role": "assistant", "content": content}


@pytest.fixture(scope="module")
def batch(tiny, parrot):
    """Three samples of unequal length: one image, none, two of them."""
    chats = [
        [user("<image>What is this?"), assistant("A cat")],
        [user("Without any picture, a long question"), assistant("yes")],
        [user("<image><image>Which?"), assistant("b"), user("more"), assistant("c")],
    ]
    images = [[tiny.image(0)], [], [tiny.image(1), tiny.image(2)]]
    batch = parrot[1].encode_conversations(chats, images=images, supervise=True)
    assert not bool(batch["attention_mask"].all())
    return batch


def learn(model, batch, **options):
    """Loss, losses of the tokens, routing and gradients of a step."""
    model.zero_grad()
    output = model(**batch, **options)
    output.loss.backward()
    gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    return output.loss, output.token_losses, output.routing_weights, gradients


def training(tiny, attention):
    model, _ = tiny.parrot()
    model.language_model.set_attn_implementation(attention)
    model.vision_encoder.requires_grad_(requires_grad=False)
    return model.train()


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_packed_batch_has_the_loss_the_routing_and_the_gradients_of_a_padded_one(
    tiny, batch, attention
):
    model = training(tiny, attention)
    padded, packed = learn(model, batch), learn(model, batch, pack=True)
    torch.testing.assert_close(packed[:3], padded[:3])
    torch.testing.assert_close(packed[3], padded[3], rtol=1e-4, atol=1e-5)
    assert len(padded[3]) > 20


def test_the_language_model_meets_no_padding(tiny, batch):
    model = training(tiny, "sdpa")
    shapes = []
    model.language_model.model.layers[0].register_forward_pre_hook(
        lambda _, args: shapes.append(tuple(args[0].shape[:2]))
    )
    learn(model, batch, pack=True)
    assert shapes == [(1, int(batch["attention_mask"].sum()))]


def varlen_attention(q, k, v, *, cu_seqlens_q, cu_seqlens_k, causal, **_):
    """What flash attention's kernel computes of rows [tokens, heads, size] that begin at places."""
    assert causal
    assert torch.equal(cu_seqlens_q, cu_seqlens_k)
    rows = []
    for start, end in itertools.pairwise(cu_seqlens_q.tolist()):
        own = [tensor[start:end].transpose(0, 1)[None] for tensor in (q, k, v)]
        rows.append(F.scaled_dot_product_attention(*own, is_causal=True, enable_gqa=True)[0])
    return torch.cat(rows, dim=1).transpose(0, 1)


def test_flash_attention_is_told_where_samples_begin(tiny, batch, monkeypatch):
    """The library's way to the kernel is its own; the kernel, which needs a GPU, is written out."""
    model = training(tiny, "sdpa")
    padded = learn(model, batch)
    functions = (None, varlen_attention, None, None, None)
    options = (lambda *, is_causal, **_: {"causal": is_causal}, None)
    monkeypatch.setattr(
        modeling_flash_attention_utils,
        "lazy_import_flash_attention",
        lambda *_: (functions, options),
    )
    model.language_model.config._attn_implementation_internal = "flash_attention_2"
    monkeypatch.setattr(
        modeling_flash_attention_utils, "_prepare_from_posids", None
    )  # it is told, and need not find out in every layer
    packed = learn(model, batch, pack=True)
    torch.testing.assert_close(packed[:3], padded[:3])
    torch.testing.assert_close(packed[3], padded[3], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", PACKED)
def test_a_family_that_packs_keeps_samples_in_one_row_apart(family):
    """Also where a window slides over the row, which a sample is longer than."""
    settings = {
        "vocab_size": 64,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "sliding_window": 4,
        "use_sliding_window": True,
        "max_window_layers": 2,
        "pad_token_id": 0,
    }
    kind = CONFIG_MAPPING[family]
    config = kind(**{key: value for key, value in settings.items() if hasattr(kind(), key)})
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    samples = [torch.randint(3, 60, (1, length)) for length in (9, 7, 1, 5)]
    places = torch.cat([torch.arange(ids.shape[1]) for ids in samples])[None]
    with torch.no_grad():
        packed = model(torch.cat(samples, 1), position_ids=places, use_cache=False).logits
        alone = torch.cat([model(ids, use_cache=False).logits for ids in samples], 1)
    torch.testing.assert_close(packed, alone, rtol=1e-4, atol=1e-5)


def test_only_training_batches_are_packed(parrot, batch):
    model, _ = parrot
    with pytest.raises(ValueError, match="packing is for training"):
        model(**batch, pack=True)
