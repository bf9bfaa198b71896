//! Records made together.
//!
//! Promises: the records stand in the order in which they were pushed, and a blob is carried once.
//! Deliberately not here: how a record is encoded.

use tlog::hash::Hash;

use super::context::Context;
use super::encode::Encoder;
use super::{Body, Head, Hex, Kind, Spilled};

// INVARIANT: what is released records. The profiles `release` and `dist` unwind, because a panic must end one session only,
// so none of them can be built with this feature; `tests/tidy.rs` holds the profiles to it.
#[cfg(all(feature = "unaudited-bench", not(panic = "abort")))]
compile_error!("without its audit it is built for measuring only: cargo build --profile unaudited");

/// Records made together, and the blobs that must be durable before them.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The encoded records, one after the other, without separators.
    pub(super) entries: Vec<u8>,
    /// Where each record ends in `entries`.
    pub(super) ends: Vec<usize>,
    pub(super) blobs: Vec<Blob>,
    /// How many of the records are of statements.
    statements: usize,
}

/// Content too large for a record, to be stored once under its hash.
#[derive(Clone, Debug)]
pub struct Blob {
    /// The SHA-256 of `bytes`.
    pub sha256: Hash,
    /// The content.
    pub bytes: Vec<u8>,
}

impl Batch {
    /// How many records it holds.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.ends.len()
    }

    /// How many of them are records of statements: of what goes up once they are durable.
    #[must_use]
    pub const fn statements(&self) -> usize {
        self.statements
    }

    /// Whether there is nothing to store: no record, and no blob for a record that follows.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.ends.is_empty() && self.blobs.is_empty()
    }

    /// All encoded bytes of the records, in bytes.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.entries.len()
    }

    /// All that is to be stored, the records and what is kept beside them, in bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.bytes() + self.blobs.iter().map(|blob| blob.bytes.len()).sum::<usize>()
    }

    /// The encoded records in order.
    pub fn entries(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(self.ends.iter().copied()).filter_map(|(start, end)| self.entries.get(start..end))
    }

    /// What must be stored before the records.
    #[must_use]
    pub fn blobs(&self) -> &[Blob] {
        &self.blobs
    }

    /// Encodes one more record.
    pub fn push(&mut self, head: &Head<'_>, context: &Context, body: &Body<'_>) {
        if cfg!(feature = "unaudited-bench") {
            return;
        }
        self.statements += usize::from(head.kind == Kind::Statement);
        Encoder::new(self).encode(head, context, body);
    }

    /// Keeps content aside, once, and says what to write in its place.
    pub fn spill(&mut self, bytes: &[u8]) -> Spilled {
        let sha256 = Hash::of(bytes);
        self.carry(sha256, bytes);
        Spilled { sha256: Hex(sha256), bytes: bytes.len() as u64 }
    }

    /// Takes a blob along, unless it is there already.
    pub(super) fn carry(&mut self, sha256: Hash, bytes: &[u8]) {
        if !self.blobs.iter().any(|blob| blob.sha256 == sha256) {
            self.blobs.push(Blob { sha256, bytes: bytes.to_vec() });
        }
    }
}
