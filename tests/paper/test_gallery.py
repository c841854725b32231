"""The page of the figures: what it shows and links, without a file or a network that it does not need."""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from rfkit._checks import DataError
from rfkit.cli import main
from rfkit.paper import gallery
from rfkit.paper.builder import FIGURES, build
from rfkit.paper.context import Context
from rfkit.paper.gallery import PAGE, gallery_page, write_gallery
from rfkit.paper.manifest import Manifest, read_manifest
from rfkit.paper.sources import PACKAGE

NAMES = ("fig1", "table3")
_EMPTY = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}


class Page(HTMLParser):
    """A page as a reader finds it: attributes of every tag, and the text of each card. Unbalanced tags are an error."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.cards: dict[str, str] = {}
        self._open: list[tuple[str, str | None]] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs)
        self.tags.append((tag, dict(attrs)))
        if tag not in _EMPTY:
            self._open.append((tag, dict(attrs).get("id")))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        for tag, identifier in self._open:
            if tag == "article":
                self.cards[identifier] = self.cards.get(identifier, "") + data

    def values(self, name: str) -> list[str]:
        return [attributes[name] for _, attributes in self.tags if name in attributes]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gallery")
    assert build(NAMES, context=Context(out=folder), progress=False).ok
    return folder


def test_every_built_entry_has_a_card_with_its_caption_picture_data_and_code(out: Path) -> None:
    page = Page((out / PAGE).read_text(encoding="utf-8"))
    assert list(page.cards) == list(NAMES)
    for name in NAMES:
        assert FIGURES[name] in page.cards[name]
    assert "Speed and accuracy on the Cityscapes test set" in page.cards["fig1"]
    links = page.values("href")
    assert set(links) == {*(f"{name}.{suffix}" for name in NAMES for suffix in ("png", "pdf", "csv")), "table3.md",
                          "MANIFEST.json", "#fig1", "#table3"}  # fmt: skip
    assert all((out / link).is_file() or link.lstrip("#") in page.values("id") for link in links)


def test_every_link_of_the_page_that_ships_leads_somewhere() -> None:
    figures = PACKAGE.parent / "figures"
    text = (figures / PAGE).read_text(encoding="utf-8")
    assert text == gallery_page(read_manifest(figures), figures, names=FIGURES), "rfkit figures --html writes it anew"
    page = Page(text)
    for link in page.values("href") + page.values("src"):
        assert link.lstrip("#") in page.values("id") if link.startswith("#") else (figures / link).is_file(), link


def test_pictures_are_loaded_late_and_keep_their_place(out: Path) -> None:
    page = Page((out / PAGE).read_text(encoding="utf-8"))
    pictures = [attributes for tag, attributes in page.tags if tag == "img"]
    assert [picture["src"] for picture in pictures] == ["fig1.png", "table3.png"]
    for picture in pictures:
        assert picture["loading"] == "lazy"
        assert picture["alt"]
        assert picture["aria-describedby"] in page.values("id")
        with Image.open(out / picture["src"]) as opened:
            assert (int(picture["width"]), int(picture["height"])) == opened.size


def test_the_page_needs_nothing_from_elsewhere(out: Path) -> None:
    text = (out / PAGE).read_text(encoding="utf-8")
    page = Page(text)
    assert "//" not in "".join(page.values("href") + page.values("src"))
    assert not [tag for tag, _ in page.tags if tag in {"link", "iframe", "object"}]
    assert not re.search(r"https?:|url\(|@import|fetch\(|import\(", text)
    assert len(page.values("id")) == len(set(page.values("id")))


def test_the_search_can_be_used_without_a_mouse_and_says_what_it_found(out: Path) -> None:
    page = Page((out / PAGE).read_text(encoding="utf-8"))
    by_id = {attributes["id"]: (tag, attributes) for tag, attributes in page.tags if "id" in attributes}
    assert by_id["query"][0] == "input"
    assert ("label", {"for": "query"}) in page.tags
    assert by_id["found"][1]["role"] == "status"
    # Without scripts there is no search, so none is shown.
    assert "hidden" in by_id["search"][1]


def test_light_dark_and_narrow_screens_are_provided_for(out: Path) -> None:
    text = (out / PAGE).read_text(encoding="utf-8")
    assert "prefers-color-scheme: dark" in text
    assert 'name="viewport" content="width=device-width' in text


def test_code_is_linked_inside_the_project_and_named_elsewhere(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = out / "project"
    copy = Path(shutil.copytree(PACKAGE / "paper", project / "rfkit" / "paper"))
    (project / "pyproject.toml").touch()
    monkeypatch.setattr(gallery.sources, "PACKAGE", copy.parent)
    manifest = Manifest({"a.csv": {"entry": "fig1", "module": "rfkit.paper.fig1_tradeoff"}})
    inside = Page(gallery_page(manifest, project / "figures", names=["fig1"]))
    link = "../rfkit/paper/fig1_tradeoff.py"
    assert link in inside.values("href")
    assert (project / "figures" / link).resolve().is_file()
    assert link not in gallery_page(manifest, out, names=["fig1"])


def test_what_was_skipped_is_shown_with_its_reason_and_text_stays_text(tmp_path: Path) -> None:
    manifest = Manifest(
        {"b.csv": {"entry": "b", "module": "rfkit.paper.b"}}, {"a": "no <weights> & no card"}, {"b": '"$caption" <b>'}
    )
    page = Page(gallery_page(manifest, tmp_path, names=["b", "a", "absent"]))
    assert list(page.cards) == ["b", "a"]
    assert "Not built: no <weights> & no card" in page.cards["a"]
    assert '"$caption" <b>' in page.cards["b"]
    assert not [tag for tag, _ in page.tags if tag == "img"]


def test_the_command_writes_the_page_of_what_is_there(
    out: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    before = (out / PAGE).read_bytes()
    (out / PAGE).unlink()
    assert main(["figures", "--html", "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out / PAGE}\n"
    assert (out / PAGE).read_bytes() == before
    stamp = (out / PAGE).stat().st_mtime_ns
    write_gallery(out, names=FIGURES)
    assert (out / PAGE).stat().st_mtime_ns == stamp
    with pytest.raises(DataError, match=r"MANIFEST.json: there is none.*`rfkit figures --out .*` builds"):
        write_gallery(tmp_path, names=FIGURES)


@pytest.mark.browser
def test_a_browser_shows_what_is_searched_for(out: Path, tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    assert browser, "this test needs Chromium"
    text = (out / PAGE).read_text(encoding="utf-8")
    typed = tmp_path / PAGE
    typed.write_text(text.replace("search();  //", 'query.value = "RFKIT.paper cityscapes fig1"; search();  //'))
    done = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", typed.as_uri()],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    page = Page(done.stdout)
    shown = {attributes["id"]: "hidden" not in attributes for tag, attributes in page.tags if tag == "article"}
    assert shown == {"fig1": True, "table3": False}
    assert "1 of 2 found" in done.stdout


def test_a_table_is_there_as_text_too(tmp_path: Path) -> None:
    (tmp_path / "table9.md").write_text(
        "Table 9.\n\n| | \\|w\\| |\n| :--- | ---: |\n| one | **1** <2 |\n| two \\* |  |\n\n*A note.*\n",
        encoding="utf-8",
    )
    manifest = Manifest({"table9.md": {"entry": "table9", "module": "rfkit.paper.table9"}})
    text = gallery_page(manifest, tmp_path, names=["table9"])
    page = Page(text)
    assert '<thead><tr><th scope="col"></th><th scope="col">|w|</th></tr></thead>' in text
    assert "<tr><td>one</td><td><b>1</b> &lt;2</td></tr>\n<tr><td>two *</td><td></td></tr>" in text
    assert ("table", {"data-find": None}) in page.tags
    regions = [attributes for tag, attributes in page.tags if attributes.get("role") == "region"]
    assert regions[0]["aria-label"] == "Table 9 as text"


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("fig8", "Fig. 8"),
        ("fig8_dwrseg", "Fig. 8, dwrseg"),
        ("table2_short", "Table 2, short"),
        ("probe_measures", "Probe measures"),
    ],
)
def test_cards_have_titles_and_the_names_that_the_command_line_knows(tmp_path: Path, name: str, title: str) -> None:
    manifest = Manifest({f"{name}.csv": {"entry": name, "module": "rfkit.paper.a"}})
    text = gallery_page(manifest, tmp_path, names=[name])
    assert f'<a href="#{name}">{title}</a> <code>{name}</code>' in text
    assert f"<code>rfkit figures {name}</code>" in text
