"""Parameters out of range, said in one way."""

import math


def check_range(
    component: object, *names: str, least: float | None = None, above: float | None = None, most: float | None = None
) -> None:
    """Raise ValueError unless the parameters `names` of `component` are finite, from `least` or `above`, up to `most`.

    Of a tuple every number counts; None stands for "not used" and passes.

    >>> from types import SimpleNamespace as Component
    >>> check_range(Component(epochs=3, blocks=(1, 2), projection=None), "epochs", "blocks", "projection", least=1)
    >>> check_range(Component(ratio=7), "ratio", above=0, most=1)
    Traceback (most recent call last):
    ValueError: expected ratio in (0, 1], got 7
    """
    for name in names:
        given = getattr(component, name)
        for value in given if isinstance(given, tuple) else (given,):
            if value is not None and not _inside(value, least, above, most):
                raise ValueError(f"expected {name} {_words(least, above, most)}, got {given}")


def _inside(value: float, least: float | None, above: float | None, most: float | None) -> bool:
    return (
        math.isfinite(value)
        and (least is None or value >= least)
        and (above is None or value > above)
        and (most is None or value <= most)
    )


def _words(least: float | None, above: float | None, most: float | None) -> str:
    if most is not None:
        return f"in [{least}, {most}]" if above is None else f"in ({above}, {most}]"
    return f"of at least {least}" if above is None else f"above {above}"
