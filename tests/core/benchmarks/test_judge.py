import hashlib
import json

import pytest

from parrot_core.benchmarks.base import Question
from parrot_core.benchmarks.judge import judge_prompt, parse_review, relative_scores
from tests.core.benchmarks.vectors import SCORING

VECTORS = json.loads((SCORING / "l1_llava_bench.json").read_text(encoding="utf-8"))
PROMPT = json.loads((SCORING / "l2_llava_prompt_hash.json").read_text(encoding="utf-8"))


def test_the_judge_reads_the_benchmark_s_own_words():
    row = PROMPT["row"]
    question = Question(
        index=1,
        table="LLaVABench",
        language="en",
        text=row["question"],
        answer=row["gpt4_ans"],
        context=row["caption"],
        category=row["category"],
    )
    digest = hashlib.sha256(judge_prompt(question, row["prediction"]).encode()).hexdigest()
    assert digest == PROMPT["sha256_of_judge_prompt"]["conv"]


@pytest.mark.parametrize("record", VECTORS["parse"], ids=lambda record: repr(record["review"]))
def test_reviews_are_read_as_the_toolkit_does(record):
    found = parse_review(record["review"], as_toolkit=True)
    assert list(found or (-1, -1)) == record["vlmevalkit"]


@pytest.mark.parametrize(
    ("review", "ratings"),
    [
        ("8, 9\nGood.", (8, 9)),
        (" 8 9\nx", (8, 9)),
        ("8/10 9/10\nx", (8, 9)),
        ("Assistant 1: 8\nAssistant 2: 9", (8, 9)),
        ("8\t9\nx", (8, 9)),
        ("\n7 8.5", (7, 8.5)),
        ("eight nine", None),
        ("-1 5", None),
        ("11 5", None),
        ("", None),
    ],
)
def test_ratings_are_read_where_a_person_could(review, ratings):
    assert parse_review(review) == ratings


def test_the_toolkit_s_relative_scores_are_reproduced():
    ratings = [(row["category"], row["score"], row["gpt4_score"]) for row in VECTORS["table"]]
    found = relative_scores(ratings)
    assert found.keys() == VECTORS["expected"].keys()
    for category, figures in VECTORS["expected"].items():
        assert found[category] == pytest.approx(figures)
