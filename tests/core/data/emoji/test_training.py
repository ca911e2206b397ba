from collections import Counter

import pytest

from parrot_core.data.emoji.concepts import concept_table, select_concepts
from parrot_core.data.emoji.questions import ConceptPool
from parrot_core.data.emoji.training import picture_samples, text_samples, word_samples
from parrot_core.data.emoji.wording import load_wording
from parrot_core.data.samples import parse_sample
from parrot_core.languages import LANGUAGES, PAPER_LANGUAGES

SHARES = {code: 0.5 if code == "en" else 0.1 for code in PAPER_LANGUAGES}
PICTURE_KINDS = {"naming": 2, "yes_no": 4, "choice": 2, "description": 2}
TEXT_KINDS = {"naming": 1, "yes_no": 2, "choice": 1, "translation": 1, "category": 1}


@pytest.fixture
def pool(materials):
    return ConceptPool(select_concepts(concept_table(materials)))


@pytest.fixture
def wording():
    return load_wording(PAPER_LANGUAGES)


@pytest.fixture
def make(pool, wording):
    def make(**changes):
        arguments = {
            "purpose": "stage2",
            "styles": ["openmoji", "twemoji"],
            "samples": PICTURE_KINDS,
            "shares": SHARES,
            "seed": 0,
        }
        return picture_samples(pool, wording, **(arguments | changes))

    return make


@pytest.fixture
def texts(pool, wording):
    return text_samples(pool, wording, samples=TEXT_KINDS, context_size=3, other_concepts=2, seed=0)


def turns(record):
    human, gpt = record["conversations"]
    return human["value"], gpt["value"]


def concepts_by_key(pool):
    return {concept.codepoints: concept for concept in pool.concepts}


def test_samples_are_in_the_format(make, texts):
    for record in [*make(), *texts]:
        sample = parse_sample(record, origin="here")
        assert sample.language in PAPER_LANGUAGES
        assert len(sample.images) == ("image" in record)


def test_ids_differ(make, texts):
    identities = [record["id"] for record in [*make(), *make(purpose="stage1"), *texts]]
    assert len(set(identities)) == len(identities)


def test_every_concept_is_shown_in_every_style_as_often_as_told(make, pool):
    counts = Counter((record["image"], record["kind"]) for record in make())
    expected = {
        (f"images/{style}/{concept.codepoints}.png", kind): count
        for concept in pool.concepts
        for style in ("openmoji", "twemoji")
        for kind, count in PICTURE_KINDS.items()
    }
    assert counts == expected


def test_languages_get_their_shares(make):
    records = make()
    counts = Counter(record["language"] for record in records)
    for code, share in SHARES.items():
        assert abs(counts[code] - share * len(records)) < 1


def test_a_stage_of_english_is_english_alone(make):
    assert {record["language"] for record in make(shares={"en": 1.0})} == {"en"}


def test_half_of_the_yes_no_answers_are_yes_and_true(make, pool, wording):
    records = [record for record in make() if record["kind"] == "yes_no"]
    answers = Counter()
    for record in records:
        language = LANGUAGES[record["language"]]
        question, answer = turns(record)
        name = concepts_by_key(pool)[record["concept"]].names[language.code]
        right = {t.format(name=name) for t in wording[language.code].yes_no}
        is_right = question.removeprefix("<image>\n") in right
        assert answer == (language.yes if is_right else language.no)
        answers[is_right] += 1
    assert answers[True] == answers[False]


def test_a_choice_is_answered_with_the_option_that_names_the_picture(make, pool):
    choices = [record for record in make() if record["kind"] == "choice"]
    places = Counter()
    for record in choices:
        question, answer = turns(record)
        options = [line[3:] for line in question.splitlines()[-4:]]
        assert answer == concepts_by_key(pool)[record["concept"]].names[record["language"]]
        assert options.count(answer) == 1
        assert len(set(options)) == 4
        places[options.index(answer)] += 1
    assert set(places) == {0, 1, 2, 3}


@pytest.mark.parametrize("kind", ["naming", "description"])
def test_free_answers_name_the_picture_in_the_language_asked(make, pool, kind):
    for record in make(samples={kind: 2}):
        name = concepts_by_key(pool)[record["concept"]].names[record["language"]]
        answer = turns(record)[1]
        assert name in answer
        assert (answer == name) == (kind == "naming")


def test_the_seed_decides_and_more_of_one_stage_changes_nothing_in_another(make):
    assert make() == make()
    assert make() != make(seed=1)
    assert [turns(r) for r in make()] != [turns(r) for r in make(purpose="stage1")]


def test_every_language_has_as_many_texts_and_no_picture(texts, pool):
    counts = Counter((record["language"], record["kind"]) for record in texts)
    assert counts == {
        (code, kind): count * len(pool.concepts)
        for code in PAPER_LANGUAGES
        for kind, count in TEXT_KINDS.items()
    }
    assert not any("image" in record for record in texts)


def spoken_of(record, pool):
    """The concepts of which a text's first line has words, by their names and keywords."""
    line = turns(record)[0].splitlines()[0].split()
    owned = {
        concept.codepoints: {
            *concept.names.values(),
            *(word for words in concept.keywords.values() for word in words),
        }
        for concept in pool.concepts
    }
    assert set(line) <= set().union(*owned.values())
    # The fixture's keywords belong to whole subgroups; names tell concepts apart.
    return {key for key in owned if set(line) & set(concepts_by_key(pool)[key].names.values())}


def offered(record):
    """The names that a question offers: a choice's four options."""
    return [line[3:] for line in turns(record)[0].splitlines()[-4:]]


def test_a_context_speaks_of_the_concept_and_at_most_so_many_others(texts, pool):
    most = Counter()
    for record in texts:
        if record["kind"] in {"naming", "yes_no", "choice"}:
            others = spoken_of(record, pool) - {record["concept"]}
            most[record["kind"]] = max(most[record["kind"]], len(others))
    assert most == {"naming": 0, "yes_no": 2, "choice": 2}


def test_no_wrong_option_is_one_of_the_other_concepts_spoken_of(texts, pool):
    mixed = 0
    for record in texts:
        if record["kind"] == "choice":
            code = record["language"]
            others = spoken_of(record, pool) - {record["concept"]}
            named = {concepts_by_key(pool)[key].names[code] for key in others}
            assert named.isdisjoint(offered(record))
            assert turns(record)[1] in offered(record)
            mixed += bool(others)
    assert mixed > 10


def test_no_name_that_deserves_a_no_is_one_of_the_other_concepts_spoken_of(texts, pool, wording):
    denied = 0
    for record in texts:
        if record["kind"] == "yes_no":
            code = record["language"]
            question, answer = turns(record)
            _, asked = question.split("\n", 1)
            others = spoken_of(record, pool) - {record["concept"]}
            named = {concepts_by_key(pool)[key].names[code] for key in others}
            of_others = {t.format(name=name) for t in wording[code].yes_no for name in named}
            assert asked not in of_others
            denied += bool(others) and answer == LANGUAGES[code].no
    assert denied > 10


def test_without_other_concepts_every_word_is_of_the_one_asked_about(pool, wording):
    records = text_samples(
        pool,
        wording,
        samples={"naming": 1, "yes_no": 2, "choice": 1},
        context_size=3,
        other_concepts=0,
        seed=0,
    )
    for record in records:
        concept = concepts_by_key(pool)[record["concept"]]
        own = {*concept.names.values(), *(w for ws in concept.keywords.values() for w in ws)}
        assert set(turns(record)[0].splitlines()[0].split()) <= own


def test_the_dictionary_has_every_name_once_in_its_language(pool, wording):
    records = word_samples(pool, wording)
    named = [(r["concept"], r["language"], turns(r)) for r in records if "concept" in r]
    assert len(named) == len(pool.concepts) * len(PAPER_LANGUAGES)
    for key, code, (keywords, name) in named:
        concept = concepts_by_key(pool)[key]
        assert name == concept.names[code]
        assert keywords == (" ".join(concept.keywords[code]) or name)


def test_the_dictionary_ends_with_the_words_of_questions(pool, wording):
    of_questions = [r for r in word_samples(pool, wording) if "concept" not in r]
    for code in PAPER_LANGUAGES:
        asked = [turns(r) for r in of_questions if r["language"] == code]
        assert asked[0] == (
            wording[code].naming[0],
            f"{LANGUAGES[code].yes} {LANGUAGES[code].no}",
        )
        assert not any("{" in question for question, _ in asked)


def test_translations_ask_with_the_name_in_another_language(texts, pool):
    for record in texts:
        if record["kind"] == "translation":
            concept = concepts_by_key(pool)[record["concept"]]
            question, answer = turns(record)
            assert answer == concept.names[record["language"]]
            others = {c: n for c, n in concept.names.items() if c != record["language"]}
            assert any(name in question for name in others.values())


def test_a_language_alone_can_be_asked(materials):
    from dataclasses import replace

    only = replace(materials, annotations={"tr": materials.annotations["tr"]})
    pool = ConceptPool(select_concepts(concept_table(only)))
    records = text_samples(
        pool,
        load_wording(["tr"]),
        samples={"naming": 1, "category": 1},
        context_size=2,
        other_concepts=2,
        seed=0,
    )
    assert len(records) == 2 * len(pool.concepts)
