"""Pages in headless Chromium, driven through a pipe by its DevTools protocol."""

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
from contextlib import contextmanager

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--remote-debugging-pipe"),
)
TIMEOUT = 120  # seconds without a word
PATH = shutil.which("chromium") or shutil.which("chromium-browser")


@contextmanager
def browser():
    """A `Page` of a new browser with an empty profile."""
    read_end, commands = os.pipe()
    replies, write_end = os.pipe()
    script = f'exec "$@" 3<&{read_end} 4>&{write_end}'  # where Chromium expects its pipes
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            ["bash", "-c", script, "bash", PATH, *FLAGS, f"--user-data-dir={profile}"],
            pass_fds=(read_end, write_end),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(read_end)
        os.close(write_end)
        try:
            yield Page(commands, replies)
        finally:
            os.close(commands)  # which ends the browser
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            os.close(replies)


class Page:
    """A page: `open` a file, `evaluate` JavaScript in it."""

    def __init__(self, commands, replies):
        self._commands, self._replies, self._rest = commands, replies, b""
        self._count, self._session = 0, {}
        self.events = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def _next(self):
        while b"\0" not in self._rest:
            if not select.select([self._replies], [], [], TIMEOUT)[0]:
                raise TimeoutError("Chromium is silent.")
            chunk = os.read(self._replies, 2**20)
            if not chunk:
                raise EOFError("Chromium has ended.")
            self._rest += chunk
        message, self._rest = self._rest.split(b"\0", 1)
        return json.loads(message)

    def send(self, method, **params):
        """The reply to a command; events on the way are kept."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": params, **self._session}
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while (reply := self._next()).get("id") != self._count:
            self.events.append(reply)
        if "error" in reply:
            raise RuntimeError(f"{method}: {reply['error']}")
        return reply["result"]

    def show(self, width, height=900, scheme="light", media=""):
        """Set the size of the window, light or dark, and screen or print."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.send("Emulation.setDeviceMetricsOverride", **size)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.send("Emulation.setEmulatedMedia", media=media, features=features)

    def open(self, path):
        """Load a file to its end."""
        self.events.clear()
        self.send("Page.navigate", url=path.as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next())

    def problems(self):
        """What went wrong since `open`, and what was asked of any network."""
        found = []
        for event in self.events:
            method, params = event.get("method"), event.get("params", {})
            if method == "Runtime.exceptionThrown" or method == "Runtime.consoleAPICalled":
                found.append(params)
            elif method == "Log.entryAdded":
                found.append(params["entry"]["text"])
            elif method == "Network.requestWillBeSent":
                url = params["request"]["url"]
                found += [] if url.startswith(("file:", "data:")) else [url]
        return found

    def evaluate(self, expression):
        """The value of a JavaScript expression."""
        reply = self.send("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in reply:
            raise RuntimeError(reply["exceptionDetails"])
        return reply["result"].get("value")

    def screenshot(self, path):
        """Write a picture of the window."""
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot")["data"]))

    def pdf(self):
        """The printed page."""
        return base64.b64decode(self.send("Page.printToPDF", printBackground=True)["data"])
