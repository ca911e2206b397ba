"""Speed of the evaluation, as ratios within one run: `python tests/benchmarks/evaluation.py`.

Everything is generated. Seconds are of this process's CPU, except where two ways of running a
model are set against each other. With `--small` every size is a tenth.
"""

import argparse
import base64
import io
import random
import resource
import subprocess
import sys
import tempfile
import time
import types
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from PIL import Image  # noqa: E402 - after the path is set

from parrot_core.benchmarks.forms import score  # noqa: E402
from parrot_core.benchmarks.scoring import grade  # noqa: E402
from parrot_core.benchmarks.tables import read_questions  # noqa: E402

# What VLMEvalKit of August 2026 took for the same work on two cores of a shared Xeon.
TOOLKIT_SCORING_SECONDS = 20.7
TOOLKIT_LOADING_MEGABYTES = 2215

LANGUAGES = {
    "en": (("cat", "dog", "bird", "cow"), ("{x}", "The answer is {x}.", "It is a {t}.")),
    "cn": (("灰色的", "黑色的", "棕色的", "白色的"), ("{x}", "答案是{x}。", "长凳是{t}")),
    "pt": (("gato", "cachorro", "pássaro", "vaca"), ("{x}", "A resposta é {x}", "É um {t}.")),
    "ar": (("قطة", "كلب", "طائر", "بقرة"), ("{x}", "الإجابة هي {x}", "هذا {t}")),
    "tr": (("kedi", "köpek", "kuş", "inek"), ("{x}", "Doğru cevap {x}.", "Bu bir {t}.")),
    "ru": (("кошка", "собака", "птица", "корова"), ("{x}", "Ответ: {x}", "Это {t}.")),
}
CATEGORIES = ("Attributes", "Color", "Count", "Geography", "Maps")


def write_mmmb(folder: Path, rows: int, draw: random.Random) -> dict[str, list[str]]:
    """Writes a table a language without pictures; returns an answer for each row."""
    answers = {}
    for code, (texts, wordings) in LANGUAGES.items():
        lines, said = ["index\tquestion\tA\tB\tC\tD\tanswer\tcategory\tsplit"], []
        for index in range(rows):
            order = draw.sample(texts, 4)
            right, chosen = draw.randrange(4), draw.randrange(4)
            explained = f" ({index})" if draw.random() < 0.2 else ""
            wording = draw.choice(wordings)
            said.append(wording.format(x="ABCD"[chosen], t=order[chosen]) + explained)
            cells = (str(index), f"Question {index}?", *order, "ABCD"[right])
            lines.append("\t".join((*cells, draw.choice(CATEGORIES), "dev")))
        path = folder / f"MMMB_{code}.tsv"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        answers[code] = said
    return answers


def scoring_seconds(folder: Path, answers: dict[str, list[str]], scorer: str) -> float:
    """Returns CPU seconds from table files to figures, six languages."""
    begin = time.process_time()
    for code, said in answers.items():
        questions = read_questions(folder / f"MMMB_{code}.tsv", with_pictures=False)
        predictions = {q.key: text for q, text in zip(questions, said, strict=True)}
        graded = grade(questions, predictions, scorer=scorer)
        score("multiple choice", graded, questions, scorer=scorer)
    return time.process_time() - begin


def write_large(path: Path, rows: int, bytes_each: int) -> None:
    """Writes a table of incompressible pictures of about `bytes_each` in base64."""
    buffer = io.BytesIO()
    Image.effect_noise((8, 8), 50).save(buffer, "PNG")
    head, end, draw = buffer.getvalue()[:-12], buffer.getvalue()[-12:], random.Random(0)
    with path.open("wb") as file:
        file.write(b"index\timage\tquestion\tA\tB\tanswer\n")
        for index in range(rows):
            cell = base64.b64encode(head + draw.randbytes(bytes_each * 3 // 4) + end)
            file.write(b"%d\t%s\tWhat?\tcat\tdog\tA\n" % (index, cell))


LOADING = """
import resource, sys, time
from pathlib import Path
from parrot_core.benchmarks.tables import read_questions
base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
begin = time.process_time()
questions = read_questions(Path(sys.argv[1]))
questions[-1].images[0].load()
seconds = time.process_time() - begin
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, seconds, len(questions))
"""


def loading(path: Path) -> tuple[float, float]:
    """Returns the peak memory (MB, the whole process) and CPU seconds of reading a table."""
    command = [sys.executable, "-c", LOADING, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    megabytes, seconds, _ = done.stdout.split()
    return float(megabytes), float(seconds)


def batched_seconds(folder: Path, rows: int, batch_size: int) -> float:
    """Returns the wall seconds in which a small model answers, `batch_size` at once."""
    from parrot_core.benchmarks import run
    from parrot_core.benchmarks.models import load_transformers_model

    # A dependency installs a package `tests` of its own, which would be found before ours.
    sys.modules["tests"] = ours = types.ModuleType("tests")
    ours.__path__ = [str(ROOT / "tests")]
    from tests.core.benchmarks.test_models import tiny_llava
    from tests.core.benchmarks.test_tables import encoded, write

    model = folder / "model"
    if not model.exists():
        tiny_llava(model)
    columns = ("index", "image", "question", "A", "B", "answer")
    words = [(i, encoded(), "What is this?" * (i % 5 + 1), "cat", "dog", "A") for i in range(rows)]
    path = write(folder / "small_en.tsv", words, columns)
    answerer = load_transformers_model(str(model), batch_size=batch_size, max_new_tokens=8)
    begin = time.perf_counter()
    run([path], answerer, output=folder / f"batch-{batch_size}")
    return time.perf_counter() - begin


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="a tenth of every size")
    parser.add_argument("--skip-models", action="store_true", help="no torch")
    options = parser.parse_args()
    part = 10 if options.small else 1
    out = sys.stdout.write
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = 2000 // part
        answers = write_mmmb(folder, rows, random.Random(1))
        for scorer in ("multilingual", "vlmevalkit"):
            seconds = scoring_seconds(folder, answers, scorer)
            ratio = TOOLKIT_SCORING_SECONDS / part / seconds
            out(
                f"scoring {6 * rows:,} MMMB rows, {scorer}: {seconds:.2f} s, {ratio:.0f} x faster\n"
            )
        large = folder / "large.tsv"
        write_large(large, 12_000 // part, 41_000)
        megabytes, seconds = loading(large)
        size = large.stat().st_size / 1e6
        ratio = TOOLKIT_LOADING_MEGABYTES / part / megabytes
        out(
            f"loading a table of {size:.0f} MB: {megabytes:.0f} MB at its peak, "
            f"{ratio:.0f} x less; {seconds:.1f} s\n"
        )
        if not options.skip_models:
            count = 500 // part
            one, eight = (batched_seconds(folder, count, size) for size in (1, 8))
            out(f"{count} questions, tiny model: {one:.1f} s by one, {eight:.1f} s by eight, ")
            out(f"{one / eight:.1f} x faster\n")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    out(f"peak memory of this process: {peak:.0f} MB\n")


if __name__ == "__main__":
    main()
