import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parrot_core.data.emoji.concepts import Concept
from parrot_core.data.emoji.questions import ConceptPool, apportion, generator
from parrot_core.errors import UsageError


def concept(codepoints, *, keywords=(), **names):
    languages = names or {"en": f"thing{codepoints}"}
    return Concept(
        codepoints=codepoints,
        group="objects",
        subgroup="tool",
        names=languages,
        keywords={code: tuple(keywords) for code in languages},
    )


OTHERS = [concept(str(number)) for number in range(4)]


def wrong_for(pool, one, *, tries=60):
    draw = random.Random(0)
    drawn = (pool.wrong_answers(one, draw, count=3) for _ in range(tries))
    return {wrong.codepoints for three in drawn for wrong in three}


@given(
    total=st.integers(0, 10_000),
    weights=st.lists(st.integers(0, 50), min_size=1, max_size=8).filter(any),
)
def test_shares_are_kept_to_less_than_one_and_add_up(total, weights):
    shares = {str(i): weight / sum(weights) for i, weight in enumerate(weights)}
    parts = apportion(total, shares)
    assert sum(parts.values()) == total
    for key, share in shares.items():
        assert abs(parts[key] - total * share) < 1 + 1e-6


def test_a_purpose_has_draws_of_its_own():
    assert generator(0, "test").random() == generator(0, "test").random()
    assert len({generator(s, p).random() for s in (0, 1) for p in ("test", "validation")}) == 4


def test_wrong_answers_are_other_concepts_and_differ():
    pool = ConceptPool(OTHERS)
    assert wrong_for(pool, OTHERS[0]) == {"1", "2", "3"}
    assert (
        len({c.codepoints for c in pool.wrong_answers(OTHERS[0], random.Random(1), count=3)}) == 3
    )


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    ("one", "other"),
    [
        (concept("a", en="ship", keywords=["Boat"]), concept("b", en="boat")),
        (concept("a", en="dog face"), concept("b", en="dog")),
        (concept("a", zh="狗脸"), concept("b", zh="狗")),
        (concept("a", en="one", ar="بَطّ"), concept("b", en="two", ar="بط")),
    ],
    ids=["keyword", "words", "characters", "vowel signs"],
)
def test_what_might_be_right_is_no_wrong_answer(one, other, turned):
    codes = tuple(one.names)
    fillers = [concept(str(n), **{code: f"{code}{n}" for code in codes}) for n in range(3)]
    pool = ConceptPool([one, other, *fillers])
    asked, excluded = (other, one) if turned else (one, other)
    assert wrong_for(pool, asked) == {"0", "1", "2"} - {excluded.codepoints}


def test_a_part_of_a_word_makes_no_confusion():
    pool = ConceptPool([concept("a", en="carpet"), concept("b", en="car"), *OTHERS])
    assert "b" in wrong_for(pool, pool.concepts[0])


def test_too_few_concepts_are_an_error():
    with pytest.raises(UsageError, match="3 concepts are too few"):
        ConceptPool(OTHERS[:3])


def in_two_languages(codepoints, en, tr, *, keywords=()):
    return Concept(
        codepoints=codepoints,
        group="animals-nature",
        subgroup="animal-mammal",
        names={"en": en, "tr": tr},
        keywords={"en": tuple(keywords), "tr": ()},
    )


CAT = in_two_languages("a", "cat", "kedi", keywords=["animal", "whiskers"])
DOG = in_two_languages("b", "dog", "köpek", keywords=["animal", "bark"])
FILLERS = [in_two_languages(str(n), f"thing{n}", f"şey{n}") for n in range(3)]
WORDS = {one.codepoints: {*one.names.values(), *one.keywords["en"]} for one in (CAT, DOG, *FILLERS)}


@given(seed=st.integers(0, 500), size=st.integers(1, 4))
def test_a_context_is_a_concepts_names_and_keywords(seed, size):
    pool = ConceptPool([CAT, DOG, *FILLERS])
    words = pool.context(CAT, random.Random(seed), languages=("en", "tr"), size=size)
    assert 1 <= len(words) <= size
    assert set(words) <= WORDS["a"]


def test_a_context_draws_every_word_and_names_most():
    pool, draw = ConceptPool([CAT, DOG, *FILLERS]), random.Random(0)
    contexts = [pool.context(CAT, draw, languages=("en", "tr"), size=4) for _ in range(400)]
    words = [word for context in contexts for word in context]
    assert set(words) == WORDS["a"]
    # Half of the words are Turkish, where there is no keyword; a quarter of the others is one.
    assert 0.8 < sum(word in CAT.names.values() for word in words) / len(words) < 0.95
    assert {len(context) for context in contexts} == {1, 2, 3, 4}


def test_a_language_alone_gives_words_of_it_alone():
    pool = ConceptPool([CAT, DOG, *FILLERS])
    assert set(pool.context(CAT, random.Random(0), languages=("tr",), size=4)) == {"kedi"}


@given(seed=st.integers(0, 300), count=st.integers(0, 2))
def test_a_mixed_context_keeps_each_concepts_words_together(seed, count):
    pool = ConceptPool([CAT, DOG, *FILLERS])
    others = FILLERS[:count]
    words = pool.mixed_context(
        CAT, random.Random(seed), languages=("en", "tr"), size=3, others=others
    )
    owners = [next(key for key, own in WORDS.items() if word in own) for word in words]
    runs = [key for key, _ in itertools.groupby(owners)]
    assert sorted(runs) == sorted(["a", *(other.codepoints for other in others)])


def test_the_concept_asked_about_stands_anywhere_in_a_mixed_context():
    pool, draw = ConceptPool([CAT, DOG, *FILLERS]), random.Random(0)
    begins = {
        pool.mixed_context(CAT, draw, languages=("en",), size=2, others=[FILLERS[0]])[0]
        in WORDS["a"]
        for _ in range(40)
    }
    assert begins == {True, False}
