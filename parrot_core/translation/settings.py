"""How segments are translated: steps, models, prompts, glossary."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from parrot_core.errors import UsageError
from parrot_core.translation.glossary import Glossary
from parrot_core.translation.prompts import STEPS, Prompt

ON_FLAG = ("keep", "drop", "review")
"""What can happen to samples with flags."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """How segments are translated. Every field but `attempts` and `on_flag` is part of the keys.

    Attributes:
        prompts: The prompt of each step.
        model: The model's name.
        source_language: Code of the samples' language.
        steps: Steps that are done, in Figure 3's order.
        human: Those of them that people do.
        step_models: Models of single steps, where not `model`.
        candidates: Independent refinements of each segment (the paper's first group: 3).
        voters: Votes on each segment (the paper's second group).
        glossary: Terms with one translation.
        attempts: Answers that a model may give to one question before its best, with its faults,
            is taken.
        on_flag: What happens to samples with flags: `keep` writes them with their flags, `drop`
            leaves them out, `review` lets them wait for people.
    """

    prompts: Mapping[str, Prompt]
    model: str
    source_language: str = "en"
    steps: tuple[str, ...] = STEPS
    human: frozenset[str] = frozenset()
    step_models: Mapping[str, str] = field(default_factory=dict)
    candidates: int = 3
    voters: int = 1
    glossary: Glossary = field(default_factory=Glossary)
    attempts: int = 6
    on_flag: str = "keep"

    def __post_init__(self) -> None:
        """Refuses steps that make no sense together."""
        if self.on_flag not in ON_FLAG:
            raise UsageError(
                f"no such policy: {self.on_flag!r}", hint=f"Give one of {', '.join(ON_FLAG)}."
            )
        if not all(self.models):
            raise UsageError("a model without a name", hint="Give --model NAME.")
        unknown = [step for step in (*self.steps, *self.human) if step not in STEPS]
        if unknown:
            raise UsageError(f"no such step: {unknown[0]!r}", hint=f"Steps: {', '.join(STEPS)}.")
        if "draft" not in self.steps or list(self.steps) != sorted(
            set(self.steps), key=STEPS.index
        ):
            raise UsageError(
                f"the steps {','.join(self.steps)} are no order of work",
                hint=f"Steps are some of {','.join(STEPS)} in this order, the draft among them.",
            )
        if "vote" in self.steps and "refine" not in self.steps:
            raise UsageError("a vote without refinements", hint="Add refine, or leave out vote.")
        if "refine" in self.steps and "vote" not in self.steps and self.candidates > 1:
            raise UsageError(
                f"{self.candidates} refinements and no vote among them",
                hint="Add vote, or set --candidates 1.",
            )

    @property
    def models(self) -> frozenset[str]:
        """The models that do steps; none where people do them all."""
        return frozenset(self.model_of(step) for step in self.steps if step not in self.human)

    def model_of(self, step: str) -> str:
        """Returns who does a step, as provenance states it."""
        return "people" if step in self.human else self.step_models.get(step, self.model)
