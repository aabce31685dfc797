"""Plans of any shape can be shown."""

from __future__ import annotations

import pytest

from tfshop.report.plan_text import plan_lines


@pytest.mark.parametrize(
    ("plan", "lines"),
    [
        (None, ()),
        ({}, ()),
        (
            {"passes": [{"pass": "Prune", "sparsity": 0.5, "roles": ["dense"]}]},
            ("Prune(sparsity=0.5, roles=['dense'])",),
        ),
        ({"passes": [{"name": "QAT", "arguments": {"epochs": 1}}]}, ("QAT(epochs=1)",)),
        ({"passes": [], "export": {"kind": "Export", "mode": "int8"}}, ("Export(mode='int8')",)),
        ({"mode": "int8", "seed": 0}, ("mode: 'int8'", "seed: 0")),
    ],
)
def test_steps_are_shown_as_calls_and_the_rest_as_values(plan, lines):
    assert plan_lines(plan) == lines
