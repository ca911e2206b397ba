import base64
import logging
import socket
import threading
import time

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


def test_a_redirect_does_not_carry_the_key_away(tmp_path):
    with (
        service(always("A")) as (elsewhere, carried),
        service(always("A"), failures=(302,), headers=[("Location", elsewhere)]) as (url, _),
        pytest.raises(RemoteError, match="answered 302") as caught,
    ):
        run([table(tmp_path, 1)], answerer(url), output=tmp_path / "run")
    assert carried == []
    assert elsewhere in caught.value.hint


def test_what_a_service_says_in_place_of_an_answer_is_told_without_the_key(tmp_path):
    said = {"error": {"message": "no model m for\nsecret\x1b[31m"}}
    with (
        service(always(said)) as (url, _),
        pytest.raises(RemoteError, match=r"no chat completion: .*no model m .*\[key\]") as caught,
    ):
        run([table(tmp_path, 1)], answerer(url), output=tmp_path / "run")
    assert "\x1b" not in caught.value.problem


def test_a_question_without_an_answer_in_words_counts_as_unreadable(tmp_path, caplog):
    def reply(body):
        return None if "Which one?" in words_of(body) else "A"

    path = write(tmp_path / "t_tr.tsv", [row(1), row(2, question="Which one?")])
    with service(reply) as (url, _):
        report = run([path], answerer(url), output=tmp_path / "run")
    assert report.languages["tr"].unreadable.value == 0.5
    assert "t_tr/2" in caplog.text


def test_half_a_letter_is_kept_as_a_sign_that_one_is_missing(tmp_path):
    with service(always("A \ud83d")) as (url, _):
        run([table(tmp_path, 1)], answerer(url), output=tmp_path / "run")
    assert "A \ufffd" in (tmp_path / "run" / "answers.jsonl").read_text("utf-8")


@pytest.mark.parametrize(
    "sent", [b"not HTTP\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"]
)
def test_a_broken_connection_is_an_error_of_the_service(tmp_path, sent):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def break_off():
            connection, _ = server.accept()
            with connection:
                connection.recv(1 << 20)
                connection.sendall(sent)

        threading.Thread(target=break_off, daemon=True).start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/v1"
        with pytest.raises(RemoteError, match="cannot reach"):
            run([table(tmp_path, 1)], answerer(url, attempts=1), output=tmp_path / "run")


def test_nobody_waits_for_a_service_that_hangs_once_something_else_went_wrong(tmp_path):
    released = threading.Event()

    def reply(body):
        if "Hang" in words_of(body):
            released.wait(30)
        return {"error": "down"}

    path = write(
        tmp_path / "t_tr.tsv", [row(1, question="What happens here?"), row(2, question="Hang?")]
    )
    begin = time.monotonic()
    with service(reply) as (url, _):
        with pytest.raises(RemoteError):
            run([path], answerer(url), output=tmp_path / "run")
        assert time.monotonic() - begin < 20
        released.set()


@pytest.mark.parametrize(
    "url", ["localhost:80", "http://", "http://[::1/v1", "http://h:99999/v1", "http://a b/v1"]
)
def test_what_is_no_web_address_is_refused_at_once(url):
    with pytest.raises(UsageError, match="not a web address"):
        Endpoint(url=url, model="m")


def test_a_key_that_no_request_can_hold_is_refused_without_being_shown():
    with pytest.raises(UsageError, match="cannot be sent") as caught:
        Endpoint(url="http://localhost/v1", model="m", key="sk-1\nx")
    assert "sk-1" not in caught.value.problem


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
        rated = []
        settings = Settings(judge=judge, on_review=lambda *done: rated.append(done))
        path = judged_table(tmp_path)
        report = run([path], answerer(url), output=tmp_path / "run", settings=settings)
        asked = len(requests)
        again = run([path], answerer(url), output=tmp_path / "run", settings=settings)
    assert len(requests) == asked  # reviews are kept
    assert rated == [(2, 2)]
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
