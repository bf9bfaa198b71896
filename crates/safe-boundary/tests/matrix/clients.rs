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
    /// Checks that it does in a way of its own, each with how.
    pub(crate) otherwise: &'static [(&'static str, &'static str)],
    /// Checks that it cannot do, each with the reason.
    pub(crate) cannot: &'static [(&'static str, &'static str)],
}

/// Parameters that the client itself writes into the text.
const LITERAL: &str = "as a literal in the text of the statement";
/// Clients that do not use the row limit of Execute.
const DECLARED: &str = "by DECLARE and FETCH";
const FUNCTIONS: &str = "by the server's functions, `lo_open` and so on";
const UNTOLD: &str = "it does it, but does not tell what the server says to it";
const NO_PIPELINES: &str = "it has no pipelines";

pub(crate) const CLIENTS: &[Client] = &[
    Client {
        name: "psql 15",
        command: || python("with_psql.py"),
        servers: &Server::ALL,
        prompts: true,
        otherwise: &[
            ("prepared", "by PREPARE and EXECUTE"),
            ("types", "by PREPARE and EXECUTE"),
            ("large_parameter", LITERAL),
            ("large_object", "by `\\lo_import` and `\\lo_export`; it seeks by `lo_get`"),
            ("cursor", DECLARED),
        ],
        cannot: &[("pipeline", NO_PIPELINES)],
    },
    Client {
        name: "pgjdbc 42.5",
        command: || {
            vec!["java".into(), "-cp".into(), "/usr/share/java/postgresql.jar".into(), script("WithPgjdbc.java")]
        },
        servers: &[Server::V15],
        prompts: false,
        otherwise: &[("simple", "one statement a text: it takes several apart"), ("pipeline", "by batches")],
        cannot: &[],
    },
    Client {
        name: "psycopg 2",
        command: || python("with_psycopg2.py"),
        servers: &[Server::V15],
        prompts: false,
        otherwise: &[
            ("prepared", "by PREPARE and EXECUTE"),
            ("types", LITERAL),
            ("large_parameter", LITERAL),
            ("cursor", DECLARED),
        ],
        cannot: &[("pipeline", NO_PIPELINES)],
    },
    Client {
        name: "psycopg 3",
        command: || python("with_psycopg.py"),
        servers: &Server::ALL,
        prompts: false,
        otherwise: &[("large_object", FUNCTIONS), ("cursor", DECLARED)],
        cannot: &[],
    },
    Client {
        name: "asyncpg",
        command: || python("with_asyncpg.py"),
        servers: &[Server::V15],
        prompts: false,
        otherwise: &[("pipeline", "by `executemany`"), ("large_object", FUNCTIONS)],
        cannot: &[],
    },
    Client {
        name: "pg8000",
        command: || python("with_pg8000.py"),
        servers: &[Server::V15],
        prompts: false,
        otherwise: &[
            ("cancel", "by `pg_cancel_backend` from another session: it has no cancel of its own"),
            ("large_object", FUNCTIONS),
            ("cursor", DECLARED),
        ],
        cannot: &[
            ("copy_fail", "it sends no CopyFail: an error in the stream breaks its connection"),
            ("pipeline", NO_PIPELINES),
        ],
    },
    Client {
        name: "node-postgres",
        command: || node("with_pg.mjs"),
        servers: &[Server::V15],
        prompts: false,
        otherwise: &[("large_object", FUNCTIONS)],
        cannot: &[],
    },
    Client {
        name: "postgres.js",
        command: || node("with_postgres.mjs"),
        servers: &[Server::V15],
        prompts: false,
        otherwise: &[("types", "arrays are read as text: it has no NULL in them"), ("large_object", FUNCTIONS)],
        cannot: &[("copy_fail", UNTOLD), ("notify", "it hears it, but does not tell the process id")],
    },
    Client {
        name: "tokio-postgres",
        command: || rust("with_tokio_postgres"),
        servers: &[Server::V15],
        prompts: false,
        otherwise: &[("large_object", FUNCTIONS)],
        cannot: &[("copy_fail", UNTOLD)],
    },
    Client {
        name: "sqlx",
        command: || rust("with_sqlx"),
        servers: &[Server::V15],
        prompts: false,
        otherwise: &[("large_object", FUNCTIONS), ("cursor", DECLARED)],
        cannot: &[
            ("copy_fail", UNTOLD),
            ("cancel", "it has no cancel, only the end of the connection"),
            ("pipeline", NO_PIPELINES),
        ],
    },
    Client {
        name: "psql 18 by 3.2",
        command: || newest_protocol(python("with_psql.py")),
        servers: &[Server::V15, Server::V18],
        prompts: true,
        otherwise: &[
            ("prepared", "by PREPARE and EXECUTE"),
            ("types", "by PREPARE and EXECUTE"),
            ("large_parameter", LITERAL),
            ("large_object", "by `\\lo_import` and `\\lo_export`; it seeks by `lo_get`"),
            ("cursor", DECLARED),
        ],
        cannot: &[("pipeline", "its script is that of psql 15, which has none")],
    },
    Client {
        name: "psycopg 3 by 3.2",
        command: || newest_protocol(python("with_psycopg.py")),
        servers: &[Server::V15, Server::V18],
        prompts: false,
        otherwise: &[("large_object", FUNCTIONS), ("cursor", DECLARED)],
        cannot: &[],
    },
];

/// A client on libpq 18 that speaks protocol 3.2 or nothing, and begins with TLS at once.
fn newest_protocol(command: Vec<PathBuf>) -> Vec<PathBuf> {
    const SETTINGS: [&str; 3] = ["PGMINPROTOCOLVERSION=3.2", "PGMAXPROTOCOLVERSION=3.2", "PGSSLNEGOTIATION=direct"];
    let programs = root().join(".work/libpq18/bin").display().to_string();
    let path = format!("PATH={programs}:{}", std::env::var("PATH").unwrap_or_default());
    ["env", &path].iter().chain(&SETTINGS).map(PathBuf::from).chain(command).collect()
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
