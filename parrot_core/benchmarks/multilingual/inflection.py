"""Whether a word of an answer is a form of an option's word, by the endings of its language.

Rules of endings, not stems looked up: a form that the rules do not know is not matched, so that the
matcher abstains.
"""

import re
from functools import lru_cache

from parrot_core.benchmarks.multilingual.lexicon import LEXICON

_SHORTEST_STEM = 3

_CYRILLIC = re.compile(r"[а-яіїєґ]+")
_RUSSIAN_ENDING = re.compile(
    r"(?:ами|ями|ого|его|ому|ему|ыми|ими|ую|юю|ая|яя|ое|ее|ые|ие|ый|ий|ой|ей|ых|их|ым|им|ом|ем|ов|ев|"
    r"ах|ях|ам|ям|ою|ею|а|я|о|е|ы|и|у|ю|ь|й)$"
)
_FLEETING_VOWEL = re.compile(r"(?<=..)[ое]([кц])$")
_RUSSIAN_SINGULAR = ("а", "у", "е")  # cases of what ends in a consonant

_ARABIC = re.compile(r"[\u0621-\u064a]+")
_ARABIC_PREFIX = re.compile(r"^(?:وال|فال|بال|كال|ال|لل|و|ف|ب|ل|ك)")
_ARABIC_ENDING = re.compile(r"(?:ات|ان|ين|ون|ها|هم|ا)?")
_ARABIC_ENDING_BESIDE_ARTICLE = re.compile(r"(?:ات|ان|ين|ون)?")  # what has one has no possessor
_ARABIC_ENDING_OF_FEMININE = re.compile(r"ه|ات|تان|تين|تها|تهم")
# Words of these two shapes name a place or a doer, and with the ending of the feminine often
# another thing: مكتب is an office and مكتبة a library, طائر a bird and طائرة a plane.
_ARABIC_PLACE_OR_DOER = re.compile(r"م\w{3}|\wا\w{2}")

# Colours: the feminine of أحمر is حمراء (hamza folded as in `folding.fold`).
_ARABIC_COLOUR = re.compile(r"(?:ال)?ا([\u0621-\u064a]{3})")

_LATIN = re.compile(r"[a-z\u00df-\u024f\u1e00-\u1eff]+")
_TURKISH_LETTERS = re.compile(r"[şğçöü]")
_TURKISH_ENDING = re.compile(
    r"(?:l[ae]r)?(?:[iu]m[iu]z|[iu]n[iu]z|s?[iu]n?|[iu]m)?"
    r"(?:[yn]?[iu]|[yn]?[ae]|[dt][ae]n?|n?[iu]n|y?l[ae]|nd[ae]n?)?"
    r"(?:d[iu]r|t[iu]r|y?d[iu]|ym[iu]s|l[ae]r)?"
)
_ONLY_TURKISH = re.compile(r"l[ae]r|[dt][iu]r$|n[iu]n$")
_TURKISH_CASE = re.compile(r"[dt][ae]n?|y[iuae]")
_SHORTEST_WITH_CASE = 4  # `panda` is no `pan`
_SOFTENED = str.maketrans({"k": "ğ", "ç": "c", "p": "b", "t": "d"})

_HANGUL = re.compile(r"[가-힣]+")
_KOREAN_ENDING = re.compile(
    r"(?:들)?(?:은|는|이|가|을|를|의|에|에서|와|과|도|로|으로|만|입니다|이다|이에요|예요|이며|다)?"
)
# After one syllable the others would make another word of it: 새로 is "newly".
_KOREAN_ENDING_OF_ONE_SYLLABLE = re.compile(r"들?(?:은|는|이|가|을|를|와|과|입니다|이에요|예요)")


@lru_cache(maxsize=65536)
def is_form_of(said: str, wanted: str, *, turkish: bool = False) -> bool:
    """Says whether a folded word is the other or an inflected form of it.

    Args:
        said: A word of an answer.
        wanted: A word of an option's text.
        turkish: Whether the words are known to be Turkish, which folding hides.
    """
    if said == wanted:
        return True
    if not said or not wanted:
        return False
    if _HANGUL.fullmatch(said) and said.startswith(wanted):
        endings = _KOREAN_ENDING if len(wanted) > 1 else _KOREAN_ENDING_OF_ONE_SYLLABLE
        return endings.fullmatch(said[len(wanted) :]) is not None
    if len(wanted) < 2:
        return False
    first = wanted[0]
    if first.isascii() or _LATIN.match(first):
        return bool(_LATIN.fullmatch(said)) and _is_latin_form(said, wanted, turkish=turkish)
    if _CYRILLIC.fullmatch(said) and _CYRILLIC.fullmatch(wanted):
        return _is_russian_form(said, wanted)
    if _ARABIC.fullmatch(said) and _ARABIC.fullmatch(wanted):
        return _is_arabic_form(said, wanted)
    return False


def _is_latin_form(said: str, wanted: str, *, turkish: bool) -> bool:
    if len(wanted) < _SHORTEST_STEM:
        return False
    shorter, longer = sorted((said, wanted), key=len)
    if len(shorter) >= _SHORTEST_STEM and longer in (shorter + "s", shorter + "es"):
        return True
    if said in LEXICON.irregular.get(wanted, ()):
        return True
    if wanted.endswith("y") and said == wanted[:-1] + "ies":
        return True
    if _differ_in_gender(said, wanted):
        return True
    return _is_turkish_form(said, wanted, known=turkish)


def _differ_in_gender(said: str, wanted: str) -> bool:
    """Portuguese, Spanish and Italian adjectives: amarelo, amarela, amarelos, amarelas."""
    stems = [re.sub(r"[ao]s?$", "", word) for word in (said, wanted)]
    return stems[0] == stems[1] and len(stems[0]) > _SHORTEST_STEM and stems[1] != wanted


def _is_turkish_form(said: str, wanted: str, *, known: bool) -> bool:
    """Turkish endings, tried only on words that are known to be Turkish or look like it."""
    softened = wanted[:-1] + wanted[-1].translate(_SOFTENED)
    for stem in {wanted, softened}:
        ending = said[len(stem) :]
        if not said.startswith(stem) or not ending:
            continue
        plainly_turkish = (
            known
            or _TURKISH_LETTERS.search(said)
            or _ONLY_TURKISH.match(ending)
            or (len(stem) >= _SHORTEST_WITH_CASE and _TURKISH_CASE.fullmatch(ending))
        )
        if plainly_turkish and _TURKISH_ENDING.fullmatch(ending.translate({ord("ü"): "u"})):
            return True
    return False


def _is_russian_form(said: str, wanted: str) -> bool:
    stems = [_RUSSIAN_ENDING.sub("", word) for word in (said, wanted)]
    if min(map(len, stems)) < _SHORTEST_STEM:  # what looks like an ending is of the word: дом
        same = said in (wanted, stems[1], *(wanted + case for case in _RUSSIAN_SINGULAR))
        return same and len(said) >= _SHORTEST_STEM
    same = stems[0] == stems[1] or said == stems[1] or stems[0] == wanted
    return same or stems[0] in _without_fleeting_vowel(wanted)


def _without_fleeting_vowel(word: str) -> set[str]:
    """Returns the stems of a noun whose last vowel is in its first case alone: молоток, молотка."""
    return {_FLEETING_VOWEL.sub(rest, word) for rest in (r"\1", r"ь\1")} - {word}


def _is_arabic_form(said: str, wanted: str) -> bool:
    if len(wanted) < _SHORTEST_STEM:
        return False
    for masculine, other in ((wanted, said), (said, wanted)):
        colour = _ARABIC_COLOUR.fullmatch(masculine)
        if colour and other.removeprefix("ال") == colour[1] + "اء":
            return True
    has_article = wanted.startswith("ال") and len(wanted) > 4
    stem = wanted.removeprefix("ال") if has_article else wanted
    return any(
        candidate == stem or _is_arabic_stem_with_ending(candidate, stem, has_article=has_article)
        for candidate in (said, _ARABIC_PREFIX.sub("", said, count=1))
    )


def _is_arabic_stem_with_ending(said: str, stem: str, *, has_article: bool) -> bool:
    """Whether a word is an option's, without articles, and an ending; ة is folded to the other."""
    masculine = stem.removesuffix("ه")
    pairs = not has_article and not _ARABIC_PLACE_OR_DOER.fullmatch(masculine)
    if masculine != stem:
        ending = said.removeprefix(masculine)
        return (
            said.startswith(masculine)
            and len(masculine) >= _SHORTEST_STEM
            and (_ARABIC_ENDING_OF_FEMININE.fullmatch(ending) is not None or (pairs and not ending))
        )
    if not said.startswith(stem):
        return False
    ending = said.removeprefix(stem)
    endings = _ARABIC_ENDING_BESIDE_ARTICLE if has_article else _ARABIC_ENDING
    return endings.fullmatch(ending) is not None or (pairs and ending == "ه")
