"""MMStar (Chen et al., 2024): questions that need their picture."""

from parrot_core.benchmarks.base import Benchmark

MMSTAR = Benchmark(
    name="mmstar",
    title="MMStar",
    tables=("MMStar",),
    form="multiple choice",
    source="https://opencompass.openxlab.space/utils/VLMEval/MMStar.tsv",
)
