//! The whole proxy between real clients, a real PostgreSQL and a certified identity provider, by topic.
//!
//! Promises: each test has a stage of its own (database, provider, proxy, folder) and leaves nothing behind; nothing
//! waits for time to pass, only for something to happen.
//! Deliberately not here: an identity provider that lies, and upstreams that do (`identity`, `upstream.rs`).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::cast_possible_truncation,
    reason = "a test that cannot go on panics"
)]

#[allow(dead_code, reason = "other tests use it too, and not all of it is needed here")]
mod support;

mod faults;
mod kill;
mod large;
mod login;
mod metrics;
mod relay;
mod watching;
