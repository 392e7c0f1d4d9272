"""The laws of detectors as public checks, for detectors of this package and of others."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn

from medaegis.detect import _checks_doors as doors
from medaegis.detect import _checks_fit as fit
from medaegis.detect import _checks_odd as odd
from medaegis.detect import _checks_score as score
from medaegis.detect._bench import Bench, ConformanceError, Make

CHECKS: tuple[Callable[[Bench], None], ...] = (
    *(fit.parameters_are_kept, fit.fit_returns_self, fit.fit_leaves_inputs_alone, fit.fit_keeps_copies),
    *(fit.fit_keeps_no_graph, fit.fit_twice_is_fit_anew, fit.unfitted_raises, fit.global_random_state),
    *(fit.examples_where_needed, score.one_score_a_case, score.order_and_batch_size, score.far_above_near),
    *(score.gradient, score.single_precision, score.one_layer_or_a_mapping, score.calibration),
    *(odd.not_finite, odd.constant_feature, odd.one_feature, odd.one_case_a_class),
    *(doors.save_and_load, doors.other_files_are_refused, doors.images_door),
)


def detector_checks(*, model: nn.Module | None = None) -> dict[str, Callable[[Make], None]]:
    """The checks by name, each a function of a factory, so that a test suite can run them one by one.

    Each raises ConformanceError, or lets an error through that the detector raised where none is allowed.

    Args:
        model: a network that ends in a dense layer, for detectors that need `prepare`; features are as wide as its
            penultimate layer.

    Example:
        >>> from medaegis.detect import MAHA
        >>> detector_checks()["far_above_near"](MAHA)
    """
    checks = CHECKS if model is None else (fit.model_is_left_alone, *CHECKS)
    return {check.__name__: partial(_run, check, model=model) for check in checks}


def check_detector(make: Make, *, model: nn.Module | None = None) -> list[str]:
    """Run the laws of detectors on those that `make` returns.

    Args:
        make: a class or function without arguments that returns a new, unfitted detector at each call.
        model: as for `detector_checks`.

    Returns:
        Names of the checks, all of which passed.

    Raises:
        ConformanceError: a check failed; the text names every one that did, with its cause.
        InputError: `make` returns no detector.

    Example:
        >>> from medaegis.detect import MAHA
        >>> "order_and_batch_size" in check_detector(MAHA)
        True
    """
    name = type(Bench(make).new()).__name__
    failures: dict[str, str] = {}
    checks = detector_checks(model=model)
    for check, run in checks.items():
        try:
            run(make)
        except ConformanceError as error:
            failures[check] = str(error)
        except Exception as error:  # noqa: BLE001  # another package's detector may raise anything; it is reported
            failures[check] = repr(error)
    if failures:
        lines = "".join(f"\n  {check}: {cause}" for check, cause in failures.items())
        raise ConformanceError(f"{name} fails {len(failures)} of {len(checks)} checks:{lines}", failures)
    return list(checks)


def _run(check: Callable[[Bench], None], make: Make, *, model: nn.Module | None) -> None:
    check(Bench(make, model))
