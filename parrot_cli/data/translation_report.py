"""What translation commands show: progress, estimates, and how a run ended."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from parrot_cli.data.translation_options import Work
    from parrot_core.translation import JobReport, Progress

_UNFINISHED = 1


def run_shown(
    source: Path, out: Path, work: "Work", *, image_root: Path | None = None
) -> "JobReport":
    """Runs a job while its progress is shown; see `translate` of the core."""
    from parrot_cli.output import live_line
    from parrot_core.translation import translate

    with live_line() as show:
        return translate(
            source,
            out,
            languages=work.languages,
            worker=work.worker,
            settings=work.settings,
            limits=work.limits,
            image_root=image_root,
            on_progress=lambda progress: show(line(progress)),
        )


def line(progress: "Progress") -> str:
    """One line of progress: how far, how fast, what it cost, how long yet, what failed."""
    from parrot_core.translation.costs import dollars

    settled = progress.done + progress.pending + progress.failed
    rate = progress.answers / progress.seconds if progress.seconds else 0.0
    parts = [
        f"{settled:,}/{progress.total:,} segments",
        f"{rate:.1f} answers/s" if rate >= 1 or not rate else f"{60 * rate:.1f} answers/min",
        dollars(progress.cost),
    ]
    if progress.pending:
        parts.append(f"{progress.pending:,} wait for people")
    if progress.seconds_left is not None:
        parts.append(f"{duration(progress.seconds_left)} left")
    if progress.failures:
        parts.append(
            "failed requests: "
            + ", ".join(f"{count} × {why}" for why, count in progress.failures.most_common(5))
        )
    return " · ".join(parts)


def duration(seconds: float) -> str:
    """Writes a time as people say it: `40 s`, `12 min`, `3 h 20 min`, `2 d 5 h`."""
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{math.ceil(seconds)} s"
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"


def print_estimate(
    source: Path, out: Path, work: "Work", *, image_root: Path | None = None, as_json: bool
) -> None:
    """Says what a job would take."""
    from parrot_cli.output import print_json, print_line, print_table
    from parrot_core.translation.costs import dollars
    from parrot_core.translation.estimate import estimate
    from parrot_core.translation.records import JOURNAL_NAME

    found = estimate(
        source,
        languages=work.languages,
        settings=work.settings,
        limits=work.limits,
        prices=work.prices,
        worker=work.worker,
        journal=out / JOURNAL_NAME,
        image_root=image_root,
    )
    if as_json:
        print_json(found.as_dict())
        return
    begun = found.waiting or any(part.answered for part in found.steps.values())
    print_line(
        f"{found.segments:,} segments, {found.unique:,} different ones"
        + (f", {found.done:,} done" if found.done else "")
        + (f", {found.waiting:,} wait for people" if found.waiting else "")
        + "; nothing was asked"
    )
    print_table(
        ("step", "answered already", "requests", "tokens in", "tokens out"),
        [
            (
                f"{step} (people)" if step in work.settings.human else step,
                part.answered,
                part.requests,
                part.prompt_tokens,
                part.completion_tokens,
            )
            for step, part in found.steps.items()
        ],
    )
    if not any(part.requests for part in found.steps.values()):
        print_line("nothing is left to ask")
        return
    still = "still " if begun else ""
    cost = "not known (give --price)" if found.cost is None else f"about {dollars(found.cost)}"
    print_line(f"{still}to pay: {cost}")
    print_line(
        f"{still}to wait: about {duration(found.seconds)} "
        f"({work.limits.concurrency} requests at once, {found.seconds_per_request:g} s each)"
    )


def print_report(report: "JobReport", out: Path, *, as_json: bool) -> None:
    """Says what became of a job."""
    from parrot_cli.output import print_json, print_line, print_table
    from parrot_core.translation.costs import dollars

    spending = report.spending
    if as_json:
        print_json(
            {
                "complete": report.complete,
                "stopped": report.stopped,
                "languages": {code: part.as_dict() for code, part in report.languages.items()},
                "this_run": {
                    "answers": report.answers,
                    "seconds": round(report.seconds, 3),
                    "failed_requests": report.failures,
                    "unanswered_segments": report.unanswered,
                    "unusable_segments": report.unusable,
                    "waiting_for_people": report.pending,
                },
                "all_runs": {
                    "answers": spending.requests,
                    "prompt_tokens": spending.prompt_tokens,
                    "completion_tokens": spending.completion_tokens,
                    "dollars": spending.cost / 1e9,
                    "answers_without_price": spending.without_price,
                    "dollars_of_lost_answers_at_most": spending.lost / 1e9,
                },
            }
        )
        return
    print_table(
        ("language", "samples", "flagged", "dropped", "waiting", "missing", "flags"),
        [
            (
                code,
                part.samples,
                part.flagged,
                part.dropped,
                part.waiting,
                part.missing,
                ", ".join(f"{count} {kind}" for kind, count in sorted(part.flags.items())) or "–",
            )
            for code, part in report.languages.items()
        ],
    )
    cost = dollars(spending.cost) + (
        f" and {spending.without_price:,} answers of unknown price"
        if spending.without_price
        else ""
    )
    print_line(
        f"{report.answers:,} answers in this run, {spending.requests:,} in all; cost of the job: "
        f"{cost} ({spending.prompt_tokens:,} tokens in, {spending.completion_tokens:,} out)"
    )
    if spending.lost:
        print_line(
            f"answers that never arrived may have been charged: {dollars(spending.lost)} at most"
        )
    for text, counts in (
        ("failed requests", report.failures),
        ("segments without a usable answer", report.unusable),
        ("segments that wait for people", report.pending),
    ):
        if counts:
            listed = ", ".join(f"{count} × {reason}" for reason, count in counts.items())
            print_line(f"{text}: {listed}")
    flagged = sum(part.flagged for part in report.languages.values())
    print_line(
        f"results: {out}" + (f"; what is flagged: {out / 'flagged.jsonl'}" if flagged else "")
    )


def end(report: "JobReport", out: Path) -> None:
    """Ends the command as its job ended.

    Args:
        report: How it ended.
        out: The job's folder.

    Raises:
        RemoteError: if the service did not answer all segments.
        Exit: if the job is not complete.
    """
    from parrot_cli.output import note
    from parrot_core.errors import RemoteError

    if report.unanswered:
        reasons = ", ".join(f"{count} × {reason}" for reason, count in report.unanswered.items())
        raise RemoteError(
            f"{sum(report.unanswered.values())} segments were not answered ({reasons}); "
            f"the last: {report.said}",
            hint="What was answered is kept: run it again to go on.",
        )
    if not report.complete:
        if report.stopped is not None:
            note(f"stopped: {report.stopped}; raise the cap and run it again to go on")
        waiting = any(part.waiting for part in report.languages.values())
        for step in report.pending or (["review"] if waiting else []):
            note(f"people go on: parrot data review export {out} --step {step} --out FILE.csv")
        raise typer.Exit(_UNFINISHED)
