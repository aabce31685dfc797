"""The picture of sensitivity shows every layer, technique and strength, few or many."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from tfshop.evaluation.trial import Trial
from tfshop.report.figures import draw_sensitivity
from tfshop.report.pictures import picture_bytes

SETTINGS = {
    "Prune": ("50% zeros", "80% zeros", "95% zeros"),
    "Quantize": ("8 bits", "4 bits"),
    "LowRank": ("rank 25%",),
}


def planted(num_layers: int, worst: float = 0.2) -> list[Trial]:
    generator = np.random.default_rng(0)
    trials = []
    for number in range(num_layers):
        name = f"tower_{number}/expert_with_a_long_name/dense_{number}" if number % 3 == 2 else f"dense_{number}"
        for technique, settings in SETTINGS.items():
            for place, setting in enumerate(settings):
                if technique == "LowRank" and number == 0:
                    continue
                loss = float(generator.uniform(-0.001, worst))
                ends = {"auc_loss": loss, "low": loss - 0.002, "high": loss + 0.001}
                saved = {"bytes_saved": 1000 * (place + 1) * (number + 1), "multiplies_saved": 0}
                others = {"log_loss": 0.0, "logit_error": 0.0, "by_target": {"y": loss}}
                trials.append(Trial(name, "dense", technique, place, setting, **ends, **others, **saved))
    return trials


@pytest.mark.parametrize("num_layers", [1, 4, 30])
def test_nothing_drawn_is_cut_off(num_layers: int, recwarn: pytest.WarningsRecorder) -> None:
    figure = draw_sensitivity("mlp", planted(num_layers))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    for axes in figure.axes:
        if axes.axison:
            box = axes.get_tightbbox(renderer)
            assert box.x0 >= -1 and box.x1 <= figure.bbox.x1 + 1
    assert figure._suptitle.get_window_extent(renderer).x1 <= figure.bbox.x1
    assert picture_bytes(figure, "png").startswith(b"\x89PNG")
    assert not [str(warning.message) for warning in recwarn.list]


def test_each_panel_shows_its_trials() -> None:
    trials = planted(4)
    figure = draw_sensitivity("mlp", trials)
    panels = {axes.get_title(loc="left"): axes for axes in figure.axes if axes.axison}
    assert list(panels) == ["Prune: 50%, 80%, 95% zeros", "Quantize: 8, 4 bits", "LowRank: rank 25%"]
    for (technique, settings), axes in zip(SETTINGS.items(), panels.values(), strict=True):
        drawn = [container.lines[0].get_xdata() for container in axes.containers]
        expected = [[t.auc_loss for t in trials if (t.technique, t.setting) == (technique, s)] for s in settings]
        assert [list(values) for values in drawn] == expected
    worst = max(trials, key=lambda trial: trial.auc_loss)
    assert f"{worst.auc_loss:.4f}" in figure.get_suptitle()
    names = [text.get_text() for text in panels["LowRank: rank 25%"].get_yticklabels()]
    assert names[:2] == ["dense_0", "dense_1"] and "…" in names[2]


def test_where_nothing_is_lost_the_title_says_so() -> None:
    figure = draw_sensitivity("mlp", planted(2, worst=0.0001))
    assert "no layer alone loses more than" in figure.get_suptitle()


def test_the_same_trials_give_the_same_bytes() -> None:
    first, second = (picture_bytes(draw_sensitivity("mlp", planted(3)), "svg") for _ in range(2))
    assert first == second
