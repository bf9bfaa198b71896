//! A bound on how often one address may guess.
//!
//! Promises: bounded memory; an address that guesses too often gets no further look for the rest of the second.
//! Deliberately not here: what a guess is.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How many guesses an address has in each window.
const GUESSES: u32 = 10;

/// The window.
const WINDOW: Duration = Duration::from_secs(1);

/// How many addresses are counted apart; beyond that all share what is left of the window.
const ADDRESSES_MAX: usize = 10_000;

/// Counts of guesses in the present window.
#[derive(Debug)]
pub struct Pace(Mutex<(Instant, HashMap<IpAddr, u32>)>);

impl Pace {
    /// Nobody has guessed yet.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self(Mutex::new((now, HashMap::new())))
    }

    /// Whether the address may be answered at all.
    #[must_use]
    pub fn allows(&self, address: IpAddr, now: Instant) -> bool {
        let window = self.window(now);
        let full = window.1.len() >= ADDRESSES_MAX;
        let count = window.1.get(&address).copied();
        drop(window);
        count.map_or(!full, |count| count < GUESSES)
    }

    /// A wrong guess.
    pub fn guessed(&self, address: IpAddr, now: Instant) {
        let mut window = self.window(now);
        *window.1.entry(address).or_default() += 1;
    }

    fn window(&self, now: Instant) -> std::sync::MutexGuard<'_, (Instant, HashMap<IpAddr, u32>)> {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now.duration_since(window.0) >= WINDOW {
            window.0 = now;
            window.1.clear();
        }
        window
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guesses_are_counted_by_address_and_window() {
        let start = Instant::now();
        let pace = Pace::new(start);
        let (a, b) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        for _ in 0..GUESSES {
            assert!(pace.allows(a, start));
            pace.guessed(a, start);
        }
        assert!(!pace.allows(a, start));
        assert!(pace.allows(b, start));
        assert!(pace.allows(a, start + WINDOW));
    }
}
