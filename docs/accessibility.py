"""Read every page of the built site as axe does, on a desktop and on a phone: `nox -s accessibility`, after the site is built.

Contrast, headings, names of links, alternative texts, what can be reached by keyboard; and no page may be wider than its screen.
"""

import functools
import shutil
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, sync_playwright

WIDTHS = (1280, 390)
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


class Silent(SimpleHTTPRequestHandler):
    """A server of files that says nothing about each."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def faults(page: Page) -> Iterator[str]:
    """Find what is wrong with the page that is open.

    Args:
        page: a page in the browser.

    Yields:
        A line a fault.
    """
    if wider := page.evaluate(OVERFLOW):
        yield f"{wider} pixels wider than the screen"
    for violation in Axe().run(page).response["violations"]:
        yield f"{violation['help']} ({violation['impact']}, {len(violation['nodes'])} times), first {violation['nodes'][0]['html'][:200]}"


def main(folder: str) -> int:
    """Print the faults of every page.

    Args:
        folder: the built site.

    Returns:
        1 if there are any, 0 otherwise.
    """
    pages = sorted(page for path in Path(folder).rglob("*.html") if not (page := path.relative_to(folder).as_posix()).startswith("_static"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Silent, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    found = 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=next(filter(None, map(shutil.which, BROWSERS)), None), args=["--no-sandbox"])
        for width in WIDTHS:
            page = browser.new_page(viewport={"width": width, "height": 900})
            for name in pages:
                page.goto(f"http://127.0.0.1:{server.server_port}/{name}")
                for fault in faults(page):
                    found += 1
                    print(f"{name} at {width}: {fault}", flush=True)
    print(f"{len(pages)} pages at {len(WIDTHS)} widths, {found} faults")
    return min(found, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
