from parrot_cli.train_display import describe_first_batch
from parrot_core.data.dataset import DataSetReport
from parrot_core.data.first_batch import FirstBatch, Piece, ShownSample


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
