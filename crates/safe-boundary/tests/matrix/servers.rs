//! The servers of the matrix.
//!
//! Promises: one constant a version, with where its programs lie.
//! Deliberately not here: installing them (`scripts/lib/install.sh`).

use super::support::postgres::Programs;

/// A version of PostgreSQL, as the page names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    V15,
}

impl Server {
    /// As the page names it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::V15 => "PostgreSQL 15",
        }
    }

    pub(crate) fn programs(self) -> Programs {
        match self {
            Self::V15 => Programs::in_folder("/usr/lib/postgresql/15/bin"),
        }
    }
}
