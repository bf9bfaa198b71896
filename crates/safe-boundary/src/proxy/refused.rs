//! How many strangers were refused: a record for each, as long as they are few.
//!
//! Promises: bounded memory, and a bounded number of records each minute, whatever comes in; what has no record of its
//! own is counted, and the count is told.
//! Deliberately not here: what is refused, and writing the records.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::network::Network;

/// How many records an address has in each minute.
const RECORDS_PER_ADDRESS: u64 = 200;

/// How many records there are in each minute, from all addresses.
const RECORDS_TOTAL: u64 = 600;

/// How many addresses are counted apart.
const ADDRESSES_MAX: usize = 10_000;

/// For how many addresses the count is told apart; the others are told together.
const TOLD_MAX: usize = 100;

/// What was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum What {
    /// A start-up.
    Start,
    /// A cancel request that fits no session.
    Cancel,
}

impl What {
    /// Many of them.
    #[must_use]
    pub const fn many(self) -> &'static str {
        match self {
            Self::Start => "start-ups",
            Self::Cancel => "cancel requests",
        }
    }
}

/// What was refused in the present minute.
#[derive(Debug, Default)]
pub struct Refused(Mutex<Minute>);

#[derive(Debug, Default)]
struct Minute {
    /// All that came from an address.
    seen: HashMap<(What, Network), u64>,
    /// Those of it that have no record.
    unrecorded: HashMap<(What, Network), u64>,
    /// Those without a record whose address could not be kept.
    nameless: u64,
    recorded: u64,
}

/// What has no record of its own.
#[derive(Debug, PartialEq, Eq)]
pub struct Count {
    /// What it was, and from where; none for all those that were too many to tell apart.
    pub from: Option<(What, Network)>,
    /// How many.
    pub count: u64,
}

impl Refused {
    /// Counts one; whether it is to have a record of its own.
    #[must_use]
    pub fn is_recorded(&self, what: What, from: Network) -> bool {
        let mut minute = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Minute { seen, unrecorded, nameless, recorded } = &mut *minute;
        let key = (what, from);
        if seen.len() >= ADDRESSES_MAX && !seen.contains_key(&key) {
            *nameless += 1;
            return false;
        }
        let mine = seen.entry(key).or_default();
        *mine += 1;
        if *mine <= RECORDS_PER_ADDRESS && *recorded < RECORDS_TOTAL {
            *recorded += 1;
            return true;
        }
        *unrecorded.entry(key).or_default() += 1;
        false
    }

    /// Ends the minute: what is still to be told, those with the most first.
    #[must_use]
    pub fn take(&self) -> Vec<Count> {
        let minute = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let mut counts: Vec<_> =
            minute.unrecorded.into_iter().map(|(from, count)| Count { from: Some(from), count }).collect();
        counts.sort_by_key(|count| std::cmp::Reverse(count.count));
        let told = counts.len().min(TOLD_MAX);
        let rest = counts.split_off(told).iter().map(|count| count.count).sum::<u64>() + minute.nameless;
        if rest > 0 {
            counts.push(Count { from: None, count: rest });
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_in_the_count() {
        let refused = Refused::default();
        let address = |number: u32| Network::of(number.to_be_bytes().into());
        let mut recorded = 0;
        for _ in 0..1000 {
            recorded += u64::from(refused.is_recorded(What::Start, address(1)));
        }
        assert_eq!(recorded, RECORDS_PER_ADDRESS);
        assert!(refused.is_recorded(What::Cancel, address(1)), "another kind");
        assert_eq!(refused.take(), [Count { from: Some((What::Start, address(1))), count: 800 }]);
        assert_eq!(refused.take(), []);
        assert!(refused.is_recorded(What::Start, address(1)), "another minute");
        let all = 2 * u64::try_from(ADDRESSES_MAX).unwrap();
        let recorded = (0..all)
            .filter(|number| refused.is_recorded(What::Start, address(u32::try_from(*number).unwrap())))
            .count();
        let told = refused.take();
        assert_eq!(told.len(), TOLD_MAX + 1);
        assert_eq!(told.last().unwrap().from, None);
        assert_eq!(told.iter().map(|count| count.count).sum::<u64>() + u64::try_from(recorded).unwrap(), all);
        assert!(recorded <= usize::try_from(RECORDS_TOTAL).unwrap());
    }
}
