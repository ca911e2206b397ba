from dataclasses import replace

import pytest

from parrot_core.data.emoji.settings import DemoSettings
from parrot_core.errors import UsageError


def test_by_default_one_style_is_held_out_and_english_outweighs_the_others():
    settings = DemoSettings()
    assert settings.test_style not in settings.training_styles
    assert settings.stage1_languages == {"en": 1.0}
    assert settings.stage2_languages["en"] > 0.5
    assert len(settings.stage2_languages) == 6


def test_settings_are_chosen_without_the_test_style_on_one_that_training_does_not_see():
    choosing = DemoSettings().validated_on("fluent")
    assert choosing.test_style == DemoSettings().test_style
    assert choosing.validation_style == "fluent"
    assert choosing.training_styles == ("openmoji", "twemoji")


def test_the_test_style_and_unknown_ones_are_not_there_to_choose_settings_on():
    with pytest.raises(UsageError, match="style 'noto' has more than one role"):
        DemoSettings().validated_on("noto")
    with pytest.raises(UsageError, match="unknown style 'crayon'"):
        DemoSettings().validated_on("crayon")


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"test_style": "openmoji"}, "style 'openmoji' has more than one role"),
        ({"validation_style": "noto"}, "style 'noto' has more than one role"),
        ({"test_style": "crayon"}, "unknown style 'crayon'"),
        ({"training_styles": ()}, "no training style"),
        ({"stage2_samples": {"nameing": 1}}, "stage2_samples: unknown kind 'nameing'"),
        ({"text_samples": {"description": 1}}, "text_samples: unknown kind 'description'"),
        ({"stage1_samples": {"naming": -1}}, "stage1_samples: naming = -1"),
        ({"stage2_languages": {"en": 0.8}}, "stage2_languages: shares"),
        ({"stage2_languages": {"en": 1.2, "tr": -0.2}}, "stage2_languages: shares"),
        ({"stage1_languages": {"de": 1.0}}, "stage1_languages: 'de' is not among"),
        ({"languages": ("en", "xx")}, "unknown language 'xx'"),
        ({"other_concepts": -1}, "other_concepts = -1, not a count"),
        ({"context_size": 0}, "context_size = 0"),
        ({"naming_questions": -1}, "naming_questions = -1"),
        ({"yes_no_pairs": -1}, "yes_no_pairs = -1"),
    ],
)
def test_a_setting_that_cannot_be_is_named(changes, fault):
    with pytest.raises(UsageError) as caught:
        replace(DemoSettings(), **changes)
    assert fault in caught.value.problem


def test_all_faults_are_told_at_once():
    with pytest.raises(UsageError) as caught:
        DemoSettings(test_style="crayon", context_size=0, other_concepts=-1)
    assert caught.value.problem.count(";") == 2
