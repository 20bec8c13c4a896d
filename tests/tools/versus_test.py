#!/usr/bin/env python3
"""bench/versus_llama.py and bench/results_table.py with programs that only say how fast they are."""
import csv
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent

FACET = """#!/usr/bin/env python3
import json, sys
if sys.argv[1] == "run": sys.exit()
value = lambda name, default: sys.argv[sys.argv.index(name) + 1] if name in sys.argv else default
row = {"isa": "avx2", "threads": 2, "bound_by_memory": 50.0, "bound_by_arithmetic": 300.0, "machine_read_gb_per_s": 20.0, "machine_int8_gops": 400.0}
depth = f" @ d{value('-d', '0')}" if "-d" in sys.argv else ""
for length in value("-p", "512").split(","):
    if length != "0": print(json.dumps({**row, "test": f"pp{length}{depth}", "tokens_per_s": 30.0 if "--no-skip" in sys.argv else 90.0}))
for count in value("--parallel", "1").split(","):
    if value("-n", "128") != "0": print(json.dumps({**row, "test": f"tg{value('-n', '128')}{f' x {count}' if count != '1' else ''}{depth}", "tokens_per_s": 40.0}))
"""

LLAMA_BENCH = """#!/usr/bin/env python3
import json, sys
open("LOG", "a").write(" ".join(sys.argv[1:]) + "\\n")
value = lambda name, default: sys.argv[sys.argv.index(name) + 1] if name in sys.argv else default
if "--progress" in sys.argv:
    print("llama-bench: benchmark 1/1: depth run 1/1", file=sys.stderr, flush=True)
    print("llama-bench: benchmark 1/1: generation run 1/1", file=sys.stderr, flush=True)
for flash in value("-fa", "0").split(","):
    for threads in value("-t", "1").split(","):
        for prompt, written in ((int(value("-p", 512)), 0), (0, int(value("-n", 128)))):
            speed = (30 if prompt else 20) + int(threads) + (5 if flash == ("1" if prompt else "0") else 0) - (9 if "-ot" in sys.argv else 0)
            if prompt or written: print(json.dumps({"n_prompt": prompt, "n_threads": int(threads), "flash_attn": flash == "1", "samples_ts": [speed], "avg_ts": speed}))
"""

BATCHED = """#!/usr/bin/env python3
import json, sys
print("some words")
for count in sys.argv[sys.argv.index("-npl") + 1].split(","): print(json.dumps({"pl": int(count), "speed_tg": 10.0 * int(count)}))
"""


class Versus(unittest.TestCase):
    def setUp(self):
        self.scratch = tempfile.TemporaryDirectory()
        self.folder = pathlib.Path(self.scratch.name)
        self.addCleanup(self.scratch.cleanup)
        for name, text in (("facet", FACET), ("llama-bench", LLAMA_BENCH.replace("LOG", str(self.folder / "log"))), ("llama-batched-bench", BATCHED), ("llama-completion", "#!/bin/sh\n")):
            (self.folder / name).write_text(text)
            (self.folder / name).chmod(0o755)
        (self.folder / "model.gguf").write_bytes(b"GGUF")
        self.out = self.folder / "out.csv"
        for script in ("bench/versus_llama.py", "bench/results_table.py"):  # a tree whose page may be written to
            (self.folder / script).parent.mkdir(exist_ok=True)
            (self.folder / script).write_bytes((ROOT / script).read_bytes())
        (self.folder / "docs").mkdir()
        self.page = self.folder / "docs/performance.md"
        self.page.write_text("before\n<!-- results: made by bench/results_table.py -->\nold\n<!-- end of results -->\nafter\n")

    def run_it(self, *words):
        environment = {**os.environ, "FACET_PROGRAM": str(self.folder / "facet"), "PEER": str(self.folder), "FACET_CACHE": str(self.folder / "cache")}
        command = [sys.executable, self.folder / "bench/versus_llama.py", "--out", self.out, *words]
        return subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def rows(self):
        with open(self.out, newline="") as file:
            return {line["row"]: line for line in csv.DictReader(file)}

    def file_flag(self):
        return ("--file", f"e2b-q4_0={self.folder / 'model.gguf'}")

    def test_writes_ratios_and_bounds_with_the_peers_best_settings(self):
        done = self.run_it(*self.file_flag(), "--only", "^e2b-q4_0/(pp512|tg32|load|pp8192)", "--rounds", "2")
        self.assertEqual(done.returncode, 0, done.stderr)
        rows = self.rows()
        self.assertEqual(list(rows), ["e2b-q4_0/" + row for row in ("pp512", "pp512-no-skip", "tg32", "load", "tg32 x 4", "tg32 x 8", "pp8192", "tg32 @ d8192")])
        threads = os.cpu_count()
        reading, writing = rows["e2b-q4_0/pp512"], rows["e2b-q4_0/tg32"]
        self.assertEqual(reading["their_settings"], f"-fa 1 -t {threads}")
        self.assertEqual(writing["their_settings"], f"-fa 0 -t {threads}")
        self.assertEqual(float(reading["theirs"]), 35 + threads)
        self.assertAlmostEqual(float(reading["ratio"]), 90 / (35 + threads), 2)
        self.assertEqual((reading["bound"], reading["bound_by"], reading["rounds"]), ("50", "memory", "2"))
        self.assertAlmostEqual(float(rows["e2b-q4_0/pp512-no-skip"]["ratio"]), 30 / (35 + threads), 2)
        self.assertEqual((rows["e2b-q4_0/tg32 x 8"]["theirs"], rows["e2b-q4_0/tg32 x 8"]["ratio"]), ("80", "0.5"))
        self.assertEqual((rows["e2b-q4_0/load"]["unit"], rows["e2b-q4_0/load"]["bound"]), ("s", ""))
        page = self.page.read_text()
        self.assertTrue(page.startswith("before\n<!-- results") and page.endswith("end of results -->\nafter\n"), page)
        self.assertNotIn("old", page)
        self.assertEqual(page.count("| e2b-q4_0/"), len(rows))

    def test_goes_on_where_it_was(self):
        first = self.run_it(*self.file_flag(), "--only", "^e2b-q4_0/tg32$", "--rounds", "1")
        self.assertEqual(first.returncode, 0, first.stderr)
        before = (self.folder / "log").read_text()
        again = self.run_it(*self.file_flag(), "--only", "^e2b-q4_0/tg32$", "--rounds", "1")
        self.assertEqual((self.folder / "log").read_text(), before, "a row that is there was measured again")
        self.assertEqual(again.returncode, 0, again.stderr)
        more = self.run_it(*self.file_flag(), "--only", "^e2b-q4_0/(tg32|pp512)$", "--rounds", "1")
        self.assertEqual(more.returncode, 0, more.stderr)
        added = (self.folder / "log").read_text()[len(before):].splitlines()
        self.assertEqual(len(added), 1, "settings are looked for once, and only the new row is measured")
        self.assertEqual(list(self.rows()), ["e2b-q4_0/pp512", "e2b-q4_0/tg32"])
        self.run_it(*self.file_flag(), "--only", "^e2b-q4_0/tg32$", "--rounds", "1", "--again")
        self.assertEqual(len((self.folder / "log").read_text()[len(before):].splitlines()), 2)

    def test_reads_each_length_that_a_row_names(self):
        done = self.run_it("--file", f"26b-a4b-q4_0={self.folder / 'model.gguf'}", "--only", "^26b-a4b-q4_0/pp", "--rounds", "1")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(list(self.rows()), ["26b-a4b-q4_0/" + row for row in ("pp512", "pp512-no-skip", "pp256")])
        measured = [line.split() for line in (self.folder / "log").read_text().splitlines() if line.endswith(" -n 0")]
        self.assertEqual([words[words.index("-p") + 1] for words in measured], ["256", "512"])

    def test_begins_nothing_that_would_not_end(self):
        self.run_it(*self.file_flag(), "--only", "^e2b-q4_0/pp512$", "--rounds", "1")
        long = self.run_it(*self.file_flag(), "--only", "^e2b-q4_0/(pp32768|pp512$)", "--minutes", "5")
        self.assertEqual(long.returncode, 0, long.stderr)
        self.assertIn("left for another run", long.stderr)
        self.assertEqual(list(self.rows()), ["e2b-q4_0/pp512"])

    def test_says_what_it_cannot_use(self):
        self.assertIn("expected NAME=PATH", self.run_it("--file", "e9b=x.gguf").stderr)
        (self.folder / "facet").write_text("#!/bin/sh\necho broken >&2; exit 4\n")
        failed = self.run_it(*self.file_flag(), "--only", "^e2b-q4_0/tg32$")
        self.assertNotEqual(failed.returncode, 0)
        self.assertIn("broken", failed.stderr)

    def test_lists_rows(self):
        quick = self.run_it("--quick", "--list").stdout.split()
        self.assertEqual(len(quick), 6)
        self.assertTrue(all("/pp512" in row or "/tg32" in row for row in quick))


if __name__ == "__main__":
    unittest.main()
