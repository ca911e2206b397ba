"""Times a training step and generation at a fixed small size, and prints JSON.

    python tests/benchmarks/model.py [--repeats 5]

12.5M parameters (9.6M of them trained), 197 visual tokens, vocabulary 8192, float32 on the CPU;
forward and backward without optimiser at batch 1, 4 and 8, 64 tokens after a prompt of 296, and
eight short questions in one batch and one by one; each with 1 and 2 threads. The shortest of the
repeats counts: others share the machine.
"""

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable

import torch
from transformers import CLIPVisionConfig, Qwen2Config
from transformers.utils import logging

from parrot_core.model import ParrotConfig, ParrotForConditionalGeneration

IMAGE_TOKEN, TEXT, ANSWER, QUESTIONS = 8191, 99, 30, 8


def build() -> ParrotForConditionalGeneration:
    """A model of the released form with random weights."""
    torch.manual_seed(0)
    config = ParrotConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=192,
            intermediate_size=768,
            num_hidden_layers=6,
            num_attention_heads=3,
            image_size=224,
            patch_size=16,
            projection_dim=64,
        ),
        text_config=Qwen2Config(
            vocab_size=8192,
            hidden_size=256,
            intermediate_size=704,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=2048,
        ),
        image_token_id=IMAGE_TOKEN,
        expert_kind="gated",
        expert_intermediate_size=512,
        reweighting="experts_plus_weighted_input",
        alpha=0.1,
    )
    model = ParrotForConditionalGeneration(config)
    model.vision_encoder.requires_grad_(requires_grad=False)
    return model


def make_batch(images: int, *, text: int = TEXT) -> dict[str, torch.Tensor]:
    """One image and `text` tokens a sample, the last of them an answer."""
    generator = torch.Generator().manual_seed(images)
    words = torch.randint(0, 8000, (images, text), generator=generator)
    places = torch.full((images, 197), IMAGE_TOKEN)
    ids = torch.cat([words[:, :10], places, words[:, 10:]], dim=1)
    pixels = torch.randn(images, 3, 224, 224, generator=generator)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": pixels}


def shortest(work: Callable[[], object], *, repeats: int) -> float:
    """Seconds of the quickest run after one that does not count."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return round(min(times), 4)


def measure(model: ParrotForConditionalGeneration, *, repeats: int) -> dict[str, float]:
    """Seconds of each kind of work with the threads that are set."""
    seconds = {}
    for size in (1, 4, 8):
        batch = make_batch(size)
        labels = batch["input_ids"].clone()
        labels[:, :-ANSWER] = -100
        guides = (labels == -100).long()

        def step() -> None:
            model.zero_grad(set_to_none=True)
            model(**batch, labels=labels, guidance_mask=guides).loss.backward()  # noqa: B023

        model.train()
        seconds[f"train_step_batch_{size}"] = shortest(step, repeats=repeats)
    model.eval()
    options = {"do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    one = make_batch(1)
    seconds["generate_64_tokens"] = shortest(
        lambda: model.generate(**one, max_new_tokens=64, min_new_tokens=64, **options),
        repeats=repeats,
    )
    short = make_batch(QUESTIONS, text=30)
    singles = [{key: value[i : i + 1] for key, value in short.items()} for i in range(QUESTIONS)]
    seconds["eight_questions_batched"] = shortest(
        lambda: model.generate(**short, max_new_tokens=4, **options), repeats=repeats
    )
    seconds["eight_questions_one_by_one"] = shortest(
        lambda: [model.generate(**single, max_new_tokens=4, **options) for single in singles],
        repeats=repeats,
    )
    return seconds


def main() -> None:
    """Measures with one and two threads, and prints one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    logging.set_verbosity_error()
    model = build()
    results = {}
    for threads in (1, 2):
        torch.set_num_threads(threads)
        results[f"threads_{threads}"] = measure(model, repeats=repeats)
    report = {
        "machine": platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "parameters": sum(p.numel() for p in model.parameters()),
        "trained": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "seconds": results,
    }
    json.dump(report, sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
