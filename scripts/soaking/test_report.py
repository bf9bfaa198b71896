"""What counts as a leak."""

import random
import unittest

from report import BLOCK_S, verdict

HOUR_S, LIMIT = 3600, 256


def line(value):
    """An hour of a figure, with the noise of a page or two."""
    noise = random.Random(7)
    return [(at, value(at / HOUR_S) + noise.uniform(-4, 4)) for at in range(600, HOUR_S, BLOCK_S)]


class Leaks(unittest.TestCase):
    def test_noise_is_no_growth(self):
        self.assertEqual(verdict(line(lambda _: 9500), LIMIT), ("cannot be told from 0", False))

    def test_a_steady_leak_grows(self):
        self.assertEqual(verdict(line(lambda hour: 9500 + 400 * hour), LIMIT), ("GROWS", True))

    def test_a_leak_in_steps_grows(self):
        self.assertTrue(verdict(line(lambda hour: 9500 + 80 * int(5 * hour)), LIMIT)[1])

    def test_a_leak_that_begins_late_grows(self):
        self.assertTrue(verdict(line(lambda hour: 9500 + max(0, 1500 * (hour - 0.6))), LIMIT)[1])

    def test_one_step_settles(self):
        said, leaks = verdict(line(lambda hour: 9500 + 200 * (hour > 0.5)), LIMIT)
        self.assertFalse(leaks)
        self.assertIn("settles", said)

    def test_a_slope_within_the_limit_is_told(self):
        self.assertEqual(verdict(line(lambda hour: 9500 + 100 * hour), LIMIT), ("256 an hour at most", False))

    def test_what_has_no_limit_is_told_and_not_judged(self):
        self.assertEqual(verdict(line(lambda hour: 9500 + 400 * hour), None), ("grows", False))


if __name__ == "__main__":
    unittest.main()
