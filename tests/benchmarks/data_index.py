"""Measures what the training data of a run costs each of its processes, and prints JSON.

    python tests/benchmarks/data_index.py [--samples 1300000] [--folder DIR] [--no-json]

The samples are as many as Table 3 of the paper has, made up of words in six languages, two thirds
of a kilobyte each, all with the same small picture, since the index does not look into pictures.
Measured are

- `index`: making the index of the JSON file, once, in one process: seconds, peak memory, and the
  lengths in tokens of the first samples with the tokenizer of `recipes/tiny.toml`;
- `start`: two processes at once that find the index made: seconds from the paths to the order of
  the first epoch, memory (USS, PSS) more than before, then the same after reading random samples;
- `json`: one process that reads the JSON file whole, unless `--no-json`.

Files are written below `--folder` (by default a temporary one) and removed: 1.5 GB.
"""

import argparse
import json
import platform
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

WORDS = {
    "en": "the picture shows a grey cat on an old red sofa near the window while it rains",
    "zh": "图片 里 有 一只 灰色 的 猫 坐 在 旧 的 红色 沙发 上 窗 边 正在 下雨",
    "pt": "a imagem mostra um gato cinzento num velho sofá vermelho perto da janela enquanto chove",
    "ar": "تظهر الصورة قطة رمادية على أريكة حمراء قديمة قرب النافذة بينما تمطر السماء",
    "tr": "resimde yağmur yağarken pencerenin yanında eski kırmızı bir koltukta gri bir kedi var",
    "ru": "на картинке серая кошка на старом красном диване у окна пока идёт дождь",
}
PICTURE = "picture.png"
MEGABYTE = 1 << 20
READ = 20_000
MEASURED = 5_000


def write_samples(path: Path, count: int) -> None:
    """Writes a JSON array of conversations of one to four rounds."""
    draw = random.Random(0)
    words = {code: text.split() for code, text in WORDS.items()}
    codes = tuple(words)
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            code = codes[number % len(codes)]
            turns = []
            for turn in range(draw.choice((1, 1, 1, 2, 2, 4))):
                asked = " ".join(draw.choices(words[code], k=draw.randint(4, 14)))
                told = " ".join(draw.choices(words[code], k=draw.randint(8, 45)))
                shown = "" if turn else "<image>\n"
                turns.append({"from": "human", "value": f"{shown}{asked}?"})
                turns.append({"from": "gpt", "value": f"{told}."})
            record = {"id": f"{number:09}", "image": PICTURE, "language": code}
            line = json.dumps(record | {"conversations": turns}, ensure_ascii=False)
            file.write(f"{'[' if number == 0 else ','}\n{line}")
        file.write("\n]\n")


class Words:
    """Stands for a processor: what storing and reading lengths costs does not depend on it."""

    def measurement_key(self) -> str:
        """Words, of no tokenizer."""
        return "0" * 64

    def measure_conversations(
        self, conversations: Sequence[list[dict[str, str]]]
    ) -> list[tuple[int, int]]:
        """Counts words."""
        return [(sum(len(turn["content"].split()) for turn in one), 1) for one in conversations]


def memory() -> dict[str, float]:
    """Megabytes that are this process's own (USS), and its part of what is shared (PSS)."""
    import psutil

    info = psutil.Process().memory_full_info()
    return {"uss": info.uss / MEGABYTE, "pss": info.pss / MEGABYTE}


def more(now: dict[str, float], before: dict[str, float]) -> dict[str, float]:
    """The growth, rounded."""
    return {f"{name}_mb": round(now[name] - before[name], 1) for name in now}


def peak() -> float:
    """The most memory that this process has held, in megabytes."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def make_index(folder: Path) -> dict[str, Any]:
    """Makes the index, then measures some lengths in tokens."""
    from transformers import PreTrainedTokenizerFast

    from parrot_core.data.dataset import SampleSet
    from parrot_core.model import ParrotProcessor
    from parrot_core.training.vision import efficientnet_lite0_images

    before = peak()
    start, used = time.perf_counter(), time.process_time()
    samples = SampleSet(["samples.json"], root=folder, cache=folder / "cache")
    made, made_cpu = time.perf_counter() - start, time.process_time() - used
    start = time.perf_counter()
    samples.measure(Words(), workers=1)
    stored = time.perf_counter() - start
    grown = peak() - before
    tokenizer = PreTrainedTokenizerFast.from_pretrained(
        Path(__file__).parents[2] / "recipes" / "tiny-language-model"
    )
    processor = ParrotProcessor(efficientnet_lite0_images(128), tokenizer)
    few = SampleSet(["few.json"], root=folder, cache=folder / "cache")
    used = time.process_time()
    few.measure(processor, workers=1)
    tokens_cpu = time.process_time() - used
    return {
        "seconds": round(made, 1),
        "cpu_seconds": round(made_cpu, 1),
        "seconds_to_pass_through_once_more_and_store_lengths": round(stored, 1),
        "peak_memory_more_mb": round(grown, 1),
        "cpu_microseconds_per_sample_to_measure_tokens": round(tokens_cpu / len(few) * 1e6),
    }


def start_up(folder: Path, rank: int) -> dict[str, Any]:
    """What a process of a run does before its first step, and some steps' reading."""
    import torch

    from parrot_core.data.dataset import SampleSet
    from parrot_core.data.order import OrderSampler

    del torch
    import pyarrow as pa

    pa.array([1])
    meet("imported")
    before = memory()
    start, used = time.perf_counter(), time.process_time()
    samples = SampleSet(["samples.json"], root=folder, cache=folder / "cache")
    samples = samples.measure(Words()).limit(2048)
    order = samples.order(batch_size=256, seed=0)
    sampler = iter(OrderSampler(order))
    first = next(sampler)
    seconds, cpu = time.perf_counter() - start, time.process_time() - used
    assert samples[first].turns
    meet("started")
    started = more(memory(), before)
    meet("measured")
    indices = order.epoch(0)[rank::2][:READ].tolist()
    start = time.perf_counter()
    letters = sum(len(turn.text) for index in indices for turn in samples[index].turns)
    read = time.perf_counter() - start
    meet("read")
    return {
        "seconds": round(seconds, 2),
        "cpu_seconds": round(cpu, 2),
        "at_start": started,
        f"after_reading_{len(indices)}": more(memory(), before),
        "microseconds_per_sample_read": round(read / len(indices) * 1e6),
        "letters_read": letters,
    }


def read_json(folder: Path) -> dict[str, Any]:
    """What it costs to read the file whole."""
    before = memory()
    start, used = time.perf_counter(), time.process_time()
    with (folder / "samples.json").open(encoding="utf-8") as file:
        samples = json.load(file)
    seconds, cpu = time.perf_counter() - start, time.process_time() - used
    return {
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu, 1),
        "at_start": more(memory(), before),
        "peak_memory_mb": round(peak(), 1),
        "samples": len(samples),
    }


def meet(word: str) -> None:
    """Waits for the other process: both are to be measured while both are there."""
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()
    sys.stdin.readline()


def child(*arguments: str) -> subprocess.Popen[str]:
    """Starts this file again as one of the processes that are measured."""
    return subprocess.Popen(
        [sys.executable, __file__, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def result(process: subprocess.Popen[str]) -> dict[str, Any]:
    """The JSON that such a process ends with."""
    output, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"a measured process ended with {process.returncode}")
    answer: dict[str, Any] = json.loads(output.splitlines()[-1])
    return answer


def measure(folder: Path, samples: int, *, with_json: bool) -> dict[str, Any]:
    """Runs all parts, each in processes of its own."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (32, 32), "grey").save(folder / PICTURE)
    write_samples(folder / "samples.json", samples)
    write_samples(folder / "few.json", min(samples, MEASURED))
    report: dict[str, Any] = {
        "samples": samples,
        "json_mb": round((folder / "samples.json").stat().st_size / MEGABYTE),
        "index": result(child("--as", "index", "--folder", str(folder))),
    }
    files = [path for path in (folder / "cache").rglob("samples-*/*") if path.is_file()]
    report["index"]["disk_mb"] = round(sum(path.stat().st_size for path in files) / MEGABYTE)
    pair = [child("--as", f"start{rank}", "--folder", str(folder)) for rank in range(2)]
    for _ in ("imported", "started", "measured", "read"):
        for process in pair:
            assert process.stdout is not None
            process.stdout.readline()
        for process in pair:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
    report["start"] = [result(process) for process in pair]
    if with_json:
        report["json"] = result(child("--as", "json", "--folder", str(folder)))
        whole, mapped = report["json"]["at_start"]["uss_mb"], report["start"][0]["at_start"]
        report["ratios"] = {
            "memory_of_json_to_index": round(whole / max(mapped["uss_mb"], 1), 1),
            "cpu_time_of_json_to_index": round(
                report["json"]["cpu_seconds"] / max(report["start"][0]["cpu_seconds"], 0.01), 1
            ),
        }
    return report


def main() -> None:
    """Parses the options and prints the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=1_300_000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--no-json", action="store_true")
    parser.add_argument("--as", dest="part", help=argparse.SUPPRESS)
    options = parser.parse_args()
    parts = {
        "index": make_index,
        "start0": lambda folder: start_up(folder, 0),
        "start1": lambda folder: start_up(folder, 1),
        "json": read_json,
    }
    if options.part:
        report = parts[options.part](options.folder)
        sys.stdout.write(json.dumps(report) + "\n")
        return
    folder = Path(tempfile.mkdtemp(prefix="parrot-index-", dir=options.folder))
    try:
        report = measure(folder, options.samples, with_json=not options.no_json)
    finally:
        shutil.rmtree(folder)
    report["machine"] = {"python": platform.python_version(), "system": platform.platform()}
    json.dump(report, sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
