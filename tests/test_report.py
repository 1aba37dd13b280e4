"""The page about a sweep: whole in itself, with the numbers of the records on it."""

import base64
import io
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

import lsa_jax as lsa
from lsa_jax import commands, report

GOLDEN = Path(__file__).parent / "golden" / "sweep"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("report") / "a<b"
    shutil.copytree(GOLDEN, folder)
    assert commands.report(folder, None) == 0
    return (folder / "report.html").read_text(encoding="utf-8")


class Tags(HTMLParser):
    """What a page refers to, and which tags it leaves open."""

    VOID = ("meta", "img", "br")

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value for name, value in attrs if name in {"src", "href"} and value]
        self.images += [dict(attrs)] if tag == "img" else []
        self.open += [] if tag in self.VOID else [tag]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_needs_no_other_file_and_every_figure_is_whole(page: str) -> None:
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert len(tags.addresses) == len(lsa.plotting.drawable(lsa.load(GOLDEN).frame)) > 1
    assert all(image["alt"] for image in tags.images)
    for address in tags.addresses:
        kind, data = address.split(",")
        assert kind == "data:image/png;base64"
        assert Image.open(io.BytesIO(base64.b64decode(data))).size[0] > 500


def test_the_numbers_on_the_page_are_those_of_the_records(page: str) -> None:
    frame = lsa.load(GOLDEN).frame
    numbers = lsa.plotting.sweep_numbers(frame, "evaluation_shots")
    tables = _tables(page)
    progress = dict(zip(*tables[0], strict=True))
    assert progress["done"] == progress["cells"] == "276"
    assert [f"{value:.5g}" for value in numbers["theory"].dropna()][:5] == [row[tables[1][0].index("theory")] for row in tables[1][1:6]]


def test_a_folder_that_holds_no_sweep_is_refused(tmp_path: Path) -> None:
    with pytest.raises((ValueError, OSError)):
        report.page(tmp_path)


def test_names_are_written_as_text(page: str) -> None:
    assert "<h1>Sweep a&lt;b</h1>" in page
    assert "Error against cosine to θ₀" in page


def _tables(page: str) -> list[list[list[str]]]:
    """The cells of every table of a page."""
    rows = [re.findall(r"<tr.*?</tr>", table, re.DOTALL) for table in re.findall(r"<table.*?</table>", page, re.DOTALL)]
    return [[re.findall(r"<t[hd]>(.*?)</t[hd]>", row) for row in table] for table in rows]
