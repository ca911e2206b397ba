"""Figure 3 for one segment: draft, re-check, independent refinements, vote."""

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import Any

from parrot_core.errors import UsageError
from parrot_core.translation.by_model import Account, Asker, ByModel
from parrot_core.translation.by_people import ByPeople, Tasks
from parrot_core.translation.checks import CHECKS_VERSION, Flag
from parrot_core.translation.segments import Segment
from parrot_core.translation.settings import Settings
from parrot_core.translation.versions import Version
from parrot_core.translation.workers import UnusableError, digest


@dataclass(frozen=True, kw_only=True, slots=True)
class Translated:
    """A finished segment; `final` if no later run needs to look at it again."""

    text: str
    detail: dict[str, Any]
    final: bool


class Pipeline:
    """Translates segments, one `translate` per segment, any number at once."""

    def __init__(self, settings: Settings, *, caller: Asker, journal: Tasks) -> None:
        """Refuses steps that the worker cannot do."""
        self._settings = settings
        self._caller = caller
        self._model = ByModel(settings, caller=caller)
        self._people = ByPeople(settings, journal=journal)
        unable = sorted(set(settings.steps) - settings.human - caller.worker.steps)
        if unable:
            raise UsageError(
                f"the backend {caller.worker.name!r} cannot do: {', '.join(unable)}",
                hint=f"Give --steps draft, or let people do it: {unable[0]}:human.",
            )

    @property
    def backend(self) -> str:
        """The kind of worker, as provenance states it."""
        return self._caller.worker.name

    def key(self, segment: Segment) -> str:
        """Hash of everything that a segment's result depends on."""
        settings = self._settings
        worker = self._caller.worker
        steps = [
            [
                step,
                settings.model_of(step),
                settings.prompts[step].identity,
                worker.parameters(step, candidate=0, text="") if step not in settings.human else {},
            ]
            for step in settings.steps
        ]
        return digest(
            "result",
            CHECKS_VERSION,
            worker.name,
            steps,
            settings.candidates,
            settings.voters,
            settings.source_language,
            segment.language,
            segment.text,
            segment.image_digest,
            settings.glossary.for_text(segment.text, segment.language),
        )

    async def translate(self, segment: Segment) -> Translated:
        """Takes a segment through all steps.

        Raises:
            PendingError: if people have to do something first.
            UnusableError: if the model gives no usable draft.
            UnansweredError, StoppedError: as `Caller.get`.
        """
        settings = self._settings
        account = Account()
        version = await self._version("draft", segment, None, account)
        extra: list[Flag] = []
        if "recheck" in settings.steps:
            version = await self._improved("recheck", segment, version, account, extra)
        detail: dict[str, Any] = {}
        if "refine" in settings.steps:
            version = await self._refined(segment, version, account, extra, detail)
        flags = [*version.flags, *extra]
        text = version.text
        waits = False
        if flags:
            reviewed, waits = await self._people.review(segment, version, flags)
            if reviewed is not None:
                detail["reviewed_by"] = reviewed.author
                text, flags = reviewed.text, list(reviewed.flags)
        detail["flags"] = [{"kind": flag.kind, "detail": flag.detail} for flag in flags]
        detail["spent"] = {
            "requests": account.requests,
            "prompt_tokens": account.prompt_tokens,
            "completion_tokens": account.completion_tokens,
            "cost": account.cost,
        }
        if waits:
            detail["waits"] = True
        final = not flags and not settings.human and "reviewed_by" not in detail
        return Translated(text=text, detail=detail, final=final)

    async def _version(
        self, step: str, segment: Segment, before: Version | None, account: Account
    ) -> Version:
        """Does one step that makes a text."""
        if step in self._settings.human:
            return (await self._people.texts(step, segment, before, needed=1))[0]
        return await self._model.text(step, segment, before, account, candidate=0)

    async def _improved(
        self,
        step: str,
        segment: Segment,
        before: Version,
        account: Account,
        extra: list[Flag],
    ) -> Version:
        """Does a step over an earlier text, which stands if the new one has more faults."""
        try:
            after = await self._version(step, segment, before, account)
        except UnusableError as error:
            extra.append(Flag(kind=f"{step}-failed", detail=error.reason))
            return before
        return after if len(after.flags) <= len(before.flags) else before

    async def _refined(
        self,
        segment: Segment,
        base: Version,
        account: Account,
        extra: list[Flag],
        detail: dict[str, Any],
    ) -> Version:
        """Collects independent versions and chooses one."""
        settings = self._settings
        if "refine" in settings.human:
            versions = await self._people.texts("refine", segment, base, needed=settings.candidates)
        else:
            found = await asyncio.gather(
                *(
                    self._model.text("refine", segment, base, account, candidate=candidate)
                    for candidate in range(settings.candidates)
                ),
                return_exceptions=True,
            )
            versions = []
            for result in found:
                if isinstance(result, UnusableError):
                    extra.append(Flag(kind="refine-failed", detail=result.reason))
                elif isinstance(result, BaseException):
                    raise result
                else:
                    versions.append(result)
        if not versions:
            return base
        detail["versions"] = len(versions)
        # People's versions all stand; a model's stands only without more faults than its base.
        best = min(len(version.flags) for version in versions)
        if best > len(base.flags) and "refine" not in settings.human:
            return base
        standing = [
            index
            for index, version in enumerate(versions)
            if len(version.flags) == best or "refine" in settings.human
        ]
        by_text: dict[str, int] = {}
        for index in standing:
            by_text.setdefault(versions[index].text, index)
        choices = list(by_text.values())
        if len(choices) == 1 or "vote" not in settings.steps:
            detail["chosen"] = choices[0]
            return versions[choices[0]]
        try:
            if "vote" in settings.human:
                votes = await self._people.votes(segment, versions, choices)
            else:
                votes = await self._model.votes(segment, versions, choices, account)
        except UnusableError as error:
            extra.append(Flag(kind="vote-failed", detail=error.reason))
            detail["chosen"] = choices[0]
            return versions[choices[0]]
        tally = Counter(votes)
        chosen = max(choices, key=lambda index: (tally[index], -index))
        detail["votes"], detail["chosen"] = votes, chosen
        return versions[chosen]
