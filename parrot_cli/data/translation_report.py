"""What translation commands show: progress, estimates, and how a run ended."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from parrot_core.translation import JobReport, Limits, Progress, Settings
    from parrot_core.translation.costs import Price


def line(progress: "Progress") -> str:
    """One line of progress: how far, how fast, what it cost, how long yet, what failed."""
    from parrot_core.translation.costs import dollars

    settled = progress.done + progress.pending + progress.failed
    rate = progress.answers / progress.seconds if progress.seconds else 0.0
    parts = [
        f"{settled:,}/{progress.total:,} segments",
        f"{rate:.1f} answers/s",
        dollars(progress.cost),
    ]
    if progress.pending:
        parts.append(f"{progress.pending:,} wait for people")
    if progress.seconds_left is not None:
        minutes, seconds = divmod(round(progress.seconds_left), 60)
        parts.append(f"{minutes}:{seconds:02} left")
    if progress.failures:
        parts.append(
            "failed requests: "
            + ", ".join(f"{count} × {why}" for why, count in progress.failures.most_common(5))
        )
    return " · ".join(parts)


def print_estimate(
    source: Path,
    out: Path,
    *,
    languages: list[str],
    settings: "Settings",
    limits: "Limits",
    price: "Price | None",
    backend: str,
    image_root: Path | None,
    as_json: bool,
) -> None:
    """Says what a job would take."""
    from parrot_cli.output import print_json, print_line, print_table
    from parrot_core.translation.costs import dollars
    from parrot_core.translation.estimate import estimate

    found = estimate(
        source,
        languages=languages,
        settings=settings,
        limits=limits,
        price=price,
        image_root=image_root,
        local=backend == "local",
    )
    if as_json:
        print_json(found.as_dict())
        return
    print_table(
        ("step", "requests", "tokens in", "tokens out"),
        [
            (step, part.requests, part.prompt_tokens, part.completion_tokens)
            for step, part in found.steps.items()
        ],
        title=f"{found.segments:,} segments, {found.unique:,} different ones; nothing was asked",
    )
    cost = "not known (give --price)" if found.cost is None else f"about {dollars(found.cost)}"
    print_line(f"cost: {cost}")
    print_line(f"time: about {found.seconds / 60:,.0f} min at {found.seconds_per_request:g} s each")
    if (out / "journal.sqlite").exists():
        print_line(f"what {out / 'journal.sqlite'} holds already will not be asked again")


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
    for text, counts in (
        ("failed requests", report.failures),
        ("segments without a usable answer", report.unusable),
        ("segments that wait for people", report.pending),
    ):
        if counts:
            listed = ", ".join(f"{count} × {reason}" for reason, count in counts.items())
            print_line(f"{text}: {listed}")
    print_line(f"results: {out}")
