//! The stage of a test: a PostgreSQL, an identity provider, the proxy between them and the clients, one folder.
//!
//! Promises: everything is started for one test and ended with it, by the id of what was started.
//! Deliberately not here: what the tests compare.

use std::path::{Path, PathBuf};

pub(crate) mod disk;
pub(crate) mod http;
pub(crate) mod idp;
pub(crate) mod postgres;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod psql;
pub(crate) mod server_log;
pub(crate) mod tap;
pub(crate) mod trail;
pub(crate) mod wire;

use disk::BadDisk;
use idp::Idp;
use postgres::Postgres;
use proxy::{Proxy, Settings};
use tap::Tap;

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

    pub(crate) fn with(settings: &Settings) -> Self {
        let folder = postgres::unpack_template(&settings.postgres);
        let postgres = Postgres::start(folder.path(), &settings.postgres, settings.log_statements);
        let idp = Idp::start();
        let proxy = Proxy::start(folder.path(), &proxy::config(&postgres, &idp, settings));
        Self { proxy, idp, postgres, folder }
    }

    /// Starts the stopped server again, where it was.
    #[allow(dead_code, reason = "not every binary of tests needs it")]
    pub(crate) fn restart_postgres(&mut self) {
        self.postgres.start_again(self.folder.path());
    }

    /// A stage whose proxy keeps its trail on a disk that fails as the test says.
    pub(crate) fn on_a_bad_disk(settings: &Settings, is_shadowed: bool) -> (Self, BadDisk) {
        let folder = postgres::unpack_template(&settings.postgres);
        let postgres = Postgres::start(folder.path(), &settings.postgres, settings.log_statements);
        let idp = Idp::start();
        let disk = BadDisk::below(folder.path(), is_shadowed);
        let config = proxy::config(&postgres, &idp, settings);
        let proxy = Proxy::start_in(folder.path(), &config, disk.wrapper());
        let proxy = proxy.unwrap_or_else(|ended| panic!("{ended:?}"));
        (Self { proxy, idp, postgres, folder }, disk)
    }

    /// A stage whose proxy speaks to the server in the clear, through a tap.
    pub(crate) fn with_a_tap(settings: &Settings) -> (Self, Tap) {
        let folder = postgres::unpack_template(&settings.postgres);
        postgres::allow_plain(folder.path());
        let postgres = Postgres::start(folder.path(), &settings.postgres, settings.log_statements);
        let idp = Idp::start();
        let tap = Tap::before(postgres.port);
        let config = proxy::config(&postgres, &idp, settings);
        let config = config.replace("sslmode=verify-full sslrootcert=ca.crt", "sslmode=disable");
        let config = config.replace(&format!("port={} ", postgres.port), &format!("port={} ", tap.port));
        let proxy = Proxy::start(folder.path(), &config);
        (Self { proxy, idp, postgres, folder }, tap)
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

/// Copies what is in a folder into another that is there.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
