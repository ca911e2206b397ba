import json
import pickle

import pytest

from parrot_core.data.dataset import SampleSet
from parrot_core.data.parts import DataSource
from parrot_core.data.samples import ImageFile
from parrot_core.errors import MissingError, UsageError


def record(identity, *, image=None, language=None):
    shown = {} if image is None else {"image": image}
    stated = {} if language is None else {"language": language}
    question = "<image>\nWhat?" if image else "What?"
    turns = [{"from": "human", "value": question}, {"from": "gpt", "value": "A cat"}]
    return {"id": identity, **shown, **stated, "conversations": turns}


@pytest.fixture
def root(tmp_path, tiny):
    for name in ("a.png", "b.png"):
        tiny.image(1).save(tmp_path / name)
    return tmp_path


def write(root, name, records):
    (root / name).write_text("".join(json.dumps(one) + "\n" for one in records), encoding="utf-8")


def test_files_follow_each_other_and_images_are_listed_once(root):
    write(root, "one.jsonl", [record("1", image="b.png", language="tr"), record("2")])
    write(
        root, "two.jsonl", [record("3", image="a.png", language="tr"), record("4", image="b.png")]
    )
    samples = SampleSet(["two.jsonl", "one.jsonl"], root=root)
    assert [samples[index].id for index in range(len(samples))] == ["3", "4", "1", "2"]
    assert samples.images == (ImageFile(root, "a.png"), ImageFile(root, "b.png"))
    assert samples.languages() == {"tr": 2}


@pytest.mark.parametrize(
    ("image", "fault", "exit_code"),
    [("no.png", "no such image: 'no.png'", 3), ("../a.png", "leaves the image root", 2)],
)
def test_an_image_that_cannot_be_had_names_the_sample(root, image, fault, exit_code):
    write(root, "one.jsonl", [record("1", image="a.png"), record("2", image=image)])
    with pytest.raises(UsageError) as caught:
        SampleSet(["one.jsonl"], root=root)
    assert caught.value.problem.startswith(f"{root / 'one.jsonl'}:2: ")
    assert fault in caught.value.problem
    assert caught.value.exit_code == exit_code
    assert caught.value.hint


def test_no_folder_no_file_and_no_sample_are_told_apart(root):
    write(root, "empty.jsonl", [])
    with pytest.raises(MissingError, match="no such data folder"):
        SampleSet(["one.jsonl"], root=root / "nowhere")
    with pytest.raises(MissingError, match=r"one\.jsonl"):
        SampleSet(["one.jsonl"], root=root)
    write(root, "one.jsonl", [record("1")])
    for files in (["empty.jsonl"], ["one.jsonl", "empty.jsonl"]):
        with pytest.raises(UsageError, match=r"no sample in empty\.jsonl"):
            SampleSet(files, root=root)


def test_named_data_sets_have_their_own_images_weights_and_counts(root, tiny):
    for name in ("one", "two"):
        (root / name).mkdir()
        tiny.image(len(name)).save(root / name / "same.png")
        write(root, f"{name}.jsonl", [record(str(n), image="same.png") for n in range(10)])
    samples = SampleSet(
        [
            DataSource(name="first", file=root / "one.jsonl", images=root / "one", weight=0.5),
            DataSource(name="second", file=root / "two.jsonl", images=root / "two", samples=25),
        ],
        root=root,
    )
    assert len(samples) == 20
    assert samples.images == (
        ImageFile(root / "one", "same.png"),
        ImageFile(root / "two", "same.png"),
    )
    found = samples[13]
    assert (found.id, found.dataset, found.image_root) == ("3", "second", root / "two")
    assert found == list(samples)[13]
    assert [entry.drawn for entry in samples.report()] == [5, 25]
    order = samples.order(batch_size=4, seed=0, group_by_length=False)
    for epoch in range(2):
        indices = order.epoch(epoch)
        assert sorted((indices < 10).tolist()) == [False] * 25 + [True] * 5
    first = [index for epoch in range(2) for index in order.epoch(epoch).tolist() if index < 10]
    assert sorted(first) == list(range(10))


def test_samples_that_state_no_language_are_in_their_data_sets(root, tiny):
    tiny.image(0).save(root / "same.png")
    stated = record("2", image="same.png") | {"language": "tr"}
    write(root, "one.jsonl", [record("1", image="same.png"), stated])
    write(root, "two.jsonl", [record("3", image="same.png")])
    samples = SampleSet(
        [
            DataSource(name="one", file=root / "one.jsonl", images=root, language="zh"),
            DataSource(name="two", file=root / "two.jsonl", images=root),
        ],
        root=root,
    )
    assert [samples[at].language for at in range(3)] == ["zh", "tr", None]
    assert [sample.language for sample in samples] == ["zh", "tr", None]
    assert samples.languages() == {"zh": 1, "tr": 1}


def bad_file(root):
    """Of six records 2 has no words, 4 no picture."""
    records = [record(str(n), image="a.png") for n in range(6)]
    records[2]["conversations"][1]["value"] = " "
    records[4]["image"] = "no.png"
    write(root, "bad.jsonl", records)
    return [f"{root / 'bad.jsonl'}:{line}" for line in (3, 5)]


def test_all_broken_records_are_told_at_once(root):
    places = bad_file(root)
    with pytest.raises(UsageError) as caught:
        SampleSet(["bad.jsonl"], root=root, max_bad_samples=1)
    lines = caught.value.problem.splitlines()
    assert [line.split(": ")[0] for line in lines] == places
    assert "turn 1 (gpt) is empty" in lines[0]
    assert "no such image" in lines[1]
    assert "2 broken samples, 1 are allowed" in lines[1]
    assert "max_bad_samples to 2" in caught.value.hint


def test_allowed_broken_records_are_left_out_and_counted(root, caplog):
    places = bad_file(root)
    samples = SampleSet(["bad.jsonl"], root=root, max_bad_samples=2)
    assert [sample.id for sample in samples] == ["0", "1", "3", "5"]
    assert [place for place, _ in samples.broken] == places
    (entry,) = samples.report()
    assert (entry.records, entry.broken, entry.samples) == (6, 2, 4)
    assert all(f"left out: {place}" in caplog.text for place in places)


def test_samples_of_pictures_that_turn_out_broken_are_left_out_or_too_many(root):
    write(root, "one.jsonl", [record(str(n), image="ab"[n % 2] + ".png") for n in range(4)])
    faults = {ImageFile(root, "b.png"): "damaged"}
    samples = SampleSet(["one.jsonl"], root=root, max_bad_samples=2).without_images(faults)
    assert [sample.id for sample in samples] == ["0", "2"]
    with pytest.raises(UsageError, match=r"one\.jsonl:2: damaged"):
        SampleSet(["one.jsonl"], root=root).without_images(faults)


class Letters:
    """Measures letters; a first answer may be cut, a picture not."""

    def measurement_key(self):
        return "letters-in-this-test"

    def measure_conversations(self, conversations):
        return [
            (sum(len(turn["content"]) for turn in turns), len(turns[0]["content"]) + 1)
            for turns in conversations
        ]


def long_file(root):
    """Lengths 10, 105 (an answer of 100), 105 (a question of 100)."""
    records = [record(str(n)) for n in range(3)]
    records[1]["conversations"][1]["value"] = "a" * 100
    records[2]["conversations"][0]["value"] = "q" * 100
    write(root, "long.jsonl", records)
    return SampleSet(["long.jsonl"], root=root).measure(Letters())


@pytest.mark.parametrize(
    ("rule", "left", "dropped", "truncated"),
    [("drop", ["0"], 2, 0), ("truncate", ["0", "1"], 1, 1)],
)
def test_over_long_samples_are_dropped_or_cut_and_counted(root, rule, left, dropped, truncated):
    samples = long_file(root)
    assert samples.lengths.tolist() == [10, 105, 105]
    limited = samples.limit(60, over_long=rule)
    assert [sample.id for sample in limited] == left
    (entry,) = limited.report()
    assert (entry.dropped, entry.truncated, entry.samples) == (dropped, truncated, len(left))
    assert len(samples) == 3  # the set that it was made of stays


def test_over_long_samples_are_an_error_by_default(root):
    samples = long_file(root)
    with pytest.raises(UsageError, match=r"long\.jsonl:2: 105 tokens, 60 are allowed") as caught:
        samples.limit(60)
    assert "(and 1 more)" in caught.value.problem
    assert "over_long" in caught.value.hint
    with pytest.raises(UsageError, match="every sample of long"):
        samples.limit(3, over_long="drop")


def test_other_data_other_shares_and_other_samples_have_another_identity(root):
    write(root, "one.jsonl", [record(str(n)) for n in range(4)])
    file, images = root / "one.jsonl", root

    def identity(**share):
        source = DataSource(name="one", file=file, images=images, **share)
        return SampleSet([source], root=root).identity()

    first = identity()
    assert identity() == first
    assert identity(weight=2.0) != first
    assert identity(samples=4) == first
    write(root, "one.jsonl", [record(str(n), language="tr") for n in range(4)])
    assert identity() != first


def test_a_set_goes_to_another_process_and_reads_the_same_there(root):
    write(root, "one.jsonl", [record(str(n), image="a.png") for n in range(5)])
    samples = SampleSet(["one.jsonl"], root=root, on_progress=lambda _: None)
    copy = pickle.loads(pickle.dumps(samples))
    assert list(copy) == list(samples)
    with pytest.raises(IndexError):
        copy[5]
