from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tfshop.report
from tfshop.data import IdFeature, NumericFeature, Schema, SequenceFeature, TimeSplit, prepare, read_table
from tfshop.data.hashing import HashTable, murmur3, murmur3_array
from tfshop.data.narrowing import narrow_schema
from tfshop.errors import SchemaError

PAGE = Path(__file__).parents[2] / "docs" / "hashing.md"
SEEDS = (0, 1, 2**32 - 1)
SPLIT = TimeSplit("day", validation=2, test=3)


def vectors() -> list[tuple[str, list[int]]]:
    """Texts of the page's table with their hashes for each seed and their row."""
    rows = re.findall(
        r'^\| `(".*")` \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$', PAGE.read_text(encoding="utf-8"), re.MULTILINE
    )
    return [(json.loads(text), [int(number) for number in numbers]) for text, *numbers in rows]


@pytest.mark.parametrize(
    ("text", "seed", "expected"),
    [
        ("", 1, 0x514E28B7),
        ("", 0xFFFFFFFF, 0x81F16F39),
        ("test", 0, 0xBA6BD213),
        ("test", 0x9747B28C, 0x704B81DC),
        ("Hello, world!", 0x9747B28C, 0x24884CBA),
        ("The quick brown fox jumps over the lazy dog", 0, 0x2E4FF723),
    ],
)
def test_the_hash_is_the_published_one(text, seed, expected):
    assert murmur3(text, seed) == expected


def test_the_pages_vectors_are_what_is_computed():
    found = vectors()
    assert len(found) > 15
    for text, (*hashes, row) in found:
        assert [murmur3(text, seed) for seed in SEEDS] == hashes, text
        assert [int(murmur3_array(pa.array([text]), seed)[0]) for seed in SEEDS] == hashes, text
        assert HashTable(100_000).ids([text]).tolist() == [row]


def test_the_pages_javascript_gives_the_vectors(tmp_path):
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    (code,) = re.findall(r"```javascript\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    texts = json.dumps([text for text, _ in vectors()])
    seeds = f"[{', '.join(map(str, SEEDS))}]"
    code += f"const rows = {texts}.map((t) => [...{seeds}.map((s) => murmur3(t, s)), hashedRow(t, 100000, 0)]);\n"
    (tmp_path / "vectors.js").write_text(code + "console.log(JSON.stringify(rows));\n", encoding="utf-8")
    answer = subprocess.run([node, str(tmp_path / "vectors.js")], capture_output=True, text=True, check=True)
    assert json.loads(answer.stdout) == [numbers for _, numbers in vectors()]


def test_the_page_that_goes_with_an_artifact_is_the_one_in_the_docs():
    assert (Path(tfshop.report.__file__).parent / "hashing.md").read_bytes() == PAGE.read_bytes()


@given(st.lists(st.text(max_size=40)), st.integers(0, 2**32 - 1), st.integers(0, 5))
def test_all_at_once_is_the_same_as_one_by_one(texts, seed, skipped):
    array = pa.array(texts, pa.string())[skipped:]
    assert murmur3_array(array, seed).tolist() == [murmur3(text, seed) for text in texts[skipped:]]


def test_very_long_texts_are_hashed_too():
    texts = ["é" * 400, "x" * 3, "y" * 1_000_001, "x" * 512, "x" * 513]
    assert murmur3_array(pa.array(texts), 3).tolist() == [murmur3(text, 3) for text in texts]


def test_missing_and_empty_ids_have_row_0_and_others_never():
    rows = HashTable(3, hashes=2, seed=5).columns([None, "", "a", "b", None, "c", "a"])
    assert rows.shape == (7, 2) and rows.dtype == np.int32
    assert not rows[[0, 1, 4]].any() and (rows[[2, 3, 5, 6]] >= 1).all() and (rows <= 3).all()
    assert rows[2].tolist() == rows[6].tolist() == [1 + murmur3("a", 5) % 3, 1 + murmur3("a", 6) % 3]


def test_rows_are_spread_evenly_and_hashes_are_independent():
    rows = HashTable(100, hashes=2).columns([f"user {n}" for n in range(100_000)])
    counts = np.bincount(rows[:, 0], minlength=101)[1:]
    assert counts.min() > 850 and counts.max() < 1150  # 1,000 expected, standard deviation 31
    joint = np.histogram2d(rows[:, 0], rows[:, 1], bins=10)[0]
    assert joint.min() > 850 and joint.max() < 1150
    pairs = {tuple(pair) for pair in HashTable(10_000, hashes=2).columns([f"user {n}" for n in range(10_000)]).tolist()}
    assert len(pairs) > 9990  # one hash alone leaves about 6,300 different rows


@pytest.fixture
def hashed() -> Schema:
    return Schema(
        [
            IdFeature("shop", hash_buckets=50),
            IdFeature("item", hash_buckets=1000, hashes=3, hash_seed=9),
            IdFeature("member"),
            SequenceFeature("viewed", table="shop", max_length=3),
        ],
        target="bought",
    )


def test_prepare_and_encode_hash_alike(frame, hashed):
    frame["member"] = frame["shop"] == "north"
    frame["viewed"] = [[shop, None, "", shop] for shop in frame["shop"]]
    data = prepare(frame, hashed, split=SPLIT)
    assert set(data.schema.vocabularies) == {"member"}
    assert data.schema.tables == {"shop": 51, "item": 1001, "member": 3}
    expected = [
        [1 + murmur3(shop) % 50, *(1 + murmur3(str(item), seed) % 1000 for seed in (9, 10, 11))]
        for shop, item in zip(frame["shop"], frame["item"], strict=True)
    ]
    assert data.train.inputs["ids"][:, :4].tolist() == expected[:6]
    assert data.schema.input_specs()["ids"].shape == (5,)
    encoded = data.schema.encode(frame)
    assert encoded["ids"][:, :4].tolist() == expected
    assert encoded["hist_viewed"].tolist() == [[0, 0, row[0]] for row in expected]
    assert data.schema.encode({"shop": ["never seen"], "item": [None], "member": [True], "viewed": [None]})["ids"][
        0, :4
    ].tolist() == [
        1 + murmur3("never seen") % 50,
        *[0] * 3,
    ]


def test_shards_on_disk_hold_the_same_rows(frame, hashed, tmp_path):
    frame["member"] = frame["shop"] == "north"
    frame["viewed"] = [[shop] for shop in frame["shop"]]
    features = (*hashed.features, NumericFeature("price", clip=(0.1, 0.9)))
    schema = hashed.replace(features=features)
    memory = prepare(frame, schema, split=SPLIT)
    for _ in ("built", "reused"):
        disk = prepare(frame, schema, split=SPLIT, cache_dir=tmp_path)
        assert disk.schema == memory.schema
        for name in memory.train.inputs:
            np.testing.assert_array_equal(disk.test.inputs[name], memory.test.inputs[name])


def test_a_tower_without_the_id_feature_still_knows_how_its_history_is_hashed(frame, hashed):
    frame["member"], frame["viewed"] = frame["shop"] == "north", [[shop] for shop in frame["shop"]]
    fitted = prepare(frame, hashed, split=SPLIT).schema
    tower = narrow_schema(fitted, ["viewed", "member"])
    assert tower.is_fitted and tower.tables == {"member": 3, "shop": 51}
    assert Schema.from_json(tower.to_json()) == tower
    np.testing.assert_array_equal(tower.encode(frame)["hist_viewed"], fitted.encode(frame)["hist_viewed"])


def test_a_hashed_schema_comes_back_from_json_and_describes_itself(frame, hashed):
    assert Schema.from_json(hashed.to_json()) == hashed
    assert "3 hashes into 1,000 rows" in hashed.describe() and "1 hash into 50 rows" in hashed.describe()
    assert not hashed.is_fitted
    assert Schema(hashed.features[:2], target="bought").is_fitted


def test_old_schemas_without_hashes_are_still_read():
    content = json.loads(Schema([IdFeature("item")], target="y").to_json())
    for name in ("hash_buckets", "hashes", "hash_seed"):
        del content["features"][0][name]
    assert Schema.from_json(json.dumps(content)) == Schema([IdFeature("item")], target="y")


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ({"hash_buckets": 0}, "hash_buckets=0"),
        ({"hash_buckets": True}, "hash_buckets=True"),
        ({"hash_buckets": 2**31}, "at most"),
        ({"hash_buckets": 10, "hash_seed": -1}, "hash_seed=-1"),
        ({"hash_buckets": 10, "hash_seed": 2**32 - 1, "hashes": 2}, "a seed from 0 to 4294967294"),
        ({"hash_buckets": 10, "hashes": 0}, "hashes=0"),
        ({"hash_buckets": 10, "min_count": 2}, "either a hash or a vocabulary"),
        ({"hash_buckets": 10, "max_size": 5}, "either a hash or a vocabulary"),
        ({"hashes": 2}, "no hash_buckets"),
        ({"hash_seed": 2}, "no hash_buckets"),
    ],
)
def test_what_does_not_fit_together_is_refused(arguments, found):
    with pytest.raises(SchemaError, match=found) as raised:
        IdFeature("item", **arguments)
    assert "Fix:" in str(raised.value)


def test_tables_and_sequences_that_disagree_are_refused():
    with pytest.raises(SchemaError, match="share the table 't'"):
        Schema([IdFeature("a", table="t", hash_buckets=5), IdFeature("b", table="t", hash_buckets=6)], target="y")
    with pytest.raises(SchemaError, match=r"sequence 'viewed'.*2 rows"):
        Schema([IdFeature("a", hash_buckets=5, hashes=2), SequenceFeature("viewed", table="a")], target="y")


def test_a_batch_of_text_and_one_of_numbers_hash_alike():
    schema = Schema([IdFeature("item", hash_buckets=1000)], target="y")
    text = schema.encode(read_table(pa.table({"item": ["7", "-1"]})))["ids"]
    assert text.tolist() == schema.encode(read_table(pa.table({"item": [7, -1]})))["ids"].tolist()
