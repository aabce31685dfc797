"""Codecs as people write them and as plans hold them; a feature may be called "name"."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tfshop.compression import AllocateTables, EncodeTables, TuneTables
from tfshop.errors import PlanError
from tfshop.export import Export, Plan, chain
from tfshop.tables import CODECS, Float16, Float32, Grouped, Hashed, Int2, Int4, Int8

BY_NAME: list[dict[str, Any]] = [
    {"name": "Int2"},
    {"name": "Float16"},
    {"name": "Int2", "shop": "Int8"},
    {"name": "Int2", "scale": "Int8"},
    {"name": Int4("field"), "grid": Hashed(64)},
    {"name": {"name": "Float32"}, "codec": "Int4"},
]


@pytest.mark.parametrize("codecs", BY_NAME, ids=repr)
def test_a_feature_may_be_called_name(codecs: dict[str, Any]) -> None:
    for kind in (EncodeTables, TuneTables):
        step = kind(codecs)
        assert set(step.codec) == set(codecs)
        for name, given in codecs.items():
            if isinstance(given, str):
                assert step.codec[name] == CODECS[given]()
        plan = chain(step, Export("int8"))
        assert Plan.from_json(plan.to_json()) == plan


@pytest.mark.parametrize("name", CODECS)
def test_codecs_of_saved_plans_are_codecs(name: str) -> None:
    for step in (EncodeTables(name), TuneTables(name), AllocateTables(max_bytes=0.5, codecs=(name, "Int8"))):
        plan = chain(step, Export("int8"))
        saved = json.loads(plan.to_json())["passes"][0]
        written = saved["codecs"][0] if "codecs" in saved else saved["codec"]
        assert written["name"] == name
        assert Plan.from_json(plan.to_json()) == plan


@pytest.mark.parametrize(
    ("written", "codec"),
    [
        ({"name": "Float16"}, Float16()),
        ({"name": "Int2", "scale": "field", "choice": "weighted", "grid": None}, Int2("field")),
        ({"name": "Int4", "scale": "table"}, Int4("table")),
        ({"name": "Hashed", "buckets": 64, "hashes": 2, "codec": {"name": "Float32"}}, Hashed(64, 2, Float32())),
        (
            {"name": "Grouped", "codecs": [{"name": "Int8", "scale": "row"}, {"name": "Float16"}], "split": [5]},
            Grouped((Int8(), Float16()), (5,)),
        ),
        ({"shop": {"name": "Float16"}}, {"shop": Float16()}),
        ("Int8", Int8()),
        (None, None),
    ],
    ids=repr,
)
def test_plans_in_json_load(written: Any, codec: Any) -> None:
    plan = {"passes": [{"name": "TuneTables", "codec": written}], "exporter": {"mode": "int8"}}
    assert Plan.from_json(json.dumps(plan)) == chain(TuneTables(codec), Export("int8"))


@pytest.mark.parametrize(
    "codec", [{"name": {"shop": "Int8"}}, {"id_0": {"id_1": "Int8"}}, {"name": "Int2", "shop": 3}, {"name": "Int9"}]
)
def test_what_is_no_codec_is_said(codec: Any) -> None:
    with pytest.raises(PlanError, match=r"codec is (\{|3|'Int9').*Expected a codec.*Fix:"):
        EncodeTables(codec)
