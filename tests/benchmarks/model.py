"""Times a training step and generation at a fixed small size, and prints JSON.

    python tests/benchmarks/model.py [--repeats 5] [--threads 1 2] [--cpu-time] [--other COMMAND]

12.5M parameters (9.6M of them trained), 197 visual tokens, vocabulary 8192, float32 on the CPU;
forward and backward without optimiser at batch 1, 4 and 8, 64 tokens after a prompt of 296, and
eight short questions in one batch and one by one; each with 1 and 2 threads.

The same weights are timed in the released code's way of computing (`released_form.py`), in turns,
so that whatever else the machine does slows both; the shortest of the repeats counts. `other` is a
program that prints `{"seconds": …}` with the same names, for instance one that times a checkout of
the authors' code in an environment of its own: it is run once, and its times are put beside these.
"""

import argparse
import json
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import released_form
import torch
from torch import Tensor
from transformers import CLIPVisionConfig, Qwen2Config
from transformers.utils import logging

from parrot_core.model import ParrotConfig, ParrotForConditionalGeneration

IMAGE_TOKEN, TEXT, ANSWER, QUESTIONS, VISUAL = 8191, 99, 30, 8, 197
GREEDY = {"do_sample": False, "eos_token_id": None, "pad_token_id": 0}
# What is hoped for: of the released code's time, a step at batch 8 and eight short questions.
MOST = {"train_step_batch_8": 0.65, "eight_questions": 0.5}

VIEWER = {
    "hidden_size": 192,
    "intermediate_size": 768,
    "num_hidden_layers": 6,
    "num_attention_heads": 3,
    "image_size": 224,
    "patch_size": 16,
}
SPEAKER = {
    "vocab_size": 8192,
    "hidden_size": 256,
    "intermediate_size": 704,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}

Seconds = dict[str, float]


def build() -> ParrotForConditionalGeneration:
    """A model of the released form with random weights."""
    torch.manual_seed(0)
    config = ParrotConfig(
        vision_config=CLIPVisionConfig(**VIEWER),
        text_config=Qwen2Config(**SPEAKER),
        image_token_id=IMAGE_TOKEN,
        expert_kind="gated",
        expert_intermediate_size=512,
        reweighting="experts_plus_weighted_input",
        alpha=0.1,
    )
    model = ParrotForConditionalGeneration(config)
    model.vision_encoder.requires_grad_(requires_grad=False)
    return model


def make_batch(images: int, *, text: int = TEXT) -> dict[str, Tensor]:
    """One image and `text` tokens a sample, the last of them an answer."""
    generator = torch.Generator().manual_seed(images)
    words = torch.randint(0, 8000, (images, text), generator=generator)
    places = torch.full((images, VISUAL), IMAGE_TOKEN)
    ids = torch.cat([words[:, :10], places, words[:, 10:]], dim=1)
    pixels = torch.randn(images, 3, 224, 224, generator=generator)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": pixels}


def shortest(*works: Callable[[], object], repeats: int, clock: Callable[[], float]) -> list[float]:
    """Seconds of the quickest run of each, done in turns, after one of each that does not count."""
    times: list[list[float]] = [[] for _ in works]
    for repeat in range(repeats + 1):
        for work, taken in zip(works, times, strict=True):
            start = clock()
            work()
            if repeat:
                taken.append(clock() - start)
    return [round(min(taken), 4) for taken in times]


def time_training(model: ParrotForConditionalGeneration, size: int, **timing: Any) -> list[float]:
    """Seconds of a step here and in the released form, whose losses must be one."""
    batch = make_batch(size)
    labels = batch["input_ids"].clone()
    labels[:, :-ANSWER] = -100
    guides = (labels == -100).long()

    def ours() -> Tensor:
        loss = model(**batch, labels=labels, guidance_mask=guides).loss
        return step(loss)

    def theirs() -> Tensor:
        return step(released_form.loss(model, batch, labels))

    def step(loss: Tensor) -> Tensor:
        model.zero_grad(set_to_none=True)
        loss.backward()
        return loss.detach()

    model.train()
    torch.testing.assert_close(ours(), theirs(), rtol=1e-5, atol=0)
    return shortest(ours, theirs, **timing)


def time_generation(
    model: ParrotForConditionalGeneration, **timing: Any
) -> tuple[list[float], list[float], float]:
    """Seconds here and in the released form for a long answer, and for eight questions.

    Returns:
        Both of the long answer; both of the questions, here in one batch and there one by one; and
        of the questions one by one here.
    """
    model.eval()
    one, short = make_batch(1), make_batch(QUESTIONS, text=30)
    singles = [{key: value[i : i + 1] for key, value in short.items()} for i in range(QUESTIONS)]
    long = {**GREEDY, "max_new_tokens": 64, "min_new_tokens": 64}
    brief = {**GREEDY, "max_new_tokens": 4}

    def alone(generate: Callable[..., Tensor]) -> list[Tensor]:
        return [generate(single)[:, -4:] for single in singles]

    def here(batch: dict[str, Tensor]) -> Tensor:
        return model.generate(**batch, **brief)

    def there(batch: dict[str, Tensor]) -> Tensor:
        return released_form.generate(model, batch, **brief)

    assert here(short)[:, -4:].tolist() == torch.cat(alone(there)).tolist()
    answer = shortest(
        lambda: model.generate(**one, **long),
        lambda: released_form.generate(model, one, **long),
        **timing,
    )
    batched, theirs, ours = shortest(
        lambda: here(short), lambda: alone(there), lambda: alone(here), **timing
    )
    return answer, [batched, theirs], ours


def measure(model: ParrotForConditionalGeneration, **timing: Any) -> tuple[Seconds, Seconds]:
    """Seconds of each kind of work here and in the released form, with the threads that are set."""
    ours, theirs = {}, {}
    for size in (1, 4, 8):
        name = f"train_step_batch_{size}"
        ours[name], theirs[name] = time_training(model, size, **timing)
    answer, questions, alone = time_generation(model, **timing)
    ours["generate_64_tokens"], theirs["generate_64_tokens"] = answer
    ours["eight_questions"], theirs["eight_questions"] = questions
    ours["eight_questions_one_by_one"] = alone
    return ours, theirs


def compare(ours: dict[str, Seconds], theirs: dict[str, Seconds]) -> dict[str, Seconds]:
    """By how much less than 1 the time of each work that both know is."""
    return {
        threads: {
            name: round(seconds / theirs[threads][name], 3)
            for name, seconds in works.items()
            if name in theirs.get(threads, {})
        }
        for threads, works in ours.items()
    }


def main() -> None:
    """Measures with one and two threads, and prints one JSON document."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--other", help="a command that prints JSON with times of the same work")
    parser.add_argument(
        "--cpu-time",
        action="store_true",
        help="count the processor's seconds, which others on the machine do not stretch",
    )
    options = parser.parse_args()
    clock = time.process_time if options.cpu_time else time.perf_counter
    logging.set_verbosity_error()
    model = build()
    ours, theirs = {}, {}
    for threads in options.threads:
        torch.set_num_threads(threads)
        found = measure(model, repeats=options.repeats, clock=clock)
        ours[f"threads_{threads}"], theirs[f"threads_{threads}"] = found
    report = {
        "machine": platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "clock": "processor" if options.cpu_time else "wall",
        "parameters": sum(p.numel() for p in model.parameters()),
        "trained": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "seconds": ours,
        "released_form": {"seconds": theirs, "ratios": compare(ours, theirs), "most": MOST},
    }
    if options.other:
        run = subprocess.run(shlex.split(options.other), capture_output=True, check=True, text=True)
        other = json.loads(run.stdout)["seconds"]
        report["other"] = {"seconds": other, "ratios": compare(ours, other), "most": MOST}
    json.dump(report, sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
