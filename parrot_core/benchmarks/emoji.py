"""The embedded benchmark: emoji of an art style that training never saw, in six languages.

The pictures are asked about as they were in training, with the bare question. Of four names the
one is taken that the model finds the most likely answer: models this small name what they see, and
have not the room to read a list of options as well.
"""

from parrot_core.benchmarks.base import Benchmark
from parrot_core.languages import PAPER_LANGUAGES

EMOJI_NAMING = Benchmark(
    name="emoji-naming",
    title="Emoji, four names",
    tables=("emoji_naming_{language}",),
    languages=PAPER_LANGUAGES,
    form="multiple choice",
    prompt_style="plain",
    answer_by="likelihood",
)
EMOJI_YESNO = Benchmark(
    name="emoji-yesno",
    title="Emoji, Yes/No pairs",
    tables=("emoji_yesno_{language}",),
    languages=PAPER_LANGUAGES,
    form="yes/no pairs",
    prompt_style="plain",
)
