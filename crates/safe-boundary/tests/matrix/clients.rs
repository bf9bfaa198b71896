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

pub(crate) const CLIENTS: &[Client] = &[
    Client {
        name: "psycopg 3",
        command: || python("with_psycopg.py"),
        servers: &Server::ALL,
        prompts: false,
        cannot: &[],
    },
    Client {
        name: "psycopg 3 by 3.2",
        command: || newest_protocol(python("with_psycopg.py")),
        servers: &[Server::V18],
        prompts: false,
        cannot: &[],
    },
    Client {
        name: "node-postgres",
        command: || node("with_pg.mjs"),
        servers: &[Server::V15],
        prompts: false,
        cannot: &[],
    },
    Client {
        name: "postgres.js",
        command: || node("with_postgres.mjs"),
        servers: &[Server::V15],
        prompts: false,
        cannot: &[
            ("copy_fail", "does it, but does not tell what the server says to it"),
            ("notify", "hears it, but does not tell the process id"),
        ],
    },
    Client {
        name: "tokio-postgres",
        command: || rust("with_tokio_postgres"),
        servers: &[Server::V15],
        prompts: false,
        cannot: &[("copy_fail", "does it, but does not tell what the server says to it")],
    },
    Client {
        name: "sqlx",
        command: || rust("with_sqlx"),
        servers: &[Server::V15],
        prompts: false,
        cannot: &[
            ("copy_fail", "does it, but does not tell what the server says to it"),
            ("cancel", "has no cancel request"),
            ("pipeline", "has no pipelines"),
        ],
    },
];

/// A client on libpq 18 that speaks protocol 3.2 or nothing, and begins with TLS at once.
fn newest_protocol(command: Vec<PathBuf>) -> Vec<PathBuf> {
    const SETTINGS: [&str; 3] = ["PGMINPROTOCOLVERSION=3.2", "PGMAXPROTOCOLVERSION=3.2", "PGSSLNEGOTIATION=direct"];
    ["env"].iter().chain(&SETTINGS).map(PathBuf::from).chain(command).collect()
}

fn node(program: &str) -> Vec<PathBuf> {
    vec!["node".into(), script("node").join(program)]
}

fn rust(program: &str) -> Vec<PathBuf> {
    vec![root().join("target/clients/debug").join(program)]
}

fn python(program: &str) -> Vec<PathBuf> {
    vec![root().join(".work/venv/bin/python"), script(program)]
}

fn script(name: &str) -> PathBuf {
    root().join("scripts/clients").join(name)
}
