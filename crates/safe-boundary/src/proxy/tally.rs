//! How many connections and sessions there are, against `[limits]`.
//!
//! Promises: what was counted is given back when the guard goes away, however a connection ends.
//! Deliberately not here: sign-ins (`sign_ins`), and what the client is told when there is no room.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use super::network::Network;
use crate::config::Limits;

/// Counts per key, with one bound for each key and one for all.
#[derive(Debug)]
pub(super) struct Tally<K> {
    counts: Mutex<(HashMap<K, usize>, usize)>,
    per_key: usize,
    total: usize,
}

impl<K: Eq + Hash + Clone> Tally<K> {
    pub(super) fn new(per_key: usize, total: usize) -> Self {
        Self { counts: Mutex::default(), per_key, total }
    }

    /// How many the key has.
    fn count(&self, key: &K) -> usize {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).0.get(key).copied().unwrap_or(0)
    }

    fn enter(&self, key: &K) -> bool {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let (by_key, all) = &mut *counts;
        let mine = by_key.get(key).copied().unwrap_or(0);
        if *all >= self.total || mine >= self.per_key {
            return false;
        }
        *all += 1;
        by_key.insert(key.clone(), mine + 1);
        true
    }

    /// The keys of all that are here.
    pub(super) fn keys(&self) -> Vec<K> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).0.keys().cloned().collect()
    }

    fn leave(&self, key: &K) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let (by_key, all) = &mut *counts;
        *all = all.saturating_sub(1);
        match by_key.get_mut(key) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(by_key.remove(key)),
        }
    }
}

/// A place that is taken until this goes away.
#[derive(Debug)]
pub struct Place<K: Eq + Hash + Clone> {
    tally: Arc<Tally<K>>,
    key: K,
}

impl<K: Eq + Hash + Clone> Place<K> {
    /// What it is counted under.
    pub(super) const fn key(&self) -> &K {
        &self.key
    }
}

impl<K: Eq + Hash + Clone> Drop for Place<K> {
    fn drop(&mut self) {
        self.tally.leave(&self.key);
    }
}

/// All tallies of the proxy.
#[derive(Clone, Debug)]
pub struct Tallies {
    connections: Arc<Tally<Network>>,
    beyond: Arc<Tally<Network>>,
    unannounced: Arc<Tally<()>>,
    sessions: Arc<Tally<String>>,
}

/// A connection.
#[derive(Debug)]
pub struct Connection {
    _place: Place<Network>,
    is_beyond: bool,
}

impl Connection {
    /// Whether it is one too many: it may cancel, and be told so, nothing else.
    #[must_use]
    pub const fn is_beyond(&self) -> bool {
        self.is_beyond
    }
}

/// How many connections beyond the bounds, from one network and in all, are kept for as long as it takes to tell them,
/// or to cancel what the others run.
const BEYOND_PER_ADDRESS: usize = 20;
const BEYOND_TOTAL: usize = 200;

impl Tallies {
    /// Empty tallies with the bounds of the configuration.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self {
            connections: Arc::new(Tally::new(limits.per_address, limits.total)),
            unannounced: Arc::new(Tally::new(limits.total, limits.total)),
            beyond: Arc::new(Tally::new(BEYOND_PER_ADDRESS, BEYOND_TOTAL)),
            sessions: Arc::new(Tally::new(limits.per_person, limits.total)),
        }
    }

    /// A connection from a network; none when not even a refusal can be afforded.
    #[must_use]
    pub fn connection(&self, address: Network) -> Option<Connection> {
        let within = enter(&self.connections, address).map(|place| (place, false));
        let (place, is_beyond) = within.or_else(|| Some((enter(&self.beyond, address)?, true)))?;
        Some(Connection { _place: place, is_beyond })
    }

    /// A connection of a trusted proxy that has not said yet for whom it is.
    #[must_use]
    pub fn unannounced(&self) -> Option<Place<()>> {
        enter(&self.unannounced, ())
    }

    /// A session of a person, by issuer and subject.
    ///
    /// # Errors
    /// How many she has, when there is no room for one more.
    pub fn session(&self, issuer: &str, subject: &str) -> Result<Place<String>, usize> {
        let person = format!("{issuer} {subject}");
        enter(&self.sessions, person.clone()).ok_or_else(|| self.sessions.count(&person))
    }
}

/// Takes a place, if there is one.
pub(super) fn enter<K: Eq + Hash + Clone>(tally: &Arc<Tally<K>>, key: K) -> Option<Place<K>> {
    tally.enter(&key).then(|| Place { tally: Arc::clone(tally), key })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_and_given_back() {
        let tally = Arc::new(Tally::new(2, 3));
        let a1 = enter(&tally, "a").unwrap();
        let _a2 = enter(&tally, "a").unwrap();
        assert!(enter(&tally, "a").is_none(), "more than one key may have");
        let _b = enter(&tally, "b").unwrap();
        assert!(enter(&tally, "c").is_none(), "more than all may have");
        drop(a1);
        assert!(enter(&tally, "c").is_some());
    }
}
