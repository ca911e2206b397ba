"""What a recipe may say about the picture-text set."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from parrot_core.data.emoji.concepts import NOUN_GROUPS
from parrot_core.data.emoji.materials import STYLES
from parrot_core.errors import UsageError
from parrot_core.languages import LANGUAGES, PAPER_LANGUAGES

PICTURE_KINDS = ("naming", "yes_no", "choice", "description")
"""What can be asked about a picture."""

TEXT_KINDS = ("naming", "yes_no", "choice", "translation", "category")
"""What can be asked without one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ConceptSettings:
    """Which concepts take part; the meaning of each field is `select_concepts`'s."""

    groups: tuple[str, ...] = NOUN_GROUPS
    excluded_subgroups: tuple[str, ...] = ("time",)
    max_words: int = 1
    max_chinese_characters: int = 4
    limit: int | None = None


def _english_heavy() -> dict[str, float]:
    """As in the paper, where English outnumbers all others together (section 2.3, Table 2)."""
    return {code: 0.8 if code == "en" else 0.04 for code in PAPER_LANGUAGES}


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoSettings:
    """How the set is made from the concepts.

    Attributes:
        seed: Of every draw.
        languages: Codes of the languages that are asked and answered in.
        concepts: Which concepts take part.
        training_styles: Styles whose pictures training may see.
        validation_style: Style on which settings are chosen; None where they are settled.
        test_style: Style of the reported benchmark, seen in neither of the above.
        stage1_samples: Per concept and training style, by kind of question.
        stage1_languages: Shares of the languages among them; the paper's first stage is English.
        stage2_samples: Per concept and training style, by kind of question.
        stage2_languages: Shares of the languages among them.
        text_samples: Per concept and language, by kind of question: text alone.
        context_size: At most so many words of a concept stand in for the picture in text alone.
        other_concepts: Of at most so many other concepts there are words beside them.
        naming_questions: Per language and benchmark.
        yes_no_pairs: Per language and benchmark.
    """

    seed: int = 0
    languages: tuple[str, ...] = PAPER_LANGUAGES
    concepts: ConceptSettings = field(default_factory=ConceptSettings)
    training_styles: tuple[str, ...] = ("openmoji", "twemoji", "fluent")
    validation_style: str | None = None
    test_style: str = "noto"
    stage1_samples: Mapping[str, int] = field(default_factory=lambda: {"naming": 2})
    stage1_languages: Mapping[str, float] = field(default_factory=lambda: {"en": 1.0})
    stage2_samples: Mapping[str, int] = field(
        default_factory=lambda: {"naming": 16, "yes_no": 30, "choice": 8}
    )
    stage2_languages: Mapping[str, float] = field(default_factory=_english_heavy)
    text_samples: Mapping[str, int] = field(
        default_factory=lambda: {
            "naming": 20,
            "yes_no": 48,
            "choice": 10,
            "translation": 1,
            "category": 1,
        }
    )
    context_size: int = 4
    other_concepts: int = 0
    naming_questions: int = 200
    yes_no_pairs: int = 200

    def __post_init__(self) -> None:
        """Checks everything at once.

        Raises:
            UsageError: with every fault found.
        """
        if faults := [*self._faults_of_styles(), *self._faults_of_amounts()]:
            raise UsageError(
                "picture-text set: " + "; ".join(faults), hint="Mend the recipe's settings."
            )

    @property
    def styles(self) -> tuple[str, ...]:
        """Every style that has a role, training's first."""
        held_out = (self.validation_style, self.test_style)
        return (*self.training_styles, *(style for style in held_out if style is not None))

    def validated_on(self, style: str) -> "DemoSettings":
        """These settings with one training style less: the one that settings are chosen on."""
        others = tuple(other for other in self.training_styles if other != style)
        return replace(self, training_styles=others, validation_style=style)

    def _faults_of_styles(self) -> list[str]:
        faults = [
            f"unknown style {style!r} (known: {', '.join(STYLES)})"
            for style in self.styles
            if style not in STYLES
        ]
        faults += [
            f"style {style!r} has more than one role; what is held out is held out entirely"
            for style in sorted(set(self.styles))
            if self.styles.count(style) > 1
        ]
        if not self.training_styles:
            faults.append("no training style")
        return faults

    def _faults_of_amounts(self) -> list[str]:
        faults = []
        for name, kinds, known in (
            ("stage1_samples", self.stage1_samples, PICTURE_KINDS),
            ("stage2_samples", self.stage2_samples, PICTURE_KINDS),
            ("text_samples", self.text_samples, TEXT_KINDS),
        ):
            faults += [
                f"{name}: unknown kind {kind!r} (known: {', '.join(known)})"
                for kind in kinds
                if kind not in known
            ]
            faults += [
                f"{name}: {kind} = {count}, not a count"
                for kind, count in kinds.items()
                if count < 0
            ]
        for name, count in (
            ("naming_questions", self.naming_questions),
            ("yes_no_pairs", self.yes_no_pairs),
        ):
            if count < 0:
                faults.append(f"{name} = {count}, not a count")
        faults += [f"unknown language {code!r}" for code in self.languages if code not in LANGUAGES]
        for name, shares in (
            ("stage1_languages", self.stage1_languages),
            ("stage2_languages", self.stage2_languages),
        ):
            faults += [
                f"{name}: {code!r} is not among the languages ({', '.join(self.languages)})"
                for code in shares
                if code not in self.languages
            ]
            if abs(sum(shares.values()) - 1) > 1e-6 or min(shares.values(), default=0) < 0:
                faults.append(f"{name}: shares must be at least 0 and add up to 1")
        if self.other_concepts < 0:
            faults.append(f"other_concepts = {self.other_concepts}, not a count")
        if self.context_size < 1:
            faults.append(f"context_size = {self.context_size}, must be at least 1")
        return faults
