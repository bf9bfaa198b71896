//! The proxy: from a client's first byte to its session's end.
//!
//! Promises: no byte of a client reaches the upstream before its record is durable.
//! Deliberately not here: what the bytes mean (`pgproto`), and what is decided (`domain`).

pub mod announced;
pub mod cancel;
pub mod front;
pub mod listen;
pub mod login;
pub mod network;
pub mod pace;
pub mod refusal;
pub mod refused;
pub mod relay;
pub mod request;
pub mod route;
pub mod sign_ins;
pub mod startup;
pub mod stream;
pub mod tally;
pub mod tls;
pub mod upstream;
pub mod vanished;
