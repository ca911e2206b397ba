"""MMMB, the paper's benchmark (section 2): six languages, as released and as Yes/No pairs."""

from parrot_core.benchmarks.base import Benchmark
from parrot_core.languages import PAPER_LANGUAGES

MMMB = Benchmark(
    name="mmmb",
    title="MMMB",
    tables=("MMMB_{language}",),
    form_tables={"yes/no pairs": ("MMMB_yesno_{language}",)},
    languages=PAPER_LANGUAGES,
    source=(
        "https://huggingface.co/datasets/AIDC-AI/Parrot-dataset/resolve/main/"
        "mmmb/mmmb_{language}.tsv"
    ),
    note=(
        "The released tables are multiple choice and fewer than 2,000 questions a language; the "
        "Yes/No pairs of section 2.4 are scored where a table has them."
    ),
)
