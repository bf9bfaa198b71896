//! The stage of a test: a PostgreSQL, an identity provider, the proxy between them and the clients, one folder.
//!
//! Promises: everything is started for one test and ended with it, by the id of what was started.
//! Deliberately not here: what the tests compare.

use std::path::{Path, PathBuf};

pub(crate) mod http;
pub(crate) mod idp;
pub(crate) mod postgres;
pub(crate) mod process;
pub(crate) mod program;
pub(crate) mod proxy;
pub(crate) mod psql;
pub(crate) mod server_log;
pub(crate) mod trail;
pub(crate) mod wire;

use idp::Idp;
use postgres::Postgres;
use proxy::{Proxy, Settings};

pub(crate) const ALICE: &str = "alice@example.com";
pub(crate) const BOB: &str = "bob@example.com";
pub(crate) const MALLORY: &str = "mallory@example.com";

/// Everything a test needs; fields are ended in the order they stand in.
pub(crate) struct Stage {
    pub(crate) proxy: Proxy,
    pub(crate) idp: Idp,
    pub(crate) postgres: Postgres,
    folder: tempfile::TempDir,
}

impl Stage {
    pub(crate) fn start() -> Self {
        Self::with(&Settings::default())
    }

    /// A stage whose proxy lets these programs show prompts.
    pub(crate) fn prompting(programs: &[&str]) -> Self {
        Self::with(&Settings {
            prompting_programs: programs.iter().map(ToString::to_string).collect(),
            ..Settings::default()
        })
    }

    pub(crate) fn with(settings: &Settings) -> Self {
        let folder = postgres::unpack_template();
        let postgres = Postgres::start(folder.path(), settings.log_statements);
        let idp = Idp::start();
        let proxy = Proxy::start(folder.path(), &proxy::config(&postgres, &idp, settings));
        Self { proxy, idp, postgres, folder }
    }

    /// Starts the stopped server again, where it was.
    #[allow(dead_code, reason = "not every binary of tests needs it")]
    pub(crate) fn restart_postgres(&mut self) {
        self.postgres.start_again(self.folder.path());
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A libpq connection string through the proxy, with its certificate verified.
    pub(crate) fn conninfo(&self, login: &str) -> String {
        let ca = self.folder.path().join("ca.crt");
        format!(
            "host=localhost port={} dbname=payments user={login} sslmode=verify-full sslrootcert={}",
            self.proxy.address.port(),
            ca.display()
        )
    }
}

/// The checkout.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}
