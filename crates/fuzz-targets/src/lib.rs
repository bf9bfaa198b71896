//! What must hold whatever bytes come: one function for each decoder, for `cargo fuzz` and for the tests alike.
//!
//! Promises: a target takes any bytes and panics only when a promise of the product is broken; the same bytes give the
//! same run. Sizes are bounded by the input, so memory limits of the fuzzer mean something.
//! Deliberately not here: the fuzzer itself (`fuzz/`), its corpora (`fuzz/corpus`), and real servers
//! (`crates/safe-boundary/tests/conversation.rs`).

pub mod frames;
pub mod login;
pub mod opening;
pub mod pipeline;
pub mod sql;
pub mod table;
pub mod texts;
pub mod tokens;
pub mod trail;
