//! Identity under attack: an identity provider that lies on demand, one switch a lie, against the built program and
//! against its client for providers; and a certified one for what is true. The names of tests begin with the number of
//! the threat they stand against.
//!
//! Promises: each lie is refused as documented, with the reason on record and nothing said to the database, and the
//! truth from the same provider is believed, so that each test can fail.
//! Deliberately not here: what verification refuses in every variant; its unit tests have that.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::cast_possible_truncation,
    clippy::missing_panics_doc,
    reason = "a test that cannot go on panics"
)]

#[path = "../end_to_end/support/process.rs"]
#[allow(dead_code, reason = "it is made for the tests of `end_to_end`, and not all of it is needed here")]
mod process;
#[path = "../support/idp/mod.rs"]
mod support;

mod client;
mod direct;
mod stage;
mod upstream;

mod clocks;
mod contents;
mod discovery;
mod outage;
mod people;
mod polling;
mod provider;
mod requests;
mod rotation;
mod signatures;
mod test_login;
mod waiting;
