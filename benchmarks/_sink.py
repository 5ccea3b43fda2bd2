"""An S3 endpoint on loopback that throws away what it gets and makes up what it gives, to measure its clients.

Knows PutObject, multipart uploads, ListObjectsV2 over made-up keys, and GetObject (with Range) of files in a folder.
"""

from __future__ import annotations

import hashlib
import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

FOLDER = Path(sys.argv[1]) if len(sys.argv) > 1 else Path.cwd()
KEYS = int(sys.argv[2]) if len(sys.argv) > 2 else 0
_XML = "http://s3.amazonaws.com/doc/2006-03-01/"


class Handler(BaseHTTPRequestHandler):
    """Answers requests."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Stay silent."""

    def _read(self) -> int:
        left = size = int(self.headers.get("Content-Length") or 0)
        while left:
            left -= len(self.rfile.read(min(left, 1024 * 1024)))
        return size

    def _answer(self, body: bytes = b"", status: int = 200, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self) -> None:
        """Take an object or a part."""
        size = self._read()
        self._answer(ETag=f'"{hashlib.md5(str(size).encode(), usedforsecurity=False).hexdigest()}"')

    def do_POST(self) -> None:
        """Begin or complete a multipart upload."""
        self._read()
        if "uploads" in urlsplit(self.path).query:
            name, inner = "InitiateMultipartUploadResult", "<UploadId>1</UploadId>"
        else:
            name, inner = "CompleteMultipartUploadResult", '<ETag>"0-1"</ETag>'
        self._answer(f'<{name} xmlns="{_XML}">{inner}</{name}>'.encode())

    def do_DELETE(self) -> None:
        """Abort."""
        self._answer(status=204)

    def do_GET(self) -> None:
        """List, or give a file."""
        url = urlsplit(self.path)
        query = parse_qs(url.query, keep_blank_values=True)
        if "list-type" in query:
            self._answer(listing(query))
            return
        path = FOLDER / unquote(url.path).split("/", 2)[2]
        if not path.is_file():
            self._answer(b"<Error><Code>NoSuchKey</Code></Error>", status=404)
            return
        size = path.stat().st_size
        first, last, status, more = 0, size - 1, 200, {}
        asked = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if asked is not None:
            first, last, status = int(asked[1]), min(int(asked[2] or size), size - 1), 206
            more = {"Content-Range": f"bytes {first}-{last}/{size}"}
        self.send_response(status)
        self.send_header("Content-Length", str(last - first + 1))
        self.send_header("ETag", '"0"')
        for name, value in more.items():
            self.send_header(name, value)
        self.end_headers()
        with path.open("rb") as file:
            self.wfile.flush()
            self.connection.sendfile(file, first, last - first + 1)


def listing(query: dict[str, list[str]]) -> bytes:
    """Return a page of the made-up keys, a thousand at most, one in a hundred empty."""
    start = int(query.get("continuation-token", ["0"])[0])
    if "start-after" in query and "continuation-token" not in query:
        start = int(query["start-after"][0].rpartition("/")[2].partition(".")[0]) + 1
    stop = min(start + 1000, KEYS)
    prefix = query.get("prefix", [""])[0]
    contents = "".join(
        f"<Contents><Key>{prefix}{at:012d}.txt</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
        f'<ETag>"{at:032x}"</ETag><Size>{0 if at % 100 == 0 else at}</Size><StorageClass>STANDARD</StorageClass>'
        "</Contents>"
        for at in range(start, stop)
    )
    more = stop < KEYS
    token = f"<NextContinuationToken>{stop}</NextContinuationToken>" if more else ""
    return (
        f'<ListBucketResult xmlns="{_XML}"><Name>b</Name><Prefix>{prefix}</Prefix><KeyCount>{stop - start}</KeyCount>'
        f"<MaxKeys>1000</MaxKeys><IsTruncated>{str(more).lower()}</IsTruncated>{token}{contents}</ListBucketResult>"
    ).encode()


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    sys.stdout.write(f"http://127.0.0.1:{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()
