"""ScienceQA (Lu et al., 2022): the questions that have a picture."""

from parrot_core.benchmarks.base import Benchmark

SCIENCEQA = Benchmark(
    name="scienceqa",
    title="ScienceQA",
    tables=("ScienceQA_TEST", "ScienceQA_VAL", "ScienceQA"),
    form="multiple choice",
    source="https://opencompass.openxlab.space/utils/benchmarks/ScienceQA/ScienceQA_TEST.tsv",
)
