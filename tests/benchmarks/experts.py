"""What the experts and the text's guidance are worth at the tiny recipe's size.

    python tests/benchmarks/experts.py DATA OUTPUT --seeds 0,1,2

trains the tiny recipe on DATA (what `parrot data demo` wrote) once per seed and variant: whole,
without experts, and with experts that are routed by the picture alone. Every run is scored on the
held-out style, in every language; stage 1 is shared, since it bypasses the experts. `--set
KEY=VALUE` changes the recipe for all of them. A run that is finished is not repeated, so the
benchmark can be stopped and continued. About ten minutes a run on one core. Prints JSON: accuracy
by variant and language, the mean over the seeds, and what each variant loses against the whole on
the same seed, in points, averaged over the languages.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

RECIPE = Path(__file__).parents[2] / "recipes" / "tiny.toml"
VARIANTS = {
    "whole": [],
    "without experts": ["model.experts.enabled=false"],
    "without text guidance": ["model.experts.text_guidance=false"],
}
FORMS = {"naming": "emoji-naming", "yes_no_pairs": "emoji-yesno"}


def parrot(*arguments: object) -> None:
    program = "from parrot_cli.app import main; main()"
    subprocess.run([sys.executable, "-c", program, *map(str, arguments)], check=True)


def train(stage: int, output: Path, *, data: Path, settings: list[str], init: Path | None) -> Path:
    if not (output / "run.json").is_file():
        overrides = [f'data.folder="{data.as_posix()}"', *settings]
        options = [part for setting in overrides for part in ("--set", setting)]
        options += ["--init-from", init] if init else []
        parrot("train", "--stage", stage, "--recipe", RECIPE, "--output", output, *options)
    return output


def score(checkpoint: Path, form: str, *, data: Path) -> dict[str, float]:
    output = checkpoint.parent / form
    if not (output / "report.json").is_file():
        parrot(
            "eval", "--model", checkpoint, "--benchmark", FORMS[form],
            "--data-root", data / "benchmarks", "--batch-size", 64, "--max-new-tokens", 16,
            "--output", output, "--no-charts",
        )  # fmt: skip
    report = json.loads((output / "report.json").read_text(encoding="utf-8"))
    return {code: entry["value"] for code, entry in report["languages"].items()}


def mean(found: list[dict[str, float]]) -> dict[str, float]:
    return {code: round(statistics.mean(f[code] for f in found), 3) for code in found[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--set", dest="settings", action="append", default=[], help="key=value")
    options = parser.parse_args()
    seeds = [int(seed) for seed in options.seeds.split(",")]
    found: dict[str, dict[str, list[dict[str, float]]]] = {
        variant: {form: [] for form in FORMS} for variant in VARIANTS
    }
    for seed in seeds:
        folder = options.output / f"seed-{seed}"
        common = [f"seed={seed}", *options.settings]
        first = train(1, folder / "stage1", data=options.data, settings=common, init=None)
        for variant, changes in VARIANTS.items():
            checkpoint = train(
                2,
                folder / variant.replace(" ", "-") / "stage2",
                data=options.data,
                settings=[*common, *changes],
                init=first,
            )
            for form in FORMS:
                found[variant][form].append(score(checkpoint, form, data=options.data))
    sys.stdout.write(json.dumps(_summary(found, seeds), indent=1) + "\n")


def _summary(
    found: dict[str, dict[str, list[dict[str, float]]]], seeds: list[int]
) -> dict[str, object]:
    table = {
        variant: {form: {"seeds": runs, "mean": mean(runs)} for form, runs in forms.items()}
        for variant, forms in found.items()
    }
    losses = {
        variant: {
            form: [
                round(100 * statistics.mean(whole[code] - other[code] for code in whole), 1)
                for whole, other in zip(found["whole"][form], runs, strict=True)
            ]
            for form, runs in forms.items()
        }
        for variant, forms in found.items()
        if variant != "whole"
    }
    return {"seeds": seeds, "accuracy": table, "points_lost_by_seed": losses}


if __name__ == "__main__":
    main()
