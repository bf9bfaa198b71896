//! What is written, and the lock that waits for it.
//!
//! Promises: an effect that needs a record cannot be reached before the record is durable.
//! Deliberately not here: files and syncs; `trail/journal.rs` of the shell does those.

pub mod id;
pub mod pending;
pub mod record;
