from pathlib import Path

import pytest

from parrot_core.errors import UsageError
from parrot_core.translation.by_model import read_vote
from parrot_core.translation.checks import check, clean, refusal
from parrot_core.translation.glossary import Glossary, missing_terms, read_glossary
from parrot_core.translation.prompts import STEPS, load_prompts
from parrot_core.translation.settings import Settings

SOURCE = "The picture shows a small house beside a tall tree in the garden."


@pytest.mark.parametrize(
    ("output", "language", "kinds"),
    [
        ("Resimde bahçede uzun bir ağacın yanında küçük bir ev görülüyor.", "tr", []),
        ("تُظهر الصورة بيتا صغيرا بجانب شجرة طويلة في الحديقة.", "ar", []),
        ("图片显示花园里一棵大树旁边有一座小房子。", "zh", []),
        (SOURCE, "tr", ["untranslated"]),
        ("Das Bild zeigt ein kleines Haus neben einem hohen Baum im Garten.", "tr", ["language"]),
        ("Resimde bahçede uzun bir ağacın yanında küçük bir ev görülüyor.", "ar", ["script"]),
        ("Resimde ev var.", "tr", ["length"]),
        ("写真には、庭の高い木のそばに小さな家が写っています。", "ja", []),
        ("图片显示花园里一棵大树旁边有一座小房子。", "ja", ["language"]),
        ("사진에는 정원의 키 큰 나무 옆에 작은 집이 있습니다.", "ko", []),
        ("चित्र में बगीचे में एक ऊँचे पेड़ के पास एक छोटा घर है।", "hi", []),
        ("Das Bild zeigt ein kleines Haus neben einem hohen Baum im Garten.", "de", []),
        ("Picha inaonyesha nyumba ndogo kando ya mti mrefu kwenye bustani.", "sw", []),
        ("Das Bild zeigt ein kleines Haus neben einem hohen Baum im Garten.", "sw", ["language"]),
        ("На малюнку зображено маленький будинок біля високого дерева.", "ru", ["language"]),
        ("تصویر یک خانه کوچک را در کنار درختی بلند در باغ نشان می‌دهد.", "ar", ["language"]),
        ("Here is the translation: Resimde bahçede ağacın yanında ev var.", "tr", ["comment"]),
    ],
)
def test_each_suspicion_is_flagged_and_good_translations_are_not(output, language, kinds):
    flags = check(SOURCE, output, source_language="en", language=language, glossary={})
    assert [flag.kind for flag in flags] == kinds


def test_a_short_text_may_double_but_not_ramble():
    def kinds(output: str) -> list[str]:
        flags = check("A car?", output, source_language="en", language="tr", glossary={})
        return [flag.kind for flag in flags]

    assert kinds("Bir araba mı?") == []
    assert kinds("Resimde bahçede uzun bir ağacın yanında duran bir araba mı?") == []
    assert kinds("Resimde bahçede uzun bir ağacın yanında duran bir araba var mı? " * 2) == [
        "length"
    ]


def test_thoughts_and_added_quotation_marks_are_removed():
    assert clean("<think>Hmm.</think>\n“Bir ev.”", "A house.") == "Bir ev."
    assert clean('"Bir ev."', '"A house."') == '"Bir ev."'
    assert clean('"Ev" ve "araba"', "House and car") == '"Ev" ve "araba"'


@pytest.mark.parametrize(
    ("output", "source", "language", "refused"),
    [
        ("I'm sorry, but I can't help with that.", SOURCE, "tr", True),
        ("I cannot translate this.", SOURCE, "en", True),
        ("Üzgünüm, bunu yapamam.", SOURCE, "tr", True),
        ("क्षमा करें, मैं यह नहीं कर सकता।", SOURCE, "hi", True),
        ("“Samahani, siwezi kusaidia.”", SOURCE, "sw", True),
        # What apologises in both is a translation.
        ("Üzgünüm, geç kaldım.", "I'm sorry that I am late.", "tr", False),
        ("Özür dilerim, istasyon nerede?", "Excuse me, where is the station?", "tr", False),
        ("Leider regnet es.", "Sadly it rains.", "de", False),
        ("I can't do it alone.", "Alleine schaffe ich es nicht.", "en", False),
    ],
)
def test_a_refusal_is_told_from_a_translation(output, source, language, refused):
    source_language = "de" if language == "en" else "en"
    found = refusal(output, source, source_language=source_language, language=language)
    assert found == refused


@pytest.mark.parametrize(
    ("answer", "vote"),
    [("2", 1), ("Version 1", 0), ("**3**", 2), ("b", 1), ("4", None), ("1 or 2", None), ("", None)],
)
def test_votes_are_read_by_number_or_by_their_words(answer: str, vote: int | None):
    assert read_vote(answer, ["a", "b", "c"]) == vote


def test_glossary_terms_are_found_as_words_and_wanted_with_any_ending(tmp_path: Path):
    path = tmp_path / "terms.csv"
    path.write_text("en,tr,ru\nlanguage model,dil modeli,\nParrot,=,=\n", encoding="utf-8-sig")
    glossary = read_glossary(path, source_language="en")
    assert glossary.for_text("Two language models of Parrot", "tr") == {
        "language model": "dil modeli",
        "Parrot": "Parrot",
    }
    assert glossary.for_text("Parrots fly; parroting is no term", "ru") == {"Parrot": "Parrot"}
    assert glossary.for_text("anything", "ar") == {}
    assert missing_terms({"language model": "dil modeli"}, "Dil modellerinin gücü") == []
    assert missing_terms({"language model": "dil modeli"}, "Bir yapay zekâ") != []
    path.write_text("en,tr\n,x\n")
    with pytest.raises(UsageError, match=r"terms\.csv:2: no term"):
        read_glossary(path, source_language="en")
    assert Glossary().for_text("x", "tr") == {}


def test_prompts_fill_their_fields_and_nothing_else():
    prompts = load_prompts()
    assert tuple(prompts) == STEPS
    system, user = prompts["draft"].messages(
        {"source": "Use {target_language} and {x}.", "target_language": "Turkish", "glossary": ""}
    )
    assert user["content"] == "Use {target_language} and {x}."
    assert "Turkish" in system["content"]


def test_own_prompts_are_checked_and_an_edit_changes_their_identity(tmp_path: Path):
    text = (
        'version = "9"\nsystem = "To {target_language}."\nuser = "{source}"\nretry = "{problems}"\n'
    )
    (tmp_path / "draft.toml").write_text(text)
    first = load_prompts(tmp_path)["draft"].identity
    (tmp_path / "draft.toml").write_text(text.replace("To", "Into"))
    assert load_prompts(tmp_path)["draft"].identity != first
    assert load_prompts(tmp_path)["vote"] == load_prompts()["vote"]
    (tmp_path / "draft.toml").write_text(text.replace("{source}", "{sauce}"))
    with pytest.raises(UsageError, match=r"unknown field \{sauce\}"):
        load_prompts(tmp_path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"steps": ("refine",)}, "no order of work"),
        ({"steps": ("recheck", "draft")}, "no order of work"),
        ({"steps": ("draft", "vote")}, "vote without refinements"),
        ({"steps": ("draft", "refine")}, "no vote among them"),
        ({"steps": ("draft", "polish")}, "no such step"),
        ({"on_flag": "burn"}, "no such policy"),
    ],
)
def test_settings_that_make_no_sense_are_refused(options: dict, words: str):
    with pytest.raises(UsageError, match=words):
        Settings(prompts=load_prompts(), model="m", **options)
