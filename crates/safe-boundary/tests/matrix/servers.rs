//! The servers of the matrix.
//!
//! Promises: one constant a version, with where its programs lie.
//! Deliberately not here: installing them (`scripts/lib/install.sh`).

use super::support::postgres::Programs;
use super::support::root;

/// A version of PostgreSQL, as the page names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    V15,
    V16,
    V17,
    V18,
}

impl Server {
    pub(crate) const ALL: [Self; 4] = [Self::V15, Self::V16, Self::V17, Self::V18];

    /// As the page names it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::V15 => "PostgreSQL 15",
            Self::V16 => "PostgreSQL 16",
            Self::V17 => "PostgreSQL 17",
            Self::V18 => "PostgreSQL 18",
        }
    }

    /// Debian's, and those that npm has.
    pub(crate) fn programs(self) -> Programs {
        let from_npm =
            |name| Programs::in_folder(root().join("scripts/servers/node_modules").join(name).join("native/bin"));
        match self {
            Self::V15 => Programs::in_folder("/usr/lib/postgresql/15/bin"),
            Self::V16 => from_npm("postgres-16"),
            Self::V17 => from_npm("postgres-17"),
            Self::V18 => from_npm("postgres-18"),
        }
    }
}
