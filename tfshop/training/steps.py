"""Several training steps in one call, with one trace of the step."""

from __future__ import annotations

from typing import Any

from tfshop._keras import tf
from tfshop.training.tracing import is_distributed, is_of_keras


def trace_step_once(model: Any) -> None:
    """Give a compiled model the function of several steps that Keras would make, without its second trace of the step.

    Keras hands the metrics of the last step out of its loop. What they are is not known before it, so AutoGraph traces
    the whole step, forwards and backwards, once more to learn their types. Here they are read behind the loop, and
    the steps are the same to the bit.

    Args:
        model: Left to Keras where it takes one step a call, is distributed, compiled by XLA or not at all, or has a
            step of its own.
    """
    if is_distributed(model) or model.run_eagerly or model.jit_compile or int(model.steps_per_execution) == 1:
        return
    if not is_of_keras(model, "make_train_function", "train_step", "compute_metrics", "get_metrics_result"):
        return

    def steps_of(iterator: Any) -> dict[str, Any]:
        steps = tf.convert_to_tensor(model.steps_per_execution)

        def step(number: Any) -> Any:
            model.train_step(next(iterator))
            model._train_counter.assign_add(1)
            return number + 1

        tf.while_loop(lambda number: number < steps, step, [tf.zeros_like(steps)])
        metrics: dict[str, Any] = model.get_metrics_result()
        return metrics

    model.train_function = model.train_tf_function = tf.function(steps_of, reduce_retracing=True)
