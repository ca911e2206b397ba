"""What happens to the answers when an expert is switched off, language by language.

Shapes: B conversations of a batch, E experts, S settings: all experts, without each, without any.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from parrot_core.errors import UsageError
from parrot_core.inspection.questions import Asked
from parrot_core.inspection.reading import OnProgress, check_experts
from parrot_core.model import ParrotForConditionalGeneration, ParrotProcessor
from parrot_core.model.supervision import find_supervised


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """How well a model says the answers of the data.

    Attributes:
        loss: Cross-entropy in nats, mean over all answer tokens.
        accuracy: Share of the conversations answered right: greedy decoding says every answer
            token, its end included; or, where options are weighed, the right one is likelier than
            every other.
    """

    loss: float
    accuracy: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Ablation:
    """The scores of one language's questions, with and without experts.

    Attributes:
        whole: With all experts.
        without: With one switched off, expert by expert: its term of equation 4 is left out, the
            others keep their weights.
        bare: With all switched off: visual tokens as they were projected (for checkpoints of
            `experts_plus_weighted_input`: w times those).
        wording: Which of an answer's wordings was scored: the one likelier to the whole model.
        count: Conversations.
        tokens: Answer tokens.
    """

    whole: Score
    without: tuple[Score, ...]
    bare: Score
    wording: int
    count: int
    tokens: int


def ablate(
    model: ParrotForConditionalGeneration,
    processor: ParrotProcessor,
    conversations: Mapping[str, Sequence[Asked]],
    *,
    batch_size: int = 8,
    on_progress: OnProgress | None = None,
) -> dict[str, Ablation]:
    """Scores the answers of the data with every expert, without each one, and without any.

    Where an answer may be said in several wordings, a language is scored by the one that is
    likelier to the whole model, summed over its questions.

    Args:
        model: With experts, in evaluation mode.
        processor: The model's.
        conversations: By language; those without an answer or an image do not count.
        batch_size: Conversations at once; changes nothing beyond rounding.
        on_progress: Told how many of the conversations have been scored.

    Raises:
        UsageError: if the model has no experts, or a language no answer to score.
    """
    check_experts(model)
    scored = {
        language: [chat for chat in chats if chat.answers and chat.images]
        for language, chats in conversations.items()
    }
    empty = [language for language, chats in scored.items() if not chats]
    if empty:
        raise UsageError(
            f"no answers to score in {', '.join(empty)}",
            hint="Give --data with answers: training samples or a benchmark's tables.",
        )
    total, done = sum(map(len, scored.values())), 0
    found = {}
    for language, chats in scored.items():
        batches = []
        for start in range(0, len(chats), batch_size):
            part = chats[start : start + batch_size]
            batches.append(list(_score_wordings(model, processor, part)))
            done += len(part)
            if on_progress is not None:
                on_progress(done, total)
        found[language] = _choose(batches)
    return found


@dataclass
class _Tally:
    """Sums over conversations, one entry per setting: all experts, without each, without any."""

    losses: list[float]
    right: list[int]
    tokens: int
    count: int

    def __add__(self, other: "_Tally") -> "_Tally":
        return _Tally(
            losses=[a + b for a, b in zip(self.losses, other.losses, strict=True)],
            right=[a + b for a, b in zip(self.right, other.right, strict=True)],
            tokens=self.tokens + other.tokens,
            count=self.count + other.count,
        )


def _choose(batches: Sequence[Sequence[_Tally]]) -> Ablation:
    """Adds up batches, in the wording that all experts together find likelier."""
    wordings = max(len(batch) for batch in batches)
    sums = []
    for wording in range(wordings):
        first, *rest = [batch[min(wording, len(batch) - 1)] for batch in batches]
        for tally in rest:
            first = first + tally
        sums.append(first)
    wording = min(range(wordings), key=lambda number: sums[number].losses[0])
    best = sums[wording]
    scores = [
        Score(loss=loss / best.tokens, accuracy=right / best.count)
        for loss, right in zip(best.losses, best.right, strict=True)
    ]
    return Ablation(
        whole=scores[0],
        without=tuple(scores[1:-1]),
        bare=scores[-1],
        wording=wording,
        count=best.count,
        tokens=best.tokens,
    )


def _score_wordings(
    model: ParrotForConditionalGeneration, processor: ParrotProcessor, chats: Sequence[Asked]
) -> Iterator[_Tally]:
    """Scores a batch in each wording; the images are looked at once."""
    with torch.no_grad():
        images = [image for chat in chats for image in chat.images]
        pixels = processor.prepare_images(images).to(model.device)
        vision_features = model.vision_features(pixels)

    def score(answers: Sequence[str]) -> _Said:
        encoded = processor.encode_conversations(
            [[*chat.messages, _said(said)] for chat, said in zip(chats, answers, strict=True)],
            images=None,
            supervise=True,
        )
        inputs = {name: tensor.to(model.device) for name, tensor in encoded.items()}
        return _score(model, inputs, vision_features)

    rivals = [[text for text in chat.candidates if text not in chat.answers] for chat in chats]
    weighed = torch.tensor([bool(texts) for texts in rivals], device=model.device)
    likeliest = None
    for place in range(max(map(len, rivals))):
        # A conversation with fewer rivals is given one of its own again, which changes nothing.
        texts = [
            others[min(place, len(others) - 1)] if others else chat.answers[0]
            for chat, others in zip(chats, rivals, strict=True)
        ]
        losses = score(texts).losses
        likeliest = losses if likeliest is None else torch.minimum(likeliest, losses)
    for wording in range(max(len(chat.answers) for chat in chats)):
        found = score([chat.answers[min(wording, len(chat.answers) - 1)] for chat in chats])
        right = found.exact
        if likeliest is not None:
            right = torch.where(weighed, found.losses < likeliest, right)
        yield _Tally(
            losses=found.losses.sum(dim=1).tolist(),
            right=right.sum(dim=1).tolist(),
            tokens=found.tokens,
            count=len(chats),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Said:
    """How a batch's answers fare in each of the S settings.

    Attributes:
        losses: float[S, B], sums over a conversation's answer tokens.
        exact: bool[S, B], whether greedy decoding says them all.
        tokens: Answer tokens of the batch.
    """

    losses: Tensor
    exact: Tensor
    tokens: int


def _said(answer: str) -> dict[str, str]:
    return {"role": "assistant", "content": answer}


def _score(
    model: ParrotForConditionalGeneration, inputs: dict[str, Tensor], vision_features: Tensor
) -> _Said:
    labels = inputs["labels"]
    mask, targets = find_supervised(labels, model.config.image_token_id, inputs["input_ids"])
    rows = mask.nonzero()[:, 0]  # which conversation each answer token is of
    losses, exact = [], []
    for active in (None, *_switched(model.config.num_experts, model.device)):
        with torch.no_grad():
            features = model.encode_images(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                guidance_mask=inputs["guidance_mask"],
                vision_features=vision_features,
                active_experts=active,
            )
            output = model(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                mm_encoder_outputs={"image": features},
            )
        logits = output.logits[mask].float()
        each = F.cross_entropy(logits, targets, reduction="none")
        wrong = (logits.argmax(dim=-1) != targets).float()
        nothing = torch.zeros(len(labels), device=logits.device)
        losses.append(nothing.index_add(0, rows, each))
        exact.append(nothing.index_add(0, rows, wrong) == 0)
    return _Said(losses=torch.stack(losses), exact=torch.stack(exact), tokens=len(targets))


def _switched(experts: int, device: torch.device) -> Iterator[Tensor]:
    """bool[E] with one expert off, expert by expert, and then all."""
    for expert in range(experts):
        yield torch.arange(experts, device=device) != expert
    yield torch.zeros(experts, dtype=torch.bool, device=device)
