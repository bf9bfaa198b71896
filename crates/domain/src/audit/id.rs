//! Ids of records, sessions and requests: UUID version 7 (RFC 9562 §5.7), so that they sort by time.
//!
//! Promises: ids from one source never repeat, and sort as they were made, whatever the clock does; ids from two sources
//! differ by 48 random bits.
//! Deliberately not here: drawing the randomness; the shell seeds each source.

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

/// The id of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct RecordId(Uuid);

/// The id of one connection's session, from its first byte to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct SessionId(Uuid);

impl From<RecordId> for Uuid {
    fn from(id: RecordId) -> Self {
        id.0
    }
}

impl From<SessionId> for Uuid {
    fn from(id: SessionId) -> Self {
        id.0
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// Makes ids: a random seed for the source, a counter for each id.
#[derive(Debug)]
pub struct IdSource {
    seed: [u8; 6],
    count: u32,
    /// The time of the last id, in milliseconds since 1970: the next one has no earlier.
    millis: u64,
}

impl IdSource {
    /// A source; `seed` must be random, for it keeps the ids of two sources apart.
    #[must_use]
    pub const fn new(seed: [u8; 6]) -> Self {
        Self { seed, count: 0, millis: 0 }
    }

    /// The id of a session that starts now.
    pub fn session(&mut self, now: Timestamp) -> SessionId {
        SessionId(self.next(now))
    }

    /// The id of a record that is made now.
    pub fn record(&mut self, now: Timestamp) -> RecordId {
        RecordId(self.next(now))
    }

    fn next(&mut self, now: Timestamp) -> Uuid {
        // The counter stands first, so that ids of one source made in one millisecond sort as they were made.
        // Its 26 bits go around the six that the format takes for version and variant.
        self.count = self.count.wrapping_add(1);
        let [_, _, high, low] = ((self.count >> 14) & 0x0fff).to_be_bytes();
        let [_, _, mid, last] = (self.count & 0x3fff).to_be_bytes();
        let [a, b, c, d, e, f] = self.seed;
        let tail = [high, low, mid, last, a, b, c, d, e, f];
        self.millis = self.millis.max(u64::try_from(now.as_millisecond()).unwrap_or(0));
        uuid::Builder::from_unix_timestamp_millis(self.millis, &tail).into_uuid()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_of_one_millisecond_are_distinct_and_sorted() {
        let mut source = IdSource::new([7; 6]);
        let ids: Vec<_> = (0..40_000).map(|_| source.record(Timestamp::UNIX_EPOCH)).collect();
        assert!(ids.is_sorted());
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
    }

    /// What is of one intake is told by the first id of it.
    #[test]
    fn a_clock_that_goes_back_makes_no_smaller_id() {
        let mut source = IdSource::new([7; 6]);
        let ids = [5, 3, 4, 6].map(|second| source.record(Timestamp::from_second(second).unwrap()));
        assert!(ids.is_sorted(), "{ids:?}");
    }
}
