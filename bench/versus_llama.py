#!/usr/bin/env python3
"""The measurements of bench/versus_llama.sh, which prepares both programs. One group of rows shares its runs: for each
round facet runs, then the peer, so that a neighbour disturbs both. Rows are tokens/s, but for "load": seconds until the
first token of a short prompt, file in the page cache.

The peer's settings (flash attention, repacking, threads) are chosen once a file by a short probe, for reading and for
writing apart: it is given its best. llama-bench reads a prompt twice unless told otherwise, which long rows cannot
afford: there neither engine warms up, and the time of reading is that between two of the peer's progress messages.
"""
import argparse
import csv
import datetime
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
CACHE = pathlib.Path(os.environ.get("FACET_CACHE") or pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "facet") / "bench"
FACET, PEER = os.environ.get("FACET_PROGRAM", "facet"), pathlib.Path(os.environ.get("PEER", "."))
GENERATOR = pathlib.Path(os.environ.get("FACET_GENERATOR", ROOT / "tools/reference/synthetic_gguf.py"))
VOCABULARY = pathlib.Path(os.environ.get("FACET_VOCABULARY", PEER / "../../models/ggml-vocab-gemma-4.gguf"))
GIB = 1 << 30

# shape and recipe of the generator, size; the default model is no file of the generator.
FILES = {
    "e2b-q4_0": ("e2b", "q4_0", 3.4 * GIB),
    "gemma-3-270m-q4_k_m": None,
    "e2b-q8_0": ("e2b", "q8_0", 4.8 * GIB),
    "e2b-q4_k_m": ("e2b", "q4_k_m", 3.4 * GIB),
    "e4b-q4_0": ("e4b", "q4_0", 5.5 * GIB),
    "26b-a4b-q4_0": ("26b", "q4_0", 14.0 * GIB),
}
QUICK = ("e2b-q4_0", "gemma-3-270m-q4_k_m")

# Groups of rows that share their runs, most telling first. Rounds: how often each engine runs.
SHORT = ("pp512", "pp512-no-skip", "tg32")
GROUPS = [
    *[(file, "short", (*SHORT, "pp256") if file.startswith("26b") else SHORT, 3) for file in FILES],
    ("e2b-q4_0", "load", ("load",), 3),
    ("gemma-3-270m-q4_k_m", "load", ("load",), 3),
    ("e2b-q4_0", "parallel", ("tg32 x 4", "tg32 x 8"), 3),
    ("26b-a4b-q4_0", "parallel", ("tg32 x 4", "tg32 x 8"), 1),
    ("gemma-3-270m-q4_k_m", "deep", ("pp8192", "tg32 @ d8192"), 3),
    ("e2b-q4_0", "deep", ("pp8192", "tg32 @ d8192"), 2),
    ("e2b-q4_0", "deeper", ("pp32768", "tg16 @ d32768"), 1),
]
DEPTH = {"deep": (8192, 32), "deeper": (32768, 16)}

COLUMNS = ("row", "unit", "rounds", "ours", "ours_min", "ours_max", "theirs", "theirs_min", "theirs_max", "ratio", "ratio_min", "ratio_max",
           "bound", "bound_by", "read_gb_per_s", "int8_gops", "their_settings", "isa", "threads", "processor", "commit", "peer", "date")


def say(text):
    print(f"{datetime.datetime.now():%H:%M:%S} {text}", file=sys.stderr, flush=True)


def output_of(command):
    run = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if run.returncode != 0:
        sys.exit(f"versus_llama: {' '.join(map(str, command))}\nfailed with status {run.returncode}:\n{run.stderr[-2000:]}")
    return run.stdout


# --- files -----------------------------------------------------------------------------------------------------------


def path_of(name, given):
    """Where the file is; made or fetched when needed. None: cannot be had here."""
    if name in given:
        return given[name]
    if FILES[name] is None:
        return pathlib.Path(output_of([ROOT / "tools/fetch_default_model"]).strip())
    shape, recipe, size = FILES[name]
    path = CACHE / f"random-{name}.gguf"
    if path.exists():
        return path
    for needed in (GENERATOR, VOCABULARY):
        if not needed.exists():
            say(f"{name}: {needed} is not there; left out (--file {name}=FILE would name one)")
            return None
    CACHE.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(CACHE).free
    if free < size + 2 * GIB:
        say(f"{name}: {CACHE} has {free / GIB:.1f} GiB left, {size / GIB + 2:.1f} GiB are needed; left out")
        return None
    say(f"writing {path}")
    part = path.with_suffix(".part")
    output_of([python_with_numpy(), GENERATOR, "--shape", shape, "--recipe", recipe, "--vocab", VOCABULARY, part])
    part.rename(path)
    return path


def python_with_numpy():
    """This interpreter, or one in the cache that numpy is installed for."""
    own = CACHE / "python/bin/python"
    for python in (sys.executable, own):
        if python == own and not own.exists():
            say("installing numpy for the generator")
            output_of([sys.executable, "-m", "venv", CACHE / "python"])
            output_of([own, "-m", "pip", "install", "-q", "numpy"])
        if subprocess.run([python, "-c", "import numpy"], stderr=subprocess.DEVNULL).returncode == 0:
            return python
    sys.exit(f"versus_llama: {own} has no numpy; remove {CACHE / 'python'} and try again")


# --- the engines -----------------------------------------------------------------------------------------------------


def facet_bench(path, *options):
    """Rows of `facet bench` by the name of the test."""
    lines = output_of([FACET, "bench", path, "-r", 1, "-o", "jsonl", *options]).splitlines()
    return {row["test"]: row for row in map(json.loads, lines)}


class Settings:
    """How the peer runs."""

    def __init__(self, flash, repack, threads):
        self.flash, self.repack, self.threads = flash, repack, threads

    def for_bench(self):  # llama-bench has no flag for repacking; weights that a buffer is named for are not repacked
        return ["-fa", self.flash, "-t", self.threads, *([] if self.repack else ["-ot", ".*=CPU"])]

    def for_others(self):
        return ["-fa", "on" if self.flash else "off", "-t", self.threads, *([] if self.repack else ["--no-repack"])]

    def __str__(self):
        return f"-fa {self.flash} -t {self.threads}{'' if self.repack else ', not repacked'}"


def peer_bench(path, settings, *options):
    """tokens/s of llama-bench, one for each test in order."""
    lines = output_of([PEER / "llama-bench", "-m", path, "-r", 1, "-o", "jsonl", *settings.for_bench(), *options]).splitlines()
    return [row["avg_ts"] for row in map(json.loads, lines)]


def peer_deep(path, settings, depth, tokens):
    """tokens/s of reading the depth, and of writing behind it: one run, timed by its progress messages."""
    command = [PEER / "llama-bench", "-m", path, "-r", 1, "-o", "jsonl", "--progress", "--no-warmup", *settings.for_bench(), "-p", 0, "-n", tokens, "-d", depth]
    process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    begun = ended = None
    for line in process.stderr:
        if "depth run" in line:
            begun = time.monotonic()
        if "generation run" in line:
            ended = time.monotonic()
    out = process.stdout.read()
    if process.wait() != 0 or begun is None or ended is None:
        sys.exit(f"versus_llama: {' '.join(map(str, command))} failed")
    return depth / (ended - begun), json.loads(out.splitlines()[-1])["avg_ts"]


def seconds_of(command):
    start = time.monotonic()
    output_of(command)
    return time.monotonic() - start


def calibrate(name, path, again):
    """The peer's best settings for reading and for writing."""
    store = CACHE / "calibration.json"
    known = json.loads(store.read_text()) if store.exists() else {}
    key = f"{name} {path.stat().st_size} {PEER}"
    if again or key not in known:
        say(f"{name}: looking for the peer's best settings")
        threads = sorted({1, os.cpu_count() // 2 or 1, os.cpu_count()})
        best = {}
        for repack in (True, False):
            listed = Settings("0,1", repack, ",".join(map(str, threads)))
            lines = output_of([PEER / "llama-bench", "-m", path, "-r", 2, "-o", "jsonl", *listed.for_bench(), "-p", 64, "-n", 6]).splitlines()
            for row in map(json.loads, lines):
                kind = "read" if row["n_prompt"] else "write"
                speed = max(row["samples_ts"])
                if speed > best.get(kind, [0])[0]:
                    best[kind] = [speed, int(row["flash_attn"]), repack, row["n_threads"]]
        known[key] = best
        CACHE.mkdir(parents=True, exist_ok=True)
        store.write_text(json.dumps(known, indent=1))
    return {kind: Settings(*values[1:]) for kind, values in known[key].items()}


# --- groups ----------------------------------------------------------------------------------------------------------


def run_short(path, settings, rows):
    def lengths(pattern):  # that rows of this form name
        return sorted({match[1] for match in (re.fullmatch(pattern, row) for row in rows) if match}, key=int)

    reading, everything, writing = lengths(r"pp(\d+)"), lengths(r"pp(\d+)-no-skip"), lengths(r"tg(\d+)")
    ours, theirs = {}, {}
    if reading or writing:
        ours |= facet_bench(path, "-p", ",".join(reading) or 0, "-n", ",".join(writing) or 0)
    if everything:
        done = facet_bench(path, "-p", ",".join(everything), "-n", 0, "--no-skip")
        ours |= {f"{test}-no-skip": row for test, row in done.items()}
    for length in sorted({*reading, *everything}, key=int):
        speed = peer_bench(path, settings["read"], "-p", length, "-n", 0)[0]
        theirs |= dict.fromkeys((f"pp{length}", f"pp{length}-no-skip"), (speed, settings["read"]))
    for length in writing:
        theirs[f"tg{length}"] = (peer_bench(path, settings["write"], "-p", 0, "-n", length)[0], settings["write"])
    return ours, theirs


def run_parallel(path, settings, rows):
    counts = [int(row.split(" x ")[1]) for row in rows]
    listed = ",".join(map(str, counts))
    ours = facet_bench(path, "-p", 0, "-n", 32, "--parallel", listed)
    room = max(counts) * (16 + 32)
    lines = output_of([PEER / "llama-batched-bench", "-m", path, "-c", room, "-npp", 16, "-ntg", 32, "-npl", listed, "--output-format", "jsonl",
                       *settings["write"].for_others()]).splitlines()
    speeds = {f"tg32 x {row['pl']}": row["speed_tg"] for row in (json.loads(line) for line in lines if line.startswith("{"))}
    return ours, {row: (speeds[row], settings["write"]) for row in rows}


def run_deep(group, path, settings, rows):
    depth, tokens = DEPTH[group]
    read, write = f"pp{depth}", f"tg{tokens} @ d{depth}"
    ours = facet_bench(path, "--no-warmup", "-p", depth, "-n", 0) if read in rows else {}
    if write in rows:
        ours.update(facet_bench(path, "--no-warmup", "-p", 0, "-n", tokens, "-d", depth))
    speeds = peer_deep(path, settings["read"], depth, tokens)
    return ours, {read: (speeds[0], settings["read"]), write: (speeds[1], settings["read"])}


def run_load(path, settings, _):
    ours = seconds_of([FACET, "run", path, "--raw", "-p", "The", "-n", 1, "--temp", 0, "-c", 512])
    theirs = seconds_of([PEER / "llama-completion", "-m", path, "-p", "The", "-n", 1, "--temp", 0, "-c", 512, "--no-warmup", "-no-cnv", *settings["write"].for_others()])
    return {"load": ours}, {"load": (theirs, settings["write"])}


def run_round(group, path, settings, rows):
    if group in DEPTH:
        return run_deep(group, path, settings, rows)
    return {"short": run_short, "parallel": run_parallel, "load": run_load}[group](path, settings, rows)


def summary(file, row, pairs, about):
    """One line of the result: pairs of (ours, theirs, settings), a pair a round."""
    unit = "s" if row == "load" else "tokens/s"
    value = (lambda ours: ours) if row == "load" else (lambda ours: ours["tokens_per_s"])
    ours, theirs = [value(pair[0]) for pair in pairs], [pair[1] for pair in pairs]
    ratios = [b / a if row == "load" else a / b for a, b in zip(ours, theirs)]  # above 1: facet is faster
    line = {"row": f"{file}/{row}", "unit": unit, "rounds": len(pairs), "their_settings": str(pairs[0][2]), "date": f"{datetime.date.today()}", **about}
    for name, values in (("ours", ours), ("theirs", theirs), ("ratio", ratios)):
        line[name], line[name + "_min"], line[name + "_max"] = (f"{f(values):.4g}" for f in (statistics.median, min, max))
    if row != "load":
        runs = [pair[0] for pair in pairs]
        middle = lambda key: statistics.median(run[key] for run in runs)
        bounds = {"memory": middle("bound_by_memory"), "int8": middle("bound_by_arithmetic")}
        line["bound_by"] = min(bounds, key=bounds.get)
        line["bound"] = f"{bounds[line['bound_by']]:.4g}"
        line["read_gb_per_s"], line["int8_gops"] = f"{middle('machine_read_gb_per_s'):.1f}", f"{middle('machine_int8_gops'):.0f}"
        line["isa"], line["threads"] = runs[0]["isa"], runs[0]["threads"]
    return line


# --- the whole -------------------------------------------------------------------------------------------------------


def about_this():
    def git(*words):
        return subprocess.run(["git", "-C", ROOT, *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout.strip()

    processor = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    commit = git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no", "--", "src", "include", "cmake", "CMakeLists.txt") else "")
    return {"processor": processor[1] if processor else "unknown", "commit": commit or "unknown", "peer": "llama.cpp v0.5.0"}


def read_results(path):
    if not path.exists():
        return {}
    with open(path, newline="") as file:
        return {line["row"]: line for line in csv.DictReader(file)}


def write_results(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    order = [f"{file}/{row}" for file, _, rows, _ in GROUPS for row in rows]
    with open(path.with_suffix(".part"), "w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(lines.values(), key=lambda line: order.index(line["row"]) if line["row"] in order else len(order)))
    path.with_suffix(".part").rename(path)


def seconds_needed(file, group, rounds, lines):
    """How long a deep group will take, from the peer's speed at a shorter prompt; reading slows down with depth."""
    known = [float(lines[f"{file}/{row}"]["theirs"]) for row in ("pp8192", "pp512") if f"{file}/{row}" in lines]
    if group not in DEPTH or not known:
        return 0
    return rounds * DEPTH[group][0] / (known[0] * 0.6)


def selected(options):
    for file, group, rows, rounds in GROUPS:
        if options.quick and (file not in QUICK or group != "short"):
            continue
        rows = [row for row in rows if re.search(options.only, f"{file}/{row}")]
        if rows:
            yield file, group, rows, options.rounds or rounds


def measure(file, group, rows, rounds, options, given, lines, about):
    path = path_of(file, given)
    if path is None:
        return
    settings = calibrate(file, path, options.calibrate)
    pairs = {row: [] for row in rows}
    for number in range(rounds):
        ours, theirs = run_round(group, path, settings, rows)
        for row in rows:
            pairs[row].append((ours[row], *theirs[row]))
        said = (summary(file, row, pairs[row][-1:], about) for row in rows)
        say(f"{file}, round {number + 1} of {rounds}: " + ", ".join(f"{line['row'].split('/')[1]} {line['ours']} : {line['theirs']} {line['unit']}" for line in said))
    for row in rows:
        lines[f"{file}/{row}"] = summary(file, row, pairs[row], about)
    write_results(options.out, lines)


def main():
    about = about_this()
    arguments = argparse.ArgumentParser(prog="bench/versus_llama.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--quick", action="store_true", help="two files, short tests")
    arguments.add_argument("--only", default="", metavar="REGEX", help="rows whose name matches")
    arguments.add_argument("--list", action="store_true", help="print the names of the rows")
    arguments.add_argument("--file", action="append", default=[], metavar="NAME=PATH", help="use this file for rows of NAME")
    arguments.add_argument("--rounds", type=int, default=0, help="instead of each group's own number")
    arguments.add_argument("--minutes", type=float, default=40, help="begin no row after this time, nor one that would not end in it")
    arguments.add_argument("--again", action="store_true", help="measure rows that are in the result file, too")
    arguments.add_argument("--calibrate", action="store_true", help="look for the peer's best settings again")
    arguments.add_argument("--out", type=pathlib.Path, default=ROOT / "bench/results" / f"{datetime.date.today()}-{about['commit']}.csv", metavar="CSV")
    options = arguments.parse_args()
    if options.list:
        print("\n".join(f"{file}/{row}" for file, _, rows, _ in selected(options) for row in rows))
        return
    given = {}
    for word in options.file:
        name, _, path = word.partition("=")
        if name not in FILES or not pathlib.Path(path).is_file():
            sys.exit(f"versus_llama: --file {word}: expected NAME=PATH, NAME one of {', '.join(FILES)}")
        given[name] = pathlib.Path(path)
    lines, end, left = read_results(options.out), time.monotonic() + 60 * options.minutes, []
    for file, group, rows, rounds in selected(options):
        rows = [row for row in rows if options.again or f"{file}/{row}" not in lines]
        if not rows:
            continue
        if time.monotonic() + seconds_needed(file, group, rounds, lines) > end:
            left += [f"{file}/{row}" for row in rows]
            continue
        measure(file, group, rows, rounds, options, given, lines, about)
    if left:
        say(f"time is over; left for another run (--minutes gives more): {', '.join(left)}")
    if options.out.exists():
        subprocess.run([sys.executable, ROOT / "bench/results_table.py", options.out], check=True)
        say(f"results are in {options.out}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
