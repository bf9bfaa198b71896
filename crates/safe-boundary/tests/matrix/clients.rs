//! The clients of the matrix.
//!
//! Promises: what a client cannot do stands here with its reason, and with nothing else.
//! Deliberately not here: what they are made to do (`checks.rs`).

use std::path::PathBuf;

use super::servers::Server;
use super::support::root;

/// A client and the program that drives it.
pub(crate) struct Client {
    /// As the page names it, and its `application_name` in the tests.
    pub(crate) name: &'static str,
    /// The program and its arguments; what it must do is in `program.rs`.
    pub(crate) command: fn() -> Vec<PathBuf>,
    /// The servers it is tried on.
    pub(crate) servers: &'static [Server],
    /// Whether it shows a prompt by itself.
    pub(crate) prompts: bool,
    /// Checks that it cannot do, each with the reason.
    pub(crate) cannot: &'static [(&'static str, &'static str)],
}

pub(crate) const CLIENTS: &[Client] = &[Client {
    name: "psycopg 3",
    command: || python("with_psycopg.py"),
    servers: &[Server::V15],
    prompts: false,
    cannot: &[],
}];

fn python(program: &str) -> Vec<PathBuf> {
    vec![root().join(".work/venv/bin/python"), script(program)]
}

fn script(name: &str) -> PathBuf {
    root().join("scripts/clients").join(name)
}
