import hashlib
import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from parrot_core.data.samples import read_samples
from parrot_core.errors import RemoteError, UsageError
from parrot_core.translation import Limits, Settings, translate
from parrot_core.translation.chat_api import ChatWorker, Endpoint
from parrot_core.translation.costs import Price
from parrot_core.translation.glossary import Glossary
from parrot_core.translation.journal import Journal
from parrot_core.translation.prompts import load_prompts
from tests.translation_server import FAULTS, TranslationServer, reply, sentence, translation

KEY = "sk-very-secret-0123456789"
ONE_OF_EACH_KIND = dict.fromkeys(FAULTS, 0.03)


def write_samples(path: Path, count: int) -> Path:
    samples = [
        {
            "id": str(number),
            "image": ["a.png"] * sentence(2 * number).count("<image>"),
            "conversations": [
                {"from": "human", "value": sentence(2 * number)},
                {"from": "gpt", "value": sentence(2 * number + 1)},
            ],
        }
        for number in range(count)
    ]
    path.write_text(json.dumps(samples))
    return path


def run(source: Path, folder: Path, server: TranslationServer, **options):
    """Runs a job; options go to its limits where they are limits, else to its settings."""
    limits = {name: options.pop(name) for name in ("max_cost", "max_requests") if name in options}
    languages = options.pop("languages", ("tr", "ar"))
    endpoint = Endpoint(base_url=server.url, key=KEY, timeout=options.pop("timeout", 5.0))
    price = options.pop("price", Price(prompt=1.0, completion=2.0))
    worker = ChatWorker(endpoint, prices={"m": price})
    settings = Settings(**({"prompts": load_prompts(), "model": "m"} | options))
    return translate(
        source,
        folder,
        languages=languages,
        worker=worker,
        settings=settings,
        limits=Limits(concurrency=16, **limits),
    )


def results(folder: Path) -> dict[str, str]:
    """Hashes of all that a job leaves but its journal."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
        if not path.name.startswith("journal")
    }


def texts(folder: Path, language: str) -> list[str]:
    records = json.loads((folder / f"{language}.json").read_text())
    return [turn["value"] for record in records for turn in record["conversations"]]


def test_every_segment_goes_through_all_steps_and_each_call_is_made_once(tmp_path: Path):
    source = write_samples(tmp_path / "in.json", 10)
    with TranslationServer() as server:
        report = run(source, tmp_path / "out", server)
    assert report.complete
    assert server.by_step == {"draft": 40, "recheck": 40, "refine": 120, "vote": 40}
    assert set(server.answered.values()) == {1}
    assert texts(tmp_path / "out", "tr") == [
        # Three versions differ by what the server appends; its votes take the least of them.
        min(
            translation(sentence(n), "Turkish").removesuffix(".") + " güzel" * more + "."
            for more in range(3)
        )
        for n in range(20)
    ]
    record = json.loads((tmp_path / "out" / "ar.json").read_text())[0]
    assert (record["id"], record["language"], record["image"]) == ("0", "ar", ["a.png"])
    assert record["translation"]["steps"]["draft"]["by"] == "m"
    assert record["translation"]["segments"][0]["votes"]
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["languages"]["tr"]["samples"] == 10
    assert summary["answers_used"] == {
        "requests": 240,
        "prompt_tokens": 24_000,
        "completion_tokens": 4_800,
        "dollars": pytest.approx(240 * (100 * 1 + 20 * 2) / 1e6),
    }


def test_with_every_fault_a_job_ends_with_the_same_bytes_and_pays_no_answer_twice(tmp_path: Path):
    source = write_samples(tmp_path / "in.json", 25)
    with TranslationServer() as server:
        run(source, tmp_path / "calm", server)
    with TranslationServer(faults=ONE_OF_EACH_KIND, seed=3, hang_seconds=3) as server:
        # Much longer than a busy machine takes to answer: the server counts what it sent.
        report = run(source, tmp_path / "stormy", server, timeout=2.0)
    assert report.complete
    assert set(server.injected) == set(FAULTS)
    assert set(server.answered.values()) == {1}
    assert results(tmp_path / "stormy") == results(tmp_path / "calm")
    assert {"429", "500", "timeout", "connection", "malformed"} <= report.failures.keys()
    assert {"truncated", "empty", "refused"} <= report.failures.keys()


def test_faults_that_no_answer_mends_are_flagged_and_cost_few_requests(tmp_path: Path):
    class Forgetful(TranslationServer):
        def special(self, body, headers):
            self.by_step[reply(body)[0]] += 1
            choice = {"message": {"content": "Bu bir resim."}, "finish_reason": "stop"}
            return 200, {"choices": [choice]}

    source = tmp_path / "in.json"
    turns = [{"from": "human", "value": "See `x = 1` here."}, {"from": "gpt", "value": "42"}]
    source.write_text(json.dumps([{"id": "1", "conversations": turns}]))
    with Forgetful() as server:
        report = run(source, tmp_path / "out", server, languages=("tr",))
    assert report.complete
    assert report.languages["tr"].flags == {"protected": 1}
    # The draft tries six times; the steps after it twice each, and all versions are the same.
    assert server.by_step == {"draft": 6, "recheck": 2, "refine": 6}


def test_a_second_run_asks_nothing_and_writes_the_same_bytes(tmp_path: Path):
    source = write_samples(tmp_path / "in.json", 5)
    with TranslationServer() as server:
        run(source, tmp_path / "out", server)
        first, asked = results(tmp_path / "out"), server.requests
        report = run(source, tmp_path / "out", server)
    assert (report.answers, server.requests) == (0, asked)
    assert results(tmp_path / "out") == first


def test_equal_segments_are_asked_once(tmp_path: Path):
    turns = [{"from": "human", "value": "What is in the picture?"}, {"from": "gpt", "value": "42"}]
    source = tmp_path / "in.jsonl"
    source.write_text("\n".join(json.dumps({"id": n, "conversations": turns}) for n in range(50)))
    with TranslationServer(latency=0.01) as server:
        report = run(source, tmp_path / "out", server, languages=("tr",), steps=("draft",))
    assert report.complete
    assert server.requests == 1
    assert texts(tmp_path / "out", "tr")[:2] == ["ne şudur içinde bu resim?", "42"]


def test_changes_redo_exactly_what_they_affect(tmp_path: Path):
    source = write_samples(tmp_path / "in.json", 10)
    out = tmp_path / "out"
    folder = tmp_path / "prompts"
    folder.mkdir()
    shipped = Path(load_prompts.__code__.co_filename).parent / "prompts" / "vote.toml"
    (folder / "vote.toml").write_text(shipped.read_text().replace('version = "1"', 'version = "2"'))
    with_car = sum("car" in sentence(n).lower().split() for n in range(20))
    assert 0 < with_car < 20
    with TranslationServer() as server:
        run(source, out, server, languages=("tr",))
        server.by_step.clear()
        run(source, out, server, languages=("tr",), prompts=load_prompts(folder))
        assert server.by_step == {"vote": 20}
        server.by_step.clear()
        glossary = Glossary(terms={"tr": {"car": "araba"}})
        run(source, out, server, languages=("tr",), glossary=glossary)
        assert server.by_step["draft"] == with_car
        assert server.by_step["recheck"] == with_car
        server.by_step.clear()
        run(source, out, server, languages=("tr",), step_models={"vote": "other"})
        assert server.by_step == {"vote": 20}
        server.by_step.clear()
        run(source, out, server, languages=("tr",), model="other")
        assert server.by_step["draft"] == 20


def test_caps_on_requests_and_costs_hold_and_the_job_goes_on_from_there(tmp_path: Path):
    source = write_samples(tmp_path / "in.json", 10)
    out = tmp_path / "out"
    price = Price(prompt=10.0, completion=30.0)
    per_answer = price.cost(100, 20)
    with TranslationServer(latency=0.005) as server:
        report = run(source, out, server, max_requests=25, price=price)
        assert server.requests == 25
        assert "25 requests" in report.stopped
        assert not report.complete
        assert (out / "tr.partial.json").exists()
        assert not (out / "tr.json").exists()
        cap = 60 * per_answer
        report = run(source, out, server, max_cost=cap, price=price)
        assert report.spending.cost <= cap
        assert server.requests * per_answer == report.spending.cost
        assert "cap on costs" in report.stopped
        report = run(source, out, server, price=price)
    assert report.complete
    assert set(server.answered.values()) == {1}
    assert not (out / "tr.partial.json").exists()


def test_a_cap_on_costs_holds_for_answers_that_never_arrive_and_is_used_up(tmp_path: Path):
    source = write_samples(tmp_path / "in.json", 30)
    price = Price(prompt=10.0, completion=30.0)
    per_answer = price.cost(100, 20)
    cap = 80 * per_answer
    lossy = {"cut": 0.05, "malformed": 0.05}
    with TranslationServer(latency=0.002, faults=lossy) as server:
        report = run(source, tmp_path / "out", server, max_cost=cap, price=price)
        made = sum(server.answered.values()) + sum(server.injected.values())
        assert sum(server.injected.values()) > 0
        assert made * per_answer <= report.spending.most <= cap
        assert report.spending.lost > 0
        # Not even one more request, at its dearest, would have fitted.
        assert report.spending.most > cap / 2
        again = run(source, tmp_path / "out", server, max_cost=cap, price=price)
        assert again.answers <= 1


def test_a_service_that_takes_few_requests_at_a_time_is_waited_for(tmp_path: Path):
    class Busy(TranslationServer):
        def special(self, body, headers):
            self.asked = getattr(self, "asked", 0) + 1
            if self.asked % 8:
                said = {"error": {"message": "slow down"}}
                return 429, said, {"Retry-After": "0.02"}
            return None

    source = write_samples(tmp_path / "in.json", 10)
    with Busy() as server:
        report = run(source, tmp_path / "out", server, languages=("tr",), steps=("draft",))
    assert report.complete
    assert report.failures["429"] > 100  # a call is told so more often than it may fail
    assert set(server.answered.values()) == {1}


def test_a_service_that_asks_to_wait_for_hours_ends_the_run_and_says_so(tmp_path: Path):
    class Exhausted(TranslationServer):
        def special(self, body, headers):
            return 429, {"error": {"message": "daily limit"}}, {"Retry-After": "7200"}

    source = write_samples(tmp_path / "in.json", 2)
    with Exhausted() as server, pytest.raises(RemoteError, match=r"daily limit \(wait 7200 s\)"):
        run(source, tmp_path / "out", server)


def test_a_service_that_only_fails_ends_the_run(tmp_path: Path):
    class Failing(TranslationServer):
        def special(self, body, headers):
            return 503, {"error": {"message": "loading"}}, {"Retry-After": "0.01"}

    source = write_samples(tmp_path / "in.json", 3)
    with Failing() as server, pytest.raises(RemoteError, match="answers 503: loading"):
        run(source, tmp_path / "out", server)


def test_a_service_that_refuses_the_key_ends_the_run_at_once_without_showing_it(tmp_path: Path):
    class Refusing(TranslationServer):
        def special(self, body, headers):
            said = {"error": {"message": f"Incorrect key: {headers['authorization'][7:]}"}}
            return 401, said

    source = write_samples(tmp_path / "in.json", 20)
    with Refusing() as server, pytest.raises(RemoteError, match="401") as caught:
        run(source, tmp_path / "out", server)
    assert server.requests <= 32
    assert KEY not in caught.value.problem
    assert "[key]" in caught.value.problem


def test_a_server_that_is_not_there_ends_the_run(tmp_path: Path):
    source = write_samples(tmp_path / "in.json", 2)
    gone = TranslationServer(url="http://127.0.0.1:9/v1")
    began = time.monotonic()
    with pytest.raises(RemoteError, match="cannot connect") as caught:
        run(source, tmp_path / "out", gone)
    assert "run it again" in caught.value.hint
    assert time.monotonic() - began < 10


def test_requests_that_the_service_never_takes_end_the_run_with_its_words(tmp_path: Path):
    class Picky(TranslationServer):
        def special(self, body, headers):
            return 400, {"error": {"message": "temperature is not supported"}}

    source = write_samples(tmp_path / "in.json", 20)
    with Picky() as server, pytest.raises(RemoteError, match="temperature is not supported"):
        run(source, tmp_path / "out", server)


def test_what_the_service_said_about_a_segment_it_did_not_take_is_kept(tmp_path: Path):
    class Picky(TranslationServer):
        def special(self, body, headers):
            return 400, {"error": {"message": "no model 'm' here"}}

    source = write_samples(tmp_path / "in.json", 1)
    with Picky() as server:
        report = run(source, tmp_path / "out", server, languages=("tr",))
    assert report.unanswered == {"400": 2}
    assert "answers 400: no model 'm' here" in report.said


def test_a_text_that_is_always_refused_is_reported_and_left_out(tmp_path: Path):
    class Prudish(TranslationServer):
        def special(self, body, headers):
            if "child" in body["messages"][1]["content"].lower().split():
                choice = {"message": {"content": "", "refusal": "no"}, "finish_reason": "stop"}
                return 200, {"choices": [choice]}
            return None

    source = write_samples(tmp_path / "in.json", 6)
    refused = [n for n in range(12) if "child" in sentence(n).lower().split()]
    with Prudish() as server:
        report = run(source, tmp_path / "out", server, languages=("tr",), steps=("draft",))
    lost = {n // 2 for n in refused}
    assert report.unusable == {"refused": len(refused)}
    assert report.languages["tr"].missing == len(lost) > 0
    assert report.languages["tr"].samples == 6 - len(lost) > 0
    assert not report.complete


def test_a_job_writes_over_nothing_but_translations(tmp_path: Path):
    out = tmp_path / "out"
    out.mkdir()
    english = write_samples(out / "ar.json", 2)
    before = english.read_bytes()
    with TranslationServer() as server:
        with pytest.raises(UsageError, match=r"ar\.json is read, and would be written over"):
            run(english, out, server)
        source = write_samples(tmp_path / "in.json", 2)
        with pytest.raises(UsageError, match=r"ar\.json exists and is no result"):
            run(source, out, server)
        assert server.requests == 0
        assert not (out / "journal.sqlite").exists()
        assert run(source, out, server, languages=("tr",), steps=("draft",)).complete
        with pytest.raises(UsageError, match=r"ar\.json exists"):
            run(source, out, server, steps=("draft",))
    assert english.read_bytes() == before


@pytest.mark.parametrize("on_flag", ["keep", "drop"])
def test_a_sample_that_lost_an_image_placeholder_is_never_kept(tmp_path: Path, on_flag: str):
    class Forgetful(TranslationServer):
        def special(self, body, headers):
            text = reply(body)[1].replace("<image>", "").replace("`x6`", "")
            return 200, {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}

    source = write_samples(tmp_path / "in.json", 5)
    out = tmp_path / "out"
    with Forgetful() as server:
        job = {"languages": ("tr",), "steps": ("draft",), "on_flag": on_flag}
        report = run(source, out, server, **job)
    # Samples 0, 2 and 4 have a placeholder within their question, 3 has code in it.
    part = report.languages["tr"]
    assert (part.flagged, part.dropped) == (4, 3 if on_flag == "keep" else 4)
    assert report.complete
    kept = list(read_samples(out / "tr.json"))
    assert len(kept) == part.samples == 5 - part.dropped
    flagged = (out / "flagged.jsonl").read_text().splitlines()
    assert len(flagged) == 4


def test_broken_samples_are_found_before_anything_is_asked(tmp_path: Path):
    source = tmp_path / "in.json"
    good = json.loads(write_samples(source, 3).read_text())
    source.write_text(json.dumps([*good, {"id": "x", "conversations": []}]))
    with TranslationServer() as server:
        with pytest.raises(UsageError, match="no conversations"):
            run(source, tmp_path / "out", server)
        assert server.requests == 0


def test_half_a_character_is_found_before_anything_is_asked(tmp_path: Path):
    source = tmp_path / "in.json"
    turns = [{"from": "human", "value": "a \ud83d"}, {"from": "gpt", "value": "a car"}]
    source.write_text(json.dumps([{"id": "x", "conversations": turns}]))
    with TranslationServer() as server:
        with pytest.raises(UsageError, match="half a character in a human turn"):
            run(source, tmp_path / "out", server)
        assert server.requests == 0


def test_the_key_is_nowhere_in_what_a_job_leaves(tmp_path: Path, caplog):
    caplog.set_level("DEBUG")
    source = write_samples(tmp_path / "in.json", 5)
    with TranslationServer(faults={"500": 0.3}, keep_bodies=True) as server:
        run(source, tmp_path / "out", server)
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    for path in (tmp_path / "out").iterdir():
        assert KEY.encode() not in path.read_bytes()
    assert KEY not in caplog.text
    assert KEY not in repr(Endpoint(key=KEY))


COMMAND = "from parrot_cli.app import main; main()"


@pytest.mark.parametrize("kilobytes", [40, 300])
def test_a_full_disk_is_one_line_and_the_next_run_goes_on(tmp_path: Path, kilobytes: int):
    source = write_samples(tmp_path / "in.json", 60)
    out = tmp_path / "out"
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({kilobytes * 1024},) * 2)"
    with TranslationServer() as server:
        process = start(source, out, server, code=f"{limit}; {COMMAND}")
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 3
        first, hint = errors.splitlines()[-2:]
        assert first.startswith(("error: cannot write the journal: ", "error: File too large"))
        assert hint.startswith("hint: Check the ")
        assert "Traceback" not in errors
        run(source, out, server)
        run(source, tmp_path / "whole", server)
    assert results(out) == results(tmp_path / "whole")


def start(
    source: Path, out: Path, server: TranslationServer, *, code: str = COMMAND
) -> subprocess.Popen:
    arguments = ["data", "translate", source, "--to", "tr,ar", "--out", out]
    arguments += ["--base-url", server.url]
    arguments += ["--model", "m", "--concurrency", "16", "--price", "1,2", "--timeout", "5"]
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=os.environ | {"OPENAI_API_KEY": KEY},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def answers_kept(out: Path) -> int:
    journal = out / "journal.sqlite"
    if not journal.exists():
        return 0
    with sqlite3.connect(journal) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE name = 'answers'")
        if tables.fetchone() is None:
            return 0
        return connection.execute("SELECT count(*) FROM answers").fetchone()[0]


def test_killed_at_random_moments_a_job_ends_with_the_same_bytes(tmp_path: Path):
    source = write_samples(tmp_path / "in.json", 30)
    with TranslationServer() as server:
        run(source, tmp_path / "whole", server)
    chance = random.Random(5)
    out = tmp_path / "killed"
    with TranslationServer(latency=0.02) as server:
        lost = 0
        for _ in range(3):
            process = start(source, out, server)
            goal = sum(server.answered.values()) + chance.randint(20, 150)
            while sum(server.answered.values()) < goal and process.poll() is None:
                time.sleep(0.005)
            assert process.poll() is None, "it was to be killed before its end"
            process.send_signal(signal.SIGKILL)
            process.communicate()
            time.sleep(0.1)  # what the server had begun ends
            newly_lost = sum(server.answered.values()) - answers_kept(out) - lost
            assert 0 <= newly_lost <= 16
            lost += newly_lost
        process = start(source, out, server)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        assert results(out) == results(tmp_path / "whole")
        repeated = sum(count - 1 for count in server.answered.values())
        assert repeated == lost


def test_ctrl_c_keeps_what_is_under_way_and_exits_with_130(tmp_path: Path):
    source = write_samples(tmp_path / "in.json", 60)
    out = tmp_path / "out"
    with TranslationServer(latency=0.05) as server:
        process = start(source, out, server)
        while sum(server.answered.values()) < 50:
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
        assert process.returncode == 130
        assert re.search(r"^error: stopped with \d+ of 240 segments done$", said, re.MULTILINE)
        assert answers_kept(out) == sum(server.answered.values())


def test_two_jobs_cannot_use_one_journal_at_once(tmp_path: Path):
    source = write_samples(tmp_path / "in.json", 1)
    (tmp_path / "out").mkdir()
    with (
        Journal(tmp_path / "out" / "journal.sqlite"),
        TranslationServer() as server,
        pytest.raises(UsageError, match="another process"),
    ):
        run(source, tmp_path / "out", server)
