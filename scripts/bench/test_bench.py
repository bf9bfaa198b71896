"""What ./bench concludes from figures: that it can fail, and that it does not mix rounds up.

    python3 -m unittest discover -s scripts/bench
"""

import contextlib
import io
import unittest

import calls
import gate
import load
from figures import Figures, Spread
from targets import Target, number, targets, verdict_text


def chat(number, contestant, tps, cpu_us=None):
    one = {"measure": "chat", "round": number, "contestant": contestant, "mode": "simple", "clients": 32, "tls": False, "tps": tps}
    return one | ({"cpu_us": cpu_us} if cpu_us else {})


class Conclusions(unittest.TestCase):
    def test_a_ratio_is_made_within_a_round(self):
        figures = Figures({}, [
            chat(0, "pgbouncer", 100), chat(0, "safe-boundary", 50), chat(1, "pgbouncer", 1000), chat(1, "safe-boundary", 900),
            chat(2, "pgbouncer", 10), chat(2, "safe-boundary", 8), chat(3, "safe-boundary", 7),
        ])  # fmt: skip
        self.assertEqual(figures.ratio("chat", "tps", "safe-boundary", "pgbouncer", clients=32), Spread(0.5, 0.8, 0.9))
        self.assertIsNone(figures.ratio("chat", "tps", "safe-boundary", "pgbouncer", clients=8))

    def test_a_bound_is_held_or_not(self):
        found = Spread(0.5, 0.8, 0.9)
        for at_least, bound, expected in [(True, 0.8, "pass"), (True, 0.81, "miss"), (False, 0.8, "pass"), (False, 0.79, "miss")]:
            with self.subTest(at_least=at_least, bound=bound):
                line = Target(1, "", found, bound, bound, at_least)
                self.assertTrue(verdict_text(line, bound).endswith(expected))
        self.assertTrue(verdict_text(Target(8, "", found, 1, 1, caveat="another thing"), 1).endswith("–"))

    def test_only_what_was_measured_is_in_the_table(self):
        self.assertEqual(targets(Figures({})), [])
        lines = targets(Figures({}, [chat(0, "pgbouncer", 100, 20), chat(0, "safe-boundary", 90, 30)]))
        self.assertEqual([(line.row, line.found.median) for line in lines], [(1, 0.9), (4, 1.5)])

    def test_a_floor_is_of_the_same_rounds_and_bears_on_no_verdict(self):
        rounds = [chat(0, "pgbouncer", 100, 20), chat(0, "safe-boundary", 70, 50), chat(0, "flushing pipe", 60, 40)]
        held, cpu = targets(Figures({}, [*rounds, chat(1, "flushing pipe", 99, 1)]))
        self.assertEqual((held.floor, cpu.floor), (Spread(0.6, 0.6, 0.6), Spread(2, 2, 2)))
        self.assertEqual((verdict_text(held, held.must), cpu.shown_floor()), ("≥ 0.75: miss", "2 ×"))
        self.assertEqual(targets(Figures({}, rounds[:2]))[0].shown_floor(), "–")

    def test_numbers_are_short(self):
        for value, expected in [(0.456, "0.46"), (12.34, "12.3"), (1234.5, "1,234"), (50, "50"), (10_000, "10,000")]:
            self.assertEqual(number(value), expected)

    def test_the_gate_can_fail(self):
        with contextlib.redirect_stderr(io.StringIO()) as said:
            self.assertTrue(gate._judge("calls", 4.0, 4.05))
            self.assertFalse(gate._judge("calls", 4.06, 4.05))
            self.assertFalse(gate._judge("calls", float("inf"), 4.05))
        self.assertEqual(said.getvalue().count("TOO MUCH"), 2)

    def test_wake_ups_are_not_data(self):
        counted = {"recvfrom": 2.0, "sendto": 2.0, "write": 1.0, "futex": 3.0}
        self.assertEqual((calls.data(counted), calls.total(counted)), (4.0, 8.0))

    def test_progress_is_read(self):
        found = load.PROGRESS.match("progress: 1763895600.123 s, 4119.5 tps, lat 0.2 ms stddev 0.1, 0 failed")
        self.assertEqual(found.groups(), ("1763895600.123", "4119.5"))


if __name__ == "__main__":
    unittest.main()
