"""Benchmarks in many languages: questions, how answers are read, scores, and runs of any model."""
