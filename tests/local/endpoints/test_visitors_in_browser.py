"""A page that is open in a real browser on this machine gets nothing from the local AWS and does nothing to it."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from cdk_distributed_map.local.server import LocalAws
from tests.browser import needs_browser, open_address, told_by

pytestmark = [pytest.mark.slow, needs_browser]

ROLE = (
    "Action=CreateRole&Version=2010-05-08&RoleName=owned&AssumeRolePolicyDocument="
    "%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%5B%5D%7D"
)
# Everything that a page can send without asking, all that it has to ask for, and what it may load from anywhere. What
# it could read of the answers is told in the end.
PAGE = """<!doctype html><body><iframe name="quiet"></iframe><script>
const aws = "%(aws)s", embedded = "%(embedded)s", role = "%(role)s";
const told = {};
const attempt = async (name, url, options) => {
  try {
    const answer = await fetch(url, options);
    told[name] = answer.type === "opaque" ? "opaque" : `${answer.status} ${await answer.text()}`;
  } catch (error) { told[name] = "refused"; }
};
const form = (action, text) => {
  const sent = document.createElement("form");
  Object.assign(sent, {method: "POST", enctype: "text/plain", action, target: "quiet"});
  const field = document.createElement("input");
  const [name, ...rest] = text.split("=");
  Object.assign(field, {name, value: rest.join("=")});
  sent.append(field);
  document.body.append(sent);
  sent.submit();
};
const load = url => new Promise(done => {
  const image = new Image();
  image.onload = image.onerror = done;
  image.src = url;
});
addEventListener("load", async () => {
  const plain = {method: "POST", mode: "no-cors", headers: {"Content-Type": "text/plain"}, body: role};
  for (const [place, url] of [["endpoint", aws], ["embedded", embedded]]) {
    await attempt(`${place}: simple`, url + "/", plain);
    await attempt(`${place}: reset`, url + "/_ministack/reset", {method: "POST", mode: "no-cors"});
    await attempt(`${place}: read`, url + "/visited/a", {});
    await attempt(`${place}: health`, url + "/_distmap/health", {});
    await attempt(`${place}: put`, url + "/from-a-page", {method: "PUT"});
    await attempt(`${place}: signed`, url + "/", {
      method: "POST",
      body: role,
      headers: {Authorization: "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/iam/aws4_request"},
    });
    await attempt(`${place}: target`, url + "/", {
      method: "POST",
      body: "{}",
      headers: {"X-Amz-Target": "AWSStepFunctions.ListStateMachines"},
    });
    await load(`${url}/?${role}`);
    form(url + "/", role);
  }
  // Its own server is asked last: that this works says that the browser got so far.
  await attempt("own", "/own", {});
  document.body.setAttribute("data-told", JSON.stringify(told));
});
</script></body>"""


# Of a name that leads to this machine by now: everything here is of its own origin, so that it may ask and read.
REBOUND = """<!doctype html><body><script>
const told = {};
const attempt = async (name, url, options) => {
  const answer = await fetch(url, options);
  told[name] = `${answer.status} ${await answer.text()}`;
};
addEventListener("load", async () => {
  await attempt("read", "/visited/a", {});
  await attempt("health", "/_distmap/health", {});
  await attempt("put", "/from-a-page", {method: "PUT"});
  await attempt("role", "/", {method: "POST", body: "%(role)s"});
  await attempt("reset", "/_ministack/reset", {method: "POST"});
  await attempt("target", "/", {
    method: "POST",
    body: "{}",
    headers: {"X-Amz-Target": "AWSStepFunctions.ListStateMachines"},
  });
  document.body.setAttribute("data-told", JSON.stringify(told));
});
</script></body>"""


class Pages(BaseHTTPRequestHandler):
    """A server of somebody else's pages, and the way to all others as a name leads there that has been changed."""

    page = ""
    target = ""

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path in {"/", "/own"} and self.command == "GET":
            self._reply(200, b"mine" if path == "/own" else self.page.encode())
            return
        connection = http.client.HTTPConnection(self.target, timeout=60)
        connection.putrequest(self.command, path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            connection.putheader(name, value)
        connection.endheaders(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
        answer = connection.getresponse()
        self._reply(answer.status, answer.read())
        connection.close()

    do_PUT = do_POST = do_GET

    def _reply(self, status: int, text: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """Serves a page, and returns the address of its server."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()

    def page(text: str, target: str = "") -> str:
        Pages.page, Pages.target = text, target
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield page
    server.shutdown()
    server.server_close()
    thread.join()


def look(url: str, folder: Path, *options: str) -> dict[str, str]:
    """Open an address in the browser and return what its page tells."""
    return told_by(open_address(url, folder, "--virtual-time-budget=20000", *options))


@pytest.fixture
def untouched(local: LocalAws) -> Iterator[LocalAws]:
    """The local AWS, in which a page must have changed nothing."""
    s3 = local.client("s3")
    s3.create_bucket(Bucket="visited")
    s3.put_object(Bucket="visited", Key="a", Body=b"secret")
    yield local
    assert s3.get_object(Bucket="visited", Key="a")["Body"].read() == b"secret"
    assert "from-a-page" not in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
    assert "owned" not in [role["RoleName"] for role in local.client("iam").list_roles()["Roles"]]


def test_a_page_does_nothing_and_learns_nothing(
    untouched: LocalAws, embedded_url: str, serve: Callable[..., str], tmp_path: Path
) -> None:
    url = serve(PAGE % {"aws": untouched.endpoint_url, "embedded": embedded_url, "role": ROLE})
    told = look(url, tmp_path, "--no-proxy-server")
    assert told.pop("own") == "200 mine"
    assert len(told) == 14
    # An opaque answer can't be read.
    assert set(told.values()) <= {"refused", "opaque"}


def test_a_name_that_was_made_to_lead_here_learns_nothing(
    untouched: LocalAws, serve: Callable[..., str], tmp_path: Path
) -> None:
    here = urlsplit(untouched.endpoint_url)
    way = serve(REBOUND % {"role": ROLE}, here.netloc)
    told = look(f"http://evil.example:{here.port}/", tmp_path, f"--proxy-server={way}")
    assert len(told) == 6
    for answer in told.values():
        assert answer.startswith("403 ")
        assert f"the local AWS is called 127.0.0.1:{here.port} or localhost:{here.port} here" in answer
