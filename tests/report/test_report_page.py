"""The page stands alone, says everything, and runs nothing it was given."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

VOID = {"meta", "img", "wbr", "br", "hr", "link", "input"}


class Checker(HTMLParser):
    """Remembers links and tags that were not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def page(make_report, tmp_path_factory) -> str:
    """Of the first file and the one with the odd name."""
    report = make_report(12, 4_000)
    report = replace(report, variants=(report.variants[0], report.variants[-1]))
    return report.save(tmp_path_factory.mktemp("page") / "report").read_text(encoding="utf-8")


def test_page_asks_no_network_and_runs_no_script(page):
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    assert all(source.startswith(("data:image/svg+xml;base64,", "#")) for source in checker.sources)
    assert len([source for source in checker.sources if source.startswith("data:")]) == 7
    assert not checker.tags & {"script", "link", "iframe"}
    assert not re.search(r"url\(|@import|https?://", page)


def test_links_inside_the_page_lead_somewhere(page):
    targets = set(re.findall(r'href="#(\w+)"', page))
    assert targets
    assert targets <= set(re.findall(r'id="(\w+)"', page))


def test_names_are_text_and_never_markup(page):
    assert "&lt;name&gt;" in page
    assert "<name>" not in page


def test_page_holds_headlines_tables_plans_remarks_and_help(page):
    assert "smaller, " in page
    for words in ("Prune(sparsity=0.8", "Parity gap 0.0031", "Scores are planted.", "How to read this", "max_auc_drop"):
        assert words in page
    assert page.count("<table>") == 4


@pytest.mark.usefixtures("one_picture")
def test_notebook_output_is_the_page_without_its_head(make_report):
    shown = make_report(2, 4_000)._repr_html_()
    checker = Checker()
    checker.feed(shown)
    assert checker.open == []
    assert not checker.tags & {"html", "head", "body", "title"}
    rules = re.sub(r"@page \{[^}]*\}", "", re.search(r"<style>(.*)</style>", shown, re.DOTALL).group(1))
    selectors = re.findall(r"(?:^|\})\s*([^@{}]+)\{", rules)
    assert all(part.strip().startswith(".tfshop-report") for rule in selectors for part in rule.split(","))
