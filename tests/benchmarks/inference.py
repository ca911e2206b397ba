"""Tokens a second and memory of a Parrot of a given shape with random weights, as JSON.

    python tests/benchmarks/inference.py --shape qwen2-7b --device cuda --dtype bfloat16

Each prompt is one image and 64 words. Prefill is the whole prompt, image encoding included, with
logits of the last position only; decoding is greedy, with the cache. The quickest of the repeats
counts. With `--cache static` the library compiles the model's decoding on a GPU (CUDA graphs); with
several kinds of attention or cache the same weights are measured with each.
"""

import argparse
import itertools
import json
import platform
import resource
import sys
import time
from collections.abc import Callable

import torch
from model import SPEAKER, VIEWER
from torch import Tensor
from transformers import CLIPVisionConfig, Qwen2Config
from transformers.utils import logging

from parrot_core.model import ParrotConfig, ParrotForConditionalGeneration

WORDS, IMAGE_TOKEN = 64, 5
SHAPES: dict[str, tuple[dict[str, int], dict[str, int]]] = {
    "qwen2-7b": (
        {
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
            "image_size": 336,
            "patch_size": 14,
        },
        {
            "vocab_size": 152064,
            "hidden_size": 3584,
            "intermediate_size": 18944,
            "num_hidden_layers": 28,
            "num_attention_heads": 28,
            "num_key_value_heads": 4,
        },
    ),
    "small": (VIEWER, SPEAKER),
}
"""By name: sizes of the vision encoder and of the language model."""


def build(shape: str, device: torch.device, dtype: torch.dtype) -> ParrotForConditionalGeneration:
    """A model with random weights, made where and as it is used."""
    viewer, speaker = SHAPES[shape]
    config = ParrotConfig(
        vision_config=CLIPVisionConfig(**viewer),
        text_config=Qwen2Config(**speaker),
        image_token_id=IMAGE_TOKEN,
    )
    torch.manual_seed(0)
    with device:
        model = ParrotForConditionalGeneration._from_config(config, dtype=dtype)
    return model.eval()


def make_batch(model: ParrotForConditionalGeneration, size: int) -> dict[str, Tensor]:
    """One image and the words after it, for each of `size` prompts."""
    generator = torch.Generator().manual_seed(size)
    words = torch.randint(IMAGE_TOKEN + 1, 8000, (size, WORDS), generator=generator)
    images = torch.full((size, model.config.num_image_tokens), IMAGE_TOKEN)
    side = model.config.image_size
    pixels = torch.randn(size, 3, side, side, generator=generator)
    batch = {"input_ids": torch.cat([images, words], dim=1), "pixel_values": pixels}
    batch["attention_mask"] = torch.ones_like(batch["input_ids"])
    return {name: value.to(model.device) for name, value in batch.items()}


def quickest(work: Callable[[], object], *, device: torch.device, repeats: int) -> float:
    """Seconds of the quickest run after one that does not count."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return min(times[1:])


@torch.no_grad()
def measure(
    model: ParrotForConditionalGeneration, size: int, *, cache: str, new_tokens: int, repeats: int
) -> dict[str, float]:
    """Tokens a second and peak memory of a batch of prompts."""
    device = model.device
    cached = {} if cache == "dynamic" else {"cache_implementation": cache}
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    batch = make_batch(model, size)
    length = batch["input_ids"].shape[1]

    def prefill() -> Tensor:
        return model(**batch, use_cache=True, logits_to_keep=1).logits

    def answer(tokens: int) -> Tensor:
        options = {"max_new_tokens": tokens, "min_new_tokens": tokens, "eos_token_id": None}
        return model.generate(**batch, **options, **cached, do_sample=False, pad_token_id=0)

    if not bool(prefill().isfinite().all()):
        raise SystemExit("the logits are not finite")
    timing = {"device": device, "repeats": repeats}
    prefilling = quickest(prefill, **timing)
    first = quickest(lambda: answer(1), **timing)
    decoding = quickest(lambda: answer(new_tokens), **timing) - first
    return {
        "prompt_tokens": size * length,
        "prefill_seconds": round(prefilling, 4),
        "prefill_tokens_per_second": round(size * length / prefilling, 1),
        "decoded_tokens": size * (new_tokens - 1),
        # A tiny model may take no longer for a short answer than for a prompt alone.
        "decode_tokens_per_second": (
            round(size * (new_tokens - 1) / decoding, 1) if decoding > 0 else None
        ),
        "peak_memory_gib": round(peak_memory(device) / 2**30, 2),
    }


def peak_memory(device: torch.device) -> int:
    """Bytes: the tensors of a GPU, or the whole process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    """Measures, and prints one JSON document."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", choices=SHAPES, default="small")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="bfloat16")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--attention", nargs="+", default=["sdpa"], help="as the library names it")
    parser.add_argument("--cache", nargs="+", choices=("dynamic", "static"), default=["dynamic"])
    options = parser.parse_args()
    logging.set_verbosity_error()
    device = torch.device(options.device)
    model = build(options.shape, device, getattr(torch, options.dtype))
    on_gpu = device.type == "cuda"
    report = {
        "device": torch.cuda.get_device_name(device) if on_gpu else platform.machine(),
        "torch": torch.__version__,
        "threads": None if on_gpu else torch.get_num_threads(),
        "shape": options.shape,
        "dtype": options.dtype,
        "parameters": sum(p.numel() for p in model.parameters()),
        "measured": [],
    }
    for attention in options.attention:
        model.set_attn_implementation(attention)
        for cache, size in itertools.product(options.cache, options.batch):
            counts = {"new_tokens": options.new_tokens, "repeats": options.repeats}
            found = measure(model, size, cache=cache, **counts)
            case = {"attention": attention, "cache": cache, "batch": size}
            report["measured"].append(case | found)
    json.dump(report, sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
