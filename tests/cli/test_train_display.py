import sys
from pathlib import Path

import pytest

from parrot_cli.train_display import describe_first_batch
from parrot_core.data.first_batch import FirstBatch, Piece, ShownSample
from parrot_core.data.parts import DataSetReport

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from workshop import make_workshop

TINY = Path(__file__).parents[2] / "recipes" / "tiny.toml"


def test_what_is_learnt_stands_in_brackets_and_what_was_left_out_is_counted():
    report = DataSetReport(
        name="one",
        file="one.jsonl",
        fingerprint="0",
        records=1200,
        broken=3,
        dropped=0,
        truncated=1,
        samples=1197,
        drawn=600,
    )
    sample = ShownSample(
        place="one.jsonl:7",
        dataset="one",
        language="tr",
        images=("a.png",),
        tokens=30,
        learnt=2,
        pieces=(
            Piece(text="user: ", learnt=False),
            Piece(text="", learnt=False, image_tokens=17),
            Piece(text="\nBu nedir?\n" + "x" * 5000, learnt=False),
            Piece(text="Kedi", learnt=True),
        ),
    )
    lines = list(describe_first_batch(FirstBatch(data=(report,), batch_size=64, samples=(sample,))))
    assert lines[0] == (
        "one: 1,197 of 1,200 samples (3 broken and left out, 1 too long and cut), "
        "600 drawn in an epoch"
    )
    assert "the first 1 of 64 samples" in lines[2]
    assert lines[4] == "1. one.jsonl:7 [tr]: 30 tokens, 2 learnt, a.png"
    assert lines[5] == "   user: [image: 17 tokens]"
    assert lines[6] == "   Bu nedir?"
    assert lines[7].endswith("x⟦Kedi⟧")
    assert len(lines[7]) < 2000


@pytest.mark.slow
def test_a_dry_run_shows_the_first_samples_and_leaves_nothing(tmp_path, parrot_program):
    make_workshop(tmp_path)
    before = set(tmp_path.iterdir())
    settings = {
        "data.folder": tmp_path / "data",
        "languages": '["en", "tr"]',
        "model.image_size": 64,
        "stage1.data": '["one.json"]',
        "stage1.global_batch_size": 4,
        "stage1.over_long": "drop",
    }
    code, stdout, stderr = parrot_program(
        *("train", "--stage", 1, "--recipe", TINY, "--dry-run", "--output", tmp_path / "run"),
        *(part for key, value in settings.items() for part in ("--set", f"{key}={value}")),
    )
    assert code == 0, stderr
    lines = stdout.splitlines()
    assert lines[0].startswith("one.json: ")
    assert "the first 3 of 4 samples of the first step; ⟦learnt⟧" in lines
    shown = [line for line in lines if line.startswith(("1. ", "2. ", "3. "))]
    assert len(shown) == 3
    assert all(f"{tmp_path / 'data' / 'one.json'}:" in line for line in shown)
    assert stdout.count("<|assistant|>⟦") == stdout.count("<|end|>⟧") >= 3
    assert set(tmp_path.iterdir()) == before


def test_the_stage_that_trains_a_language_model_has_no_dry_run(parrot_program):
    code, _, stderr = parrot_program(
        "train", "--stage", "language-model", "--recipe", TINY, "--dry-run"
    )
    assert code == 2
    assert "error: the stage language-model" in stderr
    assert "hint: --dry-run is for stages 1 and 2" in stderr
