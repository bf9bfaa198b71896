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
        const DIGITS: [u8; 16] = *b"0123456789abcdef";
        let mut text = [0; 64];
        // Each record shows a hash: the formatter's way through 32 numbers costs more than hashing the record.
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            let digits = [byte >> 4, byte & 0x0f].map(|digit| DIGITS.get(usize::from(digit)).copied().unwrap_or(b'?'));
            pair.copy_from_slice(&digits);
        }
        out.write_str(str::from_utf8(&text).unwrap_or_default())
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
