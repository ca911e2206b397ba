import pytest

from parrot_core.data.emoji.materials import STYLES, Annotation, CatalogueEntry, Materials
from parrot_core.data.emoji.settings import ConceptSettings, DemoSettings
from parrot_core.data.emoji.sources import SOURCES

LANGUAGES = ("en", "zh", "pt", "ar", "tr", "ru")
# By concept: group, subgroup, then a name in each language; each is a shape of the artwork below.
CONCEPTS = {
    "1f401": ("animals-nature", "animal-mammal", "mouse", "老鼠", "rato", "فأر", "fare", "мышь"),
    "1f408": ("animals-nature", "animal-mammal", "cat", "猫", "gato", "قطة", "kedi", "кошка"),
    "1f332": ("animals-nature", "plant-other", "tree", "树", "árvore", "شجرة", "ağaç", "дерево"),
    "1f34e": ("food-drink", "food-fruit", "apple", "苹果", "maçã", "تفاحة", "elma", "яблоко"),
    "1f35e": ("food-drink", "food-prepared", "bread", "面包", "pão", "خبز", "ekmek", "хлеб"),
    "1f3e0": ("travel-places", "place-building", "house", "房子", "casa", "بيت", "ev", "дом"),
    "1f550": ("travel-places", "time", "clock", "钟", "relógio", "ساعة", "saat", "часы"),
    "26bd": ("activities", "sport", "ball", "球", "bola", "كرة", "top", "мяч"),
    "1f511": ("objects", "lock", "key", "钥匙", "chave", "مفتاح", "anahtar", "ключ"),
    "1f4d6": ("objects", "book-paper", "book", "书", "livro", "كتاب", "kitap", "книга"),
}


def draw(index: int, *, style: str) -> str:
    """A polygon that differs by concept, in a colour and with a margin that differ by style."""
    colour = {"openmoji": "#222", "twemoji": "#26c", "noto": "#c62", "fluent": "#2a6"}[style]
    margin = 4 * (1 + list(STYLES).index(style))
    side = 72 - 2 * margin
    bite = side * (index + 1) / (len(CONCEPTS) + 2)
    points = f"0,0 {side},0 {side},{side} {bite},{side} {bite},{side / 2} 0,{side / 2}"
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 72 72">'
        f'<polygon transform="translate({margin} {margin})" fill="{colour}" points="{points}"/>'
        "</svg>"
    )


@pytest.fixture
def materials():
    rows = CONCEPTS.items()
    return Materials(
        catalogue=[
            CatalogueEntry(codepoints=key, group=row[0], subgroup=row[1]) for key, row in rows
        ],
        annotations={
            code: {
                key: Annotation(name=row[place], keywords=(row[place], f"{code}-{row[1]}"))
                for key, row in rows
            }
            for place, code in enumerate(LANGUAGES, start=2)
        },
        artwork={
            style: {key: draw(index, style=style) for index, key in enumerate(CONCEPTS)}
            for style in STYLES
        },
        sources=SOURCES,
        notices={"cldr-annotations-full": "Keep this notice."},
    )


@pytest.fixture
def settings():
    """Everything on, small: nine concepts, clocks being left out."""
    return DemoSettings(
        training_styles=("openmoji", "twemoji"),
        validation_style="fluent",
        concepts=ConceptSettings(max_words=1),
        naming_questions=8,
        yes_no_pairs=8,
    )
