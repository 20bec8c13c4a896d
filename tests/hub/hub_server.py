"""A stand-in for the Hugging Face hub on this machine: an API server that lists repositories and redirects to a second
server, on another port, for the content of large files. Both can be told to misbehave.

    hub = HubServer()
    hub.add("owner/repo", {"config.json": b"{}", "model-Q4_K_M.gguf": data})
    hub.misbehave("model-Q4_K_M.gguf", {"cut": 1000}, {"status": 500})     # the next two requests for the content

Actions (dicts; several keys may be combined):
    status, headers, body   answer this instead
    cut N                   break the connection after N bytes of the body
    data BYTES              serve other content
    ranges False            ignore Range
    etag TEXT               another tag ("" for none)
    content_range TEXT      another Content-Range
    chunked True            no Content-Length
    pause SECONDS           wait in the middle of the body
    rate N                  bytes a second
    redirect URL            302 to this address
"""
import hashlib
import http.server
import json
import threading
import time
import urllib.parse


def git_id(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def blob_id(path, data):
    """Large files are named by SHA-256, small text files by git."""
    return hashlib.sha256(data).hexdigest() if is_large(path) else git_id(data)


def is_large(path):
    return path.endswith((".gguf", ".safetensors", "tokenizer.json"))


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, hub, handler, tls=None):
        super().__init__(("127.0.0.1", 0), handler)
        self.hub = hub
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_side=True)
        self.address = f"{'https' if tls else 'http'}://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def handle_error(self, request, client_address):
        pass  # clients that are killed leave broken pipes


class HubServer:
    def __init__(self, tls=None):
        self.repos = {}
        self.actions = {}  # path of a file, or "refs", "tree", "resolve": actions of the next requests
        self.always = {}  # the same for every request
        self.requests = []  # (server, path with query, {header: value})
        self.page = 1000  # entries a page of the file list
        self.link_base = None  # what the Link header names instead of this server
        self.token = None  # the token without which nothing is given
        self.lock = threading.Lock()
        self.api, self.cdn = Server(self, ApiHandler, tls), Server(self, CdnHandler)
        self.endpoint = self.api.address

    def close(self):
        for server in (self.api, self.cdn):
            server.shutdown()
            server.server_close()

    def add(self, repo, files, branch="main", commit=None, tags=()):
        commit = commit or hashlib.sha1(repr(sorted(files)).encode() + repo.encode()).hexdigest()
        entry = self.repos.setdefault(repo, {"branches": {}, "tags": {}, "commits": {}})
        entry["branches"][branch] = commit
        entry["tags"].update({tag: commit for tag in tags})
        entry["commits"][commit] = dict(files)
        return commit

    def misbehave(self, name, *actions):
        self.actions.setdefault(name, []).extend(actions)

    def action(self, name):
        with self.lock:
            pending = self.actions.get(name)
            return pending.pop(0) if pending else self.always.get(name, {})

    def log(self, server, handler):
        with self.lock:
            self.requests.append((server, handler.path, {k.lower(): v for k, v in handler.headers.items()}))

    def content_requests(self, name=""):
        with self.lock:
            return [headers for server, path, headers in self.requests if server == "cdn" and name in path]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", headers=None):
        self.send_response(status)
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def answer_action(self, action):
        """True when the action was a whole answer."""
        if "redirect" in action:
            self.answer(302, b"moved", {"Location": action["redirect"]})
        elif "status" in action:
            self.answer(action["status"], action.get("body", b""), action.get("headers"))
        else:
            return False
        return True

    def send_body(self, data, action):
        if "rate" in action:
            step = max(1, action["rate"] // 50)
            for at in range(0, len(data), step):
                self.wfile.write(data[at:at + step])
                time.sleep(0.02)
        elif "pause" in action:
            self.wfile.write(data[:len(data) // 2])
            self.wfile.flush()
            time.sleep(action["pause"])
            self.wfile.write(data[len(data) // 2:])
        else:
            self.wfile.write(data[:action.get("cut")])
        if "cut" in action:
            self.close_connection = True

    def send_content(self, data, action):
        data = action.get("data", data)
        etag = action.get("etag", f'"{hashlib.md5(data).hexdigest()}"')
        begin, wanted, known = 0, self.headers.get("Range"), self.headers.get("If-Range")
        if wanted and action.get("ranges", True) and (known is None or known == etag):
            begin = int(wanted.removeprefix("bytes=").rstrip("-"))
            if begin >= len(data):
                return self.answer(416, b"", {"Content-Range": f"bytes */{len(data)}"})
        partial = begin > 0
        self.send_response(206 if partial else 200)
        if partial:
            self.send_header("Content-Range", action.get("content_range", f"bytes {begin}-{len(data) - 1}/{len(data)}"))
        if etag:
            self.send_header("ETag", etag)
        if action.get("chunked"):
            self.send_header("Connection", "close")
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(len(data) - begin))
        self.end_headers()
        self.send_body(data[begin:], action)


class ApiHandler(Handler):
    def do_GET(self):
        hub = self.server.hub
        hub.log("api", self)
        parts = urllib.parse.urlsplit(self.path)
        words = [urllib.parse.unquote(word) for word in parts.path.strip("/").split("/")]
        is_api = words[:2] == ["api", "models"]
        repo, rest = ("/".join(words[2:4]), words[4:]) if is_api else ("/".join(words[:2]), words[2:])
        if self.answer_action(hub.action(rest[0] if rest else "")):
            return None
        if hub.token and self.headers.get("Authorization") != f"Bearer {hub.token}":
            return self.answer(401, b'{"error": "Access to this model is restricted."}', {"X-Error-Code": "GatedRepo"})
        entry = hub.repos.get(repo)
        if entry is None:
            return self.answer(401, b'{"error": "Invalid username or password."}', {"X-Error-Code": "RepoNotFound"})
        if is_api and rest == ["refs"]:
            return self.refs(entry)
        if is_api and rest[:1] == ["tree"] and len(rest) == 2:
            return self.tree(repo, entry, rest[1], urllib.parse.parse_qs(parts.query))
        if not is_api and rest[:1] == ["resolve"] and len(rest) >= 3:
            return self.resolve(repo, entry, rest[1], "/".join(rest[2:]))
        return self.answer(404)

    def refs(self, entry):
        kinds = {kind: [{"name": name, "ref": f"refs/heads/{name}", "targetCommit": commit} for name, commit in entry[kind].items()]
                 for kind in ("branches", "tags")}
        self.answer(200, json.dumps({**kinds, "converts": []}).encode())

    def tree(self, repo, entry, commit, query):
        hub = self.server.hub
        files = entry["commits"].get(commit)
        if files is None or query.get("recursive") != ["true"]:
            return self.answer(404, b'{"error": "Invalid rev id"}', {"X-Error-Code": "RevisionNotFound"})
        folders = sorted({path.rpartition("/")[0] for path in files if "/" in path})
        listing = [{"type": "directory", "path": folder, "size": 0, "oid": "0" * 40} for folder in folders]
        for path, data in files.items():
            row = {"type": "file", "path": path, "size": len(data), "oid": git_id(data)}
            if is_large(path):
                row["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
            listing.append(row)
        begin = int(query.get("cursor", ["0"])[0])
        headers = {}
        if begin + hub.page < len(listing):
            base = hub.link_base or hub.endpoint
            headers["Link"] = f'<{base}/api/models/{repo}/tree/{commit}?recursive=true&cursor={begin + hub.page}>; rel="next"'
        return self.answer(200, json.dumps(listing[begin:begin + hub.page]).encode(), headers)

    def resolve(self, repo, entry, commit, path):
        hub = self.server.hub
        data = entry["commits"].get(commit, {}).get(path)
        if data is None:
            return self.answer(404, b'{"error": "Entry not found"}', {"X-Error-Code": "EntryNotFound"})
        if not is_large(path):
            action = hub.action(path)
            return None if self.answer_action(action) else self.send_content(data, {"etag": f'"{git_id(data)}"', **action})
        headers = {"Location": f"{hub.cdn.address}/{repo}/{commit}/{urllib.parse.quote(path)}?signature=x", "X-Repo-Commit": commit,
                   "X-Linked-Etag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Linked-Size": str(len(data))}
        return self.answer(302, b"", headers)


class CdnHandler(Handler):
    def do_GET(self):
        hub = self.server.hub
        hub.log("cdn", self)
        owner, name, commit, path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path).lstrip("/").split("/", 3)
        data = hub.repos[f"{owner}/{name}"]["commits"][commit][path]
        action = hub.action(path)
        return None if self.answer_action(action) else self.send_content(data, action)
