"""A Hugging Face hub in a thread, for tests of what is fetched from one; files come over plain HTTP, by Xet none does.

It answers as `huggingface_hub` expects the real one to: commits behind branches, a listing in pages, files of git
through a redirect on the hub and large ones through one to another host, parts of files, and the errors with their
codes. A client of this process is pointed at it by `reach`, one of another process by `environment`.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qs, quote, unquote, urlsplit

import pytest

#: What is kept outside of git on the hub, and served from another host.
LARGE = (".parquet", ".safetensors", ".model")
TOKEN = "hf_of_the_tests"


@dataclass
class Repository:
    """Commits, and the branches and tags that name them."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    gated: bool = False


@dataclass
class Trouble:
    """What goes wrong with requests whose `METHOD path` matches: an answer of that status, or a body that is cut."""

    request: str
    times: int = 10**6
    status: int = 0
    cut_after: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    """A request that came."""

    request: str
    host: str
    token: str
    range: str


class Hub:
    """Repositories by (kind, name), where a kind is `models` or `datasets`."""

    def __init__(self) -> None:
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.troubles: list[Trouble] = []
        self.asked: list[Asked] = []
        self.entries_on_a_page = 1000
        self.names_xet = False
        """Whether large files are said to lie in a store of Xet, at `/cas`: it has none of them."""
        self.port = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def push(
        self, kind: str, name: str, files: Path | Mapping[str, bytes], *, commit: str = "", to: str = "main"
    ) -> str:
        """A commit with these files alone, at the head of a branch; where no hash is stated, it is of the content."""
        if isinstance(files, Path):
            found = (path for path in files.rglob("*") if path.is_file())
            files = {path.relative_to(files).as_posix(): path.read_bytes() for path in found}
        repository = self.repositories.setdefault((kind, name), Repository())
        commit = commit or hashlib.sha1(repr((len(repository.commits), sorted(files.items()))).encode()).hexdigest()
        repository.commits[commit] = dict(files)
        repository.names[to] = commit
        return commit

    def fetched(self) -> list[str]:
        """The paths in their repository of the files whose content was asked for, each as often as it was."""
        place = r"GET /(?:(?:datasets/)?[^/]+/[^/]+/resolve|api/resolve-cache/[^/]+/[^/]+/[^/]+)/[^/]+/(.+)"
        inside = (path[1] for asked in self.asked if (path := re.fullmatch(place, asked.request)))
        cdn = (asked.request.rpartition("?")[2] for asked in self.asked if asked.request.startswith("GET /cdn/"))
        return sorted((*inside, *cdn))

    def trouble_with(self, request: str) -> Trouble | None:
        for trouble in self.troubles:
            if trouble.times and fnmatch(request, trouble.request):
                trouble.times -= 1
                return trouble
        return None


@contextmanager
def served() -> Iterator[Hub]:
    """A hub with nothing, listening; it is off after the context."""
    hub = Hub()

    class Handler(_Handler):
        of = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


def reach(hub: Hub, cache: Path, patch: pytest.MonkeyPatch, *, online: bool = True, token: str = "") -> None:
    """Point this process at the hub, with that cache, and let nobody wait between tries."""
    patch.setattr("huggingface_hub.constants.ENDPOINT", hub.address)
    patch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
        f"{hub.address}/{{repo_id}}/resolve/{{revision}}/{{filename}}",
    )
    patch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", not online)
    patch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(cache / "token"))
    for name, value in environment(hub, cache.parent, token=token).items():
        patch.setenv(name, value)
    at_once = SimpleNamespace(**{**vars(time), "sleep": lambda seconds: None})
    for module in ("huggingface_hub.utils._http", "huggingface_hub.file_download"):
        patch.setattr(f"{module}.time", at_once)


def environment(hub: Hub, home: Path, *, online: bool = True, token: str = "") -> dict[str, str]:
    """What a process must be started with to reach the hub alone, and to keep what it fetches under `home`."""
    return {
        "HF_ENDPOINT": hub.address,
        "HF_HOME": str(home),
        "HF_HUB_OFFLINE": "0" if online else "1",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_TOKEN": token,
        "NO_PROXY": "127.0.0.1,localhost",
    }


class _Handler(BaseHTTPRequestHandler):
    """HTTP/1.0, one request to a connection: when the server is off, nothing answers."""

    of: Hub

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        request = f"{self.command} {unquote(self.path)}"
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        asked = Asked(request, self.headers.get("Host", ""), token, self.headers.get("Range", ""))
        self.of.asked.append(asked)
        trouble = self.of.trouble_with(request)
        if trouble and trouble.status:
            return self.refuse(trouble.status, "", "trouble", trouble.headers)
        self.cut_after = trouble.cut_after if trouble else None
        if parts.path == "/xet-token":
            until = int(time.time()) + 3600
            place = {"X-Xet-Cas-Url": f"{self.of.address}/cas", "X-Xet-Access-Token": "xet"}
            return self.json({}, {**place, "X-Xet-Token-Expiration": str(until)})
        if parts.path.startswith("/cdn/"):
            return self.cdn(parts.path.removeprefix("/cdn/"))
        api = re.fullmatch(r"/api/(models|datasets)/([^/]+/[^/]+)/(revision|tree)/([^/]+)", parts.path)
        cached = re.fullmatch(r"/api/resolve-cache/(models|datasets)/([^/]+/[^/]+)/([^/]+)/(.+)", parts.path)
        file = re.fullmatch(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", parts.path)
        if api:
            kind, name, what, revision = api.groups()
            if found := self.commit(kind, name, revision):
                answer = self.tree if what == "tree" else self.information
                answer(kind, name, *found, parse_qs(parts.query))
        elif cached or file:
            given = cached or file
            kind, name, revision, path = given.groups()
            if found := self.commit("datasets" if kind and kind.startswith("datasets") else "models", name, revision):
                self.file(kind or "models", name, *found, unquote(path), token, redirect=cached is None)
        else:
            self.refuse(404, "", "Sorry, we can't find the page you are looking for.")
        return None

    do_HEAD = do_GET

    def commit(self, kind: str, name: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """The commit that a revision stands for, with its files; where there is none that has been said."""
        repository = self.of.repositories.get((kind, name))
        if repository is None:
            self.refuse(401, "RepoNotFound", "Invalid username or password.")
            return None
        revision = unquote(revision)
        commit = repository.names.get(revision, revision)
        if commit not in repository.commits:
            self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return None
        return commit, repository.commits[commit]

    def information(self, kind: str, name: str, commit: str, files: dict[str, bytes], _: dict) -> None:
        siblings = [{"rfilename": path} for path in sorted(files)]
        gated = "manual" if self.of.repositories[kind, name].gated else False
        said = {"_id": commit[:24], "id": name, "sha": commit, "private": False, "gated": gated, "disabled": False}
        self.json({**said, "downloads": 0, "likes": 0, "tags": [], "siblings": siblings})

    def tree(self, kind: str, name: str, commit: str, files: dict[str, bytes], query: dict) -> None:
        folders = {parent.as_posix() for path in files for parent in Path(path).parents} - {"."}
        entries = [
            {"type": "directory", "oid": hashlib.sha1(path.encode()).hexdigest(), "size": 0, "path": path}
            if path in folders
            else _entry(path, files[path])
            for path in sorted({*files, *folders})
        ]
        start, size = int(query.get("cursor", ["0"])[0]), self.of.entries_on_a_page
        more = {}
        if start + size < len(entries):
            place = f"{self.of.address}/api/{kind}/{name}/tree/{commit}?recursive=True&cursor={start + size}"
            more["Link"] = f'<{place}>; rel="next"'
        self.json(entries[start : start + size], more)

    def file(
        self, kind: str, name: str, commit: str, files: dict[str, bytes], path: str, token: str, *, redirect: bool
    ) -> None:
        kind = kind.rstrip("/")
        if self.of.repositories[kind, name].gated and token != TOKEN:
            wanted = f"Access to {kind[:-1]} {name} is restricted and you are not in the authorized list."
            self.refuse(403 if token else 401, "GatedRepo", wanted)
            return
        if path not in files:
            self.refuse(404, "EntryNotFound", "Entry not found", {"X-Repo-Commit": commit})
            return
        content = files[path]
        tag = f'"{_large(content) if path.endswith(LARGE) else _of_git(content)}"'
        if not redirect:
            self.body(content, {"ETag": tag, "X-Repo-Commit": commit})
            return
        if path.endswith(LARGE):
            status, place = 302, f"http://localhost:{self.of.port}/cdn/{_large(content)}?{quote(path)}"
        else:
            status, place = 307, f"/api/resolve-cache/{kind}/{name}/{commit}/{quote(path)}"
        self.send_response(status)
        said = {"Location": place, "X-Repo-Commit": commit, "X-Linked-Size": str(len(content)), "X-Linked-ETag": tag}
        if self.of.names_xet and path.endswith(LARGE):
            said |= {"X-Xet-Hash": _large(content), "X-Xet-Refresh-Route": f"{self.of.address}/xet-token"}
        for header, value in {**said, "Content-Length": "0"}.items():
            self.send_header(header, value)
        self.end_headers()

    def cdn(self, digest: str) -> None:
        every = (files for one in self.of.repositories.values() for files in one.commits.values())
        found = (content for files in every for content in files.values() if _large(content) == digest)
        content = next(found, None)
        if content is None:
            self.refuse(404, "", "no such object")
        else:
            self.body(content, {"ETag": f'"{digest}"'})

    def body(self, content: bytes, headers: Mapping[str, str]) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        sent = content
        if asked:
            first, last = int(asked[1]), min(int(asked[2] or len(content) - 1), len(content) - 1)
            sent = content[first : last + 1]
            headers = {**headers, "Content-Range": f"bytes {first}-{last}/{len(content)}"}
        self.send_response(206 if asked else 200)
        for name, value in {**headers, "Content-Length": str(len(sent)), "Accept-Ranges": "bytes"}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(sent if self.cut_after is None else sent[: self.cut_after])

    def json(self, value: object, headers: Mapping[str, str] = {}) -> None:
        self.body(json.dumps(value).encode(), {"Content-Type": "application/json", **headers})

    def refuse(self, status: int, code: str, words: str, headers: Mapping[str, str] = {}) -> None:
        self.send_response(status)
        said = {"X-Error-Code": code, "X-Error-Message": words, "Content-Length": "0", **headers}
        for name, value in said.items():
            if value:
                self.send_header(name, value)
        self.end_headers()

    def log_message(self, *words: object) -> None: ...


def _entry(path: str, content: bytes) -> dict:
    entry = {"type": "file", "oid": _of_git(content), "size": len(content), "path": path}
    if path.endswith(LARGE):
        entry["lfs"] = {"oid": _large(content), "size": len(content), "pointerSize": 134}
    return entry


def _of_git(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _large(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
