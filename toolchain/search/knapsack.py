"""One choice for each layer, of least error in all, whose bytes fit a budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from toolchain.search.choices import StorageChoice

Plan = dict[str, StorageChoice]
"""Layer -> what it is stored as."""

TURNS = 60
"""Halvings of the price of a byte, after which it is exact enough."""


def pack(choices: Mapping[str, Sequence[StorageChoice]], budget: int) -> Plan | None:
    """The plan for a budget of bytes; None where even the smallest choices do not fit.

    The price of a byte is found at which layers that each take what is cheapest for them just
    fit (Everett 1963); what is then left over goes to the layers to which it does most good.
    """
    smallest = {layer: min(own, key=_size) for layer, own in choices.items()}
    if total(smallest) > budget:
        return None
    # The Lagrange multiplier of the budget: at each price the layers decide alone, so that a plan
    # costs one pass over the choices. As the price rises, the bytes fall, in steps; no price meets
    # the budget exactly, and plans off the convex hull of the choices have none.
    low, high = 0.0, 1.0
    while total(_at(choices, high)) > budget and high < 1e300:
        high *= 16
    for _ in range(TURNS):
        price = (low + high) / 2
        low, high = (low, price) if total(_at(choices, price)) <= budget else (price, high)
    fitting = _at(choices, high)
    return _spend_rest(choices, fitting if total(fitting) <= budget else smallest, budget)


def _size(choice: StorageChoice) -> tuple[int, float]:
    return choice.bytes, choice.error


def _at(choices: Mapping[str, Sequence[StorageChoice]], price: float) -> Plan:
    return {
        layer: min(own, key=lambda c: (c.error + price * c.bytes, c.bytes))
        for layer, own in choices.items()
    }


def _spend_rest(choices: Mapping[str, Sequence[StorageChoice]], plan: Plan, budget: int) -> Plan:
    """Spends what is left, each time where a byte gains most."""
    plan = dict(plan)
    # Those off the hull are found here: single swaps, the best for its bytes first, while any fits.
    while True:
        left = budget - total(plan)
        better = [
            ((now.error - other.error) / max(1, other.bytes - now.bytes), layer, other)
            for layer, now in plan.items()
            for other in choices[layer]
            if other.error < now.error and other.bytes - now.bytes <= left
        ]
        if not better:
            return plan
        _, layer, chosen = max(better, key=lambda found: found[:2])
        plan[layer] = chosen


def total(plan: Mapping[str, StorageChoice]) -> int:
    """The bytes of a plan's kernels."""
    return sum(choice.bytes for choice in plan.values())
