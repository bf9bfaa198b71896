//! What a COPY from the client has carried so far.
//!
//! Promises: every byte of data that goes up is counted and hashed, in order.
//! Deliberately not here: when a COPY begins and ends; the tracker knows.

use sha2::{Digest as _, Sha256};
use tlog::hash::Hash;

use crate::audit::record::{Copied, Hex};

/// The data of one COPY.
#[derive(Debug, Default)]
pub(super) struct CopyProgress {
    bytes: u64,
    line_ends: u64,
    binary: bool,
    sha256: Sha256,
}

impl CopyProgress {
    /// A COPY that begins; binary data has no lines to count.
    pub(super) fn new(binary: bool) -> Self {
        Self { binary, ..Self::default() }
    }

    /// A piece of data.
    pub(super) fn take(&mut self, data: &[u8]) {
        self.bytes += data.len() as u64;
        self.sha256.update(data);
        if !self.binary {
            self.line_ends += memchr::memchr_iter(b'\n', data).count() as u64;
        }
    }

    /// What there was in all.
    pub(super) fn end(self, failed: bool) -> Copied {
        let rows = (!self.binary).then_some(self.line_ends);
        let sha256 = Some(Hex(Hash(self.sha256.finalize().into())));
        Copied { bytes: self.bytes, rows, sha256, failed }
    }
}
