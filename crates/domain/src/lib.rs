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

// INVARIANT: what is released records. The profiles `release` and `dist` unwind, because a panic must end one session only,
// so none of them can be built with this feature; `tests/tidy.rs` holds the profiles to it.
#[cfg(all(feature = "unaudited-bench", not(panic = "abort")))]
compile_error!("without its audit it is built for measuring only: cargo build --profile unaudited");
