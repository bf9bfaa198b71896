//! The proxy: from a client's first byte to its session's end.
//!
//! Promises: no byte of a client reaches the upstream before its record is durable.
//! Deliberately not here: what the bytes mean (`pgproto`), and what is decided (`domain`).

pub mod stream;
pub mod upstream;
