import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parrot_core.data.samples import read_samples
from parrot_core.data.split import assign, split_samples
from parrot_core.errors import UsageError


def write(path: Path, images: list[list[str]]) -> Path:
    records = []
    for number, names in enumerate(images):
        question = "<image>" * len(names) + f" What is {number}?"
        turns = [{"from": "human", "value": question}, {"from": "gpt", "value": "That."}]
        records.append({"id": str(number), "image": names, "conversations": turns})
    path.write_text(json.dumps(records))
    return path


def test_languages_get_their_counts_and_share_neither_samples_nor_images(tmp_path: Path):
    # Every third picture is in two samples, and some samples chain pictures together.
    images = [
        [f"{n - n % 3 // 2}.png"] + ([f"{n + 1}.png"] if n % 10 == 0 else []) for n in range(300)
    ]
    source = write(tmp_path / "in.json", images)
    report = split_samples(source, tmp_path / "out", counts={"tr": 100, "ar": 80, "ru": 30}, seed=1)
    assert report.samples == {"tr": 100, "ar": 80, "ru": 30}
    assert report.disjoint
    assert report.unused == 90
    found = {
        code: list(read_samples(tmp_path / "out" / f"{code}.json")) for code in ("tr", "ar", "ru")
    }
    owners = Counter(
        image for part in found.values() for image in {i for sample in part for i in sample.images}
    )
    assert max(owners.values()) == 1
    ids = [sample.id for part in found.values() for sample in part]
    assert len(ids) == len(set(ids)) == 210


def test_the_set_itself_is_never_written_over(tmp_path: Path):
    source = write(tmp_path / "tr.json", [[f"{n}.png"] for n in range(9)])
    before = source.read_bytes()
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(UsageError, match="would be written over"):
        split_samples(source, tmp_path / "link", counts={"ar": 2, "tr": 2})
    assert source.read_bytes() == before
    assert not (tmp_path / "ar.json").exists()


def test_the_draw_depends_on_the_seed_alone(tmp_path: Path):
    source = write(tmp_path / "in.json", [[f"{n}.png"] for n in range(100)])
    drawn = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        split_samples(source, tmp_path / name, counts={"tr": 20, "ar": 20}, seed=seed)
        drawn.append((tmp_path / name / "tr.json").read_bytes())
    assert drawn[0] == drawn[1] != drawn[2]


def test_equal_conversations_without_images_stay_together(tmp_path: Path):
    turns = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hi"}]
    source = tmp_path / "in.json"
    source.write_text(json.dumps([{"id": str(n), "conversations": turns} for n in range(4)]))
    with pytest.raises(UsageError, match="too few samples that can be kept apart") as caught:
        split_samples(source, tmp_path / "out", counts={"tr": 2, "ar": 2})
    assert "4 samples in 1 groups" in caught.value.hint
    assert split_samples(source, tmp_path / "out", counts={"tr": 4}).samples == {"tr": 4}


def test_two_spellings_of_one_picture_stay_together(tmp_path: Path):
    source = write(tmp_path / "in.json", [["a.png"], ["./a.png"], ["b/../a.png"], ["b.png"]])
    report = split_samples(source, tmp_path / "out", counts={"tr": 3, "ar": 1})
    assert report.images == {"tr": 1, "ar": 1}
    with pytest.raises(UsageError, match="too few samples"):
        split_samples(source, tmp_path / "out", counts={"tr": 2, "ar": 2})


def test_counts_that_are_none_are_refused():
    for counts in ({}, {"tr": 0}):
        with pytest.raises(UsageError, match="no count of samples"):
            assign([[0]], counts=counts, seed=0)


@given(
    larger=st.lists(st.integers(2, 4), max_size=20),
    tr=st.integers(1, 20),
    ar=st.integers(1, 20),
    seed=st.integers(0, 5),
)
@settings(max_examples=80, deadline=None)
def test_groups_are_never_torn_and_counts_are_exact(larger, tr, ar, seed):
    sizes = [*larger, *[1] * (tr + ar)]  # so many single samples that any counts can be met
    groups, start = [], 0
    for size in sizes:
        groups.append(list(range(start, start + size)))
        start += size
    places = assign(groups, counts={"tr": tr, "ar": ar}, seed=seed)
    assert Counter(places.values()) == {"tr": tr, "ar": ar}
    for group in groups:
        assert len({places.get(position) for position in group}) == 1
