"""What each speed-up of the training step is worth, and that it changes nothing.

    python tests/benchmarks/training.py [--sizes released 0.5B] [--repeats 3] [--layers 4]

A step is forward and backward over random weights and words, without optimiser, at two sizes:

- `released`: 12.5 million parameters, batches of 8 samples of 197 visual tokens and 99 of text, of
  which 30 are supervised, vocabulary 8192: where the authors' released code was timed;
- `0.5B`: Qwen2-0.5B's shape with fewer layers, one sample of CLIP ViT-L/14-336's 577 visual tokens
  and 128 of text, of which 32 are supervised, vocabulary 151,936.

Every switch is on except the one that is timed; without the head on supervised positions only, the
last feed-forward network works for all positions, too, as their logits are then read. For `packing`
the samples of a batch are of unequal length, as where batches are not grouped by length. CPU
seconds of one thread count, the least of the repeats, on and off by turns: others may share the
machine. On a CUDA device, where there is one, seconds by the clock. Prints one JSON line a switch:
`ratio` is off to on, `gradient_difference` the largest between the two in float32, relative to the
largest gradient (bfloat16 itself is compared with float32).

`overlapped_data_loading` is measured by the clock on whole runs of stage 1, as `throughput.py`
makes them, with and without a process that decodes images meanwhile: it needs a core of its own.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import model as released
import torch
from throughput import measure, write_parts
from transformers import CLIPVisionConfig, Qwen2Config

from parrot_core.model import ParrotConfig, ParrotForConditionalGeneration

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SWITCHES = (
    "head_on_supervised_positions_only",
    "last_feed_forward_on_supervised_positions_only",
    "cached_vision_features",
    "bfloat16",
    "without_gradient_checkpointing",
)
UNEVEN = (0.1, 0.2, 0.4, 1.0)
"""Text of the samples of an uneven batch, as shares of the longest."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """A model and the samples that it learns from.

    Attributes:
        build: Makes the model.
        samples: Of a batch.
        visual: Tokens of its image.
        side: Of the image, in pixels.
        text: Tokens of the longest sample, images aside.
        supervised: How many of them are.
    """

    build: Callable[[], ParrotForConditionalGeneration]
    samples: int
    visual: int
    side: int
    text: int
    supervised: int


def build_half_billion(*, layers: int, vision_layers: int) -> ParrotForConditionalGeneration:
    torch.manual_seed(0)
    config = ParrotConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=1024,
            intermediate_size=4096,
            num_hidden_layers=vision_layers,
            num_attention_heads=16,
            image_size=336,
            patch_size=14,
            projection_dim=768,
        ),
        text_config=Qwen2Config(
            vocab_size=151_936,
            hidden_size=896,
            intermediate_size=4864,
            num_hidden_layers=layers,
            num_attention_heads=14,
            num_key_value_heads=2,
            tie_word_embeddings=True,
        ),
        image_token_id=151_935,
        tie_word_embeddings=True,
    )
    model = ParrotForConditionalGeneration(config)
    model.vision_encoder.requires_grad_(requires_grad=False)
    return model


def make_batch(size: Size, image_token: int, texts: Sequence[int]) -> dict[str, torch.Tensor]:
    """One image and so many tokens of text for each sample, padded to the longest."""
    draw = torch.Generator().manual_seed(0)
    longest = size.visual + max(texts)
    ids = torch.zeros(len(texts), longest, dtype=torch.long)
    mask, guidance, labels = torch.zeros_like(ids), torch.zeros_like(ids), ids - 100
    for row, text in enumerate(texts):
        end = size.visual + text
        ids[row, : size.visual] = image_token
        ids[row, size.visual : end] = torch.randint(0, 1000, (text,), generator=draw)
        mask[row, :end] = 1
        answer = end - min(size.supervised, text - 1)
        guidance[row, size.visual : answer] = 1
        labels[row, answer:end] = ids[row, answer:end]
    pixels = torch.randn(len(texts), 3, size.side, size.side, generator=draw)
    batch = {
        "input_ids": ids,
        "attention_mask": mask,
        "guidance_mask": guidance,
        "labels": labels,
        "pixel_values": pixels,
    }
    return {name: value.to(DEVICE) for name, value in batch.items()}


def make_step(
    model: ParrotForConditionalGeneration,
    batch: dict[str, torch.Tensor],
    *,
    off: str | None = None,
    pack: bool = False,
    exact: bool = False,
) -> Callable[[], None]:
    """A step with every switch on but one, and but for bfloat16 if it is to be exact."""
    inputs: dict[str, Any] = dict(batch)
    precision = nullcontext
    if off != "bfloat16" and not exact:
        precision = partial(torch.autocast, DEVICE, dtype=torch.bfloat16)
    if off != "cached_vision_features":
        with torch.no_grad(), precision():
            inputs["vision_features"] = model.vision_features(inputs.pop("pixel_values"))
    if off == "head_on_supervised_positions_only":
        inputs["logits_to_keep"] = 0
    if off == "last_feed_forward_on_supervised_positions_only":
        inputs["output_hidden_states"] = True  # of which the last are then read everywhere

    def step() -> None:
        if off == "without_gradient_checkpointing":
            model.activation_checkpointing_enable()
        else:
            model.activation_checkpointing_disable()
        model.zero_grad(set_to_none=True)
        with precision():
            loss = model(**inputs, pack=pack).loss
        loss.backward()

    return step


def seconds(step: Callable[[], None]) -> float:
    clock = time.perf_counter if DEVICE == "cuda" else time.process_time
    began = clock()
    step()
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    return clock() - began


def gradient(model: ParrotForConditionalGeneration) -> torch.Tensor:
    layer = model.language_model.model.layers[0].self_attn.q_proj.weight.grad
    projector = model.projector[0].weight.grad
    return torch.cat([layer.float().flatten(), projector.float().flatten()]).clone()


def compare(
    model: ParrotForConditionalGeneration,
    batch: dict[str, torch.Tensor],
    switch: str,
    repeats: int,
) -> dict[str, Any]:
    """Times steps with a switch on and off by turns, and compares what they would learn."""
    packs = switch == "packing"
    options: dict[str, dict[str, Any]] = {
        "on": {"pack": packs},
        "off": {} if packs else {"off": switch},
    }
    steps = {name: make_step(model, batch, **chosen) for name, chosen in options.items()}
    times: dict[str, list[float]] = {name: [] for name in steps}
    for repeat in range(repeats + 1):
        for name, step in steps.items():
            spent = seconds(step)
            if repeat:  # the first warms up
                times[name].append(spent)
    gradients = {}
    for name, chosen in options.items():
        make_step(model, batch, **chosen, exact=switch != "bfloat16")()
        gradients[name] = gradient(model)
    apart = (gradients["on"] - gradients["off"]).abs().max() / gradients["off"].abs().max()
    least = {name: min(values) for name, values in times.items()}
    return {
        "seconds_on": round(least["on"], 3),
        "seconds_off": round(least["off"], 3),
        "ratio": round(least["off"] / least["on"], 2),
        "gradient_difference": float(f"{float(apart):.1e}"),
        "device": torch.cuda.get_device_name() if DEVICE == "cuda" else "cpu",
    }


def loading(repeats: int) -> dict[str, Any]:
    """Compares whole runs with images decoded meanwhile and in between."""
    times: dict[str, list[float]] = {"on": [], "off": []}
    with tempfile.TemporaryDirectory() as scratch:
        write_parts(Path(scratch), "small")
        stage = ["stage1.steps=12", "stage1.global_batch_size=8", "stage1.precision=float32"]
        for _ in range(repeats):
            for name, workers in (("on", 1), ("off", 0)):
                overrides = [*stage, f"launch.loader_workers={workers}"]
                found = measure(Path(scratch), "stage 1", overrides)
                times[name].append(1 / found["samples_per_second"])
    least = {name: min(values) for name, values in times.items()}
    return {
        "seconds_a_sample_on": round(least["on"], 3),
        "seconds_a_sample_off": round(least["off"], 3),
        "ratio": round(least["off"] / least["on"], 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="+", default=["released", "0.5B"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--layers", type=int, default=4, help="of 0.5B's language model")
    parser.add_argument("--vision-layers", type=int, default=24, help="of its vision encoder")
    options = parser.parse_args()
    torch.set_num_threads(1)
    half = {"layers": options.layers, "vision_layers": options.vision_layers}
    sizes = {
        "released": Size(
            build=released.build, samples=8, visual=197, side=224, text=99, supervised=30
        ),
        "0.5B": Size(
            build=lambda: build_half_billion(**half),
            samples=1,
            visual=577,
            side=336,
            text=128,
            supervised=32,
        ),
    }
    for name in options.sizes:
        size = sizes[name]
        model = size.build().to(DEVICE).train()
        image_token = model.config.image_token_id
        even = make_batch(size, image_token, [size.text] * size.samples)
        longest = 4 * size.text
        uneven = make_batch(size, image_token, [int(share * longest) for share in UNEVEN])
        for switch in (*SWITCHES, "packing"):
            batch = uneven if switch == "packing" else even
            result = compare(model, batch, switch, options.repeats)
            print(json.dumps({"switch": switch, "size": name, **result}), flush=True)  # noqa: T201
    print(json.dumps({"switch": "overlapped_data_loading", **loading(options.repeats)}))  # noqa: T201


if __name__ == "__main__":
    main()
