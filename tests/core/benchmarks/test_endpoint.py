import base64
import logging

import pytest

from parrot_core.benchmarks import Settings, run
from parrot_core.benchmarks.endpoint import Endpoint, EndpointAnswerer
from parrot_core.benchmarks.judge import Judge
from parrot_core.benchmarks.via_translation import ViaTranslation
from parrot_core.errors import RemoteError, UsageError
from tests.core.benchmarks.servers import service
from tests.core.benchmarks.test_tables import encoded, picture, row, write


def words_of(body):
    content = body["messages"][-1]["content"]
    return content if isinstance(content, str) else content[-1]["text"]


def always(text):
    return lambda _: text


def table(tmp_path, rows=4):
    return write(tmp_path / "t_tr.tsv", [row(index) for index in range(1, rows + 1)])


def answerer(url, **changes):
    endpoint = Endpoint(url=url, model="m", key="secret", first_wait=0.0, **changes)
    return EndpointAnswerer(endpoint=endpoint, concurrency=3)


def test_a_service_is_evaluated_end_to_end(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    with service(always("Cevap: A")) as (url, requests):
        report = run([table(tmp_path)], answerer(url), output=tmp_path / "run")
    assert report.languages["tr"].value == 1.0
    sent = requests[0]["body"]["messages"][0]["content"]
    assert base64.b64decode(sent[0]["image_url"]["url"].split(",")[1]) == picture()
    assert requests[0]["headers"]["Authorization"] == "Bearer secret"
    assert requests[0]["body"]["temperature"] == 0.0
    written = "".join(p.read_text("utf-8") for p in (tmp_path / "run").rglob("*") if p.is_file())
    assert "secret" not in written + caplog.text
    assert "secret" not in repr(answerer(url).endpoint)


def test_a_passing_failure_is_tried_again(tmp_path):
    with service(always("A"), failures=(503, 429)) as (url, requests):
        report = run([table(tmp_path, 1)], answerer(url), output=tmp_path / "run")
    assert len(requests) == 3
    assert report.languages["tr"].n == 1


def test_a_refused_key_is_not_tried_again_and_nothing_is_scored(tmp_path):
    with (
        service(always("A"), failures=(401,) * 9) as (url, requests),
        pytest.raises(RemoteError, match="answered 401") as caught,
    ):
        run([table(tmp_path, 1)], answerer(url), output=tmp_path / "run")
    assert len(requests) == 1
    assert caught.value.exit_code == 4
    assert "--key-variable" in caught.value.hint


def judged_table(tmp_path):
    columns = ("index", "image", "question", "caption", "gpt4_ans", "category")
    rows = [
        (1, encoded(), "What is it?", "A cat on a mat.", "A cat.", "conv"),
        (2, encoded(), "Describe it.", "A cat on a mat.", "A cat lies.", "detail"),
    ]
    return write(tmp_path / "LLaVABench.tsv", rows, columns)


def test_free_answers_are_judged_and_failed_reviews_are_counted_apart(tmp_path):
    def reply(body):
        if "[Assistant 2]" not in words_of(body):
            return "Bu bir kedi."
        return "8 4\nFine." if "What is it?" in words_of(body) else "I cannot say."

    with service(reply) as (url, requests):
        judge = Judge(endpoint=Endpoint(url=url, model="judge-2024-01-01"))
        settings = Settings(judge=judge)
        path = judged_table(tmp_path)
        report = run([path], answerer(url), output=tmp_path / "run", settings=settings)
        asked = len(requests)
        again = run([path], answerer(url), output=tmp_path / "run", settings=settings)
    assert len(requests) == asked  # reviews are kept
    assert again == report
    assert report.pooled.main.n == 1
    assert report.pooled.points["conv/Relative Score (main)"] == 50.0
    assert report.languages["en"].unreadable.value == 0.5
    assert report.scorer == "judge judge-2024-01-01"
    assert any("1 of 2 reviews" in note for note in report.notes)


def test_a_judge_that_is_down_scores_nothing(tmp_path):
    down = Endpoint(url="http://127.0.0.1:9", model="judge", attempts=2, first_wait=0.0)
    with service(always("Bir kedi.")) as (url, _), pytest.raises(RemoteError) as caught:
        run(
            [judged_table(tmp_path)],
            answerer(url),
            output=tmp_path / "run",
            settings=Settings(judge=Judge(endpoint=down)),
        )
    assert caught.value.exit_code == 4
    assert not (tmp_path / "run" / "report.json").exists()


def test_free_answers_without_a_judge_are_refused_before_anything_is_asked(tmp_path):
    with (
        service(always("x")) as (url, requests),
        pytest.raises(UsageError, match="only a judge can rate"),
    ):
        run([judged_table(tmp_path)], answerer(url), output=tmp_path / "run")
    assert requests == []


def test_a_question_goes_to_english_and_its_answer_back(tmp_path):
    class Recorder:
        identity = {"name": "echo", "backend": "none"}  # noqa: RUF012 - a test's constant

        def __init__(self):
            self.calls = []

        def translate(self, texts, *, source, target):
            self.calls.append((source, target, list(texts)))
            return [f"{target}:{text}" for text in texts]

    translator = Recorder()
    with service(always("a small cat")) as (url, requests):
        via = ViaTranslation(answerer=answerer(url), translator=translator)
        report = run([table(tmp_path, 1)], via, output=tmp_path / "run")
    asked = words_of(requests[0]["body"])
    assert "en:What?" in asked
    assert "A. en:cat" in asked
    assert translator.calls[-1] == ("en", "tr", ["a small cat"])
    assert report.model == "m via echo"
