"""What streaming costs, chat against plain `generate`: `python tests/benchmarks/chat.py`.

Both encode the same conversation about a picture and generate the same tokens greedily; chat also
decodes them piece by piece and writes them out. The two take turns, and seconds are of this
process's CPU, because other programs share the machine.
"""

import argparse
import os
import sys
import time
import types
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402 - after the path is set

# A dependency installs a package `tests` of its own, which would be found before ours.
sys.modules["tests"] = ours = types.ModuleType("tests")
ours.__path__ = [str(ROOT / "tests")]

from parrot_cli.chat.right_to_left import AnswerWriter  # noqa: E402
from parrot_core.generation import (  # noqa: E402
    Dialogue,
    Row,
    answer,
    decode,
    encode_prompt,
    load_for_use,
)
from parrot_core.model import join_parrot  # noqa: E402
from tests.conftest import (  # noqa: E402
    byte_tokenizer,
    noise_image,
    tiny_image_processor,
    tiny_language_model,
    tiny_vision_encoder,
)

QUESTION = "What is in this picture?"
FIRSTS_A_ROUND = 4  # they are short, and what disturbs them weighs more


def larger_model():
    """Six layers of 512 units: what a step takes is matrix products, not Python."""
    language_model = tiny_language_model(
        hidden_size=512,
        intermediate_size=1408,
        num_hidden_layers=6,
        num_attention_heads=8,
        max_position_embeddings=1024,
        initializer_range=0.06,
    )
    return join_parrot(
        language_model=language_model,
        vision_encoder=tiny_vision_encoder(),
        tokenizer=byte_tokenizer(),
        image_processor=tiny_image_processor(),
        generator=torch.Generator().manual_seed(2),
    )


class TimedAnswer(Row):
    """An answer that is written as in chat, and knows when its first piece came."""

    def __init__(self, prompt, *, max_new_tokens, writer) -> None:
        super().__init__(prompt, max_new_tokens=max_new_tokens)
        self._writer = writer
        self.begun = None

    def on_text(self, piece) -> None:
        """Writes a piece."""
        self.begun = self.begun or time.process_time()
        self._writer.write(piece)


def chat_seconds(parts, dialogue, tokens, writer) -> tuple[float, float]:
    """Returns the CPU seconds to the first piece and to the end of an answer in chat."""
    begin = time.process_time()
    prompt = encode_prompt(*parts, dialogue.put(QUESTION, language="en"))
    row = TimedAnswer(prompt, max_new_tokens=tokens, writer=writer)
    decode(*parts, [row])
    end = time.process_time()
    return (row.begun or end) - begin, end - begin


def plain_seconds(parts, dialogue, tokens) -> float:
    """Returns the CPU seconds of a plain answer of so many tokens."""
    begin = time.process_time()
    conversation = dialogue.put(QUESTION, language="en")
    answer(*parts, [conversation], max_new_tokens=tokens)
    return time.process_time() - begin


def tokens_of_first_piece(parts, dialogue) -> int:
    """Returns how many tokens the first piece needs: letters may be several."""
    conversation = dialogue.put(QUESTION, language="en")
    for count in range(1, 20):
        (one,) = answer(*parts, [conversation], max_new_tokens=count)
        if one.text.strip("\N{REPLACEMENT CHARACTER}"):
            return count
    raise SystemExit("the model says nothing")


def measure(name, parts, tokens, rounds) -> None:
    """Measures and prints one model."""
    # Nothing ends an answer early, so that both ways generate the same number of tokens.
    parts[0].generation_config.eos_token_id = None
    dialogue = Dialogue()
    dialogue.show(noise_image(0), name="noise")
    first_tokens = tokens_of_first_piece(parts, dialogue)
    firsts, wholes = [], []  # pairs of chat and plain
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        writer = AnswerWriter(nowhere, arranges=True, width=lambda: 80)
        for number in range(FIRSTS_A_ROUND * rounds + 1):
            first, _ = chat_seconds(parts, dialogue, first_tokens + 1, writer)
            if number:  # the first warms caches
                firsts.append((first, plain_seconds(parts, dialogue, first_tokens)))
        for _ in range(rounds):
            _, whole = chat_seconds(parts, dialogue, tokens, writer)
            wholes.append((whole, plain_seconds(parts, dialogue, tokens)))
    # The least of each: whatever else the machine does only ever adds.
    chat_first, plain_first = map(min, zip(*firsts, strict=True))
    chat_whole, plain_whole = map(min, zip(*wholes, strict=True))
    sys.stdout.write(
        f"{name}: {1000 * plain_whole / tokens:.1f} ms a token; the first piece after "
        f"{chat_first / plain_first:.2f} × generate's time, "
        f"{plain_whole / chat_whole:.1%} of generate's tokens a second\n"
    )


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, help="a checkpoint to measure as well")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=12)
    options = parser.parse_args()
    torch.set_num_threads(1)
    measure("six layers of 512 units", larger_model(), options.tokens, options.rounds)
    if options.model is not None:
        parts = load_for_use(options.model, device="cpu")
        measure(str(options.model), parts, options.tokens, options.rounds)


if __name__ == "__main__":
    main()
