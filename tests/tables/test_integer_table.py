"""Which steps and grids integer codes get."""

from __future__ import annotations

import numpy as np
import pytest

from tfshop.errors import PlanError
from tfshop.tables import Int2, Int3, Int4, Int8
from tfshop.tables.packing import NUMPY, pack, packed_width, unpack
from tfshop.tables.scales import Groups, grids, num_levels, steps_of

random = np.random.default_rng(1)
SIZES = np.exp(random.normal(size=(2000, 1)))
TABLE = (random.normal(size=(2000, 16)) * SIZES).astype(np.float32)


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("width", [1, 3, 8, 16, 21])
def test_packed_codes_come_back(bits: int, width: int) -> None:
    codes = np.random.default_rng(0).integers(0, 2**bits, (50, width)).astype(np.uint8)
    packed = pack(codes, bits)
    assert packed.shape == (50, packed_width(width, bits))
    assert np.array_equal(unpack(packed.astype(np.float32), width, bits, NUMPY), codes)


def test_more_bits_and_finer_scales_never_raise_the_distortion() -> None:
    by_bits = [codec().encode(TABLE).distortion(TABLE) for codec in (Int2, Int3, Int4, Int8)]
    assert by_bits == sorted(by_bits, reverse=True) and by_bits[0] < 0.15 and by_bits[-1] < 1e-4
    by_scale = [Int4(scale=scale).encode(TABLE).distortion(TABLE) for scale in ("table", 64, 8, "row")]
    assert by_scale == sorted(by_scale, reverse=True) and by_scale[0] > 3 * by_scale[-1]


@pytest.mark.parametrize("codec", [Int2, Int3, Int4])
@pytest.mark.parametrize("scale", ["row", 16, "table"])
def test_least_squares_beats_the_largest_value(codec: type, scale: str | int) -> None:
    largest, least = (codec(scale, choice).encode(TABLE).distortion(TABLE) for choice in ("max", "least squares"))
    assert least < 0.95 * largest


def test_counts_move_the_step_of_a_table_towards_rows_that_are_seen() -> None:
    counts = np.where(SIZES[:, 0] < 0.5, 1000.0, 0.0)  # the small ones
    plain, weighted = (Int4("table", choice).encode(TABLE, counts) for choice in ("least squares", "weighted"))
    assert weighted.arrays["scale"][0] < 0.7 * plain.arrays["scale"][0]
    assert weighted.distortion(TABLE, counts) < 0.5 * plain.distortion(TABLE, counts)
    assert weighted.distortion(TABLE) > plain.distortion(TABLE)


def test_a_step_in_a_byte_costs_little() -> None:
    exact = Groups(TABLE, 1)
    grid = grids(4)["mid-rise"]
    best = exact.errors(grid, steps_of(exact, grid, "least squares")).sum() / (TABLE.astype(float) ** 2).sum()
    assert Int4(grid="mid-rise").encode(TABLE).distortion(TABLE) < 1.02 * best
    assert num_levels(3) == 3 and num_levels(200) == 25 and num_levels(10**6) == 256


def test_the_largest_value_is_never_cut_off_by_max() -> None:
    made = Int8(choice="max").encode(TABLE).decode()
    assert np.abs(made - TABLE).max() <= np.abs(TABLE).max() / 127


def test_few_bits_take_the_grid_without_a_zero_and_sparse_tables_the_one_with() -> None:
    """Two bits with a zero have three levels of use on symmetric rows, without one four."""
    assert Int2().encode(TABLE).settings["grid"] == "mid-rise"
    alike = (TABLE / SIZES).astype(np.float32)
    levels = np.unique(Int2("table").encode(alike).decode())
    assert np.allclose(levels / levels[-1], [-1, -1 / 3, 1 / 3, 1], atol=1e-6)
    assert Int2("table").encode(TABLE).settings["grid"] == "mid-tread"  # a few large rows, the others near zero
    sparse = np.where(np.random.default_rng(2).random(TABLE.shape) < 0.9, 0, TABLE).astype(np.float32)
    made = Int4().encode(sparse)
    assert made.settings["grid"] == "mid-tread" and (made.decode()[sparse == 0] == 0).all()


def test_a_sample_of_rows_keeps_groups_together() -> None:
    sample = Groups(TABLE, 8, np.arange(2000.0)).sample(400)
    assert len(sample.rows) % 8 == 0 and len(sample.rows) < 500 and sample.weights is not None
    starts = sample.weights[::8]
    assert (starts % 8 == 0).all() and np.array_equal(sample.weights[7::8], starts + 7)
    assert Groups(TABLE, 2000).sample(400).size == len(Groups(TABLE, 2000).sample(400).rows) == 400


@pytest.mark.parametrize("change", [{"scale": "column"}, {"scale": 0}, {"choice": "best"}, {"grid": "odd"}])
def test_settings_out_of_range_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(PlanError, match=f"{next(iter(change))} is.*Fix:"):
        Int4(**change)  # type: ignore[arg-type]
