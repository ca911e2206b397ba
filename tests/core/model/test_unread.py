"""What is not computed is not missed: features, losses, gradients and answers are the same."""

import copy
import pickle
import threading
from contextlib import contextmanager

import pytest
import torch
from peft import PromptTuningConfig, get_peft_model
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

from parrot_core.model import ParrotForConditionalGeneration
from parrot_core.model.backbones import LANGUAGE_MODELS, VISION_ENCODERS
from parrot_core.model.unread import FirstLayers, first_layers, only_read
from tests.core.model.test_backbones import SIZE, VISION, join, language_model, vision_encoder

__all__ = ["join"]  # a fixture

LAYERED = [kind for kind, row in VISION_ENCODERS.items() if row.layers]


def user(content):
    return {"role": "user", "content": content}


def assistant(content):
    return {"role": "assistant", "content": content}


CHATS = (
    [user("<image>\nNe?"), assistant("Kuş.")],
    [user("Selam, nasılsın?"), assistant("i"), user("Ya?"), assistant("A")],
)


@contextmanager
def seen(module):
    """The shapes of what a module is given, and of what it gives."""
    shapes = []
    # The first and the last of all hooks would see what stands around the network: these see it.
    forward = module.forward

    def spying(states):
        output = forward(states)
        shapes.append((tuple(states.shape[:-1]), tuple(output.shape[:-1])))
        return output

    module.forward = spying
    yield shapes
    module.forward = forward


def network(model):
    return model.language_model.get_decoder().layers[-1].mlp


def taught(processor, tiny, *chats, **options):
    images = [[tiny.image(1)] if "<image>" in chat[0]["content"] else [] for chat in chats]
    return processor.encode_conversations(list(chats), images=images, **options)


def learn(model, *batches, **options):
    """The loss of all batches together, and its gradients by name."""
    model.zero_grad()
    loss = sum(model(**batch, **options).loss for batch in batches)
    loss.backward()
    return loss, {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


def same(found, expected):
    torch.testing.assert_close(found[0], expected[0])
    assert found[1].keys() == expected[1].keys()
    torch.testing.assert_close(found[1], expected[1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("layer", [-2, -1, 0, 1])
@pytest.mark.parametrize("kind", LAYERED)
def test_layers_after_the_one_that_is_read_do_not_run(kind, layer, join) -> None:
    query = "mean_patch" if "siglip" in kind else "cls_token"
    model, _ = join(viewer=vision_encoder(kind), vision_feature_layer=layer, image_query=query)
    row, encoder = VISION_ENCODERS[kind], model.vision_encoder
    side = VISION[kind].get("image_size", SIZE)
    pixels = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    layers = encoder.get_submodule(row.layers)
    ran = []
    for number in range(len(layers)):
        layers[number].register_forward_hook(lambda *_, number=number: ran.append(number))

    with torch.no_grad():
        features = model.vision_features(pixels)
        read = layer % (len(layers) + 1)
        assert ran == list(range(max(1, read)))
        # Whoever asks the encoder himself has all of it.
        ran.clear()
        whole, _ = row.encode(encoder, pixels, read)
        assert ran == list(range(len(layers)))
    patches = row.prefix_tokens(model.config.vision_config)
    assert torch.equal(features[:, 1:], whole[:, patches:])


@pytest.mark.parametrize("kind", ["clip_vision_model", "siglip_vision_model"])
def test_the_pooled_output_is_that_of_all_layers(kind, join) -> None:
    model, _ = join(viewer=vision_encoder(kind), image_query="pooled")
    pixels = torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = model.vision_encoder(pixels).pooler_output
        assert torch.equal(model.vision_features(pixels)[:, 0], expected)


def test_a_list_of_layers_is_whole_to_all_who_do_not_go_through_it() -> None:
    layers = FirstLayers(torch.nn.Linear(2, 2) for _ in range(3))
    names = list(layers.state_dict())
    with first_layers(1):
        assert [layer is layers[0] for layer in layers] == [True]
        assert len(layers) == 3
        assert list(layers.state_dict()) == names
        assert layers[-1] is layers[2]
        assert len(list(layers.parameters())) == 6
    assert len(list(layers)) == 3


@pytest.mark.parametrize("kind", LANGUAGE_MODELS)
def test_only_what_predicts_an_answer_goes_through_the_last_network(kind, join, tiny) -> None:
    model, processor = join(speaker=language_model(kind))
    batch = taught(processor, tiny, *CHATS, supervise=True)
    tokens = int((batch["labels"] != -100).sum())
    model.train()
    with seen(network(model)) as shapes:
        found = learn(model, batch)
        # The states of all layers are read where they are asked for.
        expected = learn(model, batch, output_hidden_states=True)
    whole = tuple(batch["input_ids"].shape)
    assert shapes == [((1, tokens), (1, tokens)), (whole, whole)]
    same(found, expected)


def test_a_packed_row_leaves_out_the_same(join, tiny) -> None:
    model, processor = join()
    batch = taught(processor, tiny, *CHATS, supervise=True)
    tokens = int((batch["labels"] != -100).sum())
    model.train()
    with seen(network(model)) as shapes:
        packed = learn(model, batch, pack=True)
    assert shapes == [((1, tokens), (1, tokens))]
    same(packed, learn(model, batch))


@pytest.mark.parametrize("kind", LANGUAGE_MODELS)
def test_of_a_prompt_only_the_last_position_goes_through_the_last_network(kind, join, tiny) -> None:
    model, processor = join(speaker=language_model(kind))
    prompts = [chat[:1] for chat in CHATS]
    options = {"add_generation_prompt": True, "padding_side": "left"}
    batch = taught(processor, tiny, *prompts, **options)
    greedy = {"max_new_tokens": 3, "min_new_tokens": 3, "do_sample": False}
    with seen(network(model)) as shapes:
        found = model.generate(**batch, **greedy)
    assert shapes == [((2, 1), (2, 1))] * 3
    with seen(network(model)) as shapes:
        whole = model.generate(
            **batch, **greedy, output_hidden_states=True, return_dict_in_generate=True
        )
    assert shapes[0][0] == tuple(batch["input_ids"].shape)
    assert torch.equal(found, whole.sequences)
    assert bool((whole.hidden_states[0][-1] != 0).all())


def test_logits_of_all_positions_read_them_all(join, tiny) -> None:
    model, processor = join()
    batch = taught(processor, tiny, *CHATS, supervise=True)
    del batch["labels"]
    with seen(network(model)) as shapes:
        whole = model(**batch).logits
        last = model(**batch, logits_to_keep=2).logits
        chosen = model(**batch, logits_to_keep=torch.tensor([0, 5])).logits
    assert [given[1] for given, _ in shapes] == [whole.shape[1], 2, whole.shape[1]]
    torch.testing.assert_close(last, whole[:, -2:])
    torch.testing.assert_close(chosen, whole[:, [0, 5]])


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_checkpointed_layer_reads_again_what_it_read(reentrant, join, tiny) -> None:
    """Also when another batch, with as many tokens elsewhere, went through it in between."""
    model, processor = join()
    one = taught(processor, tiny, [user("<image>Ne?"), assistant("Kuş")], supervise=True)
    two = taught(processor, tiny, [user("<image>N?"), assistant("Kuş."), user("e")], supervise=True)
    two = {key: value[:, : one["input_ids"].shape[1]] for key, value in two.items()} | {
        "pixel_values": two["pixel_values"]
    }
    two["labels"] = one["labels"].roll(-1, dims=1)
    assert (one["labels"] != -100).sum() == (two["labels"] != -100).sum()
    model.vision_encoder.requires_grad_(requires_grad=False)
    model.train()
    expected = learn(model, one, two)
    model.activation_checkpointing_enable({"use_reentrant": reentrant})
    with seen(network(model)) as shapes:
        same(learn(model, one, two), expected)
    tokens = int((one["labels"] != -100).sum())
    assert shapes == [((1, tokens), (1, tokens))] * 4
    model.activation_checkpointing_disable()
    with seen(network(model)) as shapes:
        same(learn(model, one, two), expected)
    assert len(shapes) == 2


@pytest.mark.parametrize("by", ["the language model's own", "a wrapper"])
def test_other_checkpointing_computes_everything(by, join, tiny) -> None:
    """It would run the layer again without knowing what was left out."""
    model, processor = join()
    batch = taught(processor, tiny, *CHATS, supervise=True)
    model.train()
    expected = learn(model, batch)
    if by == "a wrapper":
        layers = model.language_model.get_decoder().layers
        layers[-1] = checkpoint_wrapper(layers[-1])
        last = layers[-1]._checkpoint_wrapped_module.mlp
    else:
        model.language_model.activation_checkpointing_enable()
        last = network(model)
    with seen(last) as shapes:
        loss, gradients = learn(model, batch)
    whole = tuple(batch["input_ids"].shape)
    assert set(shapes) == {(whole, whole)}
    gradients = {n.replace("._checkpoint_wrapped_module", ""): g for n, g in gradients.items()}
    same((loss, gradients), expected)


def test_what_one_thread_leaves_out_another_computes(join, tiny) -> None:
    model, processor = join()
    batch = taught(processor, tiny, *CHATS)
    shapes = []

    def other():
        with seen(network(model)) as found, torch.no_grad():
            model.language_model(input_ids=batch["input_ids"])
            shapes.extend(found)

    with only_read(1, batch["input_ids"].shape), first_layers(1):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    whole = tuple(batch["input_ids"].shape)
    assert shapes == [(whole, whole)]


def test_models_may_share_a_language_model(join, tiny) -> None:
    model, processor = join()
    batch = taught(processor, tiny, *CHATS, supervise=True)
    expected = learn(model.train(), batch)
    other = ParrotForConditionalGeneration(
        model.config, vision_encoder=model.vision_encoder, language_model=model.language_model
    )
    other.projector, other.experts = model.projector, model.experts
    same(learn(other.train(), batch), expected)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_tokens_that_an_adapter_adds_leave_nothing_out(join, tiny) -> None:
    """Prompt tuning puts learnt tokens before the prompt, of which the model knows nothing."""
    model, processor = join()
    batch = taught(processor, tiny, *(chat[:1] for chat in CHATS), padding_side="left")
    adapter = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)
    model.language_model = get_peft_model(model.language_model, adapter)
    whole = model(**batch).logits
    last = model(**batch, logits_to_keep=1).logits
    torch.testing.assert_close(last, whole[:, -1:])


def test_copies_leave_out_the_same(join, tiny) -> None:
    model, processor = join()
    copies = (copy.deepcopy(model), pickle.loads(pickle.dumps(model)))
    batch = taught(processor, tiny, CHATS[0][:1], add_generation_prompt=True)
    expected = model(**batch).logits[:, -1:]
    for again in copies:
        with seen(network(again)) as shapes:
            logits = again(**batch, logits_to_keep=1).logits
        assert shapes == [((1, 1), (1, 1))]
        torch.testing.assert_close(logits, expected)
