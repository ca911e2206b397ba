import json

import pytest

from parrot_core.data.dataset import SampleSet
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
    with pytest.raises(UsageError, match=r"no sample in empty\.jsonl"):
        SampleSet(["empty.jsonl"], root=root)
