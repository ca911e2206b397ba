import pytest
import torch

from parrot_core.model import ParrotForConditionalGeneration
from parrot_core.model.errors import (
    GuidanceError,
    ImageError,
    NothingSupervisedError,
    PlaceholderError,
)


def user(content):
    return {"role": "user", "content": content}


def assistant(content):
    return {"role": "assistant", "content": content}


@pytest.fixture
def prompts(tiny):
    """Prompts of unequal length with one, three, no and one image."""
    contents = [
        "<image>\nBu ne?",
        "<image> <image> ve <image>: hangisi kedi?",
        "Merhaba!",
        "<image>x",
    ]
    chats = [[user(content)] for content in contents]
    chats[3] = [user("<image>\nBu ne?"), assistant("Kuş."), user("Emin misin?")]
    images = [[tiny.image(0)], [tiny.image(i) for i in (1, 2, 3)], [], [tiny.image(4)]]
    return chats, images


@pytest.fixture
def training_batch(parrot, tiny):
    chats = [
        [user("<image>\nWhat?"), assistant("A bird.")],
        [user("Selam"), assistant("Merhaba, nasılsın?")],
        [user("<image><image>?"), assistant("Два."), user("Ещё?"), assistant("Нет")],
    ]
    images = [[tiny.image(0)], [], [tiny.image(1), tiny.image(2)]]
    return parrot[1].encode_conversations(chats, images=images, supervise=True)


@pytest.mark.parametrize("cached", [True, False])
def test_a_batch_of_unequal_prompts_generates_what_each_generates_alone(
    parrot, prompts, cached
) -> None:
    model, processor = parrot
    chats, images = prompts
    options = {"max_new_tokens": 12, "do_sample": False, "use_cache": cached, "eos_token_id": None}
    batch = processor.encode_conversations(
        chats, images=images, add_generation_prompt=True, padding_side="left"
    )
    together = model.generate(**batch, **options)[:, batch["input_ids"].shape[1] :]
    alone = []
    for chat, shown in zip(chats, images, strict=True):
        one = processor.encode_conversations([chat], images=[shown], add_generation_prompt=True)
        alone.append(model.generate(**one, **options)[0, one["input_ids"].shape[1] :].tolist())
    assert together.tolist() == alone
    assert len({tuple(row) for row in alone}) == 4


def test_a_batch_computes_what_its_samples_compute(parrot, prompts) -> None:
    model, processor = parrot
    chats, images = prompts
    batch = processor.encode_conversations(chats, images=images)
    output = model(**batch)
    assert output.routing_weights.shape == (5, 6)
    first = 0
    for number, (chat, shown) in enumerate(zip(chats, images, strict=True)):
        one = processor.encode_conversations([chat], images=[shown])
        alone = model(**one)
        length = one["input_ids"].shape[1]
        torch.testing.assert_close(
            output.logits[number, :length], alone.logits[0], rtol=1e-4, atol=1e-4
        )
        if shown:
            rows = output.routing_weights[first : first + len(shown)]
            torch.testing.assert_close(rows, alone.routing_weights)
        else:
            assert alone.routing_weights is None
        first += len(shown)


def test_the_loss_is_the_mean_over_supervised_tokens(parrot, training_batch) -> None:
    model, _ = parrot
    output = model(**training_batch)
    shifted = training_batch["labels"][:, 1:]
    losses = torch.nn.functional.cross_entropy(
        output.logits[:, :-1].transpose(1, 2), shifted, reduction="none", ignore_index=-100
    )
    torch.testing.assert_close(output.loss, losses[shifted != -100].mean())


def test_in_training_only_supervised_positions_meet_the_head_with_equal_loss_and_gradients(
    tiny, training_batch
) -> None:
    model, _ = tiny.parrot()
    model.vision_encoder.requires_grad_(requires_grad=False)
    results = []
    for training in (True, False):
        output = model.train(training)(**training_batch)
        output.loss.backward()
        grads = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
        results.append((output.loss, grads))
        assert (output.logits is None) is training
        model.zero_grad()
    torch.testing.assert_close(results[0][0], results[1][0])
    assert results[0][1].keys() == results[1][1].keys()
    for name, grad in results[0][1].items():
        torch.testing.assert_close(grad, results[1][1][name], rtol=1e-4, atol=1e-6, msg=name)


def test_micro_batches_with_the_number_of_items_add_up_to_the_batch(parrot, tiny) -> None:
    model, processor = parrot
    chats = [[user("a"), assistant("b" * length)] for length in (1, 9, 4, 2)]
    chats[1][0] = user("<image>a")
    images = [[], [tiny.image(0)], [], []]
    whole = processor.encode_conversations(chats, images=images, supervise=True)
    items = (whole["labels"] != -100).sum()
    parts = [
        model(
            **processor.encode_conversations(
                chats[i : i + 2], images=images[i : i + 2], supervise=True
            ),
            num_items_in_batch=items,
        ).loss
        for i in (0, 2)
    ]
    torch.testing.assert_close(parts[0] + parts[1], model(**whole).loss)


def test_answers_do_not_guide_but_the_guiding_text_does(parrot, tiny) -> None:
    model, processor = parrot

    def routing(question: str, answer: str) -> torch.Tensor:
        chat = [user(f"<image>{question}"), assistant(answer)]
        batch = processor.encode_conversations([chat], images=[[tiny.image(0)]])
        return model(**batch).routing_weights

    assert torch.equal(routing("Ne?", "Kuş"), routing("Ne?", "Вот это да"))
    assert not torch.equal(routing("Ne?", "Kuş"), routing("Что?", "Kuş"))


def test_left_out_the_guidance_mask_is_all_text_but_padding(parrot, tiny) -> None:
    model, processor = parrot
    chats = [[user("<image>Bu ne?")], [user("<image>?")]]
    images = [[tiny.image(0)], [tiny.image(1)]]
    batch = processor.encode_conversations(chats, images=images)
    given = model(**batch).routing_weights
    del batch["guidance_mask"]
    assert torch.equal(model(**batch).routing_weights, given)


def test_without_text_guidance_the_router_reads_the_cls_token(tiny) -> None:
    model, processor = tiny.parrot(text_guidance=False)
    weights = [
        model(
            **processor.encode_conversations([[user(f"<image>{words}")]], images=[[tiny.image(0)]])
        ).routing_weights
        for words in ("Ne?", "Совсем другой текст")
    ]
    assert torch.equal(weights[0], weights[1])


def test_bypassed_experts_leave_the_projected_features(tiny) -> None:
    model, processor = tiny.parrot(experts_enabled=False)
    assert model.experts is None
    batch = processor.encode_conversations([[user("<image>?")]], images=[[tiny.image(0)]])
    pixels = batch.pop("pixel_values")
    features = model.encode_images(pixels, **batch)
    assert torch.equal(torch.stack(features.pooler_output), features.visual_tokens)
    assert features.routing_weights is None
    assert model(**batch, pixel_values=pixels).routing_weights is None


def test_the_cls_token_can_be_kept_from_the_language_model(tiny) -> None:
    model, processor = tiny.parrot(cls_token_to_language_model=False)
    batch = processor.encode_conversations([[user("<image>?")]], images=[[tiny.image(0)]])
    assert int((batch["input_ids"] == model.config.image_token_id).sum()) == 4
    features = model.encode_images(batch["pixel_values"], input_ids=batch["input_ids"])
    assert features.visual_tokens.shape[1] == 5  # it still asks in equation 2
    assert len(features.pooler_output[0]) == 4
    assert model(**batch).routing_weights.shape == (1, 6)


def test_vision_features_stand_in_for_pixels(parrot, training_batch) -> None:
    model, _ = parrot
    expected = model(**training_batch)
    batch = {key: value for key, value in training_batch.items() if key != "pixel_values"}
    features = model.vision_features(training_batch["pixel_values"])
    assert torch.equal(model(**batch, vision_features=features).logits, expected.logits)
    with pytest.raises(ValueError, match="not both"):
        model(**training_batch, vision_features=features)


def test_the_attention_of_the_guiding_words_is_returned(parrot, training_batch, tiny) -> None:
    model, _ = parrot
    inputs = {name: training_batch[name] for name in ("input_ids", "pixel_values")}
    masks = {name: training_batch[name] for name in ("attention_mask", "guidance_mask")}
    features = model.encode_images(**inputs, **masks)
    attention = features.guidance_weights
    torch.testing.assert_close(attention.sum(dim=1), torch.ones(len(attention)))
    words = model.get_input_embeddings()(inputs["input_ids"])
    samples = torch.tensor([0, 2, 2])  # the second has no image
    assert not attention[~masks["guidance_mask"].bool()[samples]].any()
    guided = (attention[:, None] @ words[samples])[:, 0]
    expected = (guided @ model.experts.router.T).softmax(dim=-1)
    torch.testing.assert_close(features.routing_weights, expected)
    bare, _ = tiny.parrot(text_guidance=False)
    assert bare.encode_images(**inputs, **masks).guidance_weights is None


def test_without_any_expert_images_are_as_they_were_projected(parrot, training_batch) -> None:
    model, _ = parrot
    inputs = {name: training_batch[name] for name in ("input_ids", "attention_mask")}
    features = model.encode_images(
        vision_features=model.vision_features(training_batch["pixel_values"]),
        active_experts=torch.zeros(model.config.num_experts, dtype=torch.bool),
        **inputs,
    )
    torch.testing.assert_close(torch.stack(features.pooler_output), features.visual_tokens)
    with pytest.raises(ValueError, match="pixel_values or vision_features"):
        model.encode_images(**inputs)


def test_the_start_of_stage_2_draws_the_same_experts_for_the_same_seed(tiny) -> None:
    drawn = []
    for seed in (7, 7, 8):
        model, _ = tiny.parrot(experts_enabled=False)
        model.initialise_experts(torch.Generator().manual_seed(seed))
        assert model.config.experts_enabled
        drawn.append(model.experts.state_dict())
    for name, weight in drawn[0].items():
        assert torch.equal(weight, drawn[1][name]), name
    assert not torch.equal(drawn[0]["router"], drawn[2]["router"])
    assert torch.isfinite(torch.cat([w.flatten() for w in drawn[0].values()])).all()


def test_a_frozen_vision_encoder_stays_in_evaluation_and_has_no_graph(tiny, training_batch) -> None:
    model, _ = tiny.parrot()
    model.vision_encoder.requires_grad_(requires_grad=False)
    model.train()
    assert not model.vision_encoder.training
    assert model.language_model.training
    assert not model.vision_features(training_batch["pixel_values"]).requires_grad
    model.vision_encoder.requires_grad_(requires_grad=True)
    assert model.train().vision_encoder.training
    assert model.vision_features(training_batch["pixel_values"]).requires_grad


def test_placeholders_and_images_that_differ_are_an_error(parrot, training_batch) -> None:
    model, _ = parrot
    fewer = {**training_batch, "pixel_values": training_batch["pixel_values"][:2]}
    with pytest.raises(PlaceholderError, match="3 images in the text, 2 in pixel_values"):
        model(**fewer)
    cut = {k: v if k == "pixel_values" else v[:, :13] for k, v in training_batch.items()}
    with pytest.raises(
        PlaceholderError, match="sample 2 has 7 image placeholders, 5 in a row make an image"
    ):
        model(**cut)
    none = {k: v for k, v in training_batch.items() if k != "pixel_values"}
    with pytest.raises(PlaceholderError, match="15 image placeholders in input_ids, but no images"):
        model(**none)


def test_an_image_token_inside_ordinary_text_is_an_error(parrot, training_batch) -> None:
    model, _ = parrot
    ids = training_batch["input_ids"].clone()
    places = (ids[0] == model.config.image_token_id).nonzero().flatten()
    after = places[-1] + 3
    ids[0, after] = model.config.image_token_id
    with pytest.raises(PlaceholderError, match="sample 0 has 6 image placeholders, 5 in a row"):
        model(**{**training_batch, "input_ids": ids})
    ids[0, places[0]] = 65  # as many as before, but not in a row
    with pytest.raises(PlaceholderError, match="sample 0 has image placeholders out of place"):
        model(**{**training_batch, "input_ids": ids})


def test_images_next_to_each_other_are_in_their_places(parrot, tiny) -> None:
    model, processor = parrot
    shown = [[tiny.image(0), tiny.image(1)]]
    batch = processor.encode_conversations([[user("<image><image>?")]], images=shown)
    assert model(**batch).routing_weights.shape == (2, 6)


def test_images_of_a_sample_are_routed_each_by_its_own_cls_token_and_the_samples_text(
    parrot, tiny
) -> None:
    model, processor = parrot
    pictures = [tiny.image(0), tiny.image(1)]
    batch = processor.encode_conversations([[user("<image> Hangisi? <image>")]], images=[pictures])
    words = model.get_input_embeddings()(batch["input_ids"][0][batch["guidance_mask"][0].bool()])
    queries = model.projector(model.vision_features(batch["pixel_values"]))[:, 0]
    attention = (queries @ words.T / queries.shape[1] ** 0.5).softmax(dim=-1)
    expected = (attention @ words @ model.experts.router.T).softmax(dim=-1)
    found = model(**batch).routing_weights
    torch.testing.assert_close(found, expected)
    assert (found[0] - found[1]).abs().max() > 1e-5


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_pixels_that_are_not_finite_are_an_error(parrot, training_batch, value) -> None:
    pixels = training_batch["pixel_values"].clone()
    pixels[1, 0, 3, 3] = float(value)
    with pytest.raises(ImageError, match="NaN or infinite"):
        parrot[0](**{**training_batch, "pixel_values": pixels})


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.bool, torch.complex64])
def test_pixels_that_were_not_prepared_are_an_error(parrot, training_batch, dtype) -> None:
    pixels = training_batch["pixel_values"].abs().to(dtype)
    with pytest.raises(ImageError, match=f"pixel_values are {dtype}, not floats"):
        parrot[0](**{**training_batch, "pixel_values": pixels})


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_pixels_of_another_precision_are_taken(parrot, training_batch, dtype) -> None:
    pixels = training_batch["pixel_values"].to(dtype)
    logits = parrot[0](**{**training_batch, "pixel_values": pixels}).logits
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, parrot[0](**training_batch).logits, rtol=0.1, atol=0.5)


def test_no_pixels_are_no_images(parrot) -> None:
    model, processor = parrot
    batch = processor.encode_conversations([[user("Selam")]], images=[[]])
    empty = torch.empty(0, 3, 28, 28)
    assert torch.equal(model(**batch, pixel_values=empty).logits, model(**batch).logits)
    answer = model.generate(**batch, pixel_values=empty, max_new_tokens=3, do_sample=False)
    assert torch.equal(answer, model.generate(**batch, max_new_tokens=3, do_sample=False))


def test_features_of_another_encoder_are_an_error(parrot, training_batch) -> None:
    batch = {key: value for key, value in training_batch.items() if key != "pixel_values"}
    with pytest.raises(ImageError, match=r"\[3, 5, 8\], not \[images, 5, 16\]"):
        parrot[0](**batch, vision_features=torch.zeros(3, 5, 8))


def test_pixels_of_another_size_are_an_error(parrot, training_batch) -> None:
    pixels = training_batch["pixel_values"][..., :14]
    with pytest.raises(ImageError, match=r"\[3, 3, 28, 14\], not \[images, 3, 28, 28\]"):
        parrot[0](**{**training_batch, "pixel_values": pixels})


def test_an_image_that_nothing_guides_is_an_error(parrot, training_batch) -> None:
    mask = training_batch["guidance_mask"].clone()
    mask[0] = 0
    with pytest.raises(GuidanceError, match="no text token that guides"):
        parrot[0](**{**training_batch, "guidance_mask": mask})
    mask = training_batch["guidance_mask"].clone()
    mask[1] = 0  # the sample without an image needs no guidance
    assert parrot[0](**{**training_batch, "guidance_mask": mask}).loss.isfinite()


def test_a_batch_without_anything_supervised_is_an_error_not_nan(parrot, training_batch) -> None:
    labels = torch.full_like(training_batch["labels"], -100)
    with pytest.raises(NothingSupervisedError, match="batch of 3 samples"):
        parrot[0](**{**training_batch, "labels": labels})


def test_labels_of_another_shape_are_an_error(parrot, training_batch) -> None:
    with pytest.raises(ValueError, match="labels of"):
        parrot[0](**{**training_batch, "labels": training_batch["labels"][:, 1:]})


def test_an_image_placeholder_cannot_be_supervised(parrot, training_batch) -> None:
    model, _ = parrot
    labels = training_batch["labels"].clone()
    places = training_batch["input_ids"] == model.config.image_token_id
    labels[places] = model.config.image_token_id
    with pytest.raises(PlaceholderError, match="labels supervise"):
        model(**{**training_batch, "labels": labels})


def test_a_mask_of_another_shape_is_an_error(parrot, training_batch) -> None:
    with pytest.raises(ValueError, match="a mask of"):
        parrot[0](**{**training_batch, "guidance_mask": training_batch["guidance_mask"][:, 1:]})


def test_a_text_only_batch_uses_no_other_part_in_a_single_process(parrot, monkeypatch) -> None:
    model, processor = parrot

    def fail(self, pixel_values):
        raise AssertionError("the vision encoder was run")

    monkeypatch.setattr(ParrotForConditionalGeneration, "vision_features", fail)
    batch = processor.encode_conversations([[user("a")]], images=[[]])
    assert model(**batch).logits.isfinite().all()


def test_a_text_only_batch_of_a_rank_uses_every_parameter(tiny, monkeypatch) -> None:
    model, processor = tiny.parrot()
    batch = processor.encode_conversations(
        [[user("a"), assistant("b")]], images=[[]], supervise=True
    )
    model.train()
    alone = model(**batch).loss
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    loss = model(**batch).loss
    assert torch.equal(loss, alone)
    loss.backward()
    for part in (model.projector, model.experts, model.language_model):
        for name, parameter in part.named_parameters():
            assert parameter.grad is not None, name
    assert model.experts.up_proj.grad.abs().max() == 0


def test_top_k_trains_with_every_parameter_taking_part(tiny, training_batch) -> None:
    model, _ = tiny.parrot(num_experts_per_tok=2, expert_intermediate_size=16)
    model.train()(**training_batch).loss.backward()
    assert all(p.grad is not None for p in model.experts.parameters())


def test_inputs_that_exclude_each_other_are_errors(parrot, training_batch) -> None:
    model, _ = parrot
    ids = training_batch["input_ids"][1:2]
    embeddings = model.get_input_embeddings()(ids.clamp(max=200))
    with pytest.raises(ValueError, match="exactly one"):
        model(input_ids=ids, inputs_embeds=embeddings)
    with pytest.raises(ValueError, match="input_ids, which say where"):
        model(inputs_embeds=embeddings, pixel_values=training_batch["pixel_values"])
    with pytest.raises(ValueError, match="omit logits_to_keep"):
        model(**training_batch, logits_to_keep=1)
    assert model(inputs_embeds=embeddings, logits_to_keep=1).logits.shape[1] == 1
