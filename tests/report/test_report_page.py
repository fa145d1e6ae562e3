"""index.html and the drawings, read by parsers: structure, escaping, nothing that leaves the file."""

from __future__ import annotations

import base64
import hashlib
import re
import xml.etree.ElementTree as ET
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest

from recbole_fair.report.charts.canvas import COLOURS, label, short

VOID = {"meta", "link", "input", "br", "wbr"}


class Page(HTMLParser):
    """Every element with its attributes, and whether tags are balanced."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: Counter[str] = Counter()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts[data.strip()] += 1

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def source(written: Path) -> str:
    return (written / "index.html").read_text()


@pytest.fixture(scope="module")
def page(source: str) -> Page:
    return Page(source)


def test_elements_are_closed_and_ids_are_unique(page: Page) -> None:
    assert page.open == []
    ids = Counter(attributes["id"] for _, attributes in page.elements if "id" in attributes)
    assert [name for name, count in ids.items() if count > 1] == []


def test_every_reference_has_its_target(page: Page, source: str) -> None:
    ids = {attributes.get("id") for _, attributes in page.elements}
    for _, attributes in page.elements:
        for key in ("href", "xlink:href"):
            if (target := attributes.get(key)) and target.startswith("#"):
                assert target[1:] in ids, target
        for name in (attributes.get("aria-labelledby") or "").split():
            assert name in ids
    assert set(re.findall(r"url\(#([^)]+)\)", source)) <= ids


def test_nothing_is_asked_for_outside_the_file(page: Page, source: str) -> None:
    for tag, attributes in page.elements:
        assert tag not in ("img", "iframe", "object", "embed", "base", "audio", "video", "image")
        assert "src" not in attributes
        assert not [key for key in attributes if key.startswith("on")]
        for key in ("href", "xlink:href", "action"):
            assert (attributes.get(key) or "#").startswith(("#", "data:,"))
    assert not re.search(r"@import|url\((?!#)", source)
    addresses = set(re.findall(r"https?://[^\"'<> ]+", source))
    assert addresses == {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}  # names of XML vocabularies


def test_the_policy_allows_this_script_alone(page: Page, source: str) -> None:
    (policy,) = [meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    script = source.split("<script>")[1].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none';")
    assert "form-action 'none'" in policy


def test_tables_have_captions_scopes_and_regions_one_can_scroll_by_keyboard(page: Page) -> None:
    assert len(page.all("table")) == len(page.all("caption"))
    assert {head.get("scope") for head in page.all("th")} == {"col", "row"}
    regions = [region for region in page.all("div") if region.get("class") == "scroll"]
    assert len(regions) == len(page.all("table"))
    assert all(region["role"] == "region" and region["tabindex"] == "0" for region in regions)


def test_landmarks_language_and_skip_link(page: Page) -> None:
    assert page.all("html")[0]["lang"] == "en"
    assert len(page.all("main")) == len(page.all("h1")) == 1
    assert page.all("a")[0] == {"class": "skip", "href": "#results"}
    assert [image["role"] for image in page.all("svg")] == ["img"] * len(page.all("figure"))


def test_states_provenance_and_verdicts_are_told(page: Page, source: str) -> None:
    assert "Wild: seed 1 failed: loss is nan in epoch 2" in page.texts
    assert page.texts["collapsed"] == 2  # under the name and in the provenance
    for fact in ("hash-MF", "f00d", "5p117", "MF-s1", "worse"):
        assert page.texts[fact] >= 1, fact
    assert re.search(r"no difference shown \(would have seen 0\.\d{4}\)", source)
    assert "Planted &lt;runs&gt; &amp; 50 %" in source


def test_asked_metrics_are_seen_and_the_first_one_is_said_to_sort(page: Page) -> None:
    heads = {head["data-metric"]: head for head in page.all("th") if head.get("data-metric")}
    assert heads["recall@5"].get("aria-sort") == "descending"
    assert not [key for key, head in heads.items() if "hidden" in head]


def test_heads_say_what_they_mean_to_a_mouse_and_a_list_says_it_to_everybody(page: Page) -> None:
    titles = [head["title"] for head in page.all("abbr")]
    assert titles[:2] == ["share of a user's held-out items that the list holds",
                          "how unequally the item groups are served: sd / mean of their recall"]  # fmt: skip
    assert page.texts["What the columns are"] == 1
    assert len(page.all("dt")) >= len(titles)
    for title in titles:
        assert any(text.startswith(f"{title}; ") for text in page.texts), title


def test_metrics_that_were_not_asked_for_wait_hidden(tree: Path) -> None:
    from recbole_fair.report.assemble import Options, assemble
    from recbole_fair.report.writers.page import page

    found = Page(page(assemble([tree], Options(metrics=("cv@5[pop]",)))))
    heads = {head["data-metric"]: "hidden" in head for head in found.all("th") if head.get("data-metric")}
    assert heads == {"cv@5[pop]": False, "recall@5": True, "gap_recall@5[gender]": True}


def test_drawings_are_whole_titled_and_take_the_pages_ink(written: Path) -> None:
    paths = sorted((written / "figures").glob("*.svg"))
    assert len(paths) > 8
    for path in paths:
        root = ET.fromstring(path.read_text())
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert root[0].tag == "{http://www.w3.org/2000/svg}title"
        assert root[0].text
        text = path.read_text()
        assert "currentColor" in text
        assert not re.search(r"#010203|<style|<metadata>|20\d\d-\d\d-\d\d|#000000|#ffffff", text)


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_colours_of_text_and_drawings_have_contrast_on_light_on_dark_and_on_paper() -> None:
    style = (Path(__file__).parents[2] / "recbole_fair/report/assets/report.css").read_text()
    schemes = re.findall(r":root \{([^}]*)\}", style)
    assert len(schemes) == 3
    for scheme in schemes:
        named = dict(re.findall(r"--(\w+): (#\w+)", scheme))
        full = {
            name: value if len(value) == 7 else "#" + "".join(2 * sign for sign in value[1:])
            for name, value in named.items()
        }
        for text in ("ink", "soft", "link", "best", "worse"):
            assert contrast(full[text], full["page"]) >= 4.5, text
        for colour in COLOURS:
            assert contrast(colour, full["page"]) >= 3, colour


def test_names_that_matplotlib_would_hide_or_typeset_are_shown() -> None:
    assert label("_x").lstrip("\u200b") == "_x"
    assert not label("_x").startswith("_")
    assert short("a" * 50, 20) == f"{'a' * 7}…{'a' * 12}"


def test_assets_travel_in_the_wheel() -> None:
    import tomllib

    root = Path(__file__).parents[2]
    settings = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]
    for folder in {path.parent for path in (root / "recbole_fair").rglob("*.py")}:
        assert ".".join(folder.relative_to(root).parts) in settings["packages"]
    assert settings["package-data"]["recbole_fair.report"] == ["assets/*"]
