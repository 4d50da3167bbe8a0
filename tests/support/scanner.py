"""Actions of mail scanners on links, except a click by a person."""

from __future__ import annotations

import http.client
import http.server
import re
import threading
import urllib.parse
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser

# Run in the page. Each acts on every element, visible or hidden.
ACTIONS = {
    "click()": """() => {
        for (const element of document.querySelectorAll("*")) element.click?.();
    }""",
    "mouse and touch events": """() => {
        const types = ["pointerover", "pointerdown", "mousedown", "pointerup", "mouseup", "click",
            "dblclick", "auxclick", "contextmenu", "touchstart", "touchend"];
        for (const element of document.querySelectorAll("*"))
            for (const type of types) {
                const init = { bubbles: true, cancelable: true, composed: true, detail: 1 };
                element.dispatchEvent(new MouseEvent(type, init));
                element.dispatchEvent(new PointerEvent(type, init));
                element.dispatchEvent(new Event(type, init));
            }
    }""",
    "key events": """() => {
        for (const element of document.querySelectorAll("*"))
            for (const key of ["Enter", " "])
                for (const type of ["keydown", "keypress", "keyup"]) {
                    element.focus?.();
                    element.dispatchEvent(new KeyboardEvent(type, {
                        key, code: key === " " ? "Space" : key, bubbles: true, cancelable: true,
                    }));
                }
    }""",
    "other events": """() => {
        const types = ["focus", "blur", "change", "input", "submit", "toggle", "load", "pageshow",
            "pagehide", "visibilitychange", "message", "beforeunload"];
        for (const target of [window, document, ...document.querySelectorAll("*")])
            for (const type of types)
                target.dispatchEvent(new Event(type, { bubbles: true, cancelable: true }));
        window.dispatchEvent(new Event("hashchange"));
    }""",
    "handlers": """() => {
        for (const element of document.querySelectorAll("*"))
            for (const name of ["onclick", "onmousedown", "onkeydown", "onsubmit"])
                element[name]?.(new MouseEvent("click"));
    }""",
    # A form submitted in this way fires a submit event that counts as trusted.
    "submit its forms": """() => {
        for (const form of document.forms) {
            for (const button of form.querySelectorAll("button, input")) {
                try { form.requestSubmit(button); } catch {}
            }
            form.requestSubmit();
            form.submit();
        }
    }""",
    "submit forms of its own": """() => {
        for (const button of document.querySelectorAll("button")) {
            const form = document.createElement("form");
            form.method = "post";
            form.action = "confirm/press";
            button.replaceWith(form);
            form.append(button);
            button.type = "submit";
            try { form.requestSubmit(button); } catch {}
            button.click();
        }
    }""",
}

# Run in a page of another site, with the service's origin and the token.
CROSS_SITE_FETCHES = """async ([origin, token]) => {
    const json = JSON.stringify({ token });
    const multipart = new FormData();
    multipart.set("token", token);
    const bodies = [json, multipart, new URLSearchParams({ token }),
        new Blob([json], { type: "application/json" }), new Blob([json], { type: "text/plain" })];
    const answers = [];
    for (const path of ["/confirm", "/confirm/inspect", "/confirm/press"])
        for (const body of bodies) {
            for (const mode of ["cors", "no-cors"])
                try {
                    const options = { method: "POST", mode, body, credentials: "include" };
                    answers.push((await fetch(origin + path, options)).type);
                } catch {
                    answers.push("refused");
                }
            navigator.sendBeacon(origin + path, body);
        }
    return answers;
}"""

CROSS_SITE_FORM = """([action, enctype, token]) => {
    const form = document.createElement("form");
    Object.assign(form, { method: "post", action, enctype });
    const fields = enctype === "text/plain"
        ? { [`{"token": "${token}", "rest": "`]: `"}` }
        : { token };
    for (const [name, value] of Object.entries(fields)) {
        const input = document.createElement("input");
        Object.assign(input, { name, value });
        form.append(input);
    }
    document.body.append(form);
    form.submit();
}"""

FORM_TYPES = ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain"]


def request(origin: str, method: str, path: str, body: str | None = None, **headers: str):
    """Sends an unmodified request; returns status, headers by lower-case name, and body."""
    host = urllib.parse.urlsplit(origin).netloc
    connection = http.client.HTTPConnection(host, timeout=20)
    try:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, sent)
        response = connection.getresponse()
        received = {name.lower(): value for name, value in response.getheaders()}
        return response.status, received, response.read().decode(errors="replace")
    finally:
        connection.close()


def form_body(content_type: str, token: str) -> tuple[str, str]:
    """Returns the content type and body of a form of this type."""
    if content_type == "multipart/form-data":
        boundary = uuid.uuid4().hex
        part = f'Content-Disposition: form-data; name="token"\r\n\r\n{token}\r\n'
        return f"{content_type}; boundary={boundary}", f"--{boundary}\r\n{part}--{boundary}--\r\n"
    if content_type == "text/plain":
        return content_type, f'{{"token": "{token}", "rest": "="}}\r\n'
    return content_type, urllib.parse.urlencode({"token": token})


class _References(HTMLParser):
    """Collects the references of a page's elements."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag, attrs) -> None:
        names = ("href", "src", "action", "formaction", "data", "poster")
        self.found += [value for name, value in attrs if name in names and value]


def paths_of(origin: str, page_path: str) -> list[str]:
    """Returns the paths of a page, of all its references, and of all text that looks like one."""
    paths = [page_path]
    for path in paths:
        _, headers, content = request(origin, "GET", path)
        found = re.findall(r"""["'(]/?(confirm/[\w./-]+)["')]""", content)
        if headers.get("content-type", "").startswith("text/html"):
            references = _References()
            references.feed(content)
            found += references.found
        for reference in found:
            # Everything is relative to the page, including the requests of its script.
            url = urllib.parse.urljoin(origin + page_path, reference)
            assert url.startswith(f"{origin}/"), f"{path} refers to {url}"
            known = urllib.parse.urlsplit(url).path
            if known not in paths:
                paths.append(known)
    return paths


@contextmanager
def another_site() -> Iterator[str]:
    """Serves an empty page of another site: localhost is not 127.0.0.1."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!DOCTYPE html><title>another site</title><body></body>")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://localhost:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()
