#!/usr/bin/env python3
"""Packed weights on disk, by the program: processes that start together and are killed (SIGKILL), anywhere in their run or in the middle of writing,
leave a right pack or none; models and versions that changed have packs of their own; folders that are read-only or full cost a note; `facet cache`
lists and clears.

    FACET_PROGRAM=build/release/facet tests/cli/pack_test.py [Test.name]
"""
import json
import os
import pathlib
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PROGRAM = os.environ.get("FACET_PROGRAM", str(ROOT / "build/release/facet"))
KILLS = 6  # at moments spread over a run
KILLS_WHILE_WRITING = 4
SETTLED_SECONDS = 2.2  # a file that changed less than two seconds ago is not kept packed (docs/packs.md)


def hash64(*pieces):
    """Hash64 of src/base/hash.h."""
    state, mask = 0x243F6A8885A308D3, (1 << 64) - 1
    for piece in pieces:
        piece += bytes(-len(piece) % 8)
        for word in (len(piece), *struct.unpack(f"<{len(piece) // 8}Q", piece)):
            state = (state ^ word) * 0x9E3779B97F4A7C15 & mask
            state ^= state >> 32
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        state = (state ^ state >> 33) * factor & mask
    return state ^ state >> 33


def other_version(pack):
    """(Identity, bytes) of a pack as another version would have written it (src/formats/pack_file.h)."""
    whole = pack.read_bytes()
    head_bytes, identity_bytes = struct.unpack_from("<QI", whole, 24)
    head, identity = bytearray(whole[:head_bytes]), whole[48:48 + identity_bytes]
    first, rest = identity.split(b"\n", 1)
    assert first.startswith(b"facet ") and first[-1:] != b"x", first
    identity = first[:-1] + b"x\n" + rest
    head[48:48 + identity_bytes] = identity
    head[40:48] = struct.pack("<Q", hash64(bytes(head[:40]), bytes(head[48:])))
    return identity, bytes(head) + whole[head_bytes:]


def write_vocabulary(folder):
    """A tokenizer.json of bytes and a few letters: the model has none."""
    control = ["<pad>", "<eos>", "<bos>", "<unk>"]
    words = control + [f"<0x{byte:02X}>" for byte in range(256)] + ["▁", "a", "b", "c"]
    added = [{"id": i, "content": word, "special": True} for i, word in enumerate(control)]
    vocabulary = {"added_tokens": added, "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}, "pre_tokenizer": None,
                  "model": {"type": "BPE", "byte_fallback": True, "unk_token": "<unk>", "vocab": {word: i for i, word in enumerate(words)}, "merges": []}}
    (folder / "tokenizer.json").write_text(json.dumps(vocabulary))


class Packs(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory(prefix="facet-pack-")
        cls.home = pathlib.Path(cls.temporary.name)
        cls.model = cls.home / "model.gguf"
        subprocess.run([ROOT / "tools/make_synthetic_model", cls.home / "model", "--layers", "5", "--width", "256", "--vocab", "2048"], check=True,
                       capture_output=True)
        write_vocabulary(cls.home / "model")
        subprocess.run([PROGRAM, "convert", cls.home / "model", cls.model, "--type", "bf16"], check=True, capture_output=True)
        cls.other = cls.home / "other.gguf"
        shutil.copyfile(cls.model, cls.other)
        time.sleep(SETTLED_SECONDS)
        cls.expected = cls.score(cls.run_whole("--no-cache"))

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    def setUp(self):
        shutil.rmtree(self.packed(), ignore_errors=True)

    @classmethod
    def packed(cls):
        return cls.home / "cache" / "packed"

    @classmethod
    def words(cls, *more, model=None):
        return [PROGRAM, "score", str(model or cls.model), "-p", "a b c a", "-c", "256", "--json", *map(str, more)]

    @classmethod
    def start(cls, *more, cache=None, model=None, **options):
        environment = {**os.environ, "FACET_CACHE": str(cache or cls.home / "cache")}
        return subprocess.Popen(cls.words(*more, model=model), env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)

    @classmethod
    def run_whole(cls, *more, **options):
        """(standard output, standard error)"""
        run = cls.start(*more, **options)
        out, err = run.communicate(timeout=300)
        if run.returncode != 0:
            raise AssertionError(f"ended with {run.returncode}: {err}")
        return out, err

    @staticmethod
    def score(run):
        return json.loads(run[0])["logprob_sum"]

    def cache(self, *words):
        run = subprocess.run([PROGRAM, "cache", *words], env={**os.environ, "FACET_CACHE": str(self.home / "cache")}, capture_output=True, text=True, check=True)
        return json.loads(run.stdout) if "--json" in words else run.stdout + run.stderr

    def files(self):
        return sorted(path.name for path in self.packed().iterdir()) if self.packed().exists() else []

    def check_start(self, told):
        """A start that answers right; told: a word of the only note, or None."""
        run = self.run_whole()
        self.assertEqual(self.score(run), self.expected)
        notes = [line for line in run[1].splitlines() if "packed" in line or "pack " in line]
        self.assertEqual([told in line for line in notes], [True] if told else [], run[1])

    def test_the_second_start_maps_what_the_first_one_kept(self):
        self.check_start("kept packed weights")
        self.assertEqual(len(self.files()), 1)
        self.check_start(None)
        self.assertEqual(self.score(self.run_whole("--no-cache")), self.expected)
        listed = self.cache("list", "--json")
        self.assertEqual([pack["model"] for pack in listed["packs"]], [str(self.model)])
        self.assertEqual(listed["bytes"], sum(path.stat().st_size for path in self.packed().iterdir()))
        self.assertIn(str(self.model), self.cache("list"))
        self.assertEqual(self.cache("clear", "--json")["packs"], listed["packs"])
        self.assertEqual(self.files(), [])
        self.assertIn("no packed weights", self.cache("list"))

    def test_no_cache_keeps_nothing(self):
        self.run_whole("--no-cache")
        self.assertFalse(self.packed().exists())

    def test_a_limit_that_is_too_small_is_told(self):
        _, err = self.run_whole("--cache-limit", "1M")
        self.assertIn("larger than the cache", err)
        self.assertEqual(self.files(), [])

    def test_damaged_packs_are_written_anew(self):
        self.check_start("kept packed weights")
        pack = next(self.packed().iterdir())
        whole = pack.read_bytes()
        for damaged in (b"", whole[:1000], whole[:-1], whole[:8] + b"\x07" + whole[9:], b"\0" * len(whole)):
            pack.write_bytes(damaged)
            run = self.run_whole()
            self.assertEqual(self.score(run), self.expected)
            self.assertIn("weights were packed again", run[1])
            self.assertEqual(pack.read_bytes(), whole)
            self.check_start(None)

    def test_a_changed_model_is_packed_anew(self):
        def score(*more):
            run = self.run_whole(*more, model=self.other)
            return self.score(run), run[1]

        self.assertEqual(score()[0], self.expected)
        old, status = self.files(), self.other.stat()
        with open(self.other, "r+b") as file:  # in the middle; size and time of modification stay
            file.seek(status.st_size // 2)
            file.write(b"\0\x3f" * 50000)
        os.utime(self.other, ns=(status.st_atime_ns, status.st_mtime_ns))
        expected = score("--no-cache")[0]
        self.assertNotEqual(expected, self.expected)
        self.assertEqual(score()[0], expected)  # changed a moment ago: neither mapped nor kept
        self.assertEqual(self.files(), old)
        time.sleep(SETTLED_SECONDS)
        again, err = score()
        self.assertEqual(again, expected)
        self.assertIn("kept packed weights", err)
        self.assertEqual(len(self.files()), 2)
        self.assertEqual(score(), (expected, ""))

    def test_a_pack_of_another_version_is_left_alone(self):
        self.check_start("kept packed weights")
        mine = next(self.packed().iterdir())
        identity, other = other_version(mine)
        old = self.packed() / f"{hash64(identity):016x}.pack"  # where that version keeps it
        self.assertNotEqual(old, mine)
        mine.unlink()
        old.write_bytes(other)
        self.check_start("kept packed weights")
        self.assertEqual(sorted(self.packed().iterdir()), sorted([mine, old]))
        mine.write_bytes(other)  # by a name that it does not have
        run = self.run_whole()
        self.assertEqual(self.score(run), self.expected)
        self.assertIn("weights were packed again", run[1])
        self.check_start(None)

    def test_a_file_that_may_not_grow_costs_a_note(self):
        limit = 1 << 20
        run = self.run_whole(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
        self.assertEqual(self.score(run), self.expected)
        self.assertIn("packed weights are not kept", run[1])
        self.assertEqual(self.files(), [])

    def in_mounted_folder(self, mount, **options):
        """What a run tells with the cache on a file system of its own; mount: a shell command that mounts $1."""
        folder = self.home / "mounted"
        folder.mkdir(exist_ok=True)
        mounted = ["unshare", "--mount", "sh", "-c", f'{mount} && shift && exec "$@"', "sh", str(folder)]
        if subprocess.run([*mounted, "true"], capture_output=True).returncode != 0:
            self.skipTest("mounting needs a privilege")
        run = subprocess.run([*mounted, *self.words()], env={**os.environ, "FACET_CACHE": str(folder)}, capture_output=True, text=True, **options)
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertEqual(json.loads(run.stdout)["logprob_sum"], self.expected)
        return run.stderr

    def test_a_full_disk_costs_a_note(self):
        err = self.in_mounted_folder('mount -t tmpfs -o size=4m none "$1"')
        self.assertIn("no room", err)
        self.assertIn("packed weights are not kept", err)

    def test_a_read_only_disk_costs_a_note_and_serves_what_it_has(self):
        self.assertIn("packed weights are not kept", self.in_mounted_folder('mount -t tmpfs -o ro none "$1"'))
        self.check_start("kept packed weights")
        shutil.copytree(self.packed(), self.home / "mounted" / "packed")
        self.assertNotIn("pack", self.in_mounted_folder('mount --bind "$1" "$1" && mount -o remount,bind,ro "$1"'))

    def test_a_read_only_folder_costs_a_note(self):
        cache = self.home / "read-only"
        cache.mkdir(mode=0o555)
        self.home.chmod(0o755)
        # To root no folder is read-only.
        nobody = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
        if nobody and subprocess.run([PROGRAM, "--version"], capture_output=True, **nobody).returncode != 0:
            self.skipTest("the program is out of others' reach")
        run = self.run_whole(cache=cache, **nobody)
        self.assertEqual(self.score(run), self.expected)
        self.assertIn("packed weights are not kept", run[1])
        self.assertEqual(list(cache.iterdir()), [])

    def writing(self, run):
        """Bytes of a pack that a process has written and that has no name yet; 0: none."""
        try:
            for link in pathlib.Path(f"/proc/{run.pid}/fd").iterdir():
                path = os.readlink(link)
                if path.startswith(str(self.packed())) and (path.endswith(".part") or link.stat().st_nlink == 0):
                    return int(pathlib.Path(f"/proc/{run.pid}/fdinfo/{link.name}").read_text().split()[1])
        except (FileNotFoundError, ProcessLookupError):
            pass
        return 0

    def kill_while_writing(self, run):
        """Whether a process was killed between the first and the last byte of its pack; otherwise it has ended."""
        while run.poll() is None:
            if not self.writing(run):
                continue
            run.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, run.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
            in_the_middle = self.writing(run) > 0
            run.send_signal(signal.SIGKILL)
            run.communicate()
            return in_the_middle
        run.communicate()
        return False

    def test_killed_while_writing(self):
        """One of two: nothing of it stays, and the other keeps its pack."""
        for alone in (True, False):
            killed = tries = 0
            while killed < KILLS_WHILE_WRITING / 2:
                tries += 1
                self.assertLess(tries, 20, "too fast to be killed")
                shutil.rmtree(self.packed(), ignore_errors=True)
                other = None if alone else self.start()
                in_the_middle = self.kill_while_writing(self.start())
                killed += in_the_middle
                if other:
                    out, err = other.communicate(timeout=60)
                    self.assertEqual(json.loads(out)["logprob_sum"], self.expected, err)
                    self.check_start(None)
                    self.assertEqual(len(self.files()), 1, self.files())
                elif in_the_middle:
                    self.assertEqual([name for name in self.files() if not name.endswith(".part")], [])
                    self.check_start("kept packed weights")
                    self.assertEqual(len(self.files()), 1, self.files())

    def test_killed_at_every_moment(self):
        begin = time.monotonic()
        self.check_start("kept packed weights")
        seconds = time.monotonic() - begin
        killed = whole = 0
        for i in range(KILLS):
            shutil.rmtree(self.packed())
            runs = [self.start(), self.start()]
            time.sleep(1.6 * seconds * (i + 0.5) / KILLS)  # two at once take longer than one
            for run in runs:
                run.send_signal(signal.SIGKILL)
            for run in runs:
                run.communicate()
                killed += run.returncode == -signal.SIGKILL
            self.packed().mkdir(exist_ok=True)
            listed = self.cache("list", "--json")["packs"]
            self.assertIn([pack["model"] for pack in listed], ([], [str(self.model)]), f"kill {i}: a broken pack")
            whole += len(listed)
            self.check_start(None if listed else "kept packed weights")
            self.assertEqual(len(self.files()), 1, f"kill {i}: something stayed behind: {self.files()}")
        self.assertGreater(killed, KILLS // 2, f"of {2 * KILLS} runs of {seconds} s; {whole} packs were whole")

    def test_two_processes_that_start_together_both_answer(self):
        runs = [self.start(), self.start()]
        for run in runs:
            out, err = run.communicate(timeout=60)
            self.assertEqual(json.loads(out)["logprob_sum"], self.expected, err)
        self.assertEqual(len(self.files()), 1)
        self.check_start(None)


if __name__ == "__main__":
    if not os.access(PROGRAM, os.X_OK):
        sys.exit(f"pack_test: {PROGRAM} is not there; build it first")
    unittest.main()
