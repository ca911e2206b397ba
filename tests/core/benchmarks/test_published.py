import pytest

from parrot_core.benchmarks.published import published_rows


def row(benchmark, source, method, detail=""):
    (found,) = [
        one
        for one in published_rows(benchmark)
        if (one.source, one.method) == (source, method) and detail in one.detail
    ]
    return found


def test_table_1_is_there_as_published():
    parrot = row("mmmb", "Table 1", "Parrot", "Qwen2-7B")
    assert parrot.values == pytest.approx(
        {"en": 0.8011, "zh": 0.8003, "pt": 0.7962, "ar": 0.7655, "tr": 0.7502, "ru": 0.7994}
    )
    assert "[published, Table 1]" in parrot.label


@pytest.mark.parametrize("number", [1, 7, 8, 9, 10, 11, 12])
def test_every_table_that_runs_are_compared_with_is_there(number):
    rows = [one for one in published_rows("mmmb") if one.source == f"Table {number}"]
    assert rows
    assert all(0 < value < 1 for one in rows for value in one.values.values())


def test_llava_bench_has_its_average_in_both_languages():
    assert row("llava-bench", "Table 4", "Parrot").values == pytest.approx(
        {"en": 0.811, "zh": 0.877}
    )
