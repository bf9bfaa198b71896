"""The raw figures of a run, and how they are read: ratios within a round, spreads over the rounds.

Promises: a ratio is only ever made of two figures of the same round of the same run.
Deliberately not here: measuring, and judging.
"""

import dataclasses
import json
import statistics


@dataclasses.dataclass(frozen=True)
class Spread:
    """What the rounds gave."""

    least: float
    median: float
    most: float

    @classmethod
    def of(cls, values):
        return cls(min(values), statistics.median(values), max(values)) if values else None


class Figures:
    """A run: `about` says when, where and how; `raw` has one entry for each thing measured."""

    def __init__(self, about, raw=()):
        self.about, self.raw = about, list(raw)

    @classmethod
    def read(cls, path):
        whole = json.loads(path.read_text())
        return cls(whole["about"], whole["figures"])

    def write(self, path):
        lines = ",\n".join(json.dumps(one) for one in self.raw)
        path.write_text(f'{{"about": {json.dumps(self.about, indent=2)},\n"figures": [\n{lines}\n]}}\n')

    def by_round(self, measure, field, **keys):
        """The figures of one kind, one for each round."""
        fits = lambda one: one["measure"] == measure and keys.items() <= one.items()  # noqa: E731
        return {one["round"]: one[field] for one in self.raw if fits(one) and field in one}

    def spread(self, measure, field, **keys):
        return Spread.of(list(self.by_round(measure, field, **keys).values()))

    def ratio(self, measure, field, ours, theirs, **keys):
        """One contestant's figure in units of another's."""
        above, below = (self.by_round(measure, field, contestant=who, **keys) for who in (ours, theirs))
        return Spread.of([above[number] / below[number] for number in above if below.get(number)])
