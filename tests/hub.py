"""A server on loopback that speaks as much of the Hub's protocol as reading a repo needs."""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs, unquote

COMMIT = "0123456789abcdef0123456789abcdef01234567"
API = re.compile(
    r"^/api/(datasets|models)/(\w+/\w[\w.-]*)(?:/(revision|tree|paths-info)/([^/]+)(/.*)?)?$"
)
FILE = re.compile(r"^/(?:datasets/)?(\w+/\w[\w.-]*)/resolve/([^/]+)/(.+)$")


@contextmanager
def serve(repos: dict[str, Path]) -> Iterator[str]:
    """Serve folders as Hub repositories and yield the endpoint."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def entries(self, repo: str) -> list[dict]:
            files = sorted(path for path in repos[repo].rglob("*") if path.is_file())
            return [
                {
                    "type": "file",
                    "oid": hashlib.sha1(path.read_bytes()).hexdigest(),
                    "size": path.stat().st_size,
                    "path": path.relative_to(repos[repo]).as_posix(),
                }
                for path in files
            ]

        def reply(self, body: object, code: int = 200, **headers: str) -> None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(code)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        def do_POST(self) -> None:
            form = self.rfile.read(int(self.headers["Content-Length"])).decode()
            try:
                wanted = json.loads(form)["paths"]
            except ValueError:
                wanted = parse_qs(form).get("paths", [])
            wanted = [wanted] if isinstance(wanted, str) else wanted
            match = API.match(unquote(self.path.partition("?")[0]))
            if not match or match[2] not in repos:
                self.reply({"error": "Repository not found"}, 404)
                return
            entries = self.entries(match[2])
            folders = {str(p) for e in entries for p in Path(e["path"]).parents} - {"."}
            found = [e for e in entries if e["path"] in wanted]
            found += [
                {"type": "directory", "oid": "0" * 40, "size": 0, "path": path}
                for path in wanted
                if path in folders
            ]
            self.reply(found)

        def do_GET(self) -> None:
            path = unquote(self.path.partition("?")[0])
            if match := API.match(path):
                _, repo, what, _, below = match.groups()
                if repo not in repos:
                    self.reply({}, 404, X_Error_Code="RepoNotFound", X_Error_Message="Not found")
                elif what == "tree":
                    prefix = (below or "/")[1:]
                    entries = self.entries(repo)
                    self.reply([e for e in entries if e["path"].startswith(prefix)])
                else:
                    siblings = [{"rfilename": e["path"]} for e in self.entries(repo)]
                    self.reply(
                        {"_id": "1", "id": repo, "sha": COMMIT, "siblings": siblings, "tags": []}
                        | {"private": False, "downloads": 0, "likes": 0}
                    )
            elif (match := FILE.match(path)) and (
                repos.get(match[1], Path("/-")) / match[3]
            ).is_file():
                data = (repos[match[1]] / match[3]).read_bytes()
                etag = f'"{hashlib.sha1(data).hexdigest()}"'
                self.reply(data, ETag=etag, X_Repo_Commit=COMMIT)
            else:
                self.reply({}, 404, X_Error_Code="EntryNotFound", X_Error_Message="Not found")

        do_HEAD = do_GET

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
