import csv
import json
from pathlib import Path

import pytest

from parrot_core.errors import UsageError
from parrot_core.translation import Limits, Settings, translate
from parrot_core.translation.chat_api import ChatWorker, Endpoint
from parrot_core.translation.exchange import WorkRow, read_rows, write_rows
from parrot_core.translation.prompts import load_prompts
from parrot_core.translation.review import (
    export_work,
    fleiss_kappa,
    import_work,
    open_journal,
    status,
)
from tests.translation_server import TranslationServer

TEXTS = ("The picture shows a big red car.", "What is <image> beside the house?")
REFINERS = ("ayşe", "burak", "cem")
FULL_WIDTH_TEXT = WorkRow(
    row="r1",
    hash="h1",
    language="ar",
    step="refine",
    source='=1+1, "quoted"; <image>\nsecond line',
    texts=("- هذا سطر\nوهذا آخر 😀",),
    answer="'- نعم، هذا أفضل",
    comment="+1",
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.json"
    turns = [{"from": "human", "value": TEXTS[1]}, {"from": "gpt", "value": TEXTS[0]}]
    path.write_text(json.dumps([{"id": "1", "image": "a.png", "conversations": turns}]))
    return path


def run(source: Path, server: TranslationServer, **options):
    settings = {
        "prompts": load_prompts(),
        "model": "m",
        "human": frozenset({"refine", "vote"}),
        "voters": 2,
    }
    return translate(
        source,
        source.parent / "out",
        languages=["tr"],
        worker=ChatWorker(Endpoint(base_url=server.url)),
        settings=Settings(**(settings | options)),
        limits=Limits(concurrency=2),
    )


def fill(path: Path, answers: dict[str, str]) -> None:
    """Writes answers into an exported CSV as a person would, by the source text."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["answer"] = answers.get(row["source"], "")
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def test_people_refine_and_vote_and_the_job_ends_with_their_choice(source: Path, tmp_path: Path):
    out = tmp_path / "out"
    with TranslationServer() as server:
        report = run(source, server)
        assert report.pending == {"refine": 2}
        assert not (out / "tr.json").exists()
        for number, person in enumerate(REFINERS):
            with open_journal(out) as journal:
                path = tmp_path / f"{person}.csv"
                assert export_work(journal, path, step="refine", kind="csv", person=person) == 2
                fill(path, {TEXTS[0]: f"Bu resim {number}.", TEXTS[1]: "="})
                assert import_work(journal, path, person=person).accepted == 2
        report = run(source, server)
        # All three left the question as it was, so only the answer is voted on.
        assert report.pending == {"vote": 1}
        path = tmp_path / "vote.csv"
        for person, choice in (("deniz", 2), ("elif", 2)):
            with open_journal(out) as journal:
                assert export_work(journal, path, step="vote", kind="csv", person="cem") == 0
                assert export_work(journal, path, step="vote", kind="csv", person=person) == 1
                (shown,) = read_rows(path)
                wanted = shown.texts.index(f"Bu resim {choice}.") + 1
                fill(path, {TEXTS[0]: str(wanted)})
                assert import_work(journal, path, person=person).accepted == 1
        requests = server.requests
        report = run(source, server)
        assert report.complete
        assert server.requests == requests
    (record,) = json.loads((out / "tr.json").read_text())
    assert [turn["value"] for turn in record["conversations"]] == [
        "ne şudur <image> yanında bu ev?",
        "Bu resim 2.",
    ]
    assert record["translation"]["steps"]["vote"] == {"by": "people"}
    with open_journal(out) as journal:
        found = status(journal)["tr"]
    assert found["refine"].people == dict.fromkeys(REFINERS, 2)
    assert (found["vote"].settled, found["vote"].agreement) == (1, 1.0)


def test_rows_that_must_not_count_are_refused_by_line(source: Path, tmp_path: Path):
    out = tmp_path / "out"
    with TranslationServer() as server:
        run(source, server)
        first = tmp_path / "a.csv"
        with open_journal(out) as journal:
            export_work(journal, first, step="refine", kind="csv")
            fill(first, {TEXTS[0]: "Bir.", TEXTS[1]: ""})
            report = import_work(journal, first, person="ayşe")
            assert (report.accepted, report.empty) == (1, 1)
            for same in ("ayşe", " Ayşe ", "ays\u0327e"):
                again = import_work(journal, first, person=same)
                assert [refusal.kind for refusal in again.refused] == ["duplicate"]
            lines = first.read_text(encoding="utf-8-sig").splitlines(keepends=True)
            (line,) = (line for line in lines if "Bir." in line)
            row, content, *_ = line.split(",")
            # A spreadsheet takes 12345678901234e5 for a number.
            assert (row[0], content[0]) == ("r", "h")
            doubled = tmp_path / "b.csv"
            doubled.write_text(
                "".join(
                    [
                        lines[0],
                        line,
                        line,
                        line.replace(row, "0" * 16),
                        line.replace(content, "f" * 16),
                    ]
                )
            )
            report = import_work(journal, doubled, person="burak")
        assert [(r.line, r.kind) for r in report.refused] == [
            (3, "duplicate"),
            (4, "foreign"),
            (5, "stale"),
        ]
        assert report.accepted == 1


def test_nobody_votes_on_their_own_version_and_ties_wait_for_one_more(source: Path, tmp_path: Path):
    out = tmp_path / "out"
    with TranslationServer() as server:
        run(source, server, candidates=2)
        path = tmp_path / "w.csv"
        for number, person in enumerate(("ayşe", "burak")):
            with open_journal(out) as journal:
                export_work(journal, path, step="refine", kind="csv", person=person)
                fill(path, {TEXTS[0]: f"Bu {number}.", TEXTS[1]: f"Bu {number} <image>"})
                import_work(journal, path, person=person)
        run(source, server, candidates=2)
        with open_journal(out) as journal:
            export_work(journal, path, step="vote", kind="csv")
            fill(path, dict.fromkeys(TEXTS, "1"))
            own = import_work(journal, path, person="burak")
            assert {refusal.kind for refusal in own.refused} == {"own"}
            assert import_work(journal, path, person="cem").accepted == 2
            fill(path, dict.fromkeys(TEXTS, "2"))
            assert import_work(journal, path, person="deniz").accepted == 2
            assert status(journal)["tr"]["vote"].ties == 2
        assert run(source, server, candidates=2).pending == {"vote": 2}
        with open_journal(out) as journal:
            fill(path, dict.fromkeys(TEXTS, "3"))
            wrong = import_work(journal, path, person="elif")
            assert {refusal.kind for refusal in wrong.refused} == {"unreadable"}
            fill(path, dict.fromkeys(TEXTS, "2"))
            import_work(journal, path, person="elif")
        assert run(source, server, candidates=2).complete


def test_flagged_segments_wait_for_review_and_take_its_words(tmp_path: Path):
    class Forgetful(TranslationServer):
        def special(self, body, headers):
            choice = {"message": {"content": "Bu bir resim."}, "finish_reason": "stop"}
            return 200, {"choices": [choice]}

    source = tmp_path / "in.json"
    turns = [{"from": "human", "value": "See `x = 1` here."}, {"from": "gpt", "value": "42"}]
    source.write_text(json.dumps([{"id": "1", "conversations": turns}]))
    out = tmp_path / "out"
    options = {"steps": ("draft",), "human": frozenset(), "on_flag": "review"}
    with Forgetful() as server:
        report = run(source, server, **options)
        assert report.languages["tr"].waiting == 1
        assert server.requests == 6
        with open_journal(out) as journal:
            path = tmp_path / "r.jsonl"
            assert export_work(journal, path, step="review", kind="jsonl") == 1
            row = json.loads(path.read_text())
            assert "`x = 1`" in row["reason"]
            path.write_text(json.dumps(row | {"answer": "Bkz. `x = 1`."}))
            assert import_work(journal, path, person="ayşe").accepted == 1
        assert run(source, server, **options).complete
        assert server.requests == 6
    (record,) = json.loads((out / "tr.json").read_text())
    assert record["conversations"][0]["value"] == "Bkz. `x = 1`."
    assert record["translation"]["segments"][0]["reviewed_by"] == "ayşe"


def people_draft(source: Path, tmp_path: Path) -> Path:
    """Puts both texts before people who translate; returns the exported CSV."""
    table = tmp_path / "draft.csv"
    with TranslationServer() as server:
        run(source, server, steps=("draft",), human=frozenset({"draft"}))
    with open_journal(tmp_path / "out") as journal:
        assert export_work(journal, table, step="draft", kind="csv") == 2
    return table


def change(path: Path, **cells: dict[str, str] | str) -> None:
    """Writes cells of an exported CSV: a text for every row, or one by the source text."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        source = row["source"]
        for name, texts in cells.items():
            row[name] = texts if isinstance(texts, str) else texts[source]
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


GOOD = {TEXTS[0]: "Bir resim.", TEXTS[1]: "Ne <image> var?"}


@pytest.mark.parametrize(
    ("cells", "kinds", "words"),
    [
        (
            {"source": {TEXTS[0]: TEXTS[1], TEXTS[1]: TEXTS[0]}},
            ["changed"] * 2,
            "a column sorted",
        ),
        ({"translation": "Bir.", "answer": ""}, ["changed"] * 2, "goes to `answer`"),
        ({"answer": "#NAME?"}, ["unreadable"] * 2, "for a formula: '#NAME?'"),
        ({"answer": "Err:509"}, ["unreadable"] * 2, "for a formula"),
        ({"answer": "?"}, ["unreadable"] * 2, "'?' is no text"),
        ({"answer": "A?a? ye?il"}, ["unreadable"] * 2, 'letters have become "?"'),
        ({"answer": GOOD | {TEXTS[1]: "Ne var?"}}, ["placeholder"], "0 <image> in the answer, 1"),
        ({"answer": "＝"}, ["unreadable"] * 2, "could stay as it is"),
        ({"source": "", "comment": "a column was emptied"}, [], ""),
        ({"source": {text: f" {text}\r\n" for text in TEXTS}}, [], ""),
    ],
)
def test_rows_that_a_spreadsheet_or_a_hasty_hand_spoiled_are_refused(
    source: Path, tmp_path: Path, cells: dict, kinds: list[str], words: str
):
    table = people_draft(source, tmp_path)
    change(table, **({"answer": GOOD} | cells))
    with open_journal(tmp_path / "out") as journal:
        report = import_work(journal, table, person="ayşe")
        assert [refusal.kind for refusal in report.refused] == kinds
        assert all(words in refusal.message for refusal in report.refused)
        assert report.accepted == 2 - len(kinds)


def test_who_was_mistaken_may_replace_what_they_did(source: Path, tmp_path: Path):
    table = people_draft(source, tmp_path)
    with open_journal(tmp_path / "out") as journal:
        for text in ("Yanlış.", "Doğru."):
            change(table, answer=GOOD | {TEXTS[0]: text})
            report = import_work(journal, table, person="ayşe", replace=text == "Doğru.")
            assert report.accepted == 2
        (refused, _) = import_work(journal, table, person="burak", replace=True).refused
        assert refused.kind == "settled"
        import_work(journal, table, person="Ayşe", replace=True)
        assert status(journal)["tr"]["draft"].people == {"ayşe": 2}
    with TranslationServer() as server:
        run(source, server, steps=("draft",), human=frozenset({"draft"}))
    (record,) = json.loads((tmp_path / "out" / "tr.json").read_text())
    assert record["conversations"][1]["value"] == "Doğru."


def test_an_export_writes_over_no_answers_and_no_other_file(source: Path, tmp_path: Path):
    table = people_draft(source, tmp_path)
    change(table, answer=GOOD)
    out = tmp_path / "out"
    with open_journal(out) as journal:
        with pytest.raises(UsageError, match="2 answers that were not taken"):
            export_work(journal, table, step="draft", kind="csv")
        import_work(journal, table, person="ayşe")
        assert export_work(journal, table, step="draft", kind="csv") == 0
        for other in (out / "journal.sqlite", source, out):
            with pytest.raises(UsageError, match="is no table of work"):
                export_work(journal, other, step="draft", kind="csv")


def test_a_reviewers_new_fault_is_reviewed_until_somebody_lets_it_be(tmp_path: Path):
    class Forgetful(TranslationServer):
        def special(self, body, headers):
            choice = {"message": {"content": "Bu bir resim."}, "finish_reason": "stop"}
            return 200, {"choices": [choice]}

    source = tmp_path / "in.json"
    turns = [{"from": "human", "value": "See `x = 1` and 7 more here."}]
    source.write_text(json.dumps([{"id": "1", "conversations": turns}]))
    out, path = tmp_path / "out", tmp_path / "r.jsonl"
    options = {"steps": ("draft",), "human": frozenset(), "on_flag": "review"}

    def review(answer: str) -> str:
        """Hands in an answer, and returns what it was asked for."""
        with open_journal(out) as journal:
            assert export_work(journal, path, step="review", kind="jsonl") == 1
            row = json.loads(path.read_text())
            path.write_text(json.dumps(row | {"answer": answer}))
            assert import_work(journal, path, person="ayşe").accepted == 1
        return row["reason"]

    with Forgetful() as server:
        run(source, server, **options)
        reason = review("`x = 1` ile `y` de burada, 7 tane.")
        assert "`x = 1`" in reason
        report = run(source, server, **options)
        assert report.languages["tr"].waiting == 1
        assert report.languages["tr"].flags == {"protected": 1}
        assert review("=") == "protected: '`y`' was added"
        assert run(source, server, **options).complete
    (record,) = json.loads((out / "tr.json").read_text())
    assert record["conversations"][0]["value"] == "`x = 1` ile `y` de burada, 7 tane."
    assert record["translation"]["segments"][0]["flags"] == []


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_what_is_written_comes_back(tmp_path: Path, kind: str):
    path = tmp_path / f"rows.{kind}"
    vote = WorkRow(
        row="r2", hash="h2", language="ar", step="vote", source="s", texts=("a", "b"), answer="2"
    )
    write_rows([FULL_WIDTH_TEXT, vote], path, kind=kind, source_language="en")
    first, second = read_rows(path)
    for field in ("row", "hash", "language", "step", "source", "texts", "answer", "comment"):
        assert getattr(first, field) == getattr(FULL_WIDTH_TEXT, field)
    assert (second.texts, second.answer) == (("a", "b"), "2")


def test_csv_opens_in_excel_and_is_no_formula(tmp_path: Path):
    path = tmp_path / "rows.csv"
    write_rows([FULL_WIDTH_TEXT], path, kind="csv", source_language="en")
    data = path.read_bytes()
    assert data.startswith(b"\xef\xbb\xbf")
    assert b",'-" in data or b"\"'-" in data
    # Saved by Excel where lists are separated by semicolons, or as its "Unicode text".
    text = data.decode("utf-8-sig")
    cells = list(csv.reader(text.splitlines(keepends=True)))
    for delimiter, encoding in ((";", "utf-8-sig"), ("\t", "utf-16")):
        with path.open("w", encoding=encoding, newline="") as file:
            csv.writer(file, delimiter=delimiter).writerows(cells)
        assert read_rows(path)[0].answer == FULL_WIDTH_TEXT.answer


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_empty_rows_added_columns_and_any_line_ends_are_no_matter(tmp_path: Path, end: str):
    path = tmp_path / "rows.csv"
    rows = [
        "note, row,hash,language,step,source,translation,answer,comment,reason,",
        "",
        ",,,,,,,,,,",
        'x,r1,h1,tr,draft,"two\nlines, one",,a,,,',
        "y,r2,h2",
    ]
    path.write_text(end.join(rows), newline="")
    first, second = read_rows(path)
    assert (first.row, first.answer, first.source) == ("r1", "a", "two\nlines, one")
    assert (first.line, second.line) == (4, 6)
    assert (second.row, second.answer) == ("r2", "")


def test_an_answer_in_a_json_line_is_a_text_or_a_whole_number(tmp_path: Path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"row": "r1", "hash": "h1", "answer": 2.0}')  # as data frames write it
    assert read_rows(path)[0].answer == "2"
    for answer in ('["a"]', "true", "NaN", "2.5"):
        path.write_text(f'{{"row": "r1", "hash": "h1", "answer": {answer}}}')
        with pytest.raises(UsageError, match=r":1: answer is .*, not a text"):
            read_rows(path)


def test_an_xliff_unit_without_a_state_is_not_said_to_be_worked_on(tmp_path: Path):
    path = tmp_path / "rows.xliff"
    row = WorkRow(row="r", hash="h", language="tr", step="refine", source="s", texts=("bir",))
    write_rows([row], path, kind="xliff", source_language="en")
    text = path.read_text()
    path.write_text(text.replace(' state="needs-review-translation"', ""))
    assert read_rows(path)[0].answer == "\0bir"
    path.write_text(text.replace("needs-review-translation", "translated"))
    assert read_rows(path)[0].answer == "bir"


def test_xliff_is_what_translation_tools_read_and_write(tmp_path: Path):
    xliff = pytest.importorskip("translate.storage.xliff")
    path = tmp_path / "rows.xliff"
    untouched = WorkRow(
        row="r2", hash="h2", language="ar", step="refine", source="same", texts=("كما هو",)
    )
    write_rows([FULL_WIDTH_TEXT, untouched], path, kind="xliff", source_language="en")
    store = xliff.xlifffile.parsefile(str(path))
    first, second = store.units
    assert store.gettargetlanguage() == "ar"
    assert (first.source, first.target) == (FULL_WIDTH_TEXT.source, FULL_WIDTH_TEXT.texts[0])
    first.target = "نص <image> جديد"
    first.markapproved()
    store.save()
    back = read_rows(path)
    assert (back[0].row, back[0].hash, back[0].answer) == ("r1", "h1", "نص <image> جديد")
    assert back[1].answer == "\0كما هو"  # not said to be worked on
    assert second.target == "كما هو"
    lines = path.read_text().splitlines()
    for row in back:
        assert f'<trans-unit id="{row.row}.{row.hash}"' in lines[row.line - 1].replace(
            ' xml:space="preserve"', ""
        )


def test_xliff_refuses_votes_several_languages_and_document_types(tmp_path: Path):
    vote = WorkRow(row="r", hash="h", language="ar", step="vote", source="s", texts=("a", "b"))
    path = tmp_path / "x.xliff"
    with pytest.raises(UsageError, match="no place for votes"):
        write_rows([vote], path, kind="xliff", source_language="en")
    other = WorkRow(row="r", hash="h", language="tr", step="refine", source="s", texts=("a",))
    with pytest.raises(UsageError, match="one language"):
        write_rows([other, FULL_WIDTH_TEXT], path, kind="xliff", source_language="en")
    path.write_text('<!DOCTYPE x [<!ENTITY a "b">]><xliff/>')
    with pytest.raises(UsageError, match="document type"):
        read_rows(path)


def test_fleiss_kappa_is_the_published_one():
    # The worked example of Fleiss (1971): 10 items, 14 raters, 5 categories.
    counts = [
        [0, 0, 0, 0, 14],
        [0, 2, 6, 4, 2],
        [0, 0, 3, 5, 6],
        [0, 3, 9, 2, 0],
        [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0],
        [3, 2, 6, 3, 0],
        [2, 5, 3, 2, 2],
        [6, 5, 2, 1, 0],
        [0, 2, 2, 3, 7],
    ]
    observed, kappa = fleiss_kappa(counts)
    assert observed == pytest.approx(0.378, abs=5e-4)
    assert kappa == pytest.approx(0.210, abs=5e-4)


def test_fleiss_kappa_is_one_for_agreement_and_open_where_it_says_nothing():
    assert fleiss_kappa([[2, 0], [0, 2]]) == (1.0, 1.0)
    assert fleiss_kappa([[2, 0], [2, 0]]) == (1.0, None)
    assert fleiss_kappa([[1, 0]]) == (None, None)
