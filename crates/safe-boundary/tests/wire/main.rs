//! The attacker on the client's side of the proxy: the built program, a real PostgreSQL, the certified provider, and a
//! peer that says whatever it likes. The names of tests begin with the number of the threat they stand against.
//!
//! Promises: each test has a stage of its own; what is waited for is an event, and time is only ever a bound.
//! Deliberately not here: what honest clients do (`end_to_end`).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::cast_possible_truncation,
    reason = "a test that cannot go on panics"
)]

#[path = "../end_to_end/support/mod.rs"]
#[allow(dead_code, reason = "it is made for the tests of `end_to_end`, and not all of it is needed here")]
mod support;

mod announced;
mod boundaries;
mod cancel;
mod descriptors;
mod encodings;
mod ends;
mod floods;
mod hidden;
mod opening;
mod peer;
mod refused;
mod sessions;
mod sizes;
mod starting;
mod statements;
mod vanished;
