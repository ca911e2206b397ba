import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from parrot_core.data.arrow import ROWS_IN_BATCH, MappedRows
from parrot_core.data.index import SampleIndex
from parrot_core.data.samples import read_samples
from parrot_core.errors import MissingError, UsageError

LANGUAGES = ("en", None, "tr")


def record(number, *, word="cat"):
    images = [None, "a.png", ["a.png", "b.png"]][number % 3]
    shown = "<image>" * (0 if images is None else 1 if isinstance(images, str) else len(images))
    return {
        "id": number,
        "image": images,
        "language": LANGUAGES[number % len(LANGUAGES)],
        "conversations": [
            {"from": "human", "value": f"{shown}What?"},
            {"from": "gpt", "value": f"A {word} {number} 猫"},
        ],
    }


def write(path, records):
    if path.suffix == ".parquet":
        whole = [
            {**one, "image": [one["image"]] if isinstance(one["image"], str) else one["image"]}
            for one in records
        ]
        parquet.write_table(pa.Table.from_pylist(whole), path, row_group_size=700)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(one) + "\n" for one in records), encoding="utf-8")
    else:
        path.write_text(json.dumps(records, indent=1), encoding="utf-8")
    return path


def texts(index):
    return [values["texts"][-1] for values in index.rows().rows()]


def arrow_file(cache, ending="samples-1.arrow"):
    (path,) = cache.rglob(f"*.{ending}")
    return path


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def sample(index, row):
    return index.sample(row, image_root=Path("images"), dataset="set", index=row)


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.parquet"])
def test_samples_come_back_as_they_were_from_any_format(tmp_path, cache, name):
    count = ROWS_IN_BATCH + 3
    path = write(tmp_path / name, [record(number) for number in range(count)])
    index = SampleIndex(path, cache=cache)
    assert len(index) == count
    for row, expected in enumerate(read_samples(path)):
        found = sample(index, row)
        for field in ("id", "images", "turns", "language"):
            assert getattr(found, field) == getattr(expected, field)
        assert (found.image_root, found.dataset, found.index) == (Path("images"), "set", row)
    every = index.samples(index.language_codes.nonzero()[0], image_root=Path(), dataset="", first=5)
    assert [one.language for one in every][:4] == ["en", "tr", "en", "tr"]
    assert sample(index, count - 1).origin.startswith(f"{path}:")
    with pytest.raises(IndexError):
        sample(index, count)


def test_a_sample_knows_the_line_it_is_from(tmp_path, cache):
    lines = SampleIndex(write(tmp_path / "a.jsonl", [record(n) for n in range(3)]), cache=cache)
    assert sample(lines, 2).origin == f"{tmp_path / 'a.jsonl'}:3"
    array = SampleIndex(write(tmp_path / "a.json", [record(n) for n in range(3)]), cache=cache)
    text = (tmp_path / "a.json").read_text().splitlines()
    line = int(sample(array, 2).origin.rpartition(":")[2])
    assert text[line].strip() == '"id": 2,'


def test_broken_records_are_rows_that_say_what_is_wrong(tmp_path, cache):
    path = tmp_path / "a.jsonl"
    good, half = json.dumps(record(0)), json.dumps({**record(3), "id": "\ud800"})
    path.write_text(f'{good}\n{{"id": \n[1]\n{half}\n{{"id": "5"}}\n', encoding="utf-8")
    index = SampleIndex(path, cache=cache)
    assert index.broken.tolist() == [1, 2, 3, 4]
    assert [index.origin(row) for row in (1, 4)] == [f"{path}:2", f"{path}:5"]
    assert "not JSON" in index.problem(1)
    assert "not list" in index.problem(2)
    assert "half a character" in index.problem(3)
    assert "no conversations" in index.problem(4)
    with pytest.raises(ValueError, match=r"a\.jsonl:2 is broken"):
        sample(index, 1)


def test_an_index_is_made_once_and_again_only_when_the_content_changes(tmp_path, cache):
    path = write(tmp_path / "a.json", [record(n) for n in range(5)])
    SampleIndex(path, cache=cache)
    made = arrow_file(cache).stat()
    SampleIndex(path, cache=cache)
    os.utime(path, (1, 1))  # an older date, the same content
    SampleIndex(path, cache=cache)
    again = arrow_file(cache).stat()
    assert (again.st_ino, again.st_mtime_ns) == (made.st_ino, made.st_mtime_ns)

    write(path, [record(n, word="dog") for n in range(5)])
    os.utime(path, (1, 1))
    changed = SampleIndex(path, cache=cache)
    assert texts(changed)[0] == "A dog 0 猫"
    assert len(list(cache.rglob("*.samples-1.arrow"))) == 2  # the old one may be in use


def test_a_change_within_the_same_moment_is_seen(tmp_path, cache):
    """The size and the time of change may stay as they were."""
    path = write(tmp_path / "a.json", [record(n) for n in range(5)])
    SampleIndex(path, cache=cache)
    before = path.stat()
    write(path, [record(n, word="dog") for n in range(5)])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert texts(SampleIndex(path, cache=cache))[0] == "A dog 0 猫"


def test_the_index_of_contents_long_gone_is_removed(tmp_path, cache):
    path = write(tmp_path / "a.json", [record(0)])
    SampleIndex(path, cache=cache)
    os.utime(arrow_file(cache), (1, 1))
    write(path, [record(0), record(1)])
    assert len(SampleIndex(path, cache=cache)) == 2
    assert len(list(cache.rglob("*.samples-1.arrow"))) == 1


@pytest.mark.parametrize("left", [0, 1, 100, 0.5, -1])
def test_half_an_index_is_never_taken_for_whole(tmp_path, cache, left, caplog):
    path = write(tmp_path / "a.json", [record(n) for n in range(ROWS_IN_BATCH + 10)])
    whole = texts(SampleIndex(path, cache=cache))
    file = arrow_file(cache)
    data = file.read_bytes()
    kept = int(len(data) * left) if isinstance(left, float) else left
    file.write_bytes(data[:kept])
    assert texts(SampleIndex(path, cache=cache)) == whole
    assert "made again, because it is damaged" in caplog.text


INDEXING = (
    "import logging, sys\n"
    "from pathlib import Path\n"
    "from parrot_core.data.index import SampleIndex\n"
    "logging.basicConfig(level=logging.INFO)\n"
    "print(len(SampleIndex(Path(sys.argv[1]), cache=Path(sys.argv[2]))))"
)


def start(path, cache):
    return subprocess.Popen(
        [sys.executable, "-c", INDEXING, str(path), str(cache)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
    )


def test_of_processes_that_start_at_once_one_makes_the_index_and_the_others_wait(tmp_path, cache):
    path = write(tmp_path / "a.jsonl", [record(n) for n in range(20_000)])
    processes = [start(path, cache) for _ in range(3)]
    ends = [process.communicate(timeout=120) for process in processes]
    assert [out.strip() for out, _ in ends] == ["20000"] * 3, ends
    assert sum(errors.count("indexes") for _, errors in ends) == 1


def test_what_a_killed_process_left_is_no_index_and_is_removed(tmp_path, cache):
    path = write(tmp_path / "a.jsonl", [record(n) for n in range(40_000)])
    killed = start(path, cache)
    while not any(file.stat().st_size for file in cache.rglob(".unfinished-*.arrow")):
        assert killed.poll() is None, killed.communicate()
        time.sleep(0.002)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    index = SampleIndex(path, cache=cache)
    assert len(index) == 40_000
    assert not list(cache.rglob(".unfinished-*"))


def test_an_index_goes_to_another_process_as_its_path(tmp_path, cache):
    path = write(tmp_path / "a.json", [record(n) for n in range(2000)])
    index = SampleIndex(path, cache=cache, on_progress=lambda _: None)
    sent = pickle.dumps(index)
    assert len(sent) < 20_000
    assert sample(pickle.loads(sent), 1999) == sample(index, 1999)


def test_progress_ends_where_the_file_does(tmp_path, cache):
    for name in ("a.json", "a.jsonl", "a.parquet"):
        path = write(tmp_path / name, [record(n) for n in range(3000)])
        heard = []
        SampleIndex(path, cache=cache, on_progress=heard.append)
        assert [entry.done for entry in heard] == sorted(entry.done for entry in heard)
        assert heard[-1].total == path.stat().st_size
        assert heard[-1].done > 0.5 * heard[-1].total
        assert {(entry.task, entry.file) for entry in heard} == {("reads", path)}


def test_a_file_that_is_not_there_and_a_folder_that_cannot_be_used_are_told(tmp_path):
    path = write(tmp_path / "a.json", [record(0)])
    with pytest.raises(MissingError, match="no such data file"):
        SampleIndex(tmp_path / "b.json", cache=tmp_path / "cache")
    (tmp_path / "file").write_text("")
    with pytest.raises(MissingError, match="cannot write the index") as caught:
        SampleIndex(path, cache=tmp_path / "file")
    assert "PARROT_CACHE" in caught.value.hint


def test_a_file_in_no_format_leaves_nothing_behind(tmp_path, cache):
    path = tmp_path / "a.json"
    path.write_text('{"id": 1}')
    with pytest.raises(UsageError, match="not a JSON array"):
        SampleIndex(path, cache=cache)
    assert not list(cache.rglob("*arrow"))
    broken = tmp_path / "a.parquet"
    broken.write_bytes(b"PAR1 and no more")
    with pytest.raises(UsageError, match="not readable as Parquet"):
        SampleIndex(broken, cache=cache)


def test_rows_can_be_read_after_their_pages_were_let_go(tmp_path, cache):
    path = write(tmp_path / "a.json", [record(n) for n in range(3000)])
    index = SampleIndex(path, cache=cache)
    kept = sample(index, 7)
    rows = MappedRows(arrow_file(cache))
    for number in range(3000):
        assert rows[number]["texts"][-1] == f"A cat {number} 猫"
    rows.release()
    assert sample(index, 7) == kept
