#!/usr/bin/env python3
"""A process stays within what facet plan says of it, and the plan is not much more than the process takes.

    FACET_PROGRAM=build/release/facet tests/engine/plan_test.py [Test.name]

Pages of the model's file are counted apart: they are the kernel's to drop.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PROGRAM = os.environ.get("FACET_PROGRAM", str(ROOT / "build/release/facet"))
CACHE = pathlib.Path(os.environ.get("FACET_CACHE") or pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "facet")
DEFAULT_MODEL = CACHE / "gemma-3-270m/gemma-3-270m-q4_k_m.gguf"
PROBE = 256 << 20  # facet bench measures the machine with this much memory (src/engine/machine_speed.h)
SLACK = 1.10  # a process may take this much of its plan
LEAST = 0.65  # and takes this much where it uses everything but logits of many rows


def resident(pid, model):
    """(Bytes of the process in memory but for pages of the model's files, bytes of those); None when it has ended."""
    folder = str(model if model.is_dir() else model.parent)
    own = of_model = 0
    try:
        with open(f"/proc/{pid}/smaps") as lines:
            for line in lines:
                words = line.split()
                if words[0] == "Rss:":
                    own, of_model = (own, of_model + int(words[1]) * 1024) if maps_model else (own + int(words[1]) * 1024, of_model)
                elif not words[0].endswith(":"):
                    maps_model = len(words) > 5 and words[5].startswith(folder)
    except (FileNotFoundError, ProcessLookupError):
        return None
    return own, of_model


def facet(*words, status=0):
    run = subprocess.run([PROGRAM, *map(str, words)], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600)
    if run.returncode != status:
        raise AssertionError(f"{words} ended with {run.returncode}: {run.stderr}")
    return run.stdout


def peak(model, *words):
    """(Most bytes besides the model's files that a sample saw, most of any page by the kernel's own count.)"""
    run = subprocess.Popen([PROGRAM, *map(str, words)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    most = 0
    while True:
        sample = resident(run.pid, model)
        if sample:
            most = max(most, sample[0])
        done, code, usage = os.wait4(run.pid, os.WNOHANG)
        if done:
            if code:
                raise AssertionError(f"{words} ended with {os.waitstatus_to_exitcode(code)}: {run.stderr.read().decode()}")
            run.returncode = 0
            run.stderr.close()
            return most, usage.ru_maxrss * 1024
        time.sleep(0.05)


class Plan(unittest.TestCase):
    def check(self, model, command, plan_options, options, beside=0, least=LEAST):
        """command with both kinds of options takes what the plan with plan_options says, plus `beside`."""
        plan = json.loads(facet("plan", model, *plan_options, "--json"))
        most, kernel = peak(model, command, model, *options)
        most, kernel = most - beside, kernel - beside
        said = f"{command} {options}: {most >> 20} of {plan['total_bytes'] >> 20} MiB, {kernel >> 20} with pages of the file; {plan}"
        if os.environ.get("FACET_TEST_VERBOSE"):
            print(said)
        self.assertLessEqual(most, plan["total_bytes"] * SLACK, said)
        self.assertGreaterEqual(most, plan["total_bytes"] * least, said)
        self.assertLessEqual(kernel, plan["total_bytes"] * SLACK + plan["table_bytes"], said)


class Synthetic(Plan):
    """The shape of Gemma 4 E2B: shared layers, per-layer embeddings."""

    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory(prefix="facet-plan-")
        home = pathlib.Path(cls.temporary.name)
        cls.folder, cls.file = home / "model", home / "model.gguf"
        subprocess.run([ROOT / "tools/make_synthetic_model", cls.folder, "--layers", "10", "--width", "512"], check=True, capture_output=True)
        facet("convert", cls.folder, cls.file)

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    def bench(self, model, depth, sequences, *options):
        written = 64
        self.check(model, "bench", ["-c", depth + written, "--parallel", sequences, *options],
                   ["-p", 0, "-n", written, "-d", depth, "--parallel", sequences, "-r", 1, "--no-warmup", *options], PROBE)

    def test_one_sequence_in_a_folder(self):
        self.bench(self.folder, 4000, 1)

    def test_four_sequences_in_float(self):
        self.bench(self.file, 2000, 4, "--kv", "f32")

    def test_quantised_while_loading(self):
        self.bench(self.folder, 2000, 2, "--quant", "Q8_0", "-b", 1024)

    def test_a_file_in_parts(self):
        parts = self.folder.parent / "parts"
        parts.mkdir()
        facet("split", self.file, parts / "model", "--max-size", "50M")
        first = sorted(parts.iterdir())[0]
        whole, split = (json.loads(facet("plan", model, "-c", 1000, "--json")) for model in (self.file, first))
        for key in ("weight_bytes", "kv_full_bytes", "scratch_bytes", "table_bytes"):
            self.assertEqual(whole[key], split[key])
        self.check(first, "bench", ["-c", 1000], ["-p", 1000, "-n", 0, "-r", 1, "--no-warmup"], PROBE)


@unittest.skipUnless(DEFAULT_MODEL.exists(), "the default model is not there (tools/fetch_default_model)")
class Gemma3(Plan):
    def test_a_text_that_fills_the_context(self):
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as text:
            text.write(" ".join(str(i) for i in range(800)))
            text.flush()
            self.check(DEFAULT_MODEL, "score", ["-c", 4096], ["-c", 4096, "-f", text.name, "--quiet"])

    def test_two_sequences(self):
        self.check(DEFAULT_MODEL, "bench", ["-c", 3000, "--parallel", 2],
                   ["-p", 0, "-n", 8, "-d", 2992, "--parallel", 2, "-r", 1, "--no-warmup", "--sampler"], PROBE)


if __name__ == "__main__":
    sys.exit(unittest.main())
