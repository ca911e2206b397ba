"""A run says when its router sends everything one way, and when a language never comes."""

import pytest

from parrot_core.training.warnings import RouterWatch, warn_of_missing_languages

COLLAPSED = {"en": [0.01, 0.98, 0.01], "tr": [0.0, 0.99, 0.01]}
FAIR = {"en": [0.3, 0.4, 0.3], "tr": [0.1, 0.8, 0.1]}
ONE_EACH = {"en": [0.98, 0.01, 0.01], "tr": [0.01, 0.98, 0.01]}


def warnings_of(lines, caplog):
    watch = RouterWatch()
    for line in lines:
        watch.look_at(line)
    return [record.message for record in caplog.records]


def test_a_collapsed_router_is_told_once_with_its_expert_and_a_setting_that_exists(caplog):
    (warning,) = warnings_of([COLLAPSED] * 6, caplog)
    assert "expert 1 gets over 95 % of the weight in every language" in warning
    assert "learning_rates.router" in warning


@pytest.mark.parametrize(
    "lines",
    [[FAIR] * 6, [ONE_EACH] * 6, [COLLAPSED, COLLAPSED, FAIR] * 3, [{}] * 6, [{"en": [1.0]}] * 6],
    ids=["fair", "an expert for each language", "for a moment", "text alone", "one expert"],
)
def test_routers_that_have_not_collapsed_are_not_told_of(lines, caplog):
    assert not warnings_of(lines, caplog)


def test_languages_that_never_come_are_named(caplog):
    warn_of_missing_languages(("en", "tr", "ar"), {"en": 4})
    assert "no sample is in tr, ar" in caplog.text


def test_where_no_sample_states_a_language_none_is_missing(caplog):
    warn_of_missing_languages(("en", "tr"), {})
    assert not caplog.records
