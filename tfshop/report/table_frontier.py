"""Which field got which codec, and what other budgets would have cost: what `AllocateTables` has noted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tfshop.errors import TfshopError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

NAME = "AllocateTables"


@dataclass(frozen=True)
class TableFrontier:
    """Bytes of tables against AUC, expected and measured.

    Attributes:
        rows: From few bytes to those of float32: bytes, expected_loss, expected_auc, measured_auc (None where it was
            not measured), chosen.
        fields: One a field: layer, features, codec, rows, bytes, and losses as they were estimated, tried (None where
            the choice was clear) and expected.
        float_auc: Validation AUC with float32 tables.
    """

    rows: Sequence[Mapping[str, Any]]
    fields: Sequence[Mapping[str, Any]]
    float_auc: float

    def table(self) -> pd.DataFrame:
        """One row an allocation of the frontier."""
        import pandas as pd  # noqa: PLC0415  (only who asks for a table waits for it)

        table: pd.DataFrame = pd.DataFrame(list(self.rows))
        return table

    def by_field(self) -> pd.DataFrame:
        """One row a field, as it was coded."""
        import pandas as pd  # noqa: PLC0415  (as above)

        rows = [{**row, "features": ", ".join(row["features"])} for row in self.fields]
        table: pd.DataFrame = pd.DataFrame(rows)
        return table

    def figure(self) -> Figure:
        """The AUC difference to float32 tables by the bytes."""
        from tfshop.report.figures import draw_table_frontier  # noqa: PLC0415  (matplotlib only for a picture)

        return draw_table_frontier(self.rows, self.float_auc)


def table_frontier(found: Any) -> TableFrontier:
    """The frontier of the last `AllocateTables` of a plan.

    Args:
        found: What `compress` gives, or a `Candidate`.

    Raises:
        TfshopError: Where no `AllocateTables` was applied.

    Example:
        >>> frontier = table_frontier(compress(model, data, plan))  # doctest: +SKIP
        >>> frontier.table().plot("bytes", "expected_auc")  # doctest: +SKIP
    """
    candidate = getattr(found, "candidate", found)
    for record in reversed(getattr(candidate, "history", ())):
        if record.name == NAME and "frontier" in record.notes:
            notes = record.notes
            return TableFrontier(notes["frontier"], notes["allocation"], notes["validation_auc"]["float"])
    raise TfshopError(
        f"table_frontier was given {type(found).__name__} without an allocation of tables. Expected what compress "
        f"gives for a plan with {NAME}. Fix: chain({NAME}(max_auc_drop=0.0005), Export('int8'))."
    )
