//! How many people may be signing in, and how many sign-ins may come to nothing.
//!
//! Promises: what strangers can make the identity provider do, and what they can make us record of it, is bounded by
//! login, by network and in all, at each moment and within each minute; a sign-in that the provider has answered never
//! counts as one that came to nothing, so that people who sign in are not kept out by doing so often.
//! Deliberately not here: signing in (`login`), and what the client is told.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::network::Network;
use super::pace::Pace;
use super::tally::{self, Place, Tally};
use crate::config::Limits;

/// How many sign-ins may be under way of one login from one network, of one login, and from one network. A person has few
/// terminals, an office one address; and who waits elsewhere under her name must not keep her out. Within a
/// [`WINDOW`] as many may come to nothing.
const EACH: usize = 10;
const PER_LOGIN: usize = 100;
const PER_NETWORK: usize = 100;

/// How long it counts that a sign-in came to nothing, at most.
const WINDOW: Duration = Duration::from_mins(1);

/// Why a sign-in cannot begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooMany {
    /// As many as may be are under way.
    UnderWay,
    /// Too many have come to nothing within a minute.
    CameToNothing,
}

impl TooMany {
    /// What there is too much of.
    #[must_use]
    pub const fn what(self) -> &'static str {
        match self {
            Self::UnderWay => "sign-ins under way",
            Self::CameToNothing => "sign-ins that came to nothing",
        }
    }
}

/// All sign-ins of the proxy.
#[derive(Debug)]
pub struct SignIns {
    each: Arc<Tally<(String, Network)>>,
    by_login: Arc<Tally<String>>,
    by_network: Arc<Tally<Network>>,
    fruitless: Arc<Fruitless>,
}

/// Those that came to nothing.
#[derive(Debug)]
struct Fruitless {
    each: Pace<(String, Network)>,
    by_login: Pace<String>,
    by_network: Pace<Network>,
    all: Pace<()>,
}

impl Fruitless {
    fn allows(&self, login: &String, network: Network, now: Instant) -> bool {
        self.each.allows(&(login.clone(), network), now)
            && self.by_login.allows(login, now)
            && self.by_network.allows(&network, now)
            && self.all.allows(&(), now)
    }

    fn one_more(&self, login: &str, network: Network, now: Instant) {
        self.each.missed((login.to_owned(), network), now);
        self.by_login.missed(login.to_owned(), now);
        self.by_network.missed(network, now);
        self.all.missed((), now);
    }
}

/// A sign-in that is under way, and that the identity provider has not answered: dropped as it is, it came to nothing.
#[derive(Debug)]
pub struct SignIn {
    /// None once it was answered.
    places: Option<Places>,
    fruitless: Arc<Fruitless>,
}

/// The places of a sign-in among those that are under way.
#[derive(Debug)]
pub struct Places {
    each: Place<(String, Network)>,
    _login: Place<String>,
    _network: Place<Network>,
}

impl SignIn {
    /// The provider has said who it was, or that it was nobody: it came to something. It is under way for as long as its
    /// places are kept.
    pub fn answered(mut self) -> Option<Places> {
        self.places.take()
    }
}

impl Drop for SignIn {
    fn drop(&mut self) {
        if let Some(places) = &self.places {
            let (login, network) = places.each.key();
            self.fruitless.one_more(login, *network, Instant::now());
        }
    }
}

impl SignIns {
    /// None yet, with the bounds of the configuration.
    #[must_use]
    pub fn new(limits: &Limits, now: Instant) -> Self {
        let all = limits.pending_logins;
        Self {
            each: Arc::new(Tally::new(EACH, all)),
            by_login: Arc::new(Tally::new(PER_LOGIN, all)),
            by_network: Arc::new(Tally::new(PER_NETWORK, all)),
            fruitless: Arc::new(Fruitless {
                each: Pace::new(EACH, WINDOW, now),
                by_login: Pace::new(PER_LOGIN, WINDOW, now),
                by_network: Pace::new(PER_NETWORK, WINDOW, now),
                all: Pace::new(all, WINDOW, now),
            }),
        }
    }

    /// A sign-in as a login from a network.
    ///
    /// # Errors
    /// [`TooMany`]: there is no room, or there was too much that came to nothing.
    pub fn sign_in(&self, login: &str, network: Network, now: Instant) -> Result<SignIn, TooMany> {
        let login = login.to_ascii_lowercase();
        if !self.fruitless.allows(&login, network, now) {
            return Err(TooMany::CameToNothing);
        }
        let places = self.places(login, network).ok_or(TooMany::UnderWay)?;
        Ok(SignIn { places: Some(places), fruitless: Arc::clone(&self.fruitless) })
    }

    fn places(&self, login: String, network: Network) -> Option<Places> {
        Some(Places {
            each: tally::enter(&self.each, (login.clone(), network))?,
            _login: tally::enter(&self.by_login, login)?,
            _network: tally::enter(&self.by_network, network)?,
        })
    }

    /// From where sign-ins as this login are under way, each network once.
    #[must_use]
    pub fn signing_in(&self, login: &str) -> Vec<Network> {
        let login = login.to_ascii_lowercase();
        let networks = self.each.keys().into_iter().filter(|(of, _)| *of == login).map(|(_, network)| network);
        networks.collect::<BTreeSet<_>>().into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    const LIMITS: Limits = Limits { per_person: 1, per_address: 1, total: 1, pending_logins: 250 };

    fn network(last: u8) -> Network {
        Network::of(IpAddr::from([192, 0, 2, last]))
    }

    /// Begins so many, one after the other, that come to nothing; why the last one could not begin, if so.
    fn fruitless(sign_ins: &SignIns, count: usize, login: &str, from: u8, now: Instant) -> Option<TooMany> {
        (0..count).find_map(|_| sign_ins.sign_in(login, network(from), now).err())
    }

    #[test]
    fn sign_ins_under_way_are_bounded_and_give_their_places_back() {
        let start = Instant::now();
        let sign_ins = SignIns::new(&LIMITS, start);
        let begin = |login: &str, from: u8| sign_ins.sign_in(login, network(from), start);
        let mut under_way: Vec<_> = (0..EACH).map(|_| begin("alice@example.com", 1).unwrap()).collect();
        assert_eq!(begin("ALICE@example.com", 1).unwrap_err(), TooMany::UnderWay);
        under_way.push(begin("alice@example.com", 2).unwrap());
        assert_eq!(sign_ins.signing_in("Alice@example.com"), [network(1), network(2)]);
        let answered: Vec<_> = under_way.into_iter().map(SignIn::answered).collect();
        assert_eq!(
            begin("alice@example.com", 1).unwrap_err(),
            TooMany::UnderWay,
            "what is answered is under way still"
        );
        drop(answered);
        assert_eq!(sign_ins.signing_in("alice@example.com"), []);
        drop(begin("alice@example.com", 1).unwrap());
    }

    #[test]
    fn a6_what_comes_to_nothing_is_bounded_each_by_login_by_network_and_in_all() {
        let start = Instant::now();
        let later = start + WINDOW;
        let sign_ins = SignIns::new(&LIMITS, start);
        assert_eq!(fruitless(&sign_ins, EACH, "alice@example.com", 1, start), None);
        assert_eq!(fruitless(&sign_ins, 1, "Alice@example.com", 1, start), Some(TooMany::CameToNothing));
        assert_eq!(fruitless(&sign_ins, 1, "alice@example.com", 2, start), None, "from elsewhere");
        assert_eq!(fruitless(&sign_ins, 1, "bob@example.com", 1, start), None, "another person from there");
        for from in 3..12 {
            fruitless(&sign_ins, EACH, "alice@example.com", from, start);
        }
        assert_eq!(fruitless(&sign_ins, 1, "alice@example.com", 99, start), Some(TooMany::CameToNothing), "the login");
        for number in 0..20 {
            fruitless(&sign_ins, EACH, &format!("person{number}@example.com"), 1, start);
        }
        assert_eq!(fruitless(&sign_ins, 1, "carol@example.com", 1, start), Some(TooMany::CameToNothing), "the network");
        for from in 100..106 {
            fruitless(&sign_ins, EACH, &format!("person{from}@example.com"), from, start);
        }
        assert_eq!(fruitless(&sign_ins, 1, "dora@example.com", 200, start), Some(TooMany::CameToNothing), "all");
        assert_eq!(fruitless(&sign_ins, 1, "alice@example.com", 1, later), None, "another minute");
    }

    #[test]
    fn a6_what_the_provider_has_answered_never_counts() {
        let start = Instant::now();
        let sign_ins = SignIns::new(&LIMITS, start);
        for _ in 0..1000 {
            drop(sign_ins.sign_in("alice@example.com", network(1), start).unwrap().answered());
        }
    }
}
