"""What `parrot train` shows before the first step: the data, and the first samples as text."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from parrot_core.data.first_batch import FirstBatch, Piece, ShownSample

_LEARNT = ("⟦", "⟧")
_MOST_LETTERS = 1500  # of a piece; its middle is left out


def describe_first_batch(first: "FirstBatch") -> Iterator[str]:
    """Yields lines: what became of the data sets, then samples with what is learnt in ⟦ ⟧."""
    for entry in first.data:
        notes = [
            f"{count:,} {what}"
            for count, what in (
                (entry.broken, "broken and left out"),
                (entry.dropped, "too long and left out"),
                (entry.truncated, "too long and cut"),
            )
            if count
        ]
        left = f"{entry.samples:,} of {entry.records:,} samples"
        remarks = f" ({', '.join(notes)})" if notes else ""
        yield f"{entry.name}: {left}{remarks}, {entry.drawn:,} drawn in an epoch"
    begin, end = _LEARNT
    yield ""
    yield (
        f"the first {len(first.samples)} of {first.batch_size} samples of the first step; "
        f"{begin}learnt{end}"
    )
    for number, sample in enumerate(first.samples, start=1):
        yield ""
        yield f"{number}. {_heading(sample)}"
        for line in "".join(map(_mark, sample.pieces)).splitlines():
            yield f"   {line}"


def _heading(sample: "ShownSample") -> str:
    language = f" [{sample.language}]" if sample.language else ""
    images = f", {', '.join(sample.images)}" if sample.images else ""
    return f"{sample.place}{language}: {sample.tokens} tokens, {sample.learnt} learnt{images}"


def _mark(piece: "Piece") -> str:
    if piece.image_tokens:
        return f"[image: {piece.image_tokens} tokens]"
    text = piece.text
    if len(text) > _MOST_LETTERS:
        half = _MOST_LETTERS // 2
        text = f"{text[:half]} … {text[-half:]}"
    return f"{_LEARNT[0]}{text}{_LEARNT[1]}" if piece.learnt else text
