"""SEED-Bench (Li et al., 2024), the questions about single pictures."""

from parrot_core.benchmarks.base import Benchmark

SEEDBENCH = Benchmark(
    name="seedbench",
    title="SEED-Bench (image)",
    tables=("SEEDBench_IMG", "SEEDBench"),
    form="multiple choice",
    source="https://opencompass.openxlab.space/utils/benchmarks/SEEDBench/SEEDBench_IMG.tsv",
)
