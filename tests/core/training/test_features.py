"""Vision features are encoded once, kept, and the same as if encoded each time."""

import shutil
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from parrot_core.data.collate import Collator
from parrot_core.data.dataset import SampleSet
from parrot_core.data.images import load_image
from parrot_core.data.samples import ImageFile
from parrot_core.training import features
from parrot_core.training.features import VisionFeatures


def test_features_encoded_once_are_those_encoded_each_time(workshop, parrot, monkeypatch):
    model, processor = parrot
    samples = SampleSet(["two.json"], root=workshop.data)
    monkeypatch.setattr(features, "_ENCODED_AT_ONCE", 2)  # three pictures: one whole batch, one not
    seen = VisionFeatures(model, processor, samples.images)
    files = [samples.images[2], samples.images[0], samples.images[2]]
    images = [load_image(file.path, root=file.root) for file in files]
    with torch.no_grad():
        expected = model.vision_features(processor.prepare_images(images))
    torch.testing.assert_close(seen(files), expected, rtol=0, atol=1e-6)


def test_a_batch_of_cached_features_has_the_loss_of_its_images(workshop, parrot):
    model, processor = parrot
    samples = SampleSet(["two.json"], root=workshop.data)
    seen = VisionFeatures(model, processor, samples.images)
    rows = [samples[0], samples[6], samples[4]]  # pictures, and a text alone between them
    losses = []
    for source in (None, seen):
        collate = Collator(processor, root=samples.root, max_length=400, features=source)
        batch = collate(rows)
        assert ("pixel_values" in batch) == (source is None)
        with torch.no_grad():
            losses.append(float(model(**batch).loss))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_a_set_without_pictures_needs_no_features(workshop, parrot):
    (workshop.data / "text.json").write_text(
        '[{"id": "1", "conversations": [{"from": "human", "value": "Hi"},'
        ' {"from": "gpt", "value": "Hi"}]}]',
        encoding="utf-8",
    )
    samples = SampleSet(["text.json"], root=workshop.data)
    assert len(VisionFeatures(*parrot, samples.images)([])) == 0


def test_they_are_computed_again_only_if_what_they_depend_on_has_changed(
    workshop, tiny, tmp_path, monkeypatch
):
    model, processor = tiny.parrot()
    shutil.copytree(workshop.data / "images", tmp_path / "images")
    files = [ImageFile(tmp_path, f"images/{number}.png") for number in range(3)]
    encoded = []

    def load(path, *, root):
        encoded.append(path)
        return load_image(path, root=root)

    monkeypatch.setattr(features, "load_image", load)

    def encodes(model=model):
        encoded.clear()
        seen = VisionFeatures(model, processor, files, cache=tmp_path / "cache")
        return len(encoded), seen(files)

    count, first = encodes()
    assert count == 3
    count, again = encodes()
    assert count == 0
    assert torch.equal(first, again)
    shutil.copy(files[1].root / files[1].path, files[0].root / files[0].path)
    count, changed = encodes()
    assert count == 3
    assert torch.equal(changed[0], first[1])
    with torch.no_grad():
        next(model.vision_encoder.parameters()).add_(0.1)
    count, _ = encodes()
    assert count == 3
    processor.pad_to_square = not processor.pad_to_square
    assert encodes()[0] == 3


def test_runs_that_start_at_once_do_not_spoil_each_others_features(
    workshop, parrot, tmp_path, monkeypatch
):
    """A second run begins while the first one encodes its last picture: it waits, and reads."""
    files = [ImageFile(workshop.data, f"images/{number}.png") for number in range(3)]
    expected = VisionFeatures(*parrot, files, cache=tmp_path / "alone")(files)
    encoded, runs = [], []

    def encode():
        return VisionFeatures(*parrot, files, cache=tmp_path / "shared")(files)

    def load(path, *, root):
        encoded.append(path)
        if len(encoded) == len(files):
            runs.append(pool.submit(encode))
            time.sleep(0.5)
        return load_image(path, root=root)

    monkeypatch.setattr(features, "_ENCODED_AT_ONCE", 1)
    monkeypatch.setattr(features, "load_image", load)
    with ThreadPoolExecutor(1) as pool:
        first = encode()
        (second,) = (run.result() for run in runs)
    torch.testing.assert_close(first, expected, rtol=0, atol=1e-6)
    assert torch.equal(first, second)
    assert len(encoded) == 3


def test_a_picture_that_is_gone_is_one_that_cannot_be_read(workshop, parrot, tmp_path):
    shutil.copytree(workshop.data / "images", tmp_path / "images")
    files = [ImageFile(tmp_path, f"images/{number}.png") for number in range(3)]
    (tmp_path / "images" / "1.png").unlink()
    seen = VisionFeatures(*parrot, files, cache=tmp_path / "cache")
    assert "no such image" in seen.broken[files[1]]
    shutil.copy(workshop.data / "images" / "1.png", tmp_path / "images")
    assert not VisionFeatures(*parrot, files, cache=tmp_path / "cache").broken


def test_bfloat16_is_kept_as_it_is(workshop, tiny, tmp_path):
    model, processor = tiny.parrot()
    model = model.to(torch.bfloat16)
    files = [ImageFile(workshop.data, f"images/{number}.png") for number in range(3)]
    seen = VisionFeatures(model, processor, files, cache=tmp_path)(files)
    assert seen.dtype == torch.bfloat16
    pixels = processor.prepare_images([load_image(f.path, root=f.root) for f in files])
    with torch.no_grad():
        expected = model.vision_features(pixels)
    torch.testing.assert_close(seen, expected, atol=5e-2, rtol=5e-2)
