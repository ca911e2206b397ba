import threading
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from parrot_core.benchmarks.download import fetch_tables
from parrot_core.benchmarks.registry import BENCHMARKS, get_benchmark
from parrot_core.errors import MissingError, RemoteError


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@contextmanager
def serving(folder):
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_missing_tables_are_fetched_and_those_at_hand_are_not(tmp_path):
    there, here = tmp_path / "there", tmp_path / "here"
    there.mkdir()
    here.mkdir()
    for code in ("cn", "tr"):
        (there / f"mmmb_{code}.tsv").write_text(f"from the network: {code}", encoding="utf-8")
    (here / "MMMB_tr.tsv").write_text("at hand", encoding="utf-8")
    fetched = []
    with serving(there) as address:
        mmmb = replace(get_benchmark("mmmb"), source=f"{address}/mmmb_{{language}}.tsv")
        fetch_tables(mmmb, here, languages=("zh", "tr"), on_progress=fetched.append)
        with pytest.raises(RemoteError, match="cannot fetch"):
            fetch_tables(mmmb, here, languages=("ru",))
    assert fetched == ["mmmb_cn.tsv"]
    assert (here / "mmmb_cn.tsv").read_text("utf-8") == "from the network: cn"
    assert mmmb.find("zh", here) == here / "mmmb_cn.tsv"
    assert not list(here.glob("*ru*"))


@pytest.mark.parametrize(("name", "language"), [("llava-bench", "zh"), ("emoji-naming", "tr")])
def test_a_table_without_an_address_is_named_with_the_files_that_would_do(name, language, tmp_path):
    with pytest.raises(
        MissingError, match=f"no address is known for the table of {name}"
    ) as caught:
        fetch_tables(get_benchmark(name), tmp_path, languages=(language,))
    assert ".tsv" in (caught.value.hint or "")


def test_what_is_fetched_is_found_under_its_name():
    for benchmark in BENCHMARKS.values():
        for language in benchmark.languages:
            address = benchmark.address(language)
            if address is not None:
                name = address.rpartition("/")[2].removesuffix(".tsv").lower()
                assert name in [one.lower() for one in benchmark.table_names(language)]
