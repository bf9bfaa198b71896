//! A bound on how often something may go wrong: guesses of an address, sign-ins that come to nothing.
//!
//! Promises: bounded memory; a key that has missed too often gets no further try for the rest of the window.
//! Deliberately not here: what a miss is.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How many keys are counted apart; when there are so many, a new one has to wait for the next window.
const KEYS_MAX: usize = 10_000;

/// Counts of misses in the present window, by key.
#[derive(Debug)]
pub struct Pace<K> {
    window: Mutex<(Instant, HashMap<K, usize>)>,
    bound: usize,
    length: Duration,
}

impl<K: Eq + Hash> Pace<K> {
    /// Nobody has missed yet; each key may `bound` times in each window of this `length`.
    #[must_use]
    pub fn new(bound: usize, length: Duration, now: Instant) -> Self {
        Self { window: Mutex::new((now, HashMap::new())), bound, length }
    }

    /// Whether the key may try at all.
    #[must_use]
    pub fn allows(&self, key: &K, now: Instant) -> bool {
        let window = self.window(now);
        let full = window.1.len() >= KEYS_MAX;
        let count = window.1.get(key).copied();
        drop(window);
        count.map_or(!full, |count| count < self.bound)
    }

    /// A try that missed.
    pub fn missed(&self, key: K, now: Instant) {
        let mut window = self.window(now);
        let counts = &mut window.1;
        // INVARIANT: a key without a count is not allowed anything while there is no room for one.
        if counts.len() < KEYS_MAX || counts.contains_key(&key) {
            *counts.entry(key).or_default() += 1;
        }
    }

    fn window(&self, now: Instant) -> MutexGuard<'_, (Instant, HashMap<K, usize>)> {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if now.duration_since(window.0) >= self.length {
            window.0 = now;
            window.1.clear();
        }
        window
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn misses_are_counted_by_key_and_window() {
        let start = Instant::now();
        let pace = Pace::new(10, SECOND, start);
        for _ in 0..10 {
            assert!(pace.allows(&"a", start));
            pace.missed("a", start);
        }
        assert!(!pace.allows(&"a", start));
        assert!(pace.allows(&"b", start));
        assert!(!pace.allows(&"a", start + SECOND - Duration::from_nanos(1)));
        assert!(pace.allows(&"a", start + SECOND));
    }

    #[test]
    fn d3_keys_beyond_the_bound_take_no_memory() {
        let start = Instant::now();
        let pace = Pace::new(2, SECOND, start);
        for key in 0..2 * KEYS_MAX {
            pace.missed(key, start);
        }
        assert_eq!(pace.window(start).1.len(), KEYS_MAX);
        assert!(pace.allows(&0, start), "one that is known has its own count");
        pace.missed(0, start);
        assert!(!pace.allows(&0, start));
        assert!(!pace.allows(&KEYS_MAX, start), "a new one cannot be counted");
        assert!(pace.allows(&KEYS_MAX, start + SECOND));
    }
}
