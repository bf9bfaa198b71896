//! The audit trail on disk.
//!
//! Promises: what has a receipt is durable; what was torn is put aside and said so, never silently dropped.
//! Deliberately not here: what a record says; `domain::audit` has it.

pub mod blob;
pub mod disk;
pub mod journal;
pub mod layout;
pub mod read;
