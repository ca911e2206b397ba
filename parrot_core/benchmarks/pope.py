"""POPE (Li et al., 2023): does the model see things that are not there?"""

from parrot_core.benchmarks.base import Benchmark

POPE = Benchmark(
    name="pope",
    title="POPE",
    tables=("POPE",),
    form="pope",
    source="https://opencompass.openxlab.space/utils/VLMEval/POPE.tsv",
)
