"""Benchmarks in many languages: questions, how answers are read, scores, and runs of any model."""

from parrot_core.benchmarks.base import Answerer, Benchmark, Prompt, Question
from parrot_core.benchmarks.matching import SCORERS, infer_option, infer_yes_no
from parrot_core.benchmarks.registry import BENCHMARKS
from parrot_core.benchmarks.report import Report
from parrot_core.benchmarks.runner import Settings, run, score_predictions

__all__ = [
    "BENCHMARKS",
    "SCORERS",
    "Answerer",
    "Benchmark",
    "Prompt",
    "Question",
    "Report",
    "Settings",
    "infer_option",
    "infer_yes_no",
    "run",
    "score_predictions",
]
