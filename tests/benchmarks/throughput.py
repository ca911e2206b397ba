"""How fast both stages train on this machine's device, and what share of its peak rate they reach.

    python tests/benchmarks/throughput.py [--sizes 1.5B 7B] [--batch 8] [--set KEY=VALUE]

Stage 1, stage 2 with LoRA and stage 2 whole with its optimiser in main memory are trained by the
command's own code, in a process each, on models with random weights of Qwen2's shapes and of CLIP
ViT-L/14-336's (577 visual tokens), and on samples of one picture, a question of 200 tokens and an
answer of 512. `small` shows whether it all runs. Weights are written below `--folder`: three times
16 GB for 7B.

Prints one JSON line a case: medians over the steps but the first three, operations that the model
needs (`utilisation`) and those that the device did, recomputation included, as shares of its peak
bfloat16 rate. The peak is the data sheet's where Parrot knows the GPU, else that of one large
matrix product here and now, which `peak_from` says.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from workshop import ROOT, byte_tokenizer, noise_image, tiny_image_processor

_CLIP_L = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "image_size": 336,
    "patch_size": 14,
}


def _qwen2(width: int, inner: int, layers: int, heads: int, pairs: int, **more: Any) -> Any:
    return {
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": pairs,  # heads of keys and values
        "max_position_embeddings": 32_768,
        "vocab_size": 152_064,
        **more,
    }


SIZES = {
    "small": (
        _qwen2(64, 128, 2, 4, 2, vocab_size=1024),
        _CLIP_L | {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 3},
    ),
    "0.5B": (_qwen2(896, 4864, 24, 14, 2, tie_word_embeddings=True), _CLIP_L),
    "1.5B": (_qwen2(1536, 8960, 28, 12, 2, tie_word_embeddings=True), _CLIP_L),
    "7B": (_qwen2(3584, 18944, 28, 28, 4), _CLIP_L),
}
"""Shapes of language model and vision encoder, by the names of Qwen2's published sizes."""

KINDS = {
    "stage 1": (1, []),
    "stage 2, LoRA": (2, ["stage2.lora.rank=128"]),
    "stage 2, whole, offload": (2, ["stage2.zero=2", "stage2.offload=optimizer"]),
}
QUESTION = "What is to be seen here? "
ANSWER = 512  # letters, and tokens of a tokenizer of bytes
SAMPLES = 64
WARM_UP = 3
PRODUCT = 8192

RECIPE = """
name = "throughput"
languages = ["en"]
[model]
language_model = "{folder}/speaker"
vision_encoder = "{folder}/viewer"
[data]
folder = "{folder}/data"
[logging]
every = 1
[stage1]
data = ["samples.json"]
[stage2]
data = ["samples.json"]
"""


def write_parts(folder: Path, size: str) -> None:
    """Writes parts with random weights in bfloat16, samples, and the recipe that names them."""
    import torch
    from transformers import CLIPVisionConfig, CLIPVisionModel, Qwen2Config, Qwen2ForCausalLM

    language_model, vision_encoder = SIZES[size]
    torch.manual_seed(0)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        torch.set_default_dtype(torch.bfloat16)
        speaker = Qwen2ForCausalLM(Qwen2Config(**language_model))
        viewer = CLIPVisionModel(CLIPVisionConfig(**vision_encoder))
    for part, name in ((speaker, "speaker"), (viewer, "viewer")):
        part.save_pretrained(folder / name)
    byte_tokenizer().save_pretrained(folder / "speaker")
    tiny_image_processor(336).save_pretrained(folder / "viewer")
    images = folder / "data" / "images"
    images.mkdir(parents=True)
    samples = []
    for number in range(SAMPLES):
        noise_image(number, size=(400, 300)).save(images / f"{number}.jpg")
        turns = [("human", f"<image>\n{QUESTION * 8}"), ("gpt", "a" * ANSWER)]
        samples.append(
            {
                "id": str(number),
                "image": f"images/{number}.jpg",
                "language": "en",
                "conversations": [{"from": role, "value": text} for role, text in turns],
            }
        )
    (folder / "data" / "samples.json").write_text(json.dumps(samples), encoding="utf-8")
    (folder / "recipe.toml").write_text(RECIPE.format(folder=folder.as_posix()), encoding="utf-8")


def peak_rate() -> tuple[float, str, str]:
    """Operations a second at the most, whence they are known, and the device's name."""
    import torch

    from parrot_core.recipe.hardware import GPUS

    cuda = torch.cuda.is_available()
    name = torch.cuda.get_device_name() if cuda else f"cpu, {torch.get_num_threads()} threads"
    for gpu in GPUS.values():
        if any(part in name for part in gpu.names):
            return gpu.bfloat16_tflops * 1e12, "data sheet", name
    side = PRODUCT if cuda else PRODUCT // 8
    one = torch.randn(side, side, dtype=torch.bfloat16, device="cuda" if cuda else "cpu")
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        one @ one
        if cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    return 2 * side**3 / min(seconds), "matrix product", name


def measure(folder: Path, kind: str, overrides: list[str]) -> dict[str, Any]:
    """Trains one case in this process and compares it with what was estimated of it."""
    import torch

    from parrot_core.recipe import load_recipe
    from parrot_core.training import train_stage
    from parrot_core.training.estimate.plan import Plan
    from parrot_core.training.estimate.work import work_of_stage

    stage, own = KINDS[kind]
    recipe = load_recipe(folder / "recipe.toml", overrides=[*own, *overrides])
    output = folder / kind.replace(" ", "-")
    train_stage(recipe, stage, output=output, init_from=folder / "stage-1" if stage == 2 else None)
    log = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    seconds = statistics.median(1 / entry["samples_per_second"] for entry in log[WARM_UP:])
    tokens = statistics.median(entry["tokens_per_second"] for entry in log[WARM_UP:])
    plan = Plan(recipe, stage, processes=1)

    def operations(*, checkpointing: bool) -> float:
        """Of a sample."""
        variant = plan.variant(gradient_checkpointing=checkpointing)
        work = work_of_stage(
            variant.blueprint,
            variant.costs(variant.mean_tokens),
            variant.settings,
            mixture=variant.mixture,
            image_tokens=variant.blueprint.config.num_image_tokens,
        )
        return work.operations / work.samples

    settings = recipe.stage1 if stage == 1 else recipe.stage2
    peak, peak_from, device = peak_rate()
    needed = operations(checkpointing=False) / seconds
    done = operations(checkpointing=settings.gradient_checkpointing) / seconds
    cuda = torch.cuda.is_available()
    return {
        "samples_per_second": round(1 / seconds, 3),
        "tokens_per_second": round(tokens, 1),
        "utilisation": round(needed / peak, 4),
        "utilisation_with_recomputation": round(done / peak, 4),
        "peak_tflops": round(peak / 1e12, 3),
        "peak_from": peak_from,
        "gpu_gb": round(torch.cuda.max_memory_allocated() / 1e9, 2) if cuda else None,
        "gpu_gb_estimated": round(plan.memory().gpu / 1e9, 2),
        "attention": recipe.model.attention,
        "packing": settings.packing,
        "torch": torch.__version__,
        "device": device,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=["1.5B", "7B"])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--batch", type=int, default=8, help="samples of a pass, and of a step")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--as", dest="part", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part in SIZES:
        write_parts(options.folder, options.part)
        return
    if options.part:
        result = measure(options.folder, options.part, options.overrides)
        sys.stdout.write(json.dumps(result) + "\n")
        return
    for size in options.sizes:
        with tempfile.TemporaryDirectory(dir=options.folder) as scratch:
            again = [sys.executable, __file__, "--folder", scratch]
            subprocess.run([*again, "--as", size], check=True, stdout=subprocess.DEVNULL)
            for kind in dict.fromkeys(["stage 1", *options.kinds]):  # stage 2 begins with it
                stage = f"stage{KINDS[kind][0]}"
                sets = [
                    f"{stage}.steps={options.steps}",
                    f"{stage}.global_batch_size={options.batch}",
                    f"{stage}.device_batch_size={options.batch}",
                    *options.overrides,
                ]
                command = [*again, "--as", kind, *(f"--set={entry}" for entry in sets)]
                environment = os.environ | {"PYTHONPATH": str(ROOT)}
                run = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
                case = {"model": size, "kind": kind, "batch": options.batch, "command": sys.argv}
                if run.returncode:
                    case["failed"] = run.returncode  # its own words are on stderr
                else:
                    case |= json.loads(run.stdout.splitlines()[-1])
                print(json.dumps(case), flush=True)  # noqa: T201 - this is the result


if __name__ == "__main__":
    main()
