"""Words that are part of other words: hyphenated ones, and ideographs that are written together."""

import re
from collections.abc import Sequence

from parrot_core.benchmarks.multilingual.folding import Token
from parrot_core.benchmarks.multilingual.reading import Reading

_IDEOGRAPH = re.compile(r"[\u3400-\u9fff]")
# A one-character option such as 猫 is a word of its own only beside these: classifiers, colours,
# particles and the commonest verbs; beside others it may be part of another word (熊猫, 牛奶).
_BEFORE_ONE_IDEOGRAPH = frozenset(
    "只隻头頭条條匹个個名位群些种種幅张張朵棵把辆座件是的小大有为為和或与與及这這那叫到见見看像"
    "黑白黄黃灰红紅棕花老两二三四五六七八九十几一了中里裡上选為乃者找即着著养喂非"
)
_AFTER_ONE_IDEOGRAPH = frozenset(
    "在和或与與及的正坐站躺趴咪儿兒们們吗嗎吧啊呢了都是有跟看走跑吃喝睡飞飛图圖色与还還而不"
)
_PLACE_ENDS = frozenset("市省县縣州区區")  # 北京市 is Beijing
_ADJECTIVE_ENDS = frozenset("色的")  # what follows these is described, and makes no other word


def stands_alone(spoken: Sequence[Token], index: int) -> bool:
    """Whether one ideograph is a word of its own, judged by its neighbours."""
    token = spoken[index]
    if len(token.text) != 1 or not _IDEOGRAPH.match(token.text):
        return True
    beside = (
        (index - 1, _BEFORE_ONE_IDEOGRAPH),
        (index + 1, _AFTER_ONE_IDEOGRAPH),
    )
    for place, harmless in beside:
        if not 0 <= place < len(spoken) or not _IDEOGRAPH.match(spoken[place].text):
            continue
        neighbour = spoken[place]
        touches = neighbour.end == token.start or token.end == neighbour.start
        said_twice = neighbour.text == token.text  # 狗狗 is a dog
        if touches and not said_twice and neighbour.text not in harmless:
            return False
    return True


def is_in_compound(reading: Reading, spoken: Sequence[Token], first: int, last: int) -> bool:
    """Whether what is found in an answer is part of a longer word there.

    Args:
        reading: The answer.
        spoken: The tokens of its words.
        first: Place in `spoken` of the first word found.
        last: Place of the last.
    """
    start, end = reading.spoken[first], reading.spoken[last]
    return (
        _is_hyphen(reading.tokens, start - 1)
        or _is_hyphen(reading.tokens, end + 1)
        or _makes_another_word(spoken, first, last)
    )


def _is_hyphen(tokens: Sequence[Token], index: int) -> bool:
    """Whether a token joins two words, as in `cachorro-quente`; an option's letter is no word."""
    if not 0 < index < len(tokens) - 1 or tokens[index].text != "-":
        return False
    before, hyphen, after = tokens[index - 1 : index + 2]
    touches = before.end == hyphen.start and hyphen.end == after.start
    return touches and min(len(before.folded), len(after.folded)) > 1


def _makes_another_word(spoken: Sequence[Token], first: int, last: int) -> bool:
    """Whether an answer is an option and one or two ideographs that make another word of it.

    `警察局` is a police station, no policeman. What follows in a longer answer is not judged.
    """
    rest = spoken[last + 1 :]
    return (
        first == 0 < last
        and 1 <= len(rest) <= 2
        and all(_IDEOGRAPH.fullmatch(token.text) for token in (spoken[last], *rest))
        and spoken[last].text not in _ADJECTIVE_ENDS
        and rest[0].start == spoken[last].end
        and rest[0].text not in _AFTER_ONE_IDEOGRAPH | _BEFORE_ONE_IDEOGRAPH | _PLACE_ENDS
    )
