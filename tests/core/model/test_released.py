"""Parity with the authors' code: a tiny checkpoint that it saved, and what it computed with it.

`pytest --gpu` has the same computed on a GPU.
"""

import json
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from parrot_core.model import ParrotForConditionalGeneration, ParrotProcessor, load_parrot
from parrot_core.model.alignment import guide
from parrot_core.model.errors import CheckpointError, PlaceholderError
from parrot_core.model.inputs import guiding_tokens

RELEASED = Path(__file__).parents[2] / "data" / "released"
MANIFEST = json.loads((RELEASED / "manifest.json").read_text(encoding="utf-8"))
CASES = MANIFEST["cases"]
VISUAL_TOKENS = 10
# The manifest's suggested tolerances.
FEATURES, ROUTING, EXPERTS, LOGITS, LOSS, STEPS = 5e-5, 1e-5, 3e-4, 3e-4, 1e-5, 1e-3

Loaded = tuple[ParrotForConditionalGeneration, ParrotProcessor]


@pytest.fixture(scope="module", autouse=True)
def _float32():
    """As the fixtures were computed; a GPU rounds convolutions otherwise."""
    with torch.backends.cudnn.flags(allow_tf32=False):
        yield


def load_released(folder: Path, *, device: str = "cpu", **changes: object) -> Loaded:
    """The checkpoint with some settings of its config.json changed."""
    copy = folder / "checkpoint"
    shutil.copytree(RELEASED / "model", copy)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, **changes}))
    model, processor = load_parrot(copy, vision_encoder=RELEASED / "clip-vit-tiny")
    return model.to(device), processor


@pytest.fixture(scope="module")
def released(device: str) -> Loaded:
    model, processor = load_parrot(RELEASED / "model")
    return model.to(device), processor


@pytest.fixture
def for_case(released: Loaded, device: str, tmp_path: Path):
    """Loads the model of a case: the shared one, or one with the case's settings."""

    def load(name: str) -> ParrotForConditionalGeneration:
        changes = {
            key: value
            for key, value in CASES[name]["config_overrides"].items()
            if not key.startswith("tokenizer_")
        }
        return load_released(tmp_path, device=device, **changes)[0] if changes else released[0]

    return load


@pytest.fixture
def tensors(device: str):
    """Reads a case's tensors to where models compute."""
    return lambda name: {key: value.to(device) for key, value in stored(name).items()}


def stored(name: str) -> dict[str, Tensor]:
    """Inputs and outputs of a case; some take their inputs from another."""
    case = CASES[name]
    values = load_file(RELEASED / case["file"])
    if source := case.get("inputs_from"):
        inputs = load_file(RELEASED / CASES[source]["file"])
        values |= {key: value for key, value in inputs.items() if key.startswith("in.")}
    return values


def expand(values: Tensor, ids: Tensor, filling: int, tokens: int) -> Tensor:
    """Puts `tokens` copies of `filling` where the authors' ids have one placeholder, -200."""
    rows = []
    for row, row_ids in zip(values.tolist(), ids.tolist(), strict=True):
        expanded: list[int] = []
        for value, token in zip(row, row_ids, strict=True):
            expanded += [filling] * tokens if token == -200 else [value]
        rows.append(expanded)
    longest = max(len(row) for row in rows)
    filled = [row + [row[-1]] * (longest - len(row)) for row in rows]
    return torch.tensor(filled, device=values.device)


def inputs_of(
    model: ParrotForConditionalGeneration, values: dict[str, Tensor], *, labelled: bool
) -> dict[str, Tensor]:
    """A case's inputs in Parrot's form; rows without an image get no image."""
    ids = values["in.input_ids"]
    tokens = model.config.num_image_tokens
    mask = values.get("in.attention_mask", torch.ones_like(ids))
    batch = {
        "input_ids": expand(ids, ids, model.config.image_token_id, tokens),
        "attention_mask": expand(mask, ids, 1, tokens),
    }
    # A row without a placeholder is shorter by what the others' images take.
    lengths = [
        int(m.sum()) + (tokens - 1) * int((row == -200).sum())
        for row, m in zip(ids, mask, strict=True)
    ]
    for row, length in enumerate(lengths):
        batch["attention_mask"][row, length:] = 0
    if labelled:
        batch["labels"] = expand(values["in.labels"], ids, -100, tokens)
        for row, length in enumerate(lengths):
            batch["labels"][row, length:] = -100
        batch["guidance_mask"] = (batch["labels"] == -100).long()
    if "in.pixel_values" in values:
        shown = (ids == -200).any(dim=1)
        batch["pixel_values"] = values["in.pixel_values"][shown]
    return batch


def assert_near(found: Tensor, expected: Tensor, tolerance: float) -> None:
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=0)


FORWARD_CASES = sorted(
    name for name, case in CASES.items() if "out.last_logits" in case.get("tensors", {})
)


def test_every_forward_case_of_the_manifest_is_run() -> None:
    assert len(FORWARD_CASES) == 13


@pytest.mark.parametrize("name", FORWARD_CASES)
def test_forward_equals_the_authors_code(name: str, for_case, tensors, request) -> None:
    model, values = for_case(name), tensors(name)
    labelled = "in.labels" in values and name != "batch_no_labels"
    batch = inputs_of(model, values, labelled=labelled)
    embedded = spliced_embeddings(model, request)
    if name == "truncation":  # the authors cut after the image tokens are in place
        length = CASES[name]["config_overrides"]["tokenizer_model_max_length"]
        # What guides was decided before the cut; the experts saw the whole text.
        whole = model.encode_images(
            batch["pixel_values"],
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            guidance_mask=batch["guidance_mask"],
        )
        cut = {key: batch[key][:, :length] for key in ("input_ids", "attention_mask", "labels")}
        output = model(**cut, mm_encoder_outputs={"image": whole})
        mask = cut["attention_mask"]
    elif name == "left_padding":
        batch = {
            key: value if key == "pixel_values" else roll_left(value, batch["attention_mask"])
            for key, value in batch.items()
        }
        output, mask = model(**batch), batch["attention_mask"]
    else:
        output, mask = model(**batch), batch["attention_mask"]
    kept = mask.bool()
    if "out.expanded_attention_mask" in values:
        assert mask.tolist() == values["out.expanded_attention_mask"].tolist()
    if "out.inputs_embeds" in values:
        assert_near(embedded[-1][kept], values["out.inputs_embeds"][kept], EXPERTS)
    if "out.logits" in values:
        assert_near(output.logits[kept], values["out.logits"][kept], LOGITS)
    else:
        assert_near(output.logits[..., :32][kept], values["out.logits_head"][kept], LOGITS)
    last = mask.shape[1] - 1 - mask.flip(1).argmax(dim=1)
    assert_near(output.logits[torch.arange(len(last)), last], values["out.last_logits"], LOGITS)
    if "out.loss" in values:
        torch.testing.assert_close(output.loss, values["out.loss"], rtol=LOSS, atol=0)


def spliced_embeddings(model: ParrotForConditionalGeneration, request) -> list[Tensor]:
    """Collects what the language model is given, words and images, as long as the test runs."""
    found: list[Tensor] = []

    def collect(_module, _arguments, options) -> None:
        found.append(options["inputs_embeds"])

    handle = model.language_model.register_forward_pre_hook(collect, with_kwargs=True)
    request.addfinalizer(handle.remove)
    return found


def roll_left(values: Tensor, mask: Tensor) -> Tensor:
    """Right-padded rows to left-padded ones."""
    shifts = values.shape[1] - mask.sum(dim=1)
    return torch.stack([row.roll(int(shift)) for row, shift in zip(values, shifts, strict=True)])


@pytest.mark.parametrize(
    "name", [name for name in FORWARD_CASES if "out.moe_output" in CASES[name]["tensors"]]
)
def test_each_step_to_the_visual_tokens_equals_the_authors_code(
    name: str, for_case, tensors
) -> None:
    model, values = for_case(name), tensors(name)
    labelled = "in.labels" in values and name != "batch_no_labels"
    batch = inputs_of(model, values, labelled=labelled)
    shown = (values["in.input_ids"] == -200).any(dim=1)
    with_cls = model.config.cls_token_to_language_model
    pixels = batch["pixel_values"]

    encoded = model.vision_encoder(pixels, output_hidden_states=True).hidden_states[-2]
    features = model.encode_images(
        pixels,
        input_ids=batch["input_ids"],
        attention_mask=batch["attention_mask"],
        guidance_mask=batch.get("guidance_mask"),
    )
    first = 0 if with_cls else 1
    assert_near(encoded[:, first:], values["out.vision_features"][shown], FEATURES)
    assert_near(features.visual_tokens[:, first:], values["out.image_features"][shown], FEATURES)
    assert_near(torch.stack(features.pooler_output), values["out.moe_output"][shown], EXPERTS)
    if "out.routing_weights" in values:
        assert_near(features.routing_weights, values["out.routing_weights"][shown], ROUTING)
    else:
        assert features.routing_weights is None


@pytest.mark.parametrize(
    "name", [name for name in FORWARD_CASES if "out.gate_input" in CASES[name]["tensors"]]
)
def test_the_router_reads_what_the_authors_router_reads(name: str, for_case, tensors) -> None:
    model, values = for_case(name), tensors(name)
    labelled = "in.labels" in values and name != "batch_no_labels"
    batch = inputs_of(model, values, labelled=labelled)
    shown = (values["in.input_ids"] == -200).any(dim=1)
    is_image = batch["input_ids"] == model.config.image_token_id
    mask = guiding_tokens(is_image, batch["attention_mask"], batch.get("guidance_mask"))[shown]
    words = model.get_input_embeddings()(batch["input_ids"].masked_fill(is_image, 0))[shown]
    guided, _ = guide(values["out.image_features"][shown, 0], words, mask=mask)
    assert_near(guided, values["out.gate_input"][shown], FEATURES)
    assert mask.sum(dim=1).tolist() == values["out.moe_text_count"][shown].tolist()


def weight(model: ParrotForConditionalGeneration, name: str, *, of_gradient: bool) -> Tensor:
    """A weight or its gradient by the authors' name, in the authors' layout."""

    def read(parameter: torch.nn.Parameter) -> Tensor:
        return parameter.grad if of_gradient else parameter.detach()

    if name.startswith("model.moe_model.experts."):
        number, kind = name.split(".")[3], name.split(".")[4]
        found = read(getattr(model.experts, kind))[int(number)]
        return found.T if kind == "down_proj" else found
    if name == "model.moe_model.gate.weight":
        return read(model.experts.router)
    ours = name.replace("model.mm_projector.", "projector.")
    return read(model.get_parameter(f"language_model.{name}" if ours == name else ours))


@pytest.mark.parametrize("training", [True, False])
def test_gradients_equal_the_authors_code(training, device, tensors, tmp_path: Path) -> None:
    model, _ = load_released(tmp_path, device=device)
    model.vision_encoder.requires_grad_(requires_grad=False)
    model.train(training)
    values = tensors("train_batch3")
    model(**inputs_of(model, values, labelled=True)).loss.backward()
    norms = CASES["train_batch3"]["grad_norms"]
    assert len(norms) == sum(parameter.requires_grad for parameter in model.parameters()) + 15
    for name, norm in norms.items():
        assert weight(model, name, of_gradient=True).norm().item() == pytest.approx(
            norm, rel=1e-4, abs=1e-6
        ), name
    for key, expected in values.items():
        if key.startswith("out.grad."):
            found = weight(model, key.removeprefix("out.grad."), of_gradient=True)
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("stage", [1, 2])
def test_five_optimiser_steps_of_each_stage_follow_the_authors_code(
    stage: int, device: str, tensors, tmp_path: Path
) -> None:
    expected = json.loads((RELEASED / "train_steps.json").read_text())[f"stage{stage}"]
    model, _ = load_released(tmp_path, device=device, **expected["config_overrides"])
    model.requires_grad_(requires_grad=False)
    for part in (
        [model.projector]
        if stage == 1
        else [
            model.projector,
            model.experts,
            model.language_model,
        ]
    ):
        part.requires_grad_(requires_grad=True)
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert sum(parameter.numel() for parameter in learning) == expected["n_trainable"]
    optimizer = torch.optim.AdamW(learning, lr=expected["lr"], weight_decay=0.0)
    model.train()
    batch = inputs_of(model, tensors("train_batch3"), labelled=True)
    losses, norms = [], []
    for _ in range(expected["steps"]):
        loss = model(**batch).loss
        loss.backward()
        losses.append(loss.item())
        norms.append(torch.nn.utils.clip_grad_norm_(learning, 1.0).item())
        optimizer.step()
        optimizer.zero_grad()
    losses.append(model(**batch).loss.item())
    assert losses == pytest.approx(
        [*expected["losses_before_each_step"], expected["loss_after_last_step"]], rel=STEPS
    )
    assert norms == pytest.approx(expected["grad_norms_before_clipping"], rel=STEPS)
    for name, size in expected["final_param_l2"].items():
        found = weight(model, name, of_gradient=False).norm().item()
        assert found == pytest.approx(size, rel=STEPS), name


GENERATING = sorted(
    name for name, case in CASES.items() if "out.generated_ids" in case.get("tensors", {})
)


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("name", GENERATING)
def test_greedy_generation_equals_the_authors_code(name: str, cached, for_case, tensors) -> None:
    case, values = CASES[name], tensors(name)
    if source := case.get("generation_inputs_from"):
        values = {**tensors(source), "out.generated_ids": values["out.generated_ids"]}
    model = for_case(name)
    batch = inputs_of(model, values, labelled=False)
    output = model.generate(
        **batch,
        do_sample=False,
        max_new_tokens=case["max_new_tokens"],
        eos_token_id=case["eos_token_id"],
        use_cache=cached,
        return_dict_in_generate=True,
        output_logits=True,
    )
    generated = output.sequences[0, batch["input_ids"].shape[1] :]
    assert generated.tolist() == values["out.generated_ids"].tolist()
    if "out.step_logits" in values and source is None and name != "eos_stop" and cached:
        assert_near(torch.cat(output.logits), values["out.step_logits"], LOGITS)


def test_the_answers_never_guide_even_without_labels(released: Loaded, tensors) -> None:
    """The authors' router sees the answers when no labels are given; here the mask decides."""
    model, values = released[0], tensors("train_batch3")
    batch = inputs_of(model, values, labelled=True)
    del batch["labels"]
    assert_near(model(**batch).routing_weights, values["out.routing_weights"], ROUTING)


def test_prompts_of_unequal_length_generate_in_a_batch_what_each_generates_alone(
    released: Loaded, device: str, tensors
) -> None:
    """The authors' code generates wrongly here."""
    model, _ = released
    rows = [inputs_of(model, tensors(f"infer_single_{i}"), labelled=False) for i in range(3)]
    alone = [tensors(f"infer_single_{i}")["out.generated_ids"].tolist() for i in range(3)]
    longest = max(row["input_ids"].shape[1] for row in rows)
    ids = torch.full((3, longest), 369, device=device)
    mask = torch.zeros_like(ids)
    for number, row in enumerate(rows):
        length = row["input_ids"].shape[1]
        ids[number, -length:], mask[number, -length:] = row["input_ids"][0], 1
    pixels = torch.cat([row["pixel_values"] for row in rows])
    output = model.generate(
        input_ids=ids, attention_mask=mask, pixel_values=pixels, do_sample=False, max_new_tokens=16
    )
    assert output[:, longest:].tolist() == alone


def test_images_are_prepared_as_the_authors_prepare_them(released: Loaded) -> None:
    _, processor = released
    values = stored("preprocess")
    for number in range(3):
        image = Image.fromarray(values[f"in.image{number}"].numpy())
        prepared = processor.prepare_images([image])[0]
        assert_near(prepared, values[f"out.pad{number}"], 1e-5)


def test_without_padding_images_are_cropped_as_the_authors_crop_them(tmp_path: Path) -> None:
    _, processor = load_released(tmp_path, image_aspect_ratio="square")
    values = stored("preprocess")
    image = Image.fromarray(values["in.image0"].numpy())
    assert_near(processor.prepare_images([image])[0], values["out.crop0"], 1e-5)


RECORDS = json.loads((RELEASED / "formatting.json").read_text(encoding="utf-8"))
ROLES = {"system": "system", "human": "user", "gpt": "assistant"}


def records(*modes: str) -> pytest.MarkDecorator:
    """The records that the authors' formatter made in one of these ways."""
    found = [record for record in RECORDS if record["mode"].startswith(modes)]
    assert found
    return pytest.mark.parametrize("record", found, ids=lambda record: record.get("id"))


def messages_of(record: dict) -> tuple[list[dict[str, str]], list[Image.Image]]:
    turns = record.get("conversations") or [{"from": "human", "value": record["query"]}]
    messages = [{"role": ROLES[turn["from"]], "content": turn["value"]} for turn in turns]
    return messages, [Image.new("RGB", (8, 8))] * str(messages).count("<image>")


@records("format(raw conversations)", "format(own system prompt)")
def test_conversations_become_the_authors_ids_and_labels(record: dict, released: Loaded) -> None:
    _, processor = released
    messages, images = messages_of(record)
    batch = processor.encode_conversations([messages], images=[images], supervise=True)
    ids = torch.tensor([record["input_ids"]])
    labels = torch.tensor([record["labels"]])
    # The authors supervise the newline after the end of every turn but the last.
    ends = (ids == 371).long().roll(1, dims=1).bool()
    labels = labels.masked_fill(ends, -100)
    expected = expand(ids, ids, processor.image_token_id, VISUAL_TOKENS)
    assert batch["input_ids"].tolist() == expected.tolist()
    assert batch["labels"].tolist() == expand(labels, ids, -100, VISUAL_TOKENS).tolist()


@records("format_query", "format(generation_preface")
def test_questions_become_the_authors_prompts(record: dict, released: Loaded) -> None:
    _, processor = released
    messages, images = messages_of(record)
    begun = "preface" in record["mode"]  # the answer's first word is given
    if begun:
        messages.append({"role": "assistant", "content": "Answer:"})
    options = {"continue_final_message": begun, "add_generation_prompt": not begun}
    for message in messages:
        text = message["content"].removeprefix("<image>\n")
        shown = images if text != message["content"] else []
        entries = [{"type": "image", "image": image} for image in shown]
        message["content"] = [*entries, {"type": "text", "text": text}]
    assert processor.apply_chat_template(messages, **options) == record["prompt"]
    found = processor.apply_chat_template(messages, tokenize=True, return_dict=True, **options)
    ids = torch.tensor([record["input_ids"]])
    expected = expand(ids, ids, processor.image_token_id, VISUAL_TOKENS)
    assert found["input_ids"].tolist() == expected.tolist()


def test_a_second_image_reaches_the_language_model(released: Loaded) -> None:
    """In the authors' code it arrives as zeros."""
    model, processor = released
    red, blue = (Image.new("RGB", (42, 42), colour) for colour in ("red", "blue"))
    messages = [{"role": "user", "content": "<image><image>\nWhat?"}]
    logits = [
        model(
            **processor.encode_conversations([messages], images=[[red, second]]).to(model.device)
        ).logits[0, -1]
        for second in (red, blue)
    ]
    assert (logits[0] - logits[1]).abs().max() > 1e-3


def test_a_released_checkpoint_keeps_its_precision_and_is_saved_in_parrots_own_format(
    tmp_path: Path,
) -> None:
    source = tmp_path / "half"
    shutil.copytree(RELEASED / "model", source)
    weights = load_file(source / "model.safetensors")
    save_file(
        {name: weight.bfloat16() for name, weight in weights.items()},
        source / "model.safetensors",
        metadata={"format": "pt"},
    )
    model, processor = load_parrot(source, vision_encoder=RELEASED / "clip-vit-tiny")
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    model.save_pretrained(tmp_path / "own")
    processor.save_pretrained(tmp_path / "own")
    again, same = load_parrot(tmp_path / "own")
    for name, weight in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], weight), name
    assert same.pad_to_square
    assert again.generation_config.eos_token_id == model.generation_config.eos_token_id


def test_a_missing_expert_weight_is_named(tmp_path: Path) -> None:
    copy = tmp_path / "model"
    shutil.copytree(RELEASED / "model", copy)
    weights = load_file(copy / "model.safetensors")
    del weights["model.moe_model.experts.3.up_proj.weight"]
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"experts\.up_proj"):
        load_parrot(copy, vision_encoder=RELEASED / "clip-vit-tiny")


def test_weights_that_do_not_belong_are_named(tmp_path: Path) -> None:
    copy = tmp_path / "model"
    shutil.copytree(RELEASED / "model", copy)
    weights = load_file(copy / "model.safetensors")
    weights["model.mm_projector.9.weight"] = torch.zeros(2)
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"projector\.9\.weight"):
        load_parrot(copy, vision_encoder=RELEASED / "clip-vit-tiny")


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    copy = tmp_path / "model"
    shutil.copytree(RELEASED / "model", copy)
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="pickles"):
        load_parrot(copy, vision_encoder=RELEASED / "clip-vit-tiny")


def test_a_vision_encoder_that_is_not_there_is_asked_for(tmp_path: Path) -> None:
    copy = tmp_path / "model"
    shutil.copytree(RELEASED / "model", copy)
    with pytest.raises(CheckpointError, match="clip-vit-tiny") as caught:
        load_parrot(copy)
    assert "vision_encoder" in caught.value.hint


@pytest.mark.parametrize("key", ["mm_vision_tower", "use_moe", "moe_weight", "moe_hidden_size"])
def test_a_setting_that_cannot_be_guessed_is_named(tmp_path: Path, key: str) -> None:
    copy = tmp_path / "model"
    shutil.copytree(RELEASED / "model", copy)
    config = json.loads((copy / "config.json").read_text())
    del config[key]
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=key):
        load_parrot(copy)


def test_an_image_token_in_ordinary_text_is_refused(released: Loaded) -> None:
    model, _ = released
    ids = torch.tensor([[370, 77, model.config.image_token_id, 77]], device=model.device)
    with pytest.raises(PlaceholderError, match="1 image placeholders in input_ids, but no images"):
        model(input_ids=ids)
