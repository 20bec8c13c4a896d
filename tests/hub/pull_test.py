#!/usr/bin/env python3
"""facet pull, list, show, rm and -hf against a stand-in for the hub: what users meet on good and bad days.

    FACET_PROGRAM=build/release/facet tests/hub/pull_test.py [Test.name]
"""
import fcntl
import json
import os
import pathlib
import pty
import random
import select
import signal
import ssl
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from hub_server import HubServer, blob_id

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PROGRAM = os.environ.get("FACET_PROGRAM", str(ROOT / "build/release/facet"))
SMALL_MODEL = ROOT / "tests/golden/data/gguf/nano-q4_0.gguf"
REPO = "owner/model-GGUF"
TOKEN = "hf_" + "a" * 34
NOT_FOUND, CORRUPT, EXHAUSTED, IO, UNAVAILABLE, INTERRUPTED = 3, 4, 6, 7, 8, 130


def bytes_of(seed, size):
    return random.Random(seed).randbytes(size)


class HubTest(unittest.TestCase):
    def setUp(self):
        self.hub = HubServer()
        self.addCleanup(self.hub.close)
        folder = tempfile.TemporaryDirectory(prefix="facet-hub-")
        self.addCleanup(folder.cleanup)
        self.home = pathlib.Path(folder.name)
        self.cache = self.home / "hub"
        self.files = {"README.md": b"# model\n", "model-Q4_K_M.gguf": bytes_of(1, 3_000_000), "model-Q8_0.gguf": bytes_of(2, 400_000)}

    def environment(self, more):
        kept = {name: value for name, value in os.environ.items() if name in ("PATH", "TMPDIR", "ASAN_OPTIONS", "UBSAN_OPTIONS")}
        return {**kept, "HOME": str(self.home), "HF_HUB_CACHE": str(self.cache), "HF_ENDPOINT": self.hub.endpoint,
                "FACET_RETRY_SECONDS": "0.01", "no_proxy": "*", **more}

    def start(self, *words, **more):
        return subprocess.Popen([PROGRAM, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                env=self.environment(more))

    def facet(self, *words, **more):
        """(exit status, standard output, standard error)"""
        run = self.start(*words, **more)
        out, err = run.communicate(timeout=120)
        return run.returncode, out, err

    def pull(self, *words, status=0, **more):
        """Standard error of a pull that ends with this status."""
        found, out, err = self.facet("pull", *(words or (REPO,)), **more)
        self.assertEqual(found, status, err)
        self.assertEqual(out != "", status == 0, out)
        return err

    def folder(self, repo=REPO):
        return self.cache / ("models--" + repo.replace("/", "--"))

    def blobs(self, repo=REPO):
        return {path.name for path in (self.folder(repo) / "blobs").glob("*")}

    def expect_file(self, commit, path, data, repo=REPO):
        link = self.folder(repo) / "snapshots" / commit / path
        self.assertTrue(link.is_symlink(), link)
        self.assertEqual(os.readlink(link), "../" * (2 + path.count("/")) + "blobs/" + blob_id(path, data))
        self.assertEqual(link.read_bytes(), data)

    def expect_no_partial(self):
        self.assertEqual([str(path) for path in self.cache.rglob("*.incomplete")], [])


class Layout(HubTest):
    def test_fetches_the_default_quantisation_into_the_shared_layout(self):
        commit = self.hub.add(REPO, self.files)
        status, out, err = self.facet("pull", REPO)
        self.assertEqual(status, 0, err)
        path = self.folder() / "snapshots" / commit / "model-Q4_K_M.gguf"
        self.assertEqual(out, f"{path}\n")
        self.expect_file(commit, "model-Q4_K_M.gguf", self.files["model-Q4_K_M.gguf"])
        self.assertEqual((self.folder() / "refs/main").read_text(), commit)
        self.assertEqual(self.blobs(), {blob_id("model-Q4_K_M.gguf", self.files["model-Q4_K_M.gguf"])})
        self.assertIn("model-Q4_K_M.gguf", err)
        self.assertIn("2.9 MiB", err)
        left = [path.name for path in self.cache.rglob("*") if path.suffix not in ("", ".lock", ".gguf")]
        self.assertEqual(left, [path.name for path in [self.folder() / "snapshots" / commit] if "." in path.name])

    def test_fetches_nothing_twice(self):
        self.hub.add(REPO, self.files)
        self.pull()
        self.pull()
        self.assertEqual(len(self.hub.content_requests()), 1)

    def test_an_older_snapshot_lends_its_blobs(self):
        self.hub.add(REPO, self.files, commit="1" * 40)
        self.pull()
        self.hub.add(REPO, {**self.files, "README.md": b"changed"}, commit="2" * 40)
        self.pull()
        self.assertEqual(len(self.hub.content_requests()), 1)
        self.expect_file("2" * 40, "model-Q4_K_M.gguf", self.files["model-Q4_K_M.gguf"])
        self.assertEqual((self.folder() / "refs/main").read_text(), "2" * 40)

    def test_revisions_and_files(self):
        self.hub.add(REPO, self.files, commit="1" * 40)
        other = {"sub folder/ä+%.gguf": bytes_of(3, 1000)}
        self.hub.add(REPO, other, branch="feature/x", commit="2" * 40, tags=("v1",))
        self.pull(f"{REPO}@feature/x")
        self.expect_file("2" * 40, "sub folder/ä+%.gguf", other["sub folder/ä+%.gguf"])
        self.assertEqual((self.folder() / "refs/feature/x").read_text(), "2" * 40)
        self.pull(f"{REPO}@v1")
        self.pull(f"{REPO}@{'1' * 40}:Q8_0")
        self.expect_file("1" * 40, "model-Q8_0.gguf", self.files["model-Q8_0.gguf"])
        self.pull(REPO, "--hf-file", "MODEL-q4_k_m.GGUF")
        self.assertIn("feature/x", self.pull(f"{REPO}@nothing", status=NOT_FOUND))
        self.assertIn("Q4_K_M, Q8_0", self.pull(f"{REPO}:Q5_K", status=NOT_FOUND))
        self.assertIn("model-Q8_0.gguf", self.pull(REPO, "-hff", "x.gguf", status=NOT_FOUND))
        self.pull(f"{REPO}:Q8_0", "-hff", "model-Q8_0.gguf", status=2)

    def test_a_split_model_comes_with_its_projector_and_drafter(self):
        files = {f"BF16/m-BF16-0000{i}-of-00003.gguf": bytes_of(i, 5000) for i in (1, 2, 3)}
        files |= {"mmproj-BF16.gguf": b"p" * 300, "mtp-m-Q8_0.gguf": b"d" * 200, "m-Q4_K_M.gguf": b"other"}
        commit = self.hub.add(REPO, files)
        self.pull(f"{REPO}:BF16")
        for path in [*(f"BF16/m-BF16-0000{i}-of-00003.gguf" for i in (1, 2, 3)), "mmproj-BF16.gguf", "mtp-m-Q8_0.gguf"]:
            self.expect_file(commit, path, files[path])
        self.assertEqual(len(self.blobs()), 5)
        self.pull(f"{REPO}:Q4_K_M", "--no-mmproj", "--no-drafter")
        self.assertEqual(len(self.blobs()), 6)

    def test_safetensors_come_as_a_folder(self):
        files = {"config.json": b"{}", "tokenizer.json": b"{ }", "generation_config.json": b"{}\n", "chat_template.jinja": b"x",
                 "processor_config.json": b"{}  ", "README.md": b"no", "model.safetensors.index.json": b"{}   ",
                 "model-00001-of-00002.safetensors": b"1" * 900, "model-00002-of-00002.safetensors": b"2" * 900}
        commit = self.hub.add(REPO, files)
        status, out, err = self.facet("pull", REPO)
        self.assertEqual((status, out), (0, f"{self.folder() / 'snapshots' / commit}\n"), err)
        for path, data in files.items():
            if path != "README.md":
                self.expect_file(commit, path, data)
        self.assertFalse((self.folder() / "snapshots" / commit / "README.md").exists())

    def test_without_links_the_snapshot_holds_the_files(self):
        commit = self.hub.add(REPO, self.files)
        self.pull(HF_HUB_DISABLE_SYMLINKS="1")
        path = self.folder() / "snapshots" / commit / "model-Q4_K_M.gguf"
        self.assertFalse(path.is_symlink())
        self.assertEqual(path.read_bytes(), self.files["model-Q4_K_M.gguf"])
        self.assertEqual(self.blobs(), set())
        self.pull(HF_HUB_DISABLE_SYMLINKS="1")
        self.assertEqual(len(self.hub.content_requests()), 1)

    def test_long_lists_come_in_pages_also_from_a_mirror(self):
        self.hub.add(REPO, {**{f"notes/{i}.txt": b"x" for i in range(25)}, **self.files})
        self.hub.page = 10
        self.hub.link_base = "http://127.0.0.1:9"  # what the mirror mirrors; nobody listens there
        self.pull(f"{REPO}:Q8_0")
        self.assertEqual(sum("/tree/" in path for _, path, _ in self.hub.requests), 3)

    def test_a_list_that_does_not_end_is_given_up(self):
        self.hub.add(REPO, self.files)
        link = f'<{self.hub.endpoint}/x?recursive=true>; rel="next"'
        self.hub.always["tree"] = {"status": 200, "body": b"[]", "headers": {"Link": link}}
        self.assertIn("does not end", self.pull(status=CORRUPT))


class Identity(HubTest):
    def test_the_token_reaches_no_other_server(self):
        self.hub.add(REPO, self.files)
        self.hub.token = TOKEN
        self.pull(HF_TOKEN=TOKEN)
        for server, path, headers in self.hub.requests:
            self.assertEqual(headers.get("authorization"), f"Bearer {TOKEN}" if server == "api" else None, path)
        self.assertEqual(len(self.hub.content_requests()), 1)

    def test_the_token_comes_from_option_environment_or_file(self):
        self.hub.add(REPO, self.files)
        self.hub.token = TOKEN
        self.pull(f"{REPO}:Q8_0", "-hft", TOKEN, HF_TOKEN="hf_wrong")
        (self.home / ".cache/huggingface").mkdir(parents=True)
        (self.home / ".cache/huggingface/token").write_text(TOKEN + "\n")
        self.pull(f"{REPO}:Q4_K_M")
        self.assertIn("token is malformed", self.pull(HF_TOKEN="two words", status=2))

    def test_a_licence_that_was_not_accepted(self):
        self.hub.add(REPO, self.files)
        self.hub.token = TOKEN
        err = self.pull(status=UNAVAILABLE)
        self.assertIn(f"{self.hub.endpoint}/{REPO}", err)
        self.assertIn("licence", err)
        self.assertIn("no token", err)
        self.hub.token = None
        self.hub.misbehave("resolve", {"status": 403, "body": b'{"error": "Access denied"}'})
        err = self.pull(HF_TOKEN="hf_other", status=UNAVAILABLE)
        self.assertIn("Access denied", err)
        self.assertNotIn("hf_other", err)

    def test_a_name_that_does_not_exist(self):
        self.assertIn("no such model", self.pull("owner/nothing", status=NOT_FOUND))
        for name in ("owner", "owner/re po", "../x/y", "a/b/c", "a--b/c", "owner/repo:", "owner/repo@../x"):
            self.assertIn("no name of a model", self.pull(name, status=2))

    def test_a_server_cannot_name_files_outside(self):
        for name in ("../../../../evil.gguf", "/tmp/evil.gguf", "a/../../x.gguf", "a\\..\\x.gguf", "a\x1b[2Jb.gguf"):
            self.hub.add(REPO, {name: b"evil"})
            err = self.pull(status=CORRUPT)
            self.assertIn("outside the repository", err)
            self.assertNotIn("\x1b", err)
            self.assertEqual(list(self.home.rglob("*evil*")), [])


class BadDays(HubTest):
    def test_a_cut_connection_is_continued(self):
        commit = self.hub.add(REPO, self.files)
        self.hub.misbehave("model-Q4_K_M.gguf", {"cut": 1_000_000}, {"cut": 500_000})
        self.pull()
        requests = self.hub.content_requests()
        self.assertEqual([headers.get("range") for headers in requests], [None, "bytes=1000000-", "bytes=1500000-"])
        self.assertTrue(requests[1]["if-range"].startswith('"'))
        self.expect_file(commit, "model-Q4_K_M.gguf", self.files["model-Q4_K_M.gguf"])

    def test_progress_resets_the_count_of_tries(self):
        self.hub.add(REPO, {"m-Q8_0.gguf": bytes_of(4, 12_000_000)})
        self.hub.misbehave("m-Q8_0.gguf", *[{"cut": 2_000_000}] * 5)
        self.pull()
        self.assertEqual(len(self.hub.content_requests()), 6)

    def test_three_tries_without_progress_are_enough_and_keep_what_is_there(self):
        commit = self.hub.add(REPO, self.files)
        self.hub.misbehave("model-Q4_K_M.gguf", {"cut": 1_000_000}, {"cut": 0}, {"cut": 0})
        err = self.pull(status=UNAVAILABLE)
        self.assertEqual(len(self.hub.content_requests()), 3, err)
        partial = self.folder() / "blobs" / (blob_id("x.gguf", self.files["model-Q4_K_M.gguf"]) + ".incomplete")
        self.assertEqual(partial.stat().st_size, 1_000_000)
        self.assertFalse((self.folder() / "snapshots" / commit).exists())
        self.assertFalse((self.folder() / "refs/main").exists())
        self.assertIn("try again", err)
        self.assertEqual(json.loads(self.facet("list", "--json")[1])["unfinished"], [{"repo": REPO, "bytes": 1_000_000}])
        self.assertIn("977 KiB of a fetch that did not end", self.facet("list")[2])
        self.pull()
        self.assertEqual(self.hub.content_requests()[-1].get("range"), "bytes=1000000-")
        self.expect_file(commit, "model-Q4_K_M.gguf", self.files["model-Q4_K_M.gguf"])

    def test_a_server_without_ranges_starts_anew(self):
        commit = self.hub.add(REPO, self.files)
        self.hub.misbehave("model-Q4_K_M.gguf", {"cut": 1_000_000}, {"ranges": False})
        self.pull()
        self.expect_file(commit, "model-Q4_K_M.gguf", self.files["model-Q4_K_M.gguf"])

    def test_content_that_changes_between_tries_is_noticed(self):
        self.hub.add(REPO, self.files)
        other = bytes_of(9, 3_000_000)
        for second in ({"data": other}, {"data": other, "etag": ""}):  # sent from the start; sent as the rest
            self.hub.misbehave("model-Q4_K_M.gguf", {"cut": 1_000_000, **({"etag": ""} if "etag" in second else {})}, second)
            self.assertIn("thrown away", self.pull(status=CORRUPT))
            self.expect_no_partial()
            self.assertEqual(self.blobs(), set())

    def test_a_wrong_hash_is_thrown_away(self):
        self.hub.add(REPO, self.files)
        for name, repo in (("model-Q4_K_M.gguf", REPO), ("config.json", "owner/folder")):  # SHA-256; git's SHA-1
            self.hub.add("owner/folder", {"config.json": b"{}" * 50, "model.safetensors": b"w"})
            data = self.files.get(name, b"{}" * 50)
            self.hub.misbehave(name, {"data": data[:-1] + b"\0"})
            err = self.pull(repo, status=CORRUPT)
            self.assertIn(blob_id(name, data), err)
            self.expect_no_partial()
            self.assertEqual(self.blobs(repo), set())
            self.pull(repo)

    def test_a_spoiled_beginning_of_an_earlier_run_is_fetched_anew(self):
        commit = self.hub.add(REPO, self.files)
        blobs = self.folder() / "blobs"
        blobs.mkdir(parents=True)
        partial = blobs / (blob_id("x.gguf", self.files["model-Q4_K_M.gguf"]) + ".incomplete")
        for spoiled in (b"\0" * 1_000_000, b"\0" * 3_000_000, b"\0" * 4_000_000):  # a part, all, too much
            partial.write_bytes(spoiled)
            self.pull()
            self.expect_file(commit, "model-Q4_K_M.gguf", self.files["model-Q4_K_M.gguf"])
            (blobs / partial.stem).unlink()

    def test_a_beginning_of_another_program_is_continued(self):
        commit = self.hub.add(REPO, self.files)
        data = self.files["model-Q4_K_M.gguf"]
        (self.folder() / "blobs").mkdir(parents=True)
        (self.folder() / "blobs" / (blob_id("x.gguf", data) + ".incomplete")).write_bytes(data[:1234567])
        self.pull()
        self.assertEqual([headers["range"] for headers in self.hub.content_requests()], ["bytes=1234567-"])
        self.expect_file(commit, "model-Q4_K_M.gguf", data)

    def test_a_wrong_size_is_noticed(self):
        self.hub.add(REPO, self.files)
        longer, shorter = self.files["model-Q4_K_M.gguf"] + b"x", self.files["model-Q4_K_M.gguf"][:-1]
        self.hub.misbehave("model-Q4_K_M.gguf", {"data": longer})
        self.assertIn("another size", self.pull(status=CORRUPT))
        self.hub.misbehave("model-Q4_K_M.gguf", {"data": longer, "chunked": True})
        self.assertIn("more bytes", self.pull(status=CORRUPT))
        self.expect_no_partial()
        self.hub.misbehave("model-Q4_K_M.gguf", *[{"data": shorter, "chunked": True, "etag": '"1"'}, {"status": 416, "headers": {"Content-Range": "bytes */2999999"}}])
        self.assertIn("another size", self.pull(status=CORRUPT))

    def test_416_about_the_right_size_starts_anew(self):
        commit = self.hub.add(REPO, self.files)
        self.hub.misbehave("model-Q4_K_M.gguf", {"cut": 1000}, {"status": 416, "headers": {"Content-Range": "bytes */3000000"}})
        self.pull()
        self.expect_file(commit, "model-Q4_K_M.gguf", self.files["model-Q4_K_M.gguf"])

    def test_another_part_than_asked_for_is_not_taken(self):
        self.hub.add(REPO, self.files)
        for wrong in ("bytes 0-2999999/3000000", "bytes 1000-2999999/3000001", "nonsense"):
            self.hub.misbehave("model-Q4_K_M.gguf", {"cut": 1000}, {"content_range": wrong})
            self.assertIn(wrong, self.pull(status=CORRUPT))
            for path in self.cache.rglob("*.incomplete"):
                path.unlink()

    def test_the_hub_offers_another_file_than_it_lists(self):
        commit = self.hub.add(REPO, self.files)
        for header in ({"X-Linked-Etag": f'"{"0" * 64}"'}, {"X-Linked-Size": "17"}):
            location = f"{self.hub.cdn.address}/{REPO}/{commit}/model-Q4_K_M.gguf"
            self.hub.misbehave("resolve", {"status": 302, "headers": {"Location": location, **header}})
            self.assertIn("than it lists", self.pull(status=CORRUPT))

    def test_errors_that_pass_are_tried_again(self):
        for status in (500, 502, 503, 408, 429):
            self.hub.add(f"owner/m{status}", {f"{status}.gguf": b"x" * status})
            self.hub.misbehave("refs", {"status": status})
            self.hub.misbehave("tree", {"status": status}, {"status": status})
            self.hub.misbehave(f"{status}.gguf", {"status": status})
            self.pull(f"owner/m{status}")
            self.assertFalse(any(self.hub.actions.values()))

    def test_errors_that_stay_are_tried_three_times(self):
        self.hub.add(REPO, self.files)
        self.hub.always["refs"] = {"status": 500, "body": b'{"error": "Internal Error"}'}
        self.assertIn("Internal Error", self.pull(status=UNAVAILABLE))
        self.assertEqual(len(self.hub.requests), 3)
        self.hub.always["refs"] = {"status": 418}
        self.assertIn("418", self.pull(status=IO))
        self.assertEqual(len(self.hub.requests), 4)

    def test_retry_after_is_waited_for(self):
        self.hub.add(REPO, self.files)
        self.hub.misbehave("model-Q4_K_M.gguf", {"status": 429, "headers": {"Retry-After": "2"}})
        begin = time.monotonic()
        self.pull()
        self.assertGreaterEqual(time.monotonic() - begin, 2)
        self.hub.misbehave("refs", {"status": 429, "headers": {"Retry-After": "100000"}})
        err = self.pull(f"{REPO}:Q8_0", status=UNAVAILABLE)
        self.assertIn("100000 seconds", err)

    def test_404_names_the_file(self):
        self.hub.add(REPO, self.files)
        self.hub.misbehave("resolve", {"status": 404, "body": b'{"error": "Entry not found"}'})
        err = self.pull(status=NOT_FOUND)
        self.assertIn("model-Q4_K_M.gguf", err)
        self.assertIn("Entry not found", err)

    def test_a_silent_server_is_given_up_and_asked_again(self):
        commit = self.hub.add(REPO, self.files)
        self.hub.misbehave("model-Q4_K_M.gguf", {"pause": 20})
        begin = time.monotonic()
        self.pull(FACET_STALL_SECONDS="1")
        self.assertLess(time.monotonic() - begin, 15)
        self.expect_file(commit, "model-Q4_K_M.gguf", self.files["model-Q4_K_M.gguf"])

    def test_redirections_have_an_end_and_stay_in_http(self):
        self.hub.add(REPO, self.files)
        self.hub.always["resolve"] = {"redirect": f"{self.hub.endpoint}/{REPO}/resolve/x/y"}
        self.assertIn("more than 10 times", self.pull(status=IO))
        for target in ("file:///etc/passwd", "ftp://127.0.0.1/x"):
            self.hub.always["resolve"] = {"redirect": target}
            self.assertIn("not followed", self.pull(status=IO))

    def test_an_answer_that_is_no_json(self):
        self.hub.add(REPO, self.files)
        self.hub.misbehave("refs", {"status": 200, "body": b"<html>log in to the hotel's network</html>"})
        self.assertIn("not valid JSON", self.pull(status=CORRUPT))

    def test_a_disk_without_room_is_noticed_before(self):
        commit = self.hub.add(REPO, self.files)
        entry = [{"type": "file", "path": "m-Q8_0.gguf", "size": 2**60, "oid": "0" * 40, "lfs": {"oid": "0" * 64, "size": 2**60}}]
        self.hub.misbehave("tree", {"status": 200, "body": json.dumps(entry).encode()})
        self.assertIn("no room", self.pull(status=EXHAUSTED))
        self.assertEqual(self.hub.content_requests(), [])
        self.assertFalse((self.folder() / "snapshots" / commit).exists())

    def test_a_disk_that_fills_up_keeps_the_beginning(self):
        data = bytes_of(8, 20_000_000)
        commit = self.hub.add(REPO, {"m-Q8_0.gguf": data})
        self.hub.misbehave("m-Q8_0.gguf", {"pause": 2})
        self.cache.mkdir()
        kept = self.home / "kept"
        # In a mount namespace of its own: a small file system, which another program fills in the middle of the transfer.
        script = f"""mount -t tmpfs -o size=100m tmpfs {self.cache} || exit 99
            "$0" pull {REPO} & for i in $(seq 100); do
              sleep 0.05; [ "$(du -sm {self.cache} | cut -f1)" -ge 9 ] && break; done
            head -c 100m /dev/zero >{self.cache}/filler; wait $!; status=$?; cp {self.cache}/models--*/blobs/* {kept}; exit $status"""
        run = subprocess.run(["unshare", "-rm", "bash", "-c", script, PROGRAM], env=self.environment({}), capture_output=True, text=True, timeout=60)
        if run.returncode in (1, 99):
            self.skipTest("there are no mount namespaces here")
        self.assertEqual(run.returncode, EXHAUSTED, run.stderr)
        self.assertIn("the disk is full", run.stderr)
        beginning = kept.read_bytes()
        self.assertGreater(len(beginning), 0)
        self.assertEqual(data[:len(beginning)], beginning)
        (self.folder() / "blobs").mkdir(parents=True)
        kept.rename(self.folder() / "blobs" / (blob_id("m.gguf", data) + ".incomplete"))
        self.pull()
        self.assertEqual(self.hub.content_requests()[-1]["range"], f"bytes={len(beginning)}-")
        self.expect_file(commit, "m-Q8_0.gguf", data)

    def test_https_needs_a_known_certificate_and_is_not_left(self):
        key, certificate = self.home / "key.pem", self.home / "cert.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-days", "2",
                        "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate, key)
        plain, self.hub = self.hub, HubServer(tls)
        self.addCleanup(self.hub.close)
        self.hub.add("owner/folder", {"config.json": b"{}", "model.safetensors": b"w" * 10})
        begin = time.monotonic()
        self.assertIn("certificate", self.pull("owner/folder", status=IO))
        err = self.pull("owner/folder", SSL_CERT_FILE=str(certificate), status=IO)
        self.assertIn("not followed", err)  # the content server is plain http
        self.assertLess(time.monotonic() - begin, 30)
        self.assertEqual(plain.requests, [])


class Interrupted(HubTest):
    def wait_for_bytes(self, least):
        end = time.monotonic() + 30
        while time.monotonic() < end:
            if any(path.stat().st_size >= least for path in self.cache.rglob("*.incomplete")):
                return
            time.sleep(0.01)
        self.fail("no bytes arrive")

    def test_ctrl_c_leaves_a_beginning_that_is_continued(self):
        commit = self.hub.add(REPO, self.files)
        self.hub.misbehave("model-Q4_K_M.gguf", {"rate": 1_000_000})
        run = self.start("pull", REPO)
        self.wait_for_bytes(100_000)
        run.send_signal(signal.SIGINT)
        _, err = run.communicate(timeout=20)
        self.assertEqual(run.returncode, INTERRUPTED, err)
        self.assertIn("continues", err)
        self.pull()
        self.assertGreaterEqual(int(self.hub.content_requests()[-1]["range"][6:-1]), 100_000)
        self.expect_file(commit, "model-Q4_K_M.gguf", self.files["model-Q4_K_M.gguf"])

    def expect_nothing_broken(self, files):
        """Whatever has its final name is whole."""
        known = {blob_id(path, data): data for path, data in files.items()}
        for path in (self.folder() / "blobs").glob("*"):
            if path.suffix != ".incomplete":
                self.assertEqual(path.read_bytes(), known[path.name])
        for path in (self.folder() / "snapshots").rglob("*"):
            if not path.is_dir():
                self.assertEqual(path.read_bytes(), files[path.name], path)
        refs = list((self.folder() / "refs").glob("*"))
        self.assertTrue(all(len(ref.read_text()) == 40 for ref in refs))
        return refs

    def beginnings(self):
        """{blob: bytes} of fetches that did not end."""
        return {path.stem: path.stat().st_size for path in (self.folder() / "blobs").glob("*.incomplete")}

    def expect_continued(self, files, beginnings, already):
        """Of the beginnings none is asked for from the start. already: requests for each file of earlier runs."""
        for path, data in files.items():
            length, requests = beginnings.get(blob_id(path, data), 0), self.hub.content_requests(path)[already[path]:]
            if 0 < length < len(data) and requests:
                self.assertEqual(requests[0].get("range"), f"bytes={length}-", path)

    def test_kill_9_leaves_a_beginning_that_is_continued(self):
        commit = self.hub.add(REPO, self.files)
        self.hub.misbehave("model-Q4_K_M.gguf", {"rate": 1_000_000})
        run = self.start("pull", REPO)
        self.wait_for_bytes(100_000)
        run.kill()
        run.communicate()
        (length,) = self.beginnings().values()
        self.pull()
        self.assertEqual(self.hub.content_requests()[-1]["range"], f"bytes={length}-")
        self.expect_file(commit, "model-Q4_K_M.gguf", self.files["model-Q4_K_M.gguf"])

    def test_kill_9_at_any_moment_leaves_nothing_broken(self):
        files = {f"m-Q8_0-0000{i}-of-00003.gguf": bytes_of(i, 300_000) for i in (1, 2, 3)}
        files |= {"mmproj-F16.gguf": bytes_of(7, 50_000)}
        commit = self.hub.add(REPO, files)
        for path in files:
            self.hub.always[path] = {"rate": 2_000_000}
        dice = random.Random(20)
        for links in ("0", "1"):
            kills = 0
            for attempt in range(200):
                beginnings, already = self.beginnings(), {path: len(self.hub.content_requests(path)) for path in files}
                run = self.start("pull", REPO, HF_HUB_DISABLE_SYMLINKS=links)
                try:
                    run.communicate(timeout=dice.uniform(0.0, 0.25 + attempt / 100))
                    break
                except subprocess.TimeoutExpired:
                    run.kill()
                    run.communicate()
                    kills += 1
                self.expect_nothing_broken(files)
                self.expect_continued(files, beginnings, already)
            self.expect_continued(files, beginnings, already)
            self.assertEqual(run.returncode, 0, f"after {attempt} tries")
            self.assertGreater(kills, 2)
            self.expect_no_partial()
            self.assertEqual([ref.read_text() for ref in self.expect_nothing_broken(files)], [commit])
            self.assertEqual(self.facet("rm", REPO, "--yes")[0], 0)
            self.assertFalse(self.folder().exists())

    def test_two_at_once_fetch_it_once(self):
        commit = self.hub.add(REPO, self.files)
        self.hub.always["model-Q4_K_M.gguf"] = {"rate": 1_500_000}
        runs = [self.start("pull", REPO) for _ in range(3)]
        errs = [run.communicate(timeout=60)[1] for run in runs]
        self.assertEqual([run.returncode for run in runs], [0, 0, 0], errs)
        self.assertEqual(len(self.hub.content_requests()), 1)
        self.assertTrue(any("waiting for another process" in err for err in errs), errs)
        self.expect_file(commit, "model-Q4_K_M.gguf", self.files["model-Q4_K_M.gguf"])

    def test_the_next_waits_for_a_killed_one_no_longer(self):
        commit = self.hub.add(REPO, self.files)
        self.hub.misbehave("model-Q4_K_M.gguf", {"rate": 500_000})
        first = self.start("pull", REPO)
        self.wait_for_bytes(50_000)
        second = self.start("pull", REPO)
        time.sleep(0.3)
        first.kill()
        first.communicate()
        _, err = second.communicate(timeout=30)
        self.assertEqual(second.returncode, 0, err)
        self.expect_file(commit, "model-Q4_K_M.gguf", self.files["model-Q4_K_M.gguf"])


class Offline(HubTest):
    def test_offline_asks_nobody(self):
        self.hub.add(REPO, self.files)
        self.assertIn("facet pull", self.pull(REPO, "--offline", status=NOT_FOUND))
        self.assertEqual(self.hub.requests, [])
        self.pull()
        asked = len(self.hub.requests)
        self.pull(REPO, "--offline")
        self.pull(HF_HUB_OFFLINE="1")
        self.assertIn("Q4_K_M", self.pull(f"{REPO}:Q8_0", "--offline", status=NOT_FOUND))
        self.assertEqual(len(self.hub.requests), asked)

    def test_a_server_out_of_reach_is_replaced_by_the_cache(self):
        self.hub.add(REPO, self.files)
        self.pull()
        nowhere = {"HF_ENDPOINT": "http://127.0.0.1:9", "FACET_RETRY_SECONDS": "20"}
        begin = time.monotonic()
        self.assertIn("the copy in the cache is used", self.pull(**nowhere))
        self.assertLess(time.monotonic() - begin, 10)
        self.pull(f"{REPO}:Q8_0", **{**nowhere, "FACET_RETRY_SECONDS": "0"}, status=UNAVAILABLE)

    def test_an_older_snapshot_serves_what_the_newer_one_lacks(self):
        self.hub.add(REPO, self.files, commit="1" * 40)
        self.pull(f"{REPO}:Q4_K_M")
        self.hub.add(REPO, self.files, commit="2" * 40)
        self.pull(f"{REPO}:Q8_0")
        status, out, err = self.facet("pull", f"{REPO}:Q4_K_M", "--offline")
        self.assertEqual((status, out), (0, f"{self.folder()}/snapshots/{'1' * 40}/model-Q4_K_M.gguf\n"), err)
        self.pull(f"{REPO}@222222222222:Q8_0", "--offline")
        self.pull(f"{REPO}@222222222222:Q8_0")
        self.pull(f"{REPO}@222222222222:Q4_K_M", "--offline", status=NOT_FOUND)


class Commands(HubTest):
    def setUp(self):
        super().setUp()
        self.model = {"nano-Q4_0.gguf": SMALL_MODEL.read_bytes()}

    def test_a_model_of_the_hub_is_a_model(self):
        self.hub.add(REPO, self.model)
        status, _, err = self.facet("tokenize", REPO, "hello")
        self.assertEqual(status, NOT_FOUND)
        self.assertIn(f"facet pull {REPO}", err)
        self.assertEqual(self.hub.requests, [])
        expected = self.facet("tokenize", str(SMALL_MODEL), "hello")[1]
        self.assertEqual(self.facet("tokenize", "-hf", REPO, "hello")[1], expected)
        asked = len(self.hub.requests)
        for words in (("tokenize", REPO, "hello"), ("tokenize", f"{REPO}:Q4_0", "hello"), ("tokenize", "-m", REPO, "hello"),
                      ("tokenize", f"--hf-repo={REPO}", "--offline", "hello"), ("tokenize", f"-hf={REPO}", "--offline", "hello")):
            self.assertEqual(self.facet(*words)[1], expected, words)
        self.assertEqual(self.facet("tokenize", "hello", FACET_HF_REPO=REPO, FACET_OFFLINE="1")[1], expected)
        self.assertEqual(self.facet("tokenize", "-hf", REPO, "hello", FACET_MODEL="absent.gguf", FACET_OFFLINE="1")[1], expected)
        self.assertEqual(json.loads(self.facet("inspect", REPO, "--json")[1])["architecture"], "gemma4")
        self.assertEqual(len(self.hub.requests), asked)

    def test_contradictions_are_refused(self):
        self.hub.add(REPO, self.model)
        for words in (("tokenize", "-hf", REPO, "-m", "x.gguf", "hello"), ("tokenize", str(SMALL_MODEL), "--hf-file", "x.gguf", "hello"),
                      ("pull", REPO, "owner/other"), ("pull",)):
            self.assertEqual(self.facet(*words)[0], 2, words)
        status, _, err = self.facet("inspect", "folder/that-is-absent")
        self.assertEqual(status, NOT_FOUND)
        self.assertIn("no file or folder", err)
        self.assertEqual(self.facet("inspect", "folder/absent.gguf")[0], NOT_FOUND)

    def test_list_and_show(self):
        status, out, err = self.facet("list")
        self.assertEqual((status, out), (0, ""))
        self.assertIn("no models", err)
        self.hub.add(REPO, {**self.files, "mmproj-F16.gguf": b"p" * 100}, commit="1" * 40)
        self.hub.add("owner/two", {"a.gguf": b"a" * 10, "b.gguf": b"b" * 20})
        for name in (f"{REPO}:Q4_K_M", f"{REPO}:Q8_0"):
            self.pull(name)
        self.pull("owner/two")
        self.pull("owner/two", "--hf-file", "b.gguf")
        models = json.loads(self.facet("list", "--json")[1])["models"]
        self.assertEqual([(model["id"], model["bytes"]) for model in models],
                         [(f"{REPO}:Q4_K_M", 3_000_000), (f"{REPO}:Q8_0", 400_000), ("owner/two --hf-file a.gguf", 10), ("owner/two --hf-file b.gguf", 20)])
        self.assertTrue(all(abs(model["last_used"] - time.time()) < 1000 for model in models))
        lines = self.facet("list")[1].splitlines()
        self.assertEqual(len(lines), 4)
        self.assertIn("2.9 MiB", lines[0])
        shown = json.loads(self.facet("show", f"{REPO}:Q4_K_M", "--json")[1])
        self.assertEqual([(file["role"], file["path"]) for file in shown["files"]], [("model", "model-Q4_K_M.gguf"), ("projector", "mmproj-F16.gguf")])
        self.assertEqual((shown["commit"], shown["revision"], shown["bytes"]), ("1" * 40, "main", 3_000_100))
        self.assertEqual(pathlib.Path(shown["path"]).read_bytes(), self.files["model-Q4_K_M.gguf"])
        self.assertIn("projector", self.facet("show", REPO)[1])
        self.assertEqual(self.facet("show", "owner/two", "--hf-file", "b.gguf")[0], 0)
        self.assertEqual(self.facet("show", "owner/absent")[0], NOT_FOUND)

    def test_rm_removes_what_nothing_else_needs(self):
        shared = {**self.files, "mmproj-F16.gguf": b"p" * 100}
        self.hub.add(REPO, shared, commit="1" * 40)
        for name in (f"{REPO}:Q4_K_M", f"{REPO}:Q8_0"):
            self.pull(name)
        self.hub.add(REPO, {**shared, "README.md": b"new"}, commit="2" * 40)
        self.pull(f"{REPO}:Q8_0")
        self.hub.add("owner/other", {"o-Q8_0.gguf": b"o"})
        self.pull("owner/other")
        status, _, err = self.facet("rm", f"{REPO}:Q4_K_M")
        self.assertEqual(status, 2)
        self.assertIn("--yes", err)
        self.assertEqual(len(self.blobs()), 3)
        self.assertEqual(self.facet("rm", f"{REPO}:Q4", "--yes")[0], NOT_FOUND)
        self.assertEqual(self.facet("rm", f"{REPO}:Q4_K_M", "--yes")[0], 0)
        self.assertEqual(self.blobs(), {blob_id("x.gguf", shared[name]) for name in ("model-Q8_0.gguf", "mmproj-F16.gguf")})
        self.assertEqual(self.facet("rm", f"{REPO}@{'1' * 40}", "--yes")[0], 0)  # its blobs serve the other snapshot
        self.assertEqual(len(self.blobs()), 2)
        self.expect_file("2" * 40, "model-Q8_0.gguf", shared["model-Q8_0.gguf"])
        self.assertEqual(self.facet("rm", f"{REPO}:Q8_0", "--yes")[0], 0)
        self.assertFalse(self.folder().exists())
        self.assertEqual(self.blobs("owner/other"), {blob_id("o-Q8_0.gguf", b"o")})
        self.assertEqual(self.facet("rm", REPO, "--yes")[0], NOT_FOUND)

    def on_terminal(self, *words, typed):
        """(exit status, what the program wrote to a terminal that is its three streams)"""
        ours, theirs = pty.openpty()
        run = subprocess.Popen([PROGRAM, *words], stdin=theirs, stdout=theirs, stderr=theirs, env=self.environment({}))
        os.write(ours, typed)
        text = b""
        # Our end of theirs stays open: when the last one closes, the kernel may drop what was written just before.
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            ended = run.poll() is not None
            if select.select([ours], [], [], 0.5 if ended else 0.05)[0]:
                text += os.read(ours, 4096)
            elif ended:
                break
        os.close(ours)
        os.close(theirs)
        return run.wait(timeout=1), text.decode()

    def test_rm_asks_on_a_terminal(self):
        self.hub.add(REPO, self.files)
        self.pull()
        for typed in (b"n\n", b"\n", b"\x04"):
            status, text = self.on_terminal("rm", REPO, typed=typed)
            self.assertEqual(status, 0)
            self.assertIn("2.9 MiB", text)
            self.assertIn("[y/N]", text)
            self.assertIn("nothing was removed", text)
        self.assertEqual(len(self.blobs()), 1)
        self.assertEqual(self.on_terminal("rm", REPO, typed=b"y\n")[0], 0)
        self.assertFalse(self.folder().exists())

    def test_a_terminal_shows_progress(self):
        self.hub.add(REPO, self.files)
        self.hub.misbehave("model-Q4_K_M.gguf", {"rate": 2_000_000})
        status, text = self.on_terminal("pull", REPO, typed=b"")
        self.assertEqual(status, 0)
        self.assertRegex(text, r"fetching \[#+\.+\] \d+ %, [\d.]+ [KM]iB of 2.9 MiB, [\d.]+ [KM]iB/s, 0:0\d left")
        self.assertTrue(text.rstrip().endswith("model-Q4_K_M.gguf"), text[-300:])

    def test_rm_stays_in_the_cache(self):
        self.hub.add(REPO, self.files, commit="1" * 40)
        self.pull()
        outside = self.home / "outside"
        (self.folder() / "snapshots").rename(outside)
        (self.folder() / "snapshots").symlink_to(outside)
        status, _, err = self.facet("rm", REPO, "--yes")
        self.assertEqual(status, IO)
        self.assertIn("is a link", err)
        self.assertTrue((outside / ("1" * 40) / "model-Q4_K_M.gguf").is_symlink())
        (self.folder() / "snapshots").unlink()
        outside.rename(self.folder() / "snapshots")
        precious = self.home / "precious.gguf"
        precious.write_bytes(b"mine")
        (self.folder() / "snapshots" / ("1" * 40) / "model-Q2_K.gguf").symlink_to(precious)
        self.assertEqual(self.facet("rm", REPO, "--yes")[0], 0)
        self.assertEqual(precious.read_bytes(), b"mine")
        self.assertFalse(self.folder().exists())

    def test_rm_takes_beginnings_too(self):
        self.hub.add(REPO, self.files)
        self.hub.misbehave("model-Q4_K_M.gguf", {"cut": 2_000_000}, {"cut": 0}, {"cut": 0})
        self.pull(status=UNAVAILABLE)
        self.assertIn("1.9 MiB", self.facet("rm", REPO)[2])
        self.assertEqual(self.facet("rm", REPO, "--yes")[0], 0)
        self.assertFalse(self.folder().exists())

    def test_rm_leaves_a_model_that_is_being_fetched(self):
        self.hub.add(REPO, self.files)
        self.pull()
        lock = self.cache / ".locks" / self.folder().name / (blob_id("x.gguf", self.files["model-Q4_K_M.gguf"]) + ".lock")
        with open(lock) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            for name in (REPO, f"{REPO}:Q4_K_M"):
                status, _, err = self.facet("rm", name, "--yes")
                self.assertEqual(status, UNAVAILABLE)
                self.assertIn("another process", err)
        self.assertEqual(len(self.blobs()), 1)
        self.assertEqual(self.facet("rm", REPO, "--yes")[0], 0)


if __name__ == "__main__":
    unittest.main()
