"""LLaVA-Bench in the wild (Liu et al., 2023) and VisCPM's Chinese version (Table 4), judged."""

from parrot_core.benchmarks.base import Benchmark

LLAVA_BENCH = Benchmark(
    name="llava-bench",
    title="LLaVA-Bench",
    tables=("LLaVABench_{language}", "LLaVABench"),
    languages=("en", "zh"),
    form="judged",
    prompt_style="plain",
    source="https://opencompass.openxlab.space/utils/VLMEval/LLaVABench.tsv",
    note="Scores are relative to the reference answers and depend on the judge, which is named.",
)
