import dataclasses
import json

import pytest

from parrot_core.errors import MissingError, UsageError
from parrot_core.generation.conversations import written_in
from parrot_core.inspection import (
    built_in_conversations,
    data_conversations,
)
from parrot_core.languages import LANGUAGES


def test_every_language_has_as_many_built_in_questions_each_in_its_own_words():
    asked = built_in_conversations(LANGUAGES)
    assert {len(chats) for chats in asked.values()} == {36}  # 4 questions about 9 shapes
    assert all(len(chat.images) == 1 for chats in asked.values() for chat in chats)
    texts = [text for row in LANGUAGES.values() for text in row.questions]
    assert len(set(texts)) == len(texts)
    for code, row in LANGUAGES.items():
        assert {written_in(text, code) for text in row.questions} <= {code, None}, code


def test_a_users_language_without_questions_is_named(monkeypatch):
    own = dataclasses.replace(LANGUAGES["tr"], code="az", questions=())
    monkeypatch.setitem(LANGUAGES, "az", own)
    with pytest.raises(UsageError, match="no built-in questions in 'az'"):
        built_in_conversations(["en", "az"])


def test_samples_with_images_are_taken_by_language(tmp_path, samples):
    rows = [
        ("tr" if n % 2 else "en", "What?" if n == 1 else "<image>\nWhat?", "A cat")
        for n in range(9)
    ]
    path = samples(rows)
    found = data_conversations([path], root=tmp_path, languages=["tr", "en"], limit=4)
    assert {language: len(chats) for language, chats in found.items()} == {"tr": 3, "en": 4}
    assert list(found) == ["tr", "en"]
    everything = data_conversations([path], root=tmp_path, limit=100)
    assert {language: len(chats) for language, chats in everything.items()} == {"en": 5, "tr": 3}
    with pytest.raises(UsageError, match="nothing with an image in ru"):
        data_conversations([path], root=tmp_path, languages=["en", "ru"], limit=4)
    with pytest.raises(MissingError, match="nowhere"):
        data_conversations([tmp_path / "nowhere.json"], root=tmp_path, languages=["en"], limit=1)


def test_the_last_answer_of_a_sample_is_its_answer_and_not_part_of_the_question(tmp_path, samples):
    path = samples([("en", "<image>\nWhat?", "A cat"), ("tr", "<image>\nNe?", None)])
    found = data_conversations([path], root=tmp_path, limit=5)
    assert found["en"][0].answers == ("A cat",)
    assert [message["role"] for message in found["en"][0].messages] == ["user"]
    assert found["tr"][0].answers == ()


def test_a_sample_that_states_no_language_goes_by_its_words(tmp_path, samples):
    path = samples(
        [
            (None, "<image>\nЧто изображено на картинке?", "Кот"),
            (None, "<image>\n图片里是什么？", "猫"),
            (None, "<image>\n12345", "?"),
        ]
    )
    found = data_conversations([path], root=tmp_path, limit=5)
    assert {language: len(chats) for language, chats in found.items()} == {"zh": 1, "ru": 1}


def test_other_spellings_of_a_language_count_and_unknown_ones_are_named(tmp_path, samples):
    found = data_conversations([samples([("cn", "<image>\n?", "猫")])], root=tmp_path, limit=5)
    assert list(found) == ["zh"]
    with pytest.raises(UsageError, match=r"samples.json.*unknown language 'xx'"):
        data_conversations([samples([("xx", "<image>\n?", "?")])], root=tmp_path, limit=5)


def test_a_picture_that_is_not_there_is_named_with_its_sample(tmp_path, samples):
    path = samples([("en", "<image>\nWhat?", "A cat")])
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(UsageError, match=r"samples\.json.*: no such image"):
        data_conversations([path], root=tmp_path / "elsewhere")


def test_samples_are_drawn_from_the_whole_file_by_the_seed(tmp_path, samples):
    path = samples([("en", "<image>\nWhat?", str(number)) for number in range(200)])

    def drawn(seed):
        found = data_conversations([path], root=tmp_path, limit=20, seed=seed)
        return [int(chat.answers[0]) for chat in found["en"]]

    assert drawn(0) == sorted(drawn(0)) == drawn(0)
    assert drawn(0) != drawn(1)
    means = [sum(drawn(seed)) / 20 for seed in range(30)]
    assert sum(means) / 30 == pytest.approx(99.5, abs=10)


@pytest.fixture
def tables(tmp_path, tiny):
    """Tables of two benchmarks in two languages: four options, and Yes/No pairs."""
    import base64
    import io

    stream = io.BytesIO()
    tiny.image(3).save(stream, "PNG")
    picture = base64.b64encode(stream.getvalue()).decode()
    for language in ("tr", "en"):
        lines = ["index\timage\tquestion\tA\tB\tC\tD\tanswer\tcategory\tsplit"]
        lines += [f"{n}\t{picture}\tWhat {n}?\tcat\tdog\tsun\that\tB\tx\ttest" for n in range(1, 5)]
        path = tmp_path / f"emoji_naming_{language}.tsv"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    lines = ["index\timage\tquestion\tanswer\tcategory\tsplit\tpair_id"]
    lines += [
        f"{n}\t{picture}\tIs it {n}?\t{'Yes' if n % 2 else 'No'}\tx\ttest\t{n // 2}"
        for n in range(2, 6)
    ]
    path = tmp_path / "emoji_yesno_tr.tsv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return sorted(tmp_path.glob("*.tsv"))


def test_tables_of_several_benchmarks_go_together(tables):
    found = data_conversations(tables)
    assert {language: len(chats) for language, chats in found.items()} == {"en": 4, "tr": 8}
    assert found["tr"][0].messages[0]["content"] == "<image>\nWhat 1?"
    assert found["tr"][0].answers == ("dog",)
    assert found["tr"][0].candidates == ("cat", "dog", "sun", "hat")
    assert {chat.answers for chat in found["tr"][4:]} == {("Evet", "Yes"), ("Hayır", "No")}


def test_tables_and_samples_go_together_each_with_the_images_of_its_folder(
    tables, samples, tmp_path
):
    path = samples([("en", "<image>\nWhat?", "A cat"), ("ru", "<image>\nЧто?", "Кот")])
    found = data_conversations([*tables, path])
    assert {language: len(chats) for language, chats in found.items()} == {
        "en": 5,
        "tr": 8,
        "ru": 1,
    }
    (drawn,) = data_conversations([tables[0], path], languages=["en"], limit=1, seed=1)["en"]
    assert len(drawn.images) == 1


def test_a_limit_draws_from_all_tables_and_a_language_without_questions_is_named(tables):
    found = data_conversations(tables, languages=["tr"], limit=4, seed=3)
    assert list(found) == ["tr"]
    assert len(found["tr"]) == 4
    with pytest.raises(UsageError, match="nothing with an image in ru"):
        data_conversations(tables, languages=["ru"])


def test_free_questions_need_no_judge(tmp_path, tiny, tables):
    picture = tables[0].read_text(encoding="utf-8").splitlines()[1].split("\t")[1]
    path = tmp_path / "LLaVABench.tsv"
    row = f"1\t{picture}\tDescribe it.\tA picture of noise.\tconv\tnoise"
    header = "index\timage\tquestion\tanswer\tcategory\tcaption"
    path.write_text(f"{header}\n{row}\n", encoding="utf-8")
    found = data_conversations([path])
    assert found["en"][0].answers == ("A picture of noise.",)
    assert json.dumps(found["en"][0].messages).count("Describe it.") == 1


def test_options_that_are_shown_may_be_answered_by_their_letter(tmp_path, tables):
    tables[0].rename(tmp_path / "MMBench_DEV_EN.tsv")
    (entry, *_) = data_conversations([tmp_path / "MMBench_DEV_EN.tsv"])["en"]
    assert "B. dog" in entry.messages[0]["content"]
    assert entry.answers == ("dog", "B")
    assert entry.candidates == ()
