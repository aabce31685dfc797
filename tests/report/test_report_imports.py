"""Reading a report needs no network library."""

from __future__ import annotations

import subprocess
import sys


def test_report_and_metrics_import_neither_tensorflow_nor_pyplot():
    code = (
        "import sys, tfshop.report, tfshop.evaluation.metrics;"
        "print([name for name in ('tensorflow', 'tf_keras', 'matplotlib.pyplot') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
