//! The transparency log as mathematics: hashes of entries, and the chain that ties them together.
//!
//! Promises: no IO, no clock, no knowledge of what an entry means; every function is total.
//! Deliberately not here: files, signatures, and what an entry says.

pub mod hash;
