//! What Safe Boundary decides: who is connected, what they may do, and what is written about it.
//!
//! Promises: nothing here performs IO, reads a clock or draws randomness; time, bytes and keys are arguments.
//! Deliberately not here: sockets, files, HTTP, tasks. They live in the `safe-boundary` shell.

pub mod audit;
pub mod identity;
pub mod policy;
pub mod secret;
pub mod session;
pub mod statement;
pub mod text;
