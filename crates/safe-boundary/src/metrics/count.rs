//! Counters and histograms: atomic numbers, and nothing else.
//!
//! Promises: counting takes no lock, allocates nothing, looks nothing up, and never waits for a scrape; counters of the
//! relay are one cache line per thread, so that workers do not wait for one another either.
//! Deliberately not here: names, and how numbers are written down (`scrape.rs`, `text.rs`).

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The most values that a label has.
const VALUES_MAX: usize = 32;

/// The most buckets that a histogram has, the unbounded one included.
const BUCKETS_MAX: usize = 20;

/// A number that only grows.
#[derive(Debug)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Zero.
    pub(super) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Counts many.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Relaxed);
    }

    /// Counts one.
    pub fn one(&self) {
        self.add(1);
    }

    /// How many so far.
    #[must_use]
    pub fn read(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// For numbers that are looked up now and then: the newest one.
    pub(super) fn set(&self, number: u64) {
        self.0.store(number, Relaxed);
    }
}

/// The values that one or more labels have: known to the compiler, so that none can come from a client.
pub trait Labels: Copy + 'static {
    /// The names of the labels.
    const KEYS: &'static [&'static str];
    /// The values of each, in the order of [`Labels::place`].
    const VALUES: &'static [&'static [&'static str]];
    /// What is counted when nobody says how it ended: a panic, or a future that was dropped.
    const LOST: Self;
    /// Which of them this is.
    fn place(self) -> usize;
}

/// Makes an enum of the values of labels: `Name(label, …) { Variant "value" …, }`; the first one is [`Labels::LOST`].
macro_rules! labels {
    ($(#[$doc:meta])* $visibility:vis $name:ident($($key:literal),+) { $first:ident $($head:literal)+, $($variant:ident $($value:literal)+,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs, reason = "the value of the label says it")]
        $visibility enum $name { $first, $($variant,)* }

        impl $crate::metrics::count::Labels for $name {
            const KEYS: &'static [&'static str] = &[$($key),+];
            const VALUES: &'static [&'static [&'static str]] = &[&[$($head),+], $(&[$($value),+]),*];
            const LOST: Self = Self::$first;
            fn place(self) -> usize {
                self as usize
            }
        }
    };
}
pub(super) use labels;

/// A counter for each value of a label.
#[derive(Debug)]
pub struct Counts<L>([Counter; VALUES_MAX], PhantomData<fn(L)>);

impl<L: Labels> Counts<L> {
    /// Zeros.
    pub(super) const fn new() -> Self {
        const { assert!(L::VALUES.len() <= VALUES_MAX, "a label has more values than there is room for") };
        Self([const { Counter::new() }; VALUES_MAX], PhantomData)
    }

    /// Counts one of this kind.
    pub fn one(&self, of: L) {
        if let Some(counter) = self.0.get(of.place()) {
            counter.one();
        }
    }

    /// The values of the labels, each with its count.
    pub(super) fn read(&self) -> impl Iterator<Item = (&'static [&'static str], u64)> {
        L::VALUES.iter().zip(&self.0).map(|(values, counter)| (*values, counter.read()))
    }

    /// All of them together.
    pub(super) fn sum(&self) -> u64 {
        self.0.iter().map(Counter::read).sum()
    }
}

/// What begins, and ends in one of several ways.
#[derive(Debug)]
pub struct Flow<L> {
    begun: Counter,
    ended: Counts<L>,
}

impl<L: Labels> Flow<L> {
    /// Nothing yet.
    pub(super) const fn new() -> Self {
        Self { begun: Counter::new(), ended: Counts::new() }
    }

    /// One begins. It ends with what is returned, however that goes away.
    pub fn begin(&'static self) -> Running<L> {
        self.begun.one();
        Running { flow: self, ends_as: L::LOST }
    }

    pub(super) fn begun(&self) -> u64 {
        self.begun.read()
    }

    pub(super) const fn ended(&self) -> &Counts<L> {
        &self.ended
    }

    /// How many there are now. The ends are read first: a scrape must not see an end without its beginning.
    pub(super) fn now(&self) -> u64 {
        let ended = self.ended.sum();
        self.begun.read().saturating_sub(ended)
    }
}

/// One that has begun.
#[derive(Debug)]
#[must_use = "it ends when this goes away"]
pub struct Running<L: Labels> {
    flow: &'static Flow<L>,
    ends_as: L,
}

impl<L: Labels> Running<L> {
    /// It ends, and so.
    pub fn end(mut self, how: L) {
        self.ends_as = how;
    }

    /// When it ends, it has ended so, unless something else is said later.
    pub fn will_end(&mut self, how: L) {
        self.ends_as = how;
    }
}

impl<L: Labels> Drop for Running<L> {
    fn drop(&mut self) {
        self.flow.ended.one(self.ends_as);
    }
}

/// How often which size: each bound counts what is at most that large.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [u64],
    counts: [Counter; BUCKETS_MAX],
    sum: Counter,
}

impl Histogram {
    /// Empty, with these upper bounds, in nanoseconds if it is of time.
    pub(super) const fn new(bounds: &'static [u64]) -> Self {
        assert!(bounds.len() < BUCKETS_MAX, "a histogram has more buckets than there is room for");
        Self { bounds, counts: [const { Counter::new() }; BUCKETS_MAX], sum: Counter::new() }
    }

    /// Counts one of this size.
    pub fn observe(&self, size: u64) {
        let bucket = self.bounds.partition_point(|bound| *bound < size);
        if let Some(counter) = self.counts.get(bucket) {
            counter.one();
        }
        self.sum.add(size);
    }

    /// Counts one that took so long.
    pub fn took(&self, time: Duration) {
        self.observe(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// The bounded buckets, each with how many are at most that large, and how many there are in all.
    pub(super) fn read(&self) -> (Vec<(u64, u64)>, u64) {
        let mut so_far = 0;
        let mut cumulative = self.counts.iter().map(|counter| {
            so_far += counter.read();
            so_far
        });
        let buckets = self.bounds.iter().copied().zip(cumulative.by_ref()).collect();
        (buckets, cumulative.last().unwrap_or_default())
    }

    pub(super) fn sum(&self) -> u64 {
        self.sum.read()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    labels! {
        /// How a thing of this test ends.
        End("how", "code") { Lost "lost" "0", Well "well" "1", Badly "badly" "2", }
    }

    #[test]
    fn what_begins_ends_once_however_it_goes_away() {
        static FLOW: Flow<End> = Flow::new();
        let (one, two, mut three) = (FLOW.begin(), FLOW.begin(), FLOW.begin());
        assert_eq!((FLOW.begun(), FLOW.now()), (3, 3));
        one.end(End::Well);
        drop(two);
        three.will_end(End::Badly);
        drop(three);
        let ended: Vec<_> = FLOW.ended().read().map(|(values, count)| (values.join("/"), count)).collect();
        assert_eq!(ended, [("lost/0".to_owned(), 1), ("well/1".to_owned(), 1), ("badly/2".to_owned(), 1)]);
        assert_eq!((FLOW.begun(), FLOW.now()), (3, 0));
    }

    #[test]
    fn a_bound_counts_what_is_at_most_that_large() {
        let histogram = Histogram::new(&[10, 100]);
        for size in [0, 10, 11, 100, 101, 5000] {
            histogram.observe(size);
        }
        assert_eq!(histogram.read(), (vec![(10, 2), (100, 4)], 6));
        assert_eq!(histogram.sum(), 5222);
        let slow = Histogram::new(&[10]);
        slow.took(Duration::MAX);
        assert_eq!(slow.read(), (vec![(10, 0)], 1));
    }
}
