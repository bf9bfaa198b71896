//! The lock between a record and its effect.
//!
//! Promises: the `T` inside [`Unrecorded`] and [`Pending`] can be reached only with a [`Receipt`] that covers it,
//! and receipts are minted in one place, after the sync.
//! Deliberately not here: how bytes become durable.

use super::record::Batch;

/// Where in the order of appends a batch stands: a journal epoch and a ticket that only grows within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    epoch: u64,
    ticket: u64,
}

impl Position {
    /// Only the journal gives out positions (`clippy.toml` bans this elsewhere).
    #[must_use]
    pub const fn new(epoch: u64, ticket: u64) -> Self {
        Self { epoch, ticket }
    }

    /// The ticket of this append.
    #[must_use]
    pub const fn ticket(self) -> u64 {
        self.ticket
    }
}

/// Proof that everything of one journal epoch up to one position is durable.
#[derive(Clone, Copy, Debug)]
pub struct Receipt {
    up_to: Position,
}

impl Receipt {
    /// Only the journal mints receipts, after the sync (`clippy.toml` bans this elsewhere).
    #[must_use]
    pub const fn mint(up_to: Position) -> Self {
        Self { up_to }
    }

    const fn covers(self, position: Position) -> bool {
        self.up_to.epoch == position.epoch && self.up_to.ticket >= position.ticket
    }
}

/// Records that are not written yet, and the effect that must wait for them.
#[derive(Debug)]
#[must_use = "an effect that is never recorded never happens"]
pub struct Unrecorded<T> {
    batch: Batch,
    effect: T,
}

impl<T> Unrecorded<T> {
    /// Seals an effect behind the records that must be durable before it.
    pub const fn new(batch: Batch, effect: T) -> Self {
        Self { batch, effect }
    }

    /// The records.
    pub const fn batch(&self) -> &Batch {
        &self.batch
    }

    /// The effect, when there is nothing to record before it.
    ///
    /// # Errors
    /// The same, still sealed, when there is.
    pub fn unsealed(self) -> Result<T, Self> {
        if self.batch.is_empty() { Ok(self.effect) } else { Err(self) }
    }

    /// Hands the records to the journal's closure, which says where they stand; the effect stays sealed.
    ///
    /// # Errors
    /// Whatever the closure says: then the effect is lost, as it must be.
    pub fn append<E>(self, journal: impl FnOnce(Batch) -> Result<Position, E>) -> Result<Pending<T>, E> {
        let position = journal(self.batch)?;
        Ok(Pending { position, effect: self.effect })
    }
}

/// An effect whose records are on their way to the disk.
#[derive(Debug)]
#[must_use = "an effect that is never opened never happens"]
pub struct Pending<T> {
    position: Position,
    effect: T,
}

impl<T> Pending<T> {
    /// What the receipt must cover.
    pub const fn position(&self) -> Position {
        self.position
    }

    /// The effect, if the receipt covers it.
    ///
    /// # Errors
    /// The same pending effect, when the receipt is of another epoch or of an earlier position.
    pub fn open(self, receipt: Receipt) -> Result<T, Self> {
        if receipt.covers(self.position) { Ok(self.effect) } else { Err(self) }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "these tests stand in for the journal")]
mod tests {
    use super::*;

    fn pending_at(epoch: u64, ticket: u64) -> Pending<&'static str> {
        Unrecorded::new(Batch::default(), "effect").append(|_| Ok::<_, ()>(Position::new(epoch, ticket))).unwrap()
    }

    #[test]
    fn a_receipt_opens_what_it_covers_and_nothing_else() {
        let receipt = Receipt::mint(Position::new(2, 7));
        for (epoch, ticket, opens) in [(2, 7, true), (2, 1, true), (2, 8, false), (1, 7, false), (3, 1, false)] {
            assert_eq!(pending_at(epoch, ticket).open(receipt).is_ok(), opens, "{epoch}/{ticket}");
        }
    }
}
