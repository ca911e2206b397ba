"""MME (Fu et al., 2023): fourteen kinds of Yes/No questions, two of each picture."""

from parrot_core.benchmarks.base import Benchmark

MME = Benchmark(
    name="mme",
    title="MME",
    tables=("MME",),
    form="mme",
    source="https://opencompass.openxlab.space/utils/VLMEval/MME.tsv",
    note="Sums of perception (at most 2000) and reasoning, which MME calls cognition (800).",
)
