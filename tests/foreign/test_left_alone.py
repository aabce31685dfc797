"""What a pass left alone is told everywhere: the result, the page, the tables, the artifact, the console."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

import tfshop as ts
from tfshop.compression.left_alone import summary
from tfshop.pipeline import Goal, pursue


@pytest.fixture(scope="module")
def result(network, log, baseline):
    goal = Goal(baseline=baseline("custom_layers"), timed=False)
    return pursue(network("custom_layers"), log, ts.chain(ts.Prune(0.5), ts.Export("float32")), goal)


def test_the_result_has_layer_class_pass_and_reason(result):
    rows = {row["layer"]: row for row in result.left_alone}
    assert set(rows) == {"table_id_0", "table_id_1", "table_id_2", "registered", "unregistered", "click"}
    assert rows["registered"] == {
        "layer": "registered",
        "class": "Registered",
        "pass": "Prune",
        "reason": "Prune knows no kernel of Registered; a layer names its own in get_prunable_weights()",
    }
    assert "'head'" in rows["click"]["reason"] and "vectors" in rows["unregistered"]["reason"]


@pytest.mark.usefixtures("one_picture")
def test_the_page_and_the_tables_show_it(result, tmp_path):
    page = result.report.save(tmp_path / "report").read_text(encoding="utf-8")
    section = page[page.index('<h2 id="left_alone">') : page.index('<h2 id="remarks">')]
    assert section.count("<tr>") == 1 + len(result.left_alone) and "no kernel of Registered" in section
    tables = (tmp_path / "report" / "results.md").read_text(encoding="utf-8")
    assert "| registered | Registered | Prune | Prune knows" in tables


@pytest.mark.usefixtures("one_picture")
def test_a_report_with_nothing_left_alone_has_no_such_section(result, tmp_path):
    nothing = replace(result, candidate=replace(result.candidate, history=()))
    assert nothing.left_alone == () and "left_alone" not in nothing.report.to_markdown()
    assert '<h2 id="left_alone">' not in nothing.report._repr_html_()


def test_the_artifact_keeps_it(result, tmp_path):
    result.artifact.save(tmp_path / "artifact")
    told = json.dumps([dict(row) for row in ts.Artifact.load(tmp_path / "artifact").history])
    assert "no kernel of Registered" in told


def test_the_console_has_a_line_a_reason(result):
    lines = summary(result.left_alone)
    assert len(lines) == 4
    assert lines[0].startswith(
        "Prune left alone table_id_0 (Embedding), table_id_1 (Embedding), table_id_2 (Embedding):"
    )
    many = [{**result.left_alone[0], "layer": f"table_{number}"} for number in range(9)]
    assert "and 5 more" in summary(many)[0]
