"""The model on a GPU: what the processor computes, and what only a GPU has.

`pytest --gpu` runs this, and parity with the authors' code (`test_released.py`) there, too.
"""

import pytest
import torch
from transformers import AutoModelForImageTextToText, BitsAndBytesConfig

from parrot_core.errors import MissingError
from parrot_core.training.kernels import FLASH_ATTENTION, choose_attention, use_fused_kernels

pytestmark = pytest.mark.gpu

GREEDY = {"max_new_tokens": 12, "do_sample": False, "eos_token_id": None}
ASKED = [("Bu ne?", 1), ("Что это такое, и какого оно цвета?", 0), ("Hangisi?", 3)]
HEAD = 64
"""Size of an attention head; flash attention's kernels are not made for the 8 of tiny models."""


@pytest.fixture(autouse=True)
def _float32():
    with torch.backends.cudnn.flags(allow_tf32=False):
        yield


@pytest.fixture(scope="module")
def chats(tiny):
    """Unequal questions with 1, 0 and 3 images, as `encode_conversations` takes them."""
    messages = [[{"role": "user", "content": "<image>" * n + text}] for text, n in ASKED]
    return messages, [[tiny.image(10 * n + i) for i in range(n)] for _, n in ASKED]


@pytest.fixture
def prompts(parrot, chats):
    messages, images = chats
    return parrot[1].encode_conversations(
        messages, images=images, add_generation_prompt=True, padding_side="left"
    )


@pytest.fixture
def answered(parrot, chats):
    """A batch to learn from."""
    messages, images = chats
    answers = [{"role": "assistant", "content": "Kuş, ve mavi."[: 4 * n + 1]} for n in range(3)]
    told = [[*chat, answer] for chat, answer in zip(messages, answers, strict=True)]
    return parrot[1].encode_conversations(told, images=images, supervise=True)


def wide_parrot(tiny):
    """A Parrot with attention heads as large as flash attention's kernels want them."""
    sizes = {"hidden_size": 4 * HEAD, "intermediate_size": 256, "initializer_range": 0.1}
    return tiny.parrot(language_model=tiny.language_model(**sizes))[0]


def on_gpu(batch):
    """A copy of a batch there; the library's own `to` moves the batch itself."""
    return {name: tensor.cuda() for name, tensor in batch.items()}


def gradients(model):
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def test_a_gpu_computes_and_generates_what_the_processor_does(parrot, tiny, prompts) -> None:
    model = tiny.parrot()[0].cuda()
    there = on_gpu(prompts)
    torch.testing.assert_close(
        model(**there).logits.cpu(), parrot[0](**prompts).logits, rtol=1e-4, atol=1e-4
    )
    expected = parrot[0].generate(**prompts, **GREEDY)
    assert model.generate(**there, **GREEDY).cpu().tolist() == expected.tolist()


def test_the_gradients_are_the_processors(tiny, answered) -> None:
    found = []
    for device in ("cpu", "cuda"):
        model = tiny.parrot()[0].to(device).train()
        model(**(on_gpu(answered) if device == "cuda" else answered)).loss.backward()
        found.append({name: grad.cpu() for name, grad in gradients(model).items()})
    assert found[0].keys() == found[1].keys()
    for name, expected in found[0].items():
        torch.testing.assert_close(found[1][name], expected, rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.filterwarnings("ignore")  # the compiler's own
def test_a_static_cache_is_compiled_and_generates_the_same(tiny, prompts) -> None:
    """With such a cache the library compiles the model into CUDA graphs by itself."""
    model, there = tiny.parrot()[0].cuda(), on_gpu(prompts)
    expected = model.generate(**there, **GREEDY)
    torch._dynamo.utils.counters.clear()
    found = model.generate(**there, **GREEDY, cache_implementation="static")
    assert torch.equal(found, expected)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] >= 1


@pytest.mark.filterwarnings("ignore")
def test_a_compiled_model_learns_the_same(tiny, answered) -> None:
    there = on_gpu(answered)
    found = []
    for compiled in (False, True):
        model = tiny.parrot()[0].cuda().train()
        forward = torch.compile(model) if compiled else model
        loss = forward(**there).loss
        loss.backward()
        found.append((loss.detach(), gradients(model)))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-5, atol=1e-5)
    for name, expected in found[0][1].items():
        torch.testing.assert_close(found[1][1][name], expected, rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.parametrize("memory", ["120KB", "200KB"])
def test_it_answers_with_parts_of_it_in_main_memory(parrot, prompts, tmp_path, memory) -> None:
    for part in parrot:
        part.save_pretrained(tmp_path)
    model = AutoModelForImageTextToText.from_pretrained(
        tmp_path, device_map="auto", max_memory={0: memory, "cpu": "1GB"}
    )
    assert set(model.hf_device_map.values()) == {0, "cpu"}
    found = model.generate(**on_gpu(prompts), **GREEDY)
    assert found.cpu().tolist() == parrot[0].generate(**prompts, **GREEDY).tolist()


@pytest.mark.parametrize("bits", [4, 8])
def test_it_learns_and_answers_in_few_bits(tiny, prompts, answered, bits, tmp_path) -> None:
    pytest.importorskip("bitsandbytes")
    speaker = tiny.language_model(hidden_size=64, intermediate_size=128)  # the library's blocks
    for part in tiny.parrot(language_model=speaker):
        part.save_pretrained(tmp_path)
    whole = AutoModelForImageTextToText.from_pretrained(tmp_path).cuda()
    kind = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"} if bits == 4 else {}
    few = BitsAndBytesConfig(**(kind or {"load_in_8bit": True}))
    model = AutoModelForImageTextToText.from_pretrained(
        tmp_path, quantization_config=few, device_map={"": 0}
    )
    there = on_gpu(prompts)
    apart = (model(**there).logits.float() - whole(**there).logits).norm()
    assert 0 < apart / whole(**there).logits.norm() < (0.7 if bits == 4 else 0.1)
    assert model.generate(**there, **GREEDY).shape[1] == there["input_ids"].shape[1] + 12
    model.language_model.requires_grad_(requires_grad=False)
    model.train()(**on_gpu(answered)).loss.backward()
    assert model.experts.router.grad.isfinite().all()


@pytest.mark.filterwarnings("ignore")  # the kernels' compiler's own
@pytest.mark.parametrize("name", FLASH_ATTENTION)
def test_flash_attention_computes_the_same(tiny, prompts, answered, name) -> None:
    """Padded, packed and with a cache; in bfloat16, compared by what SDPA differs from float32."""
    try:
        choose_attention(name, bfloat16=True)
    except MissingError as error:
        pytest.skip(error.problem)
    exact = wide_parrot(tiny).cuda()
    there, learnt = on_gpu(prompts), on_gpu(answered)
    kept = there["attention_mask"].bool()
    logits, losses, grads = {}, {}, {}
    for kind in ("float32", "sdpa", name):
        model = exact if kind == "float32" else wide_parrot(tiny).cuda().bfloat16()
        if kind == name:
            model.language_model.set_attn_implementation(name)
        logits[kind] = model(**there).logits[kept].float()
        model.train()
        loss = model(**learnt, pack=kind == name).loss
        loss.backward()
        losses[kind] = loss.item()
        grads[kind] = {key: grad.float() for key, grad in gradients(model).items()}
        model.zero_grad()
        if kind == name:
            padded = model(**learnt).loss.item()
            text = model.eval().generate(**there, **GREEDY)
            assert text.shape[1] == there["input_ids"].shape[1] + 12
    allowed = 2 * (logits["sdpa"] - logits["float32"]).norm()
    assert (logits[name] - logits["float32"]).norm() < allowed
    allowed = 2 * abs(losses["sdpa"] - losses["float32"]) + 1e-2
    assert abs(losses[name] - losses["float32"]) < allowed
    assert abs(padded - losses["float32"]) < allowed
    for key, expected in grads["float32"].items():
        allowed = 2 * (grads["sdpa"][key] - expected).norm() + 1e-2 * expected.norm()
        assert (grads[name][key] - expected).norm() <= allowed, key


def test_ligers_kernels_compute_the_same_and_in_no_other_model(tiny, prompts, answered) -> None:
    pytest.importorskip("liger_kernel")
    there = on_gpu(answered)
    found = []
    for fused in (False, True):
        model = tiny.parrot()[0].cuda().train()
        assert not fused or use_fused_kernels(model)
        loss = model(**there).loss
        loss.backward()
        found.append((loss.detach(), gradients(model)))
    assert tiny.parrot()[0](**prompts).logits.isfinite().all()  # on the processor
    torch.testing.assert_close(found[1][0], found[0][0], rtol=1e-4, atol=1e-4)
    for name, expected in found[0][1].items():
        torch.testing.assert_close(found[1][1][name], expected, rtol=1e-2, atol=1e-3, msg=name)
