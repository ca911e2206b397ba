"""What each speed-up of the training step is worth, and that it changes nothing.

    python tests/benchmarks/training.py [--repeats 3] [--layers 4] [--vision-layers 24]

A step is forward and backward over one image of CLIP ViT-L/14-336's shape (577 visual tokens) and
128 words of which 32 are supervised, with random weights: a Qwen2-0.5B of fewer layers (hidden size
896, vocabulary 151,936) and six two-layer experts. Every switch is on except the one that is timed.
CPU seconds of one thread count, the least of the repeats, on and off by turns: others may share the
machine. On a CUDA device, where there is one, seconds by the clock. Prints one JSON line a switch:
`ratio` is off to on, `gradient_difference` the largest between the two, relative to the largest.
"""

import argparse
import json
import time
from collections.abc import Callable
from contextlib import nullcontext

import torch
from transformers import CLIPVisionConfig, Qwen2Config

from parrot_core.model import ParrotConfig, ParrotForConditionalGeneration

IMAGE_TOKEN, VISUAL, WORDS, SUPERVISED = 151_935, 577, 128, 32
SWITCHES = (
    "head_on_supervised_positions_only",
    "cached_vision_features",
    "bfloat16",
    "without_gradient_checkpointing",
)
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def build(*, layers: int, vision_layers: int) -> ParrotForConditionalGeneration:
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
        image_token_id=IMAGE_TOKEN,
        tie_word_embeddings=True,
    )
    model = ParrotForConditionalGeneration(config).to(DEVICE).train()
    model.vision_encoder.requires_grad_(requires_grad=False)
    return model


def make_batch() -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    words = torch.randint(0, 1000, (1, WORDS), generator=draw)
    ids = torch.cat([torch.full((1, VISUAL), IMAGE_TOKEN), words], dim=1)
    labels = ids.clone()
    labels[:, :-SUPERVISED] = -100
    guidance = torch.zeros_like(ids)
    guidance[:, VISUAL:-SUPERVISED] = 1
    pixels = torch.randn(1, 3, 336, 336, generator=draw)
    batch = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "guidance_mask": guidance,
        "labels": labels,
        "pixel_values": pixels,
    }
    return {name: value.to(DEVICE) for name, value in batch.items()}


def make_step(
    model: ParrotForConditionalGeneration,
    batch: dict[str, torch.Tensor],
    features: torch.Tensor,
    off: str | None,
) -> Callable[[], None]:
    """A step with every switch on but one."""
    inputs = dict(batch)
    if off != "cached_vision_features":
        del inputs["pixel_values"]
        inputs["vision_features"] = features
    keep = {"logits_to_keep": 0} if off == "head_on_supervised_positions_only" else {}
    precision = (
        nullcontext()
        if off == "bfloat16"
        else torch.autocast(DEVICE, dtype=torch.bfloat16, cache_enabled=True)
    )

    def step() -> None:
        if off == "without_gradient_checkpointing":
            model.language_model.activation_checkpointing_enable()
        else:
            model.language_model.activation_checkpointing_disable()
        model.zero_grad(set_to_none=True)
        with precision:
            loss = model(**inputs, **keep).loss
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--vision-layers", type=int, default=24)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = build(layers=options.layers, vision_layers=options.vision_layers)
    batch = make_batch()
    with torch.no_grad():
        features = model.vision_features(batch["pixel_values"])
    everything = make_step(model, batch, features, None)
    for switch in SWITCHES:
        without = make_step(model, batch, features, switch)
        times: dict[str, list[float]] = {"on": [], "off": []}
        gradients = {}
        for repeat in range(options.repeats + 1):
            for name, step in (("on", everything), ("off", without)):
                spent = seconds(step)
                gradients[name] = gradient(model)
                if repeat:  # the first warms up
                    times[name].append(spent)
        apart = (gradients["on"] - gradients["off"]).abs().max() / gradients["off"].abs().max()
        least = {name: min(values) for name, values in times.items()}
        line = {
            "switch": switch,
            "seconds_on": round(least["on"], 3),
            "seconds_off": round(least["off"], 3),
            "ratio": round(least["off"] / least["on"], 2),
            "gradient_difference": float(f"{float(apart):.1e}"),
            "device": torch.cuda.get_device_name() if DEVICE == "cuda" else "cpu",
        }
        print(json.dumps(line), flush=True)  # noqa: T201 - this is the result


if __name__ == "__main__":
    main()
