"""What is measured about translation jobs rather than tested: faults, kills, throughput, memory.

Run with `python tests/benchmarks/translation.py [faults] [kills] [throughput] [memory]`; without
names, all of them. Each prints one JSON line. Everything runs on the loopback interface.
"""

import hashlib
import json
import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from translation_server import FAULTS, TranslationServer, sentence  # noqa: E402

SEGMENTS = 2000
LANGUAGES = "tr,ar"
KILLS = 20


def write_samples(path: Path, segments: int) -> Path:
    with path.open("w") as file:
        for number in range(segments // 2):
            texts = sentence(2 * number), sentence(2 * number + 1)
            record = {
                "id": str(number),
                "image": ["a.png"] * texts[0].count("<image>"),
                "conversations": [
                    {"from": role, "value": text}
                    for role, text in zip(("human", "gpt"), texts, strict=True)
                ],
            }
            file.write(json.dumps(record) + "\n")
    return path


def start(source: Path, out: Path, url: str, *options: str) -> subprocess.Popen:
    code = "from parrot_cli.data import app; import sys; app(sys.argv[1:])"
    command = [sys.executable, "-c", code, "translate", str(source), "--to", LANGUAGES]
    command += ["--out", str(out), "--base-url", url, "--model", "m", "--price", "1,2"]
    return subprocess.Popen(
        # Longer than a busy machine takes: the server counts what it sent, in time or not.
        [*command, "--concurrency", "64", "--timeout", "6", "--json", *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OPENAI_API_KEY": "sk-benchmark", "PYTHONPATH": str(ROOT)},
    )


def finish(process: subprocess.Popen) -> dict:
    output, errors = process.communicate()
    if process.returncode != 0:
        raise SystemExit(f"exit {process.returncode}: {errors}")
    return json.loads(output)


def results(out: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.iterdir())
        if not path.name.startswith("journal")
    }


def answers_kept(out: Path) -> int:
    try:
        with sqlite3.connect(out / "journal.sqlite") as connection:
            return connection.execute("SELECT count(*) FROM answers").fetchone()[0]
    except sqlite3.OperationalError:  # killed before the journal was there
        return 0


def faults(folder: Path) -> dict:
    """All steps, every kind of fault at 2 %: complete, correct, every answered call made once."""
    source = write_samples(folder / "in.jsonl", SEGMENTS)
    with TranslationServer() as server:
        finish(start(source, folder / "calm", server.url))
    with TranslationServer(faults=dict.fromkeys(FAULTS, 0.02), hang_seconds=8) as server:
        began = time.monotonic()
        report = finish(start(source, folder / "stormy", server.url))
        return {
            "benchmark": "faults",
            "complete": report["complete"],
            "flags": {code: part["flags"] for code, part in report["languages"].items()},
            "answers": sum(server.answered.values()),
            "answered twice": sum(count > 1 for count in server.answered.values()),
            "injected": dict(server.injected),
            "same bytes as without faults": results(folder / "stormy") == results(folder / "calm"),
            "seconds": round(time.monotonic() - began, 1),
        }


def kills(folder: Path) -> dict:
    """SIGKILL at random moments: the same bytes, and only answers in flight are asked again."""
    source = write_samples(folder / "in.jsonl", SEGMENTS)
    with TranslationServer() as server:
        finish(start(source, folder / "whole", server.url))
        calls = sum(server.answered.values())
    chance = random.Random(0)
    moments = sorted(chance.sample(range(calls), KILLS))
    out = folder / "killed"
    lost: list[int] = []
    with TranslationServer(latency=0.03) as server:
        for moment in moments:
            process = start(source, out, server.url)
            while sum(server.answered.values()) < moment + sum(lost) and process.poll() is None:
                time.sleep(0.002)
            process.send_signal(signal.SIGKILL)
            process.communicate()
            time.sleep(0.2)
            lost.append(sum(server.answered.values()) - answers_kept(out) - sum(lost))
        finish(start(source, out, server.url))
        repeated = sum(count - 1 for count in server.answered.values())
    return {
        "benchmark": "kills",
        "kills": KILLS,
        "calls": calls,
        "same bytes": results(out) == results(folder / "whole"),
        "in flight at the kills": sum(lost),
        "most at one kill": max(lost),
        "asked again": repeated,
    }


def throughput(folder: Path) -> dict:
    """100 ms of latency, 64 requests at once: the ideal is 640 answers a second.

    The ratio to it is lower where other processes want the cores too; the client's own CPU time a
    request says what a core to itself could do.
    """
    source = write_samples(folder / "in.jsonl", SEGMENTS)
    arguments = [sys.executable, __file__, "serve"]
    with subprocess.Popen(
        arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        url = process.stdout.readline().strip()
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        client = start(source, folder / "out", url)
        report = finish(client)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        process.stdin.close()
        server = json.loads(process.stdout.read())
    run = report["this_run"]
    rate = run["answers"] / run["seconds"]
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "benchmark": "throughput",
        "answers": run["answers"],
        "seconds": run["seconds"],
        "most in flight": server["most in flight"],
        "ratio to the ideal": round(rate / 640, 3),
        "client's CPU over the ideal's time": round(spent / (run["answers"] / 640), 3),
        "server's CPU over the client's": round(server["cpu"] / spent, 3),
        "load of the machine a core": round(os.getloadavg()[0] / (os.cpu_count() or 1), 1),
    }


def serve() -> None:
    """The server of `throughput`, in a process of its own until its input ends."""
    with TranslationServer(latency=0.1) as server:
        sys.stdout.write(server.url + "\n")
        sys.stdout.flush()
        sys.stdin.read()
        usage = resource.getrusage(resource.RUSAGE_SELF)
        most = server.most_in_flight
    report = {"cpu": usage.ru_utime + usage.ru_stime, "most in flight": most}
    sys.stdout.write(json.dumps(report))


def memory(folder: Path) -> dict:
    """Peak memory of jobs of 1,000 and 100,000 segments, drafts only, one language."""
    peaks = {}
    for segments in (1_000, 100_000):
        source = write_samples(folder / f"{segments}.jsonl", segments)
        with TranslationServer() as server:
            process = start(
                source, folder / str(segments), server.url, "--steps", "draft", "--to", "ar"
            )
            process.stdout.read()
            _, _, usage = os.wait4(process.pid, 0)
            peaks[segments] = usage.ru_maxrss // 1024
        shutil.rmtree(folder / str(segments))
    return {"benchmark": "memory", "peak MiB by segments": peaks}


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
    if sys.argv[1:] == ["serve"]:
        serve()
        sys.exit()
    for name in sys.argv[1:] or ("faults", "kills", "throughput", "memory"):
        with tempfile.TemporaryDirectory() as folder:
            result = {
                function.__name__: function for function in (faults, kills, throughput, memory)
            }
            sys.stdout.write(json.dumps(result[name](Path(folder))) + "\n")
            sys.stdout.flush()
