//! A bound on how often something may go wrong: guesses of an address, sign-ins that come to nothing.
//!
//! Promises: bounded memory; a key that has missed too often gets no further try for the rest of the window; however many
//! keys there are, a further one is kept out only when so many have missed that its share of a fixed room is used up.
//! Deliberately not here: what a miss is.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How many keys are counted apart. Those that come later share counts.
const KEYS_MAX: usize = 10_000;

/// How many counts the later ones share. Which one a key gets nobody outside can know, so that nobody can use up the count
/// of somebody else on purpose: to shut out all of them, all counts must be used up.
const SHARED: usize = 4096;

/// Counts of misses in the present window, by key.
#[derive(Debug)]
pub struct Pace<K> {
    window: Mutex<Window<K>>,
    bound: usize,
    length: Duration,
}

#[derive(Debug)]
struct Window<K> {
    begun: Instant,
    own: HashMap<K, usize>,
    /// None as long as each key has a count of its own.
    shared: Vec<usize>,
}

impl<K: Eq + Hash> Window<K> {
    fn count(&self, key: &K) -> usize {
        self.own.get(key).or_else(|| self.shared.get(self.share(key))).copied().unwrap_or(0)
    }

    fn one_more(&mut self, key: K) {
        if self.own.len() < KEYS_MAX || self.own.contains_key(&key) {
            *self.own.entry(key).or_default() += 1;
            return;
        }
        self.shared.resize(SHARED, 0);
        let share = self.share(&key);
        if let Some(count) = self.shared.get_mut(share) {
            *count += 1;
        }
    }

    /// Which of the shared counts is the key's; the map's hasher has a random seed.
    fn share(&self, key: &K) -> usize {
        let shares = u64::try_from(SHARED).unwrap_or(u64::MAX);
        usize::try_from(self.own.hasher().hash_one(key) % shares).unwrap_or(0)
    }
}

impl<K: Eq + Hash> Pace<K> {
    /// Nobody has missed yet; each key may `bound` times in each window of this `length`.
    #[must_use]
    pub fn new(bound: usize, length: Duration, now: Instant) -> Self {
        let window = Window { begun: now, own: HashMap::new(), shared: Vec::new() };
        Self { window: Mutex::new(window), bound, length }
    }

    /// Whether the key may try at all.
    #[must_use]
    pub fn allows(&self, key: &K, now: Instant) -> bool {
        self.window(now).count(key) < self.bound
    }

    /// A try that missed.
    pub fn missed(&self, key: K, now: Instant) {
        self.window(now).one_more(key);
    }

    fn window(&self, now: Instant) -> MutexGuard<'_, Window<K>> {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if now.duration_since(window.begun) >= self.length {
            window.begun = now;
            window.own.clear();
            window.shared = Vec::new();
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
        assert_eq!(pace.window(start).own.len(), KEYS_MAX);
        assert_eq!(pace.window(start).shared.len(), SHARED);
        assert!(pace.allows(&0, start), "one that is known has its own count");
        pace.missed(0, start);
        assert!(!pace.allows(&0, start));
        let later = 2 * KEYS_MAX;
        pace.missed(later, start);
        pace.missed(later, start);
        assert!(!pace.allows(&later, start), "a later one is bounded too");
        assert!(pace.allows(&later, start + SECOND));
        assert!(pace.window(start + SECOND).shared.is_empty());
    }

    /// A /48 of IPv6 has 65,536 networks to guess from: that one guesses from many is no reason not to hear the others.
    #[test]
    fn d3_many_keys_do_not_silence_the_others() {
        let start = Instant::now();
        let pace = Pace::new(10, SECOND, start);
        for key in 0..2 * KEYS_MAX {
            pace.missed(key, start);
        }
        let others = 1_000_000..1_001_000;
        let heard = others.filter(|key| pace.allows(key, start)).count();
        assert!(heard > 950, "{heard} of a thousand");
    }
}
