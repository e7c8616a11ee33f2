#!/usr/bin/env python3
"""Opens every page of the console in Chromium, light and dark, wide and as at 400 % zoom.

    python3 tests/browser/console.py --quipu target/debug/quipu [--shots DIR] [--axe axe.min.js]

No page may report an error, violate the content policy, or scroll sideways. `--axe` names the file of
axe-core (`npm pack axe-core`), which then must find nothing. With `--shots`, DIR gets pictures of all pages.

The key Tab must reach every link and control of every page, in the order in which a page has them, and each must show that it has
the focus.
"""

import argparse
import base64
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path

WIDTHS = {"wide": 1280, "narrow": 320}
PATIENCE_S = 120
# Most presses of Tab that lead to something on a page.
TABS_MAX = 200
ALL_S = 1_200
# Pages that are also walked at 400 % zoom: a form, tables, and the most links of a header.
WALKED_NARROW = ["overview", "modules", "activate"]
# What the key Tab should reach: everything that can be followed, filled in, opened or scrolled.
REACHABLE = """
  const reachable = [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex='0']")]
    .filter((it) => it.type !== "hidden" && !it.disabled && it.checkVisibility({ visibilityProperty: true }));
"""
# The element with the focus: its place in that list, and what is wrong with how it shows the focus.
FOCUSED = REACHABLE + """
  const it = document.activeElement, style = getComputedStyle(it), box = it.getBoundingClientRect();
  const wrong = [];
  if (!it.matches(":focus-visible") || style.outlineStyle === "none" || parseFloat(style.outlineWidth) < 2) wrong.push("has no outline");
  if (box.width === 0 || box.height === 0) wrong.push("has no size");
  if (box.right <= 0 || box.bottom <= 0 || box.left >= innerWidth || box.top >= innerHeight) wrong.push("is out of sight");
  return { at: it === document.body ? -1 : reachable.indexOf(it), isBody: it === document.body, wrong, html: it.outerHTML.slice(0, 120) };
"""
HOSTILE = {
    "type": "planted",
    "data": {
        "script": "</code></pre><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">",
        "bidi": "user\u202egpj.exe \u2066isolated\u2069 zero\u200bwidth",
        "long": "long text " * 100_000,
    },
}


class Browser:
    """Chromium over its protocol, on a pipe."""

    def __init__(self, chromium: str, profile: str) -> None:
        to_browser, self.sent = os.pipe()
        self.received, from_browser = os.pipe()
        self.process = subprocess.Popen(
            ["/bin/sh", "-c", f'exec "$@" 3<&{to_browser} 4>&{from_browser}', "sh", chromium, "--headless=new",
             "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(to_browser, from_browser), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self.ids = itertools.count(1)
        self.events: list[dict] = []
        self.buffer = b""
        self.session = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Emulation.setScrollbarsHidden", hidden=True)
        self.call("Emulation.setFocusEmulationEnabled", enabled=True)
        for domain in ["Page", "Runtime", "Log", "Network"]:
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: object) -> dict:
        number = next(self.ids)
        message = {"id": number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.sent, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == number:
                assert "error" not in answer, (method, answer)
                return answer["result"]
            self.events.append(answer)

    def receive(self) -> dict:
        while b"\0" not in self.buffer:
            part = os.read(self.received, 1 << 20)
            assert part, "the browser ended"
            self.buffer += part
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def evaluate(self, script: str) -> object:
        result = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def until(self, script: str) -> None:
        ends_at = time.monotonic() + PATIENCE_S
        while True:
            try:
                if self.evaluate(script):
                    return
            except AssertionError as error:
                # The page is being replaced.
                if time.monotonic() > ends_at:
                    raise error
            assert time.monotonic() < ends_at, f"never: {script}"
            time.sleep(0.02)

    def open(self, url: str) -> None:
        self.events.clear()
        self.call("Page.navigate", url=url)
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def press(self, key: str, code: int) -> None:
        for kind in ["rawKeyDown", "keyUp"]:
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def follow(self) -> None:
        """Presses Enter, which also writes a character."""
        enter = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13}
        self.call("Input.dispatchKeyEvent", type="keyDown", text="\r", **enter)
        self.call("Input.dispatchKeyEvent", type="keyUp", **enter)

    def tab_to(self, selector: str) -> None:
        """Presses Tab until the first element of a selector has the focus."""
        for _ in range(TABS_MAX):
            self.press("Tab", 9)
            if self.run(f"return document.activeElement === document.querySelector({json.dumps(selector)})"):
                return
        raise AssertionError(f"Tab does not lead to {selector}")

    def type(self, text: str) -> None:
        """Presses the key of each character."""
        for character in text:
            self.call("Input.dispatchKeyEvent", type="keyDown", key=character, text=character)
            self.call("Input.dispatchKeyEvent", type="keyUp", key=character)

    def run(self, body: str) -> object:
        """The result of the body of a function."""
        return self.evaluate("(() => {" + body + "})()")

    def set_view(self, width: int, scheme: str) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def picture(self, folder: Path | None, name: str) -> None:
        if folder is None:
            return
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        (folder / f"{name}.png").write_bytes(base64.b64decode(shot["data"]))

    def complaints(self, expected: int) -> list[str]:
        """Errors of the page, without those about its own status."""
        found = []
        for event in self.events:
            if event.get("method") == "Log.entryAdded":
                entry = event["params"]["entry"]
                is_status = f"status of {expected}" in entry["text"] and expected >= 400
                if entry["level"] in ("error", "warning") and not is_status:
                    found.append(entry["text"])
            if event.get("method") in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled"):
                found.append(json.dumps(event["params"])[:400])
        return found

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()


class Host:
    """A host on a store of loan applications."""

    def __init__(self, quipu: Path, store: str) -> None:
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("QUIPU_")}
        self.quipu = str(quipu.resolve())
        self.process = subprocess.Popen(
            [self.quipu, "serve", "--store", store, "--listen", "127.0.0.1:0"],
            env=self.environment | {"QUIPU_SERVER__CONSOLE": "full"}, stdout=subprocess.PIPE, text=True,
        )
        self.url = self.process.stdout.readline().split()[1]

    def ask(self, path: str, body: object = None) -> dict:
        data = None if body is None else json.dumps(body, ensure_ascii=False).encode()
        request = urllib.request.Request(self.url + path, data, {"content-type": "application/json"} if data else {})
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answered:
            return json.load(answered)

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()


def pages(host: Host) -> dict[str, str]:
    """Every page, by the name of its picture."""
    stream = host.ask("/v1/events?category=loan&limit=1")["events"][0]["stream"]
    version = host.ask(f"/v1/streams/{stream}/events?direction=backward&limit=1")["version"]
    position = host.ask(f"/v1/streams/{stream}/events?limit=2")["events"][-1]["position"]
    head = host.ask("/v1/events?direction=backward&limit=1")["head"]
    module = host.ask("/v1/modules")["modules"][0]["digest"]
    plan = host.ask("/v1/deployments")["plan"]
    projection = host.ask("/v1/projections")["projections"][0]["name"]
    document = host.ask(f"/v1/views/{projection}?limit=1")["documents"][0]["key"]
    document = urllib.parse.quote(document, safe="")
    proposed = {"type": "submit", "data": {"amount": 1_000}, "note": "<script>document.title='owned'</script> \u202e"}
    proposal = host.ask("/v1/streams/loan-proposed/proposals", proposed)["number"]
    return {
        "overview": "/console",
        "streams": "/console/streams?category=loan",
        "stream": f"/console/streams/{stream}",
        "diff": f"/console/streams/{stream}/diff?one=1&other={version}",
        "event": f"/console/events/{position}",
        "hostile": f"/console/events/{head}",
        "trace": f"/console/trace?id={host.ask(f'/v1/events/{position}')['id']}",
        "log": "/console/log",
        "rejections": "/console/rejections",
        "modules": "/console/modules",
        "module": f"/console/modules/{module}",
        "deployment": f"/console/deployments/{plan}",
        "steps": f"/console/projections/{projection}/steps?stream={stream}&at=2",
        "projections": "/console/projections",
        "projection": f"/console/projections/{projection}",
        "documents": f"/console/projections/{projection}/documents",
        "document": f"/console/projections/{projection}/documents?key={document}",
        "subscriptions": "/console/subscriptions",
        "preview": f"/console/preview?stream={stream}&type=submit",
        "proposals": "/console/proposals",
        "proposal": f"/console/proposals/{proposal}",
        "approve": f"/console/act?what=proposal&name={proposal}&action=approve",
        "activate": f"/console/act?what=module&name={module}&action=activate",
        "unchecked": f"/console/act?what=module&name={module}&action=activate-unchecked",
        "shadow": "/console/shadow",
        "begin-shadow": f"/console/act?what=shadow&name={module}&action=start",
        "act": f"/console/act?what=projection&name={projection}&action=rebuild",
        "domain": "/console/domain",
        "operations": "/console/operations",
        "audit": "/console/audit",
        "search": "/console/search?q=loa",
        "missing": "/console/events/999999999",
    }


def check(browser: Browser, name: str, axe: str, expected: int) -> None:
    complaints = browser.complaints(expected)
    assert not complaints, (name, complaints)
    assert browser.evaluate("document.title") != "owned", name
    wide = browser.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide[0] <= wide[1], f"{name} scrolls sideways: {wide}"
    if axe:
        browser.evaluate(axe + ";0")
        run = "axe.run().then((found) => JSON.stringify(found.violations.map((it) => [it.id, it.nodes.map((node) => node.html.slice(0, 200) + ' ' + node.failureSummary)])))"
        found = json.loads(browser.evaluate(run))
        assert not found, (name, json.dumps(found, indent=1)[:3_000])


def walk(browser: Browser, name: str) -> None:
    """The key Tab reaches everything in the order of the page, and each shows that it has the focus."""
    assert browser.run("return document.querySelectorAll('[tabindex]:not([tabindex=\"0\"]):not([tabindex=\"-1\"])').length") == 0, name
    count = browser.run(REACHABLE + "return reachable.length")
    for expected in range(count):
        browser.press("Tab", 9)
        found = browser.run(FOCUSED)
        assert found["at"] == expected, f"{name}: Tab {expected + 1} of {count} leads to {found}"
        assert not found["wrong"], f"{name}: {found}"
    # After the last one the focus leaves the page, or begins at its start.
    browser.press("Tab", 9)
    found = browser.run(FOCUSED)
    assert found["isBody"] or found["at"] == 0, f"{name}: nothing leads out of {found}"


def skips(browser: Browser, host: Host) -> None:
    """The first Tab shows a link that leads over the header."""
    browser.open(host.url + "/console")
    browser.press("Tab", 9)
    assert browser.run("return document.activeElement.className") == "skip"
    browser.follow()
    browser.until("document.activeElement.id === 'main'")
    browser.press("Tab", 9)
    first = REACHABLE + "return reachable.find((it) => it.closest('main')) === document.activeElement"
    assert browser.run(first), browser.run(FOCUSED)
    assert not browser.complaints(200), browser.complaints(200)


def works(browser: Browser, host: Host, stream_path: str) -> None:
    """What the script adds."""
    browser.open(host.url + stream_path)
    browser.evaluate("document.body.dispatchEvent(new KeyboardEvent('keydown', { key: '/', bubbles: true }))")
    assert browser.evaluate("document.activeElement.id") == "q"
    browser.evaluate("{ const range = document.querySelector('[type=range]'); range.value = 1; range.dispatchEvent(new Event('input', { bubbles: true })); }")
    browser.until("document.getElementById('refreshed').textContent.includes('At version 1') && location.search.includes('at=1')")
    assert not browser.complaints(200), browser.complaints(200)


def follows(browser: Browser, host: Host) -> None:
    """The log grows without a reload, and what comes is inert."""
    browser.open(host.url + "/console/log?category=live")
    browser.evaluate("document.querySelector('button[data-live]').click()")
    browser.until("document.getElementById('live-status').textContent === 'Waiting for events.'")
    for number in range(3):
        host.ask(f"/v1/streams/live-{number}/events", {"events": [HOSTILE]})
    browser.until("document.querySelectorAll('#refreshed tbody tr').length === 3")
    browser.until("document.getElementById('live-status').textContent.includes('3 new events')")
    assert browser.evaluate("document.title") != "owned"
    assert browser.evaluate("document.querySelectorAll('#refreshed script, #refreshed img').length") == 0
    browser.evaluate("document.querySelector('button[data-live]').click()")
    browser.until("document.getElementById('live-status').textContent === 'Paused.'")
    assert not browser.complaints(200), browser.complaints(200)


def steps(browser: Browser, host: Host, path: str) -> None:
    """The slider of a projection moves through the events of a stream."""
    browser.open(host.url + path)
    browser.evaluate("{ const range = document.querySelector('[type=range]'); range.value = 1; range.dispatchEvent(new Event('input', { bubbles: true })); }")
    browser.until("document.getElementById('refreshed').textContent.includes('Event 1: ') && location.search.includes('at=1')")
    assert not browser.complaints(200), browser.complaints(200)


def previews(browser: Browser, host: Host, shots: Path | None, axe: str) -> None:
    """A command is decided from its form, and nothing is stored."""
    head = host.ask("/v1/events?direction=backward&limit=1")["head"]
    for size, scheme in itertools.product(WIDTHS, ["light", "dark"]):
        browser.set_view(WIDTHS[size], scheme)
        browser.open(host.url + "/console/preview?stream=loan-new&type=submit")
        data = json.dumps(json.dumps({"amount": 1_000}))
        browser.evaluate(f"document.getElementById('data').value = {data}; document.querySelector('form.command button').click()")
        browser.until("document.body.textContent.includes('Nothing was stored') && document.readyState === 'complete'")
        browser.picture(shots, f"previewed-{scheme}-{size}")
        check(browser, f"previewed {scheme} {size}", axe, 200)
    assert host.ask("/v1/events?direction=backward&limit=1")["head"] == head


def decides(browser: Browser, host: Host, proposal: str) -> None:
    """Approves a proposal by nothing but keys: link, form, button."""
    browser.open(host.url + proposal)
    browser.tab_to("a.action")
    browser.follow()
    browser.until("location.pathname === '/console/act' && document.readyState === 'complete'")
    browser.tab_to("#reason")
    browser.type("checked")
    assert browser.run("return document.getElementById('reason').value") == "checked"
    browser.tab_to("form.confirm button")
    browser.follow()
    browser.until(f"location.pathname === {json.dumps(proposal)} && document.body.textContent.includes('It was executed')")
    assert not browser.complaints(200), browser.complaints(200)


def signs_in(browser: Browser, host: Host, shots: Path | None, axe: str) -> None:
    """Signs in and out by nothing but keys."""
    token = host.ask("/v1/tokens", {"name": "root", "role": "admin"})["token"]
    for scheme in ["light", "dark"]:
        browser.set_view(WIDTHS["wide"], scheme)
        browser.open(host.url + "/console/log")
        check(browser, "sign-in", axe, 401)
        browser.picture(shots, f"sign-in-{scheme}-wide")
    browser.tab_to("#token")
    browser.type(token)
    browser.follow()
    browser.until("document.querySelector('h1') && document.querySelector('h1').textContent === 'Log' && location.pathname === '/console/log'")
    assert browser.evaluate("document.cookie") == "", "a script can read the session"
    browser.until("document.readyState === 'complete'")
    browser.tab_to(".reader form button")
    browser.follow()
    browser.until("document.querySelector('h1') && document.querySelector('h1').textContent === 'Sign in'")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quipu", required=True, type=Path)
    parser.add_argument("--shots", type=Path)
    parser.add_argument("--axe", type=Path)
    parser.add_argument("--chromium", default=shutil.which("chromium") or "chromium")
    given = parser.parse_args()
    # A browser that does not answer ends this program.
    signal.alarm(ALL_S)
    if given.shots:
        given.shots.mkdir(parents=True, exist_ok=True)
    axe = given.axe.read_text() if given.axe else ""
    with tempfile.TemporaryDirectory() as folder:
        demo = [given.quipu.resolve(), "demo", "--commands", "400", "--seed", "7", "--keep", f"{folder}/demo"]
        subprocess.run(demo, check=True, stdout=subprocess.DEVNULL)
        store = next(Path(f"{folder}/demo").glob("*.db"))
        host = Host(given.quipu, f"sqlite:{store}")
        browser = Browser(given.chromium, f"{folder}/profile")
        try:
            host.ask("/v1/streams/evil-1/events", {"events": [HOSTILE]})
            all_pages, wrong = pages(host), []
            for name, path in all_pages.items():
                expected = 404 if name == "missing" else 200
                for (size, width), scheme in itertools.product(WIDTHS.items(), ["light", "dark"]):
                    browser.set_view(width, scheme)
                    browser.open(host.url + path)
                    browser.picture(given.shots, f"{name}-{scheme}-{size}")
                    try:
                        check(browser, f"{name} {scheme} {size}", axe, expected)
                        if scheme == "light" and (size == "wide" or name in WALKED_NARROW):
                            walk(browser, f"{name} {size}")
                    except AssertionError as error:
                        wrong.append(str(error))
            assert not wrong, "\n".join(wrong)
            skips(browser, host)
            works(browser, host, all_pages["stream"])
            follows(browser, host)
            steps(browser, host, all_pages["steps"])
            previews(browser, host, given.shots, axe)
            decides(browser, host, all_pages["proposal"])
            signs_in(browser, host, given.shots, axe)
            print(f"{len(all_pages) + 2} pages are good" + (f", pictures in {given.shots}" if given.shots else ""))
        finally:
            browser.close()
            host.close()


if __name__ == "__main__":
    sys.exit(main())
