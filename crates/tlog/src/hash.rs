//! Leaf hashes as in RFC 6962 §2.1, and the running chain over them.
//!
//! Promises: a chain value commits to every entry before it, in order.
//! Deliberately not here: trees and proofs; they are built from the same leaf hashes.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// A SHA-256 value: of a leaf, of a chain, of a blob. Shown in lower-case hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// The SHA-256 of some bytes, without any prefix (FIPS 180-4). This is what names a blob.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Hash({self})")
    }
}

/// The leaf hash of one entry: `SHA-256(0x00 ‖ entry)`, RFC 6962 §2.1.
#[must_use]
pub fn leaf(entry: &[u8]) -> Hash {
    let mut sha = Sha256::new();
    sha.update([0x00]);
    sha.update(entry);
    Hash(sha.finalize().into())
}

/// The next value of the chain: `SHA-256(0x02 ‖ previous ‖ leaf)`.
///
/// The prefix keeps chain values apart from leaves (0x00) and tree nodes (0x01).
#[must_use]
pub fn chain(previous: &Hash, leaf: &Hash) -> Hash {
    let mut sha = Sha256::new();
    sha.update([0x02]);
    sha.update(previous.0);
    sha.update(leaf.0);
    Hash(sha.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_leaf_hash_of_nothing_is_the_one_of_rfc_6962() {
        assert_eq!(leaf(b"").to_string(), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
    }

    #[test]
    fn the_chain_depends_on_order() {
        let (a, b, start) = (leaf(b"a"), leaf(b"b"), Hash::default());
        assert_ne!(chain(&chain(&start, &a), &b), chain(&chain(&start, &b), &a));
    }
}
