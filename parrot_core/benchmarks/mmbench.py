"""Multilingual MMBench (section 4.1): the development set in six languages, circular."""

from parrot_core.benchmarks.base import Benchmark
from parrot_core.languages import PAPER_LANGUAGES

MMBENCH = Benchmark(
    name="mmbench",
    title="MMBench (multilingual)",
    tables=("MMBench_dev_{language}", "MTL_MMBench_dev_{language}", "MMBench_DEV_{language}"),
    languages=PAPER_LANGUAGES,
    form="circular",
    source=(
        "https://huggingface.co/datasets/AIDC-AI/Parrot-dataset/resolve/main/"
        "mmbench/mmbench_dev_{language}.tsv"
    ),
)
