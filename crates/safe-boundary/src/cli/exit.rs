//! How a verb ends.
//!
//! Promises: 0 fine, 1 failed while running, 2 findings, 64 usage or configuration.
//! Deliberately not here: printing.

use std::error::Error;
use std::process::ExitCode;

/// A verb that did its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All is well.
    Fine,
    /// It ran, and found something wrong.
    Findings,
}

/// A verb that could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Arguments or configuration are wrong: exit code 64.
    #[error("{0}")]
    Usage(#[source] Box<dyn Error + Send + Sync>),
    /// Something broke: exit code 1.
    #[error("{0}")]
    Running(#[source] Box<dyn Error + Send + Sync>),
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Fine => Self::SUCCESS,
            Exit::Findings => Self::from(2),
        }
    }
}

impl From<&Failure> for ExitCode {
    fn from(failure: &Failure) -> Self {
        match failure {
            Failure::Usage(_) => Self::from(64),
            Failure::Running(_) => Self::from(1),
        }
    }
}
