//! How many connections, sign-ins and sessions there are, against `[limits]`.
//!
//! Promises: what was counted is given back when the guard goes away, however a connection ends.
//! Deliberately not here: what the client is told when there is no room.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::Limits;

/// Counts per key, with one bound for each key and one for all.
#[derive(Debug)]
struct Tally<K> {
    counts: Mutex<(HashMap<K, usize>, usize)>,
    per_key: usize,
    total: usize,
}

impl<K: Eq + Hash + Clone> Tally<K> {
    fn new(per_key: usize, total: usize) -> Self {
        Self { counts: Mutex::default(), per_key, total }
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

impl<K: Eq + Hash + Clone> Drop for Place<K> {
    fn drop(&mut self) {
        self.tally.leave(&self.key);
    }
}

/// All tallies of the proxy.
#[derive(Clone, Debug)]
pub struct Tallies {
    connections: Arc<Tally<IpAddr>>,
    beyond: Arc<Tally<IpAddr>>,
    sign_ins: Arc<Tally<(String, IpAddr)>>,
    sign_ins_by_login: Arc<Tally<String>>,
    sign_ins_by_address: Arc<Tally<IpAddr>>,
    sessions: Arc<Tally<String>>,
}

/// A connection.
#[derive(Debug)]
pub struct Connection {
    _place: Place<IpAddr>,
    is_beyond: bool,
}

impl Connection {
    /// Whether it is one too many: it may cancel, and be told so, nothing else.
    #[must_use]
    pub const fn is_beyond(&self) -> bool {
        self.is_beyond
    }
}

/// A sign-in that is under way.
#[derive(Debug)]
pub struct SignIn {
    _both: Place<(String, IpAddr)>,
    _login: Place<String>,
    _address: Place<IpAddr>,
}

/// How many sign-ins may be under way of one login from one address, of one login, and from one address. A person has
/// few terminals, an office one address; and who waits elsewhere under her name must not keep her out.
const SIGN_INS_EACH: usize = 10;
const SIGN_INS_PER_LOGIN: usize = 100;
const SIGN_INS_PER_ADDRESS: usize = 100;

/// How many connections beyond the bounds, from one address and in all, are kept for as long as it takes to tell them,
/// or to cancel what the others run.
const BEYOND_PER_ADDRESS: usize = 20;
const BEYOND_TOTAL: usize = 200;

impl Tallies {
    /// Empty tallies with the bounds of the configuration.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self {
            connections: Arc::new(Tally::new(limits.per_address, limits.total)),
            beyond: Arc::new(Tally::new(BEYOND_PER_ADDRESS, BEYOND_TOTAL)),
            sign_ins: Arc::new(Tally::new(SIGN_INS_EACH, limits.pending_logins)),
            sign_ins_by_login: Arc::new(Tally::new(SIGN_INS_PER_LOGIN, limits.pending_logins)),
            sign_ins_by_address: Arc::new(Tally::new(SIGN_INS_PER_ADDRESS, limits.pending_logins)),
            sessions: Arc::new(Tally::new(limits.per_person, limits.total)),
        }
    }

    /// A connection from an address; none when not even a refusal can be afforded.
    #[must_use]
    pub fn connection(&self, address: IpAddr) -> Option<Connection> {
        let within = enter(&self.connections, address).map(|place| (place, false));
        let (place, is_beyond) = within.or_else(|| Some((enter(&self.beyond, address)?, true)))?;
        Some(Connection { _place: place, is_beyond })
    }

    /// A sign-in as a login from an address.
    #[must_use]
    pub fn sign_in(&self, login: &str, address: IpAddr) -> Option<SignIn> {
        let login = login.to_ascii_lowercase();
        let both = enter(&self.sign_ins, (login.clone(), address))?;
        let login = enter(&self.sign_ins_by_login, login)?;
        let address = enter(&self.sign_ins_by_address, address)?;
        Some(SignIn { _both: both, _login: login, _address: address })
    }

    /// From where sign-ins as this login are under way, each address once.
    #[must_use]
    pub fn signing_in(&self, login: &str) -> Vec<IpAddr> {
        let login = login.to_ascii_lowercase();
        let counts = self.sign_ins.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let addresses = counts.0.keys().filter(|(of, _)| *of == login).map(|(_, address)| *address);
        addresses.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// A session of a person, by issuer and subject.
    #[must_use]
    pub fn session(&self, issuer: &str, subject: &str) -> Option<Place<String>> {
        enter(&self.sessions, format!("{issuer} {subject}"))
    }
}

fn enter<K: Eq + Hash + Clone>(tally: &Arc<Tally<K>>, key: K) -> Option<Place<K>> {
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
