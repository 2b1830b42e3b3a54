"""A server on loopback that speaks as much of the Hub's protocol as reading and pushing need."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import SHUT_RDWR
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, unquote

#: The only token that the server accepts; it may write to the organisation "someone".
TOKEN = "hf_theSecretOfTheseTests"
#: Kept out of git, as the Hub's .gitattributes has it.
LFS = (".parquet", ".safetensors")
NAME = r"(?P<name>\w+/\w[\w.-]*?)"
REPO = rf"(?P<kind>datasets|models|spaces)/{NAME}"
REVISION = "(?P<revision>[^/]+)"
ROUTES = [
    ("GET", "/api/whoami-v2", "whoami"),
    ("POST", "/api/repos/create", "create"),
    ("POST", "/api/validate-yaml", "validate"),
    ("GET", f"/api/{REPO}(?:/revision/{REVISION})?", "info"),
    ("GET", f"/api/{REPO}/refs", "refs"),
    ("GET", f"/api/{REPO}/tree/{REVISION}(?:/(?P<below>.*))?", "tree"),
    ("POST", f"/api/{REPO}/paths-info/{REVISION}", "paths_info"),
    ("POST", f"/api/{REPO}/preupload/{REVISION}", "preupload"),
    ("POST", f"/api/{REPO}/commit/main", "commit"),
    ("POST", f"/api/{REPO}/tag/{REVISION}", "tag"),
    ("POST", rf"/(?P<kind>datasets/)?{NAME}\.git/info/lfs/objects/batch", "batch"),
    ("PUT", r"/lfs/(?P<oid>\w+)", "store"),
    ("GET", f"/(?P<kind>datasets/)?{NAME}/resolve/{REVISION}/(?P<path>.+)", "resolve"),
]
#: Served without a token.
OPEN = {"info", "refs", "tree", "paths_info", "resolve", "store"}


class Refused(Exception):
    """An answer that is an error: status, and the header X-Error-Code if any."""

    def __init__(self, status: int, message: str, code: str = "") -> None:
        super().__init__(message)
        self.status, self.code = status, code


class Repo:
    """A repository: every commit as the files it has, oldest first; the last one is main."""

    def __init__(self, path: str) -> None:
        self.path = path.removeprefix("models/")
        self.commits: dict[str, dict[str, bytes]] = {}
        self.titles: list[str] = []
        self.tags: dict[str, str] = {}

    @property
    def head(self) -> str:
        return next(reversed(self.commits))

    @property
    def files(self) -> dict[str, bytes]:
        return self.commits[self.head]

    def commit(self, files: dict[str, bytes], title: str = "") -> str:
        names = "".join(f"{path} {git_id(data)}\n" for path, data in sorted(files.items()))
        commit = hashlib.sha1(f"{len(self.commits)} {names}".encode()).hexdigest()
        self.commits[commit] = files
        self.titles.append(title)
        return commit

    def find(self, revision: str) -> str:
        commit = self.head if revision == "main" else self.tags.get(revision, revision)
        if commit not in self.commits:
            raise Refused(404, f"no revision {revision}", "RevisionNotFound")
        return commit


class Hub:
    """The server's state, and what it was asked.

    Attributes:
        endpoint: Value for HF_ENDPOINT.
        repos: By kind and name ("datasets/someone/gvs").
        asked: Every request, as "METHOD path".
        cut: Requests whose path holds this text are cut off in the middle of what they send.
    """

    def __init__(self, repos: Mapping[str, Path]) -> None:
        self.endpoint = ""
        self.repos = {name: Repo(name) for name in repos}
        for name, folder in repos.items():
            paths = (path for path in folder.rglob("*") if path.is_file())
            self.repos[name].commit(
                {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
            )
        self.blobs: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.cut: str | None = None

    @property
    def writes(self) -> list[str]:
        """The requests that write."""
        return [r for r in self.asked if r.startswith(("POST", "PUT")) and "paths-info" not in r]


def git_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def entry(path: str, data: bytes) -> dict[str, Any]:
    found = {"type": "file", "oid": git_id(data), "size": len(data), "path": path}
    if path.endswith(LFS):
        oid = hashlib.sha256(data).hexdigest()
        # What git holds is a pointer to the content.
        found |= {
            "oid": git_id(oid.encode()),
            "lfs": {"oid": oid, "size": len(data), "pointerSize": 134},
        }
    return found


class Handler(BaseHTTPRequestHandler):
    """One request; the methods named in ROUTES return the answer."""

    protocol_version = "HTTP/1.1"
    hub: Hub

    def serve(self) -> None:
        path = unquote(self.path.partition("?")[0])
        self.hub.asked.append(f"{self.command} {path}")
        if self.hub.cut and self.hub.cut in path:
            self.rfile.read(int(self.headers["Content-Length"]) // 2)
            self.close_connection = True
            self.connection.shutdown(SHUT_RDWR)
            return
        self.body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        try:
            self.answer(path)
        except Refused as error:
            # A server that tells the token back, so that nobody may print what servers say.
            message = f"{error} (asked with {self.headers['Authorization']})"
            headers = {"X-Error-Message": message} | (
                {"X-Error-Code": error.code} if error.code else {}
            )
            self.reply({"error": message}, error.status, headers)

    do_GET = do_HEAD = do_POST = do_PUT = serve

    def answer(self, path: str) -> None:
        method = self.command.replace("HEAD", "GET")
        for verb, pattern, name in ROUTES:
            found = re.fullmatch(pattern, path)
            if found and verb == method:
                self.authorise(name)
                groups = found.groupdict()
                if "name" in groups:
                    groups["repo"] = self.repo(groups.pop("kind"), groups.pop("name"))
                getattr(self, name)(**groups)
                return
        raise Refused(404, f"no route {path}", "EntryNotFound")

    def authorise(self, name: str) -> None:
        given = self.headers["Authorization"]
        if given not in (None, f"Bearer {TOKEN}") or (given is None and name not in OPEN):
            raise Refused(401, "Invalid credentials in Authorization header")

    def repo(self, kind: str | None, name: str) -> Repo:
        found = self.hub.repos.get(f"{(kind or 'models').rstrip('/')}/{name}")
        if found is None:
            raise Refused(404, "no such repository", "RepoNotFound")
        return found

    def reply(self, body: object, status: int = 200, headers: Mapping[str, str] = {}) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def whoami(self) -> None:
        self.reply({"type": "user", "name": "someone", "orgs": []})

    def validate(self) -> None:
        self.reply({"errors": [], "warnings": []})

    def create(self) -> None:
        asked = json.loads(self.body)
        owner, kind = asked["organization"] or "someone", asked.get("type", "model")
        if owner != "someone":
            raise Refused(403, f"You don't have the rights to create a {kind} under {owner}")
        name = f"{kind}s/{owner}/{asked['name']}"
        if name in self.hub.repos:
            raise Refused(409, "You already created this repo")
        repo = self.hub.repos[name] = Repo(name)
        repo.commit({".gitattributes": b"*.parquet filter=lfs\n"}, "initial commit")
        self.reply({"url": f"{self.hub.endpoint}/{repo.path}"})

    def info(self, repo: Repo, revision: str | None) -> None:
        commit = repo.find(revision or "main")
        siblings = [{"rfilename": path} for path in sorted(repo.commits[commit])]
        self.reply(
            {"_id": "1", "id": "someone/repo", "sha": commit, "siblings": siblings, "tags": []}
            | {"private": False, "downloads": 0, "likes": 0}
        )

    def refs(self, repo: Repo) -> None:
        def ref(kind: str, name: str, commit: str) -> dict[str, str]:
            return {"name": name, "ref": f"refs/{kind}/{name}", "targetCommit": commit}

        tags = [ref("tags", name, commit) for name, commit in repo.tags.items()]
        self.reply({"branches": [ref("heads", "main", repo.head)], "converts": [], "tags": tags})

    def entries(self, repo: Repo, revision: str) -> list[dict[str, Any]]:
        return [entry(path, data) for path, data in repo.commits[repo.find(revision)].items()]

    def tree(self, repo: Repo, revision: str, below: str | None) -> None:
        found = self.entries(repo, revision)
        self.reply([each for each in found if each["path"].startswith(below or "")])

    def paths_info(self, repo: Repo, revision: str) -> None:
        try:
            wanted = json.loads(self.body)["paths"]
        except ValueError:
            wanted = parse_qs(self.body.decode()).get("paths", [])
        wanted = [wanted] if isinstance(wanted, str) else wanted
        entries = self.entries(repo, revision)
        folders = {str(p) for e in entries for p in Path(e["path"]).parents} - {"."}
        found = [e for e in entries if e["path"] in wanted]
        found += [
            {"type": "directory", "oid": "0" * 40, "size": 0, "path": path}
            for path in wanted
            if path in folders
        ]
        self.reply(found)

    def resolve(self, repo: Repo, revision: str, path: str) -> None:
        commit = repo.find(revision)
        if path not in repo.commits[commit]:
            raise Refused(404, f"no file {path}", "EntryNotFound")
        data = repo.commits[commit][path]
        self.reply(data, headers={"ETag": f'"{git_id(data)}"', "X-Repo-Commit": commit})

    def preupload(self, repo: Repo, revision: str) -> None:
        files = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["path"].endswith(LFS) else "regular",
                "shouldIgnore": False,
            }
            for file in json.loads(self.body)["files"]
        ]
        self.reply({"files": files})

    def batch(self, repo: Repo) -> None:
        objects = []
        for each in json.loads(self.body)["objects"]:
            href = f"{self.hub.endpoint}/lfs/{each['oid']}"
            known = each["oid"] in self.hub.blobs
            objects.append(each if known else each | {"actions": {"upload": {"href": href}}})
        self.reply({"transfer": "basic", "objects": objects})

    def store(self, oid: str) -> None:
        if hashlib.sha256(self.body).hexdigest() != oid:
            raise Refused(400, "not the content that was announced")
        self.hub.blobs[oid] = self.body
        self.reply({})

    def commit(self, repo: Repo) -> None:
        header, *operations = (json.loads(line) for line in self.body.splitlines())
        if header["value"].get("parentCommit", repo.head) != repo.head:
            raise Refused(412, "A commit has happened since.")
        files = dict(repo.files)
        for each in operations:
            value = each["value"]
            if each["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif each["key"] == "lfsFile" and value["oid"] in self.hub.blobs:
                files[value["path"]] = self.hub.blobs[value["oid"]]
            else:
                raise Refused(400, f"cannot commit {value['path']}")
        commit = repo.commit(files, header["value"]["summary"])
        url = f"{self.hub.endpoint}/{repo.path}/commit/{commit}"
        self.reply({"commitUrl": url, "commitOid": commit})

    def tag(self, repo: Repo, revision: str) -> None:
        name = json.loads(self.body)["tag"]
        if name in repo.tags:
            raise Refused(409, f"the tag {name} is there")
        repo.tags[name] = repo.find(revision)
        self.reply({})

    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def serve(repos: Mapping[str, Path] = {}) -> Iterator[Hub]:
    """Run a Hub whose repositories hold what these folders hold.

    Args:
        repos: Folders by kind and name ("datasets/someone/gvs").
    """
    hub = Hub(repos)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": hub}))
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
