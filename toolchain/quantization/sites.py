"""Where a net's activations go onto grids, and which of them have to share one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from toolchain.quantization.calls import CONSTANT, MapCall

Site = int
"""The number of the call whose result goes onto a grid, or of an input (below 0)."""


@dataclass
class Sites:
    """The sites that the layers in `integers` need, which compute in integers.

    Such a layer reads numbers that are on a grid, and so is its result, after the activation
    that follows it alone. So does a sum of two such results. What only selects numbers stays on
    the grid that it reads, so that a concatenation unites those of what it joins. Whatever else
    computes reads the numbers of grids as floats.
    """

    calls: Sequence[MapCall]
    returned: tuple[int, ...]
    integers: Collection[str]
    _made: list[bool] = field(default_factory=list)
    _leader: dict[Site, Site] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for call in self.calls:
            self._made.append(self._is_made(call))
        for number in self.computing:
            # What is read has one scale: where it was joined of several maps, those share a grid,
            # or the runtime would have to round once more to join them.
            for read in self.calls[number].reads:
                self._unite(self.under(read))
            self._unite({self.result_of(number)})

    @cached_property
    def computing(self) -> tuple[int, ...]:
        """The calls that compute in integers."""
        return tuple(
            number
            for number, call in enumerate(self.calls)
            if call.kind in ("kernel", "sum") and self._made[number]
        )

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that compute in integers."""
        kernels = (n for n in self.computing if self.calls[n].kind == "kernel")
        return tuple(dict.fromkeys(self.calls[n].layer for n in kernels))

    @property
    def groups(self) -> dict[Site, tuple[Site, ...]]:
        """The sites that share a grid, by the first of them."""
        found: dict[Site, list[Site]] = {}
        for site in self._leader:
            found.setdefault(self.leader(site), []).append(site)
        return {leader: tuple(sites) for leader, sites in found.items()}

    def leader(self, site: Site) -> Site:
        """The site that stands for all that share its grid."""
        # A union-find without ranks: nets have some hundred sites, and groups are shallow.
        while self._leader[site] != site:
            site = self._leader[site]
        return site

    def read_by(self, layer: str) -> Site | None:
        """The site of the grid that a layer reads; None unless it is called exactly once."""
        found = [n for n in self.computing if self.calls[n].layer == layer]
        return self.grid_read(found[0]) if len(found) == 1 else None

    def grid_read(self, number: int) -> Site:
        """The leader of the sites of what a call that computes in integers reads first."""
        return self.leader(min(self.under(self.calls[number].reads[0])))

    def touching(self, leader: Site) -> set[str]:
        """The layers that read or write numbers of a group, or make what a sum of it reads."""
        return {
            layer
            for number in self.computing
            if leader in map(self.leader, (self.result_of(number), *self._reads(number)))
            for layer in self._layers_of(number)
        }

    def _layers_of(self, number: int) -> set[str]:
        if self.calls[number].kind == "kernel":
            return {self.calls[number].layer}
        makers = [n for n in self.computing if n < number]
        read = self._reads(number)
        return {x for n in makers if self.result_of(n) in read for x in self._layers_of(n)}

    def _reads(self, number: int) -> set[Site]:
        return {site for read in self.calls[number].reads for site in self.under(read)}

    def under(self, value: int) -> set[Site]:
        """The sites on whose grid a value lies."""
        if value < 0 or value in self._ends:
            return {value}
        if self._selects(value):
            return {site for read in self.calls[value].reads for site in self.under(read)}
        return {value}

    def _unite(self, sites: set[Site]) -> None:
        for site in sites:
            self._leader.setdefault(site, site)
        # The earliest leads, whatever the order of uniting: grids, and so bytes, are reproducible.
        first, *others = sorted(map(self.leader, sites))
        for other in others:
            self._leader[other] = first

    def result_of(self, number: int) -> Site:
        """The call, or the activation that alone reads what it makes."""
        # Runtimes fuse a ReLU into the layer before it and round once, after both: a grid in
        # between would spend half of its codes on numbers that are about to be clipped.
        readers = self._readers[number]
        fused = len(readers) == 1 and self.calls[readers[0]].kind == "rectify"
        return readers[0] if fused and number not in self.returned else number

    @cached_property
    def _ends(self) -> set[Site]:
        """The results of what computes in integers."""
        return {self.result_of(number) for number in self.computing}

    @cached_property
    def _readers(self) -> dict[int, list[int]]:
        found: dict[int, list[int]] = {number: [] for number in range(len(self.calls))}
        for number, call in enumerate(self.calls):
            for read in call.reads:
                found.setdefault(read, []).append(number)
        return found

    def _is_made(self, call: MapCall) -> bool:
        """Whether a call makes its result in integers; known of all that it reads."""
        if call.kind == "kernel":
            return call.layer in self.integers and self._can_read(call)
        made = call.kind != "other" and call.known
        return made and all(read >= 0 and self._made[read] for read in call.reads)

    def _selects(self, number: int) -> bool:
        """Whether a call stays on the grid of what it reads; what was floats is clipped before."""
        kind = self.calls[number].kind
        return kind == "select" or (kind == "rectify" and self._made[number])

    def _can_read(self, call: MapCall) -> bool:
        """Whether all that a kernel reads can be put onto a grid."""
        return call.known and len(call.reads) == 1 and self._can_be_on_grid(call.reads[0])

    def _can_be_on_grid(self, value: int) -> bool:
        if value < 0:
            return value != CONSTANT
        call = self.calls[value]
        if self._selects(value):
            return call.known and all(map(self._can_be_on_grid, call.reads))
        # Of several results (a split) each would need its own site; they have one number together.
        return call.single
