#!/usr/bin/env python3
"""facet convert, quantize and split, killed (SIGKILL) at moments spread over their whole run: a target is absent, the old one, or whole; the
next run writes the right bytes, and nothing else stays behind.

    FACET_PROGRAM=build/release/facet FACET_KILLS=200 tests/convert/kill_test.py [Test.name]
"""
import hashlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PROGRAM = os.environ.get("FACET_PROGRAM", str(ROOT / "build/release/facet"))
KILLS = int(os.environ.get("FACET_KILLS", "20"))


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def contents(folder):
    """{path inside: SHA-256} of all files, hidden ones too."""
    return {str(path.relative_to(folder)): digest(path) for path in sorted(folder.rglob("*")) if path.is_file()}


class Killed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory(prefix="facet-kill-")
        cls.home = pathlib.Path(cls.temporary.name)
        cls.model, cls.file, cls.other = cls.home / "model", cls.home / "model.gguf", cls.home / "other.gguf"
        for seed, name in ((1, "model"), (2, "other")):
            subprocess.run([ROOT / "tools/make_synthetic_model", cls.home / name, "--layers", "5", "--width", "256", "--vocab", "2048", "--seed", str(seed)],
                           check=True, capture_output=True)
            cls.run_whole("convert", cls.home / name, cls.home / f"{name}.gguf")

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    @staticmethod
    def start(*words):
        return subprocess.Popen([PROGRAM, *map(str, words)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    @classmethod
    def run_whole(cls, *words):
        """Seconds that the command took."""
        begin = time.monotonic()
        run = cls.start(*words)
        _, err = run.communicate(timeout=300)
        if run.returncode != 0:
            raise AssertionError(f"{words} ended with {run.returncode}: {err}")
        return time.monotonic() - begin

    def kill_everywhere(self, command, first, old=None):
        """command(folder): the words of a command that writes into that folder. first: the file that readers open. old: words that put an older
        model there, which the command replaces."""
        clean, target = self.home / "clean", self.home / "target"
        for folder in (clean, target):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        seconds = min(self.run_whole(*command(clean), "--force") for _ in range(3))
        whole = contents(clean)
        self.assertIn(first, whole)
        before = {}
        if old:
            self.run_whole(*old(target))
            before = contents(target)
            self.assertNotEqual(before[first], whole[first])
        killed = finished = 0
        for i in range(KILLS):
            run = self.start(*command(target), *(["--force"] if contents(target) else []))
            time.sleep(seconds * (i + 0.5) / KILLS)
            run.send_signal(signal.SIGKILL)
            run.communicate()
            killed += run.returncode == -signal.SIGKILL
            found = contents(target)
            if first in found and found[first] == whole[first]:
                finished += 1
                self.assertEqual({name: found.get(name) for name in whole}, whole, f"kill {i}: the new model is not whole")
                if not old:
                    (target / first).unlink()
            elif first in found:
                self.assertTrue(old, f"kill {i}: a broken model")
                self.assertEqual({name: found.get(name) for name in before}, before, f"kill {i}: neither the old model nor the new one")
        self.assertGreater(killed, KILLS // 2, f"of runs of {seconds} s; {finished} were whole")
        self.run_whole(*command(target), "--force")
        self.assertEqual(contents(target), whole)

    def test_convert_to_a_file(self):
        self.kill_everywhere(lambda folder: ("convert", self.model, folder / "m.gguf", "--type", "f16"), "m.gguf")

    def test_convert_to_a_file_that_replaces_another(self):
        self.kill_everywhere(lambda folder: ("convert", self.model, folder / "m.gguf", "--type", "f16"), "m.gguf",
                             old=lambda folder: ("convert", self.home / "other", folder / "m.gguf"))

    def test_convert_to_a_folder(self):
        self.kill_everywhere(lambda folder: ("convert", self.file, folder / "m"), "m/model.safetensors")

    def test_convert_to_a_folder_that_replaces_another(self):
        self.kill_everywhere(lambda folder: ("convert", self.file, folder / "m"), "m/model.safetensors",
                             old=lambda folder: ("convert", self.other, folder / "m", "--type", "f32"))

    def test_convert_to_parts(self):
        self.kill_everywhere(lambda folder: ("convert", self.model, folder / "m.gguf", "--split-max-size", "8M"), self.first_part("convert", self.model))

    def test_quantize(self):
        self.kill_everywhere(lambda folder: ("quantize", self.file, folder / "m.gguf", "Q4_K_M"), "m.gguf")

    def test_quantize_replaces_another(self):
        self.kill_everywhere(lambda folder: ("quantize", self.file, folder / "m.gguf", "Q4_0"), "m.gguf",
                             old=lambda folder: ("quantize", self.other, folder / "m.gguf", "Q8_0"))

    def first_part(self, *words):
        folder = self.home / "parts"
        folder.mkdir(exist_ok=True)
        self.run_whole(*words, folder / "m.gguf", "--split-max-size", "8M", "--force")
        return next(path.name for path in folder.iterdir() if "-00001-of-" in path.name)


if __name__ == "__main__":
    if not os.access(PROGRAM, os.X_OK):
        sys.exit(f"kill_test: {PROGRAM} is not there; build it first")
    unittest.main()
