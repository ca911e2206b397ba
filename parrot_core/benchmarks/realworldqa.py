"""RealWorldQA (x.ai, 2024): photographs of everyday scenes."""

from parrot_core.benchmarks.base import Benchmark

REALWORLDQA = Benchmark(
    name="realworldqa",
    title="RealWorldQA",
    tables=("RealWorldQA",),
    form="multiple choice",
    source="https://opencompass.openxlab.space/utils/VLMEval/RealWorldQA.tsv",
)
