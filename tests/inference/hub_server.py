"""A small Hugging Face Hub on loopback: the URLs that huggingface_hub uses to download and to upload models.

One revision, one account. It answers as the real one does where that is known: a repository that the asker may not read
is 401 without a token and 404 with one, like one that does not exist; the files of a gated one are refused while its
page can be read.
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from huggingface_hub import constants
from huggingface_hub.utils import close_session

TOKEN = "hf_" + "a" * 34  # the one account there is
LFS_SUFFIXES = (".safetensors", ".bin")


@dataclass
class Repository:
    """Files by path, and who may see them."""

    files: dict[str, bytes] = field(default_factory=dict)
    private: bool = False
    gated: bool = False
    card: dict = field(default_factory=dict)
    commits: list[str] = field(default_factory=list)

    @property
    def sha(self) -> str:
        content = json.dumps({path: hashlib.sha1(data).hexdigest() for path, data in sorted(self.files.items())})
        return hashlib.sha1(content.encode()).hexdigest()


@dataclass
class Hub:
    """What the server holds, and what it was asked."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    uploads: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    endpoint: str = ""
    broken: bool = False  # answers everything with an error
    portal: bool = False  # answers everything with a page, as the log-in page of a guest network does
    is_read_only: bool = False  # the account may write nowhere

    def asked_for(self, pattern: str) -> list[str]:
        return [request for request in self.requests if re.search(pattern, request)]


class Handler(BaseHTTPRequestHandler):
    """One request; ``hub`` is set on a subclass by ``serving``."""

    hub: Hub
    protocol_version = "HTTP/1.1"
    routes = (
        ("GET", r"/api/models/([^/]+/[^/]+)", "info"),
        ("GET", r"/api/models/([^/]+/[^/]+)/revision/[^/]+", "info"),
        ("GET", r"/api/models/([^/]+/[^/]+)/tree/[^/]+", "tree"),
        ("GET", r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)", "resolve"),
        ("HEAD", r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)", "resolve"),
        ("POST", r"/api/repos/create", "create"),
        ("POST", r"/api/validate-yaml", "validate"),
        ("POST", r"/api/models/([^/]+/[^/]+)/preupload/[^/]+", "preupload"),
        ("POST", r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch", "batch"),
        ("PUT", r"/upload/([0-9a-f]{64})", "upload"),
        ("POST", r"/api/models/([^/]+/[^/]+)/commit/[^/]+", "commit"),
    )

    def handle_any(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            self.body = self.read_chunks()
        self.hub.requests.append(f"{self.command} {path}")
        if self.hub.portal:
            return self.send(200, b"<html>Please log in to this network</html>", {"Content-Type": "text/html"})
        if self.hub.broken:
            return self.refuse(503, "", "out of order")
        for command, pattern, name in self.routes:
            if command == self.command and (found := re.fullmatch(pattern, path)):
                return getattr(self, name)(*found.groups())
        return self.refuse(404, "NotFound")

    do_GET = do_HEAD = do_POST = do_PUT = handle_any

    def read_chunks(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def send(self, status: int, body: bytes = b"", headers: dict | None = None) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": len(body)} | (headers or {})).items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_json(self, content: object, status: int = 200) -> None:
        self.send(status, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def refuse(self, status: int, code: str, message: str = "") -> None:
        headers = {"X-Error-Code": code, "X-Error-Message": message}
        self.send(status, json.dumps({"error": message}).encode() if message else b"", headers)

    @property
    def token(self) -> str | None:
        return (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None

    def readable(self, name: str) -> Repository | None:
        """The repository, or None after a refusal."""
        if self.token not in (None, TOKEN):
            self.refuse(401, "", "Invalid credentials in Authorization header")
            return None
        found = self.hub.repositories.get(name)
        if found is None or (found.private and self.token != TOKEN):
            self.refuse(404 if self.token else 401, "RepoNotFound", "Repository not found")
            return None
        return found

    def writable(self, name: str) -> Repository | None:
        if self.token != TOKEN:
            self.refuse(401, "", "Invalid username or password.")
            return None
        if self.hub.is_read_only:
            self.refuse(403, "", "You don't have the rights to create a model under this namespace")
            return None
        return self.hub.repositories.setdefault(name, Repository())

    def info(self, name: str) -> None:
        found = self.readable(name)
        if found is not None:
            siblings = [{"rfilename": path, "size": len(data)} for path, data in sorted(found.files.items())]
            content = {"_id": "0", "id": name, "sha": found.sha, "private": found.private, "siblings": siblings}
            self.send_json(content | {"tags": [], "downloads": 0, "likes": 0, "cardData": found.card})

    def tree(self, name: str) -> None:
        found = self.readable(name)
        if found is not None:
            self.send_json(
                [
                    {"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                    for path, data in sorted(found.files.items())
                ]
            )

    def resolve(self, name: str, path: str) -> None:
        found = self.readable(name)
        if found is None:
            return
        if found.gated and self.token != TOKEN:
            self.refuse(401, "GatedRepo", f"Access to model {name} is restricted.")
        elif path not in found.files:
            self.refuse(404, "EntryNotFound", "Entry not found")
        else:
            data = found.files[path]
            etag = (hashlib.sha256 if path.endswith(LFS_SUFFIXES) else hashlib.sha1)(data).hexdigest()
            headers = {"ETag": f'"{etag}"', "X-Repo-Commit": found.sha, "X-Linked-Size": len(data)}
            self.send(200, data, headers)

    def create(self) -> None:
        asked = json.loads(self.body)
        name = f"{asked['organization']}/{asked['name']}"
        exists = name in self.hub.repositories
        found = self.writable(name)
        if found is None:
            return
        if not exists:
            found.private = asked.get("visibility") == "private" or bool(asked.get("private"))
        self.send_json({"url": f"{self.hub.endpoint}/{name}"}, 409 if exists else 200)

    def validate(self) -> None:
        card = json.loads(self.body)["content"]
        if card.startswith("---\n") and "\n---\n" in card:
            self.send_json({"errors": [], "warnings": []})
        else:
            self.send_json({"errors": [{"message": "no metadata"}], "warnings": []}, 400)

    def preupload(self, name: str) -> None:
        files = json.loads(self.body)["files"]
        if self.writable(name) is not None:
            modes = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["path"].endswith(LFS_SUFFIXES) else "regular",
                    "shouldIgnore": False,
                }
                for file in files
            ]
            self.send_json({"files": modes})

    def batch(self, name: str) -> None:
        if self.writable(name) is not None:
            objects = [
                {"oid": o["oid"], "size": o["size"]}
                | {"actions": {"upload": {"href": f"{self.hub.endpoint}/upload/{o['oid']}"}}}
                for o in json.loads(self.body)["objects"]
            ]
            self.send_json({"transfer": "basic", "objects": objects})

    def upload(self, oid: str) -> None:
        if hashlib.sha256(self.body).hexdigest() != oid:
            return self.refuse(400, "", "the content is not what its name says")
        self.hub.uploads[oid] = self.body
        return self.send(200)

    def commit(self, name: str) -> None:
        found = self.writable(name)
        if found is None:
            return
        for line in self.body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "header":
                found.commits.append(value["summary"])
            elif entry["key"] == "file":
                found.files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                found.files[value["path"]] = self.hub.uploads[value["oid"]]
            elif entry["key"] == "deletedFile":
                del found.files[value["path"]]
        url = f"{self.hub.endpoint}/{name}/commit/{found.sha}"
        self.send_json({"success": True, "commitOid": found.sha, "commitUrl": url, "hookOutput": ""})

    def log_message(self, *_: object) -> None:
        """Silence: the tests read ``Hub.requests``."""


@contextmanager
def serving(hub: Hub) -> Iterator[str]:
    """``hub`` on a free port of this machine while the block runs; gives its endpoint."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("BoundHandler", (Handler,), {"hub": hub}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub.endpoint
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def in_this_process(monkeypatch: pytest.MonkeyPatch, home: Path) -> Iterator[Hub]:
    """A hub that huggingface_hub, imported already, takes for the real one, with an empty cache in ``home``.

    What it reads from the environment when it is imported is set by hand here. That HF_ENDPOINT and HF_HOME do the same
    is tested in processes of their own.
    """
    hub = Hub()
    with serving(hub) as endpoint:
        monkeypatch.setattr(constants, "ENDPOINT", endpoint)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # Xet is another protocol, with servers of its own
        for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
            monkeypatch.delenv(name, raising=False)
        yield hub
        close_session()
