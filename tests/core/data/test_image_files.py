import json

import pytest

from parrot_core.data.image_files import ImageFiles, missing_images
from parrot_core.data.images import ImageError, resolve_image
from parrot_core.data.index import SampleIndex

PATHS = {
    "a.png": None,
    "folder/a.png": None,
    "folder/../a.png": "outside",
    "./folder//a.png": None,
    "inside.png": None,
    "inside/a.png": None,
    "b.png": "missing",
    "folder/b.png": "missing",
    "no/a.png": "missing",
    "a.png/a.png": "missing",
    "dangling.png": "missing",
    "outside.png": "outside",
    "outside/a.png": "outside",
    "../root/a.png": "outside",
    "/etc/hostname": "outside",
    "C:\\a.png": "outside",
    "a\0.png": "missing",
    "..": "outside",
}


@pytest.fixture
def root(tmp_path, tiny):
    root = tmp_path / "root"
    for folder in (root / "folder", tmp_path / "elsewhere"):
        folder.mkdir(parents=True)
        tiny.image(1).save(folder / "a.png")
    tiny.image(1).save(root / "a.png")
    for name, target in (
        ("inside.png", root / "a.png"),
        ("inside", root / "folder"),
        ("outside.png", tmp_path / "elsewhere" / "a.png"),
        ("outside", tmp_path / "elsewhere"),
        ("dangling.png", root / "nothing.png"),
    ):
        (root / name).symlink_to(target)
    return root


@pytest.mark.parametrize("path", PATHS)
def test_the_quick_look_judges_as_opening_does(root, path):
    found = ImageFiles(root).fault(path)
    if PATHS[path] is None:
        assert found is None
        assert resolve_image(path, root=root).is_file()
    else:
        with pytest.raises(ImageError) as caught:
            resolve_image(path, root=root)
        assert found == (PATHS[path], caught.value.problem)
        assert caught.value.kind == PATHS[path]


@pytest.fixture
def index(tmp_path):
    lines = [
        json.dumps(
            {
                "id": str(number),
                "image": image,
                "conversations": [
                    {"from": "human", "value": "<image>" * len(image)},
                    {"from": "gpt", "value": "Yes"},
                ],
            }
        )
        for number, image in enumerate((["a.png"], ["a.png", "b.png"], ["folder/a.png"], ["c.png"]))
    ]
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(lines))
    return SampleIndex(path, cache=tmp_path / "cache")


def test_images_are_looked_up_once_and_missing_ones_again(root, index):
    assert set(missing_images(index, root)) == {1, 3}
    (file,) = index.cache.folder.glob("*images*")
    made = file.stat().st_mtime_ns
    assert missing_images(index, root)[3][0] == "missing"
    assert file.stat().st_mtime_ns == made
    (root / "a.png").rename(root / "b.png")  # one comes, another goes
    assert set(missing_images(index, root)) == {0, 1, 3}
    for name in ("a.png", "c.png"):
        (root / name).hardlink_to(root / "b.png")
    assert missing_images(index, root) == {}


def test_another_root_is_looked_at_for_itself(root, index):
    assert set(missing_images(index, root)) == {1, 3}
    assert set(missing_images(index, root / "folder")) == {1, 2, 3}
