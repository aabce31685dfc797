"""What the numbers of one file come to, in a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tfshop.evaluation.delong import LOST_NOTHING
from tfshop.report.units import difference_text, size_text, times_text
from tfshop.report.variant import Variant

USUAL_BATCH = 128
ALIKE = 1.05  # ratios nearer to 1 than this are not worth a word


@dataclass(frozen=True)
class Verdict:
    """The headline of one file.

    Args:
        sentence: Size, speed and AUC beside the baseline's.
        badge: What it comes to, in two or three words.
        good: Whether the badge is good news; None for neither.
        missed: The limits that it misses, each by how much.
    """

    sentence: str
    badge: str
    good: bool | None
    missed: tuple[str, ...]


def judge(variant: Variant, baseline: Variant, limits: Mapping[str, float]) -> Verdict:
    """Headline of a file: how much smaller and faster it is, what it lost, which limits it misses."""
    phrases = [_smaller(variant, baseline), _faster(variant, baseline)]
    phrases += _auc_phrases(variant)
    sentence = ", ".join(phrase for phrase in phrases if phrase)
    missed = missed_limits(variant, limits)
    if missed:
        return Verdict(sentence, "limit missed", False, missed)
    differences = [evaluation.auc_difference_test for evaluation in variant.evaluation.each.values()]
    lows = [difference.low for difference in differences if difference is not None]
    if len(lows) < len(differences):
        return Verdict(sentence, "AUC not compared", None, ())
    if min(lows) > -LOST_NOTHING:
        return Verdict(sentence, "lost nothing that matters", True, ())
    badge = "within the limits" if limits else f"may have lost {-min(lows):.4f}"
    return Verdict(sentence, badge, None, ())


def _auc_phrases(variant: Variant) -> list[str]:
    """The AUC difference on test, of each target."""
    return [
        f"{f'{target} ' if target else ''}AUC {difference_text(evaluation.auc_difference_test)}"
        for target, evaluation in variant.evaluation.each.items()
        if evaluation.auc_difference_test is not None
    ]


def missed_limits(variant: Variant, limits: Mapping[str, float]) -> tuple[str, ...]:
    """Each limit that a file misses, and by how much; AUC is judged on validation, that of every target."""
    missed = []
    drop, size = limits.get("max_auc_drop"), limits.get("max_size_bytes")
    for target, evaluation in variant.evaluation.each.items():
        difference = evaluation.auc_difference_validation
        if drop is not None and difference is not None and difference.low < -drop:
            missed.append(
                f"max_auc_drop {drop:g}: the lower end on validation {f'of {target} ' if target else ''}is "
                f"{difference.low:+.4f}, {-drop - difference.low:.4f} too low"
            )
    if size is not None and variant.evaluation.size_bytes > size:
        missed.append(
            f"max_size_bytes {size:,.0f}: the file has {variant.evaluation.size_bytes:,}, "
            f"{size_text(variant.evaluation.size_bytes - size)} too many"
        )
    return tuple(missed)


def speedup(variant: Variant, baseline: Variant) -> tuple[int, float] | None:
    """A batch that both were timed at (128 where possible), and how many times faster the median call is."""
    mine, theirs = variant.evaluation.latency, baseline.evaluation.latency
    if mine is None or theirs is None:
        return None
    shared = {row.batch_size for row in mine.rows} & {row.batch_size for row in theirs.rows}
    if not shared:
        return None
    batch = USUAL_BATCH if USUAL_BATCH in shared else max(shared)
    before, after = theirs.at(batch), mine.at(batch)
    return None if before is None or after is None else (batch, before.p50_us / after.p50_us)


def _smaller(variant: Variant, baseline: Variant) -> str:
    return _compared(baseline.evaluation.size_bytes / variant.evaluation.size_bytes, "smaller", "larger", "same size")


def _faster(variant: Variant, baseline: Variant) -> str:
    found = speedup(variant, baseline)
    if found is None:
        return ""
    batch, ratio = found
    return f"{_compared(ratio, 'faster', 'slower', 'as fast')} at batch {batch}"


def _compared(ratio: float, more: str, less: str, same: str) -> str:
    """`3.9x smaller`; a ratio under one is turned round, so that no reader has to divide."""
    if 1 / ALIKE < ratio < ALIKE:
        return same
    return f"{times_text(ratio)} {more}" if ratio > 1 else f"{times_text(1 / ratio)} {less}"
