//! `audit …`: reading the trail, while it is being written or long after.
//!
//! Promises: reading never stands in the way of writing; what comes from a client or a database is shown so that it
//! can command neither a terminal nor a spreadsheet; one record stays one record in every format.
//! Deliberately not here: the format on disk (`trail/`).

use std::error::Error;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::cli::exit::{Exit, Failure};
use crate::trail::read;

mod escape;
pub mod export;
mod record;
pub mod search;
pub mod tail;
#[cfg(test)]
mod tests;
pub mod verify;
pub(crate) mod when;
mod words;

/// Read and check the audit trail.
#[derive(clap::Args, Clone, Debug)]
pub struct AuditArgs {
    /// The audit folder; by default the one of the configuration file.
    #[arg(long, global = true, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// What to do with it.
    #[command(subcommand)]
    pub command: AuditCommand,
}

/// What to do with the audit trail.
#[derive(clap::Subcommand, Clone, Debug)]
pub enum AuditCommand {
    /// Check the chain over all records, and every blob they refer to.
    Verify(verify::Args),
    /// Find records: who, where, when, and which words.
    Search(search::Args),
    /// Show the newest records, and those that come.
    Tail(tail::Args),
    /// Write all records out, as they are or as a table.
    Export(export::Args),
}

impl AuditArgs {
    /// The audit folder named here, if one is: then no configuration file is needed.
    ///
    /// # Errors
    /// [`TwoFolders`] when two are.
    pub fn dir(&self) -> Result<Option<&Path>, TwoFolders> {
        let AuditCommand::Verify(verify::Args { dir: Some(one), .. }) = &self.command else {
            return Ok(self.dir.as_deref());
        };
        match &self.dir {
            Some(other) if other != one => Err(TwoFolders { one: one.clone(), other: other.clone() }),
            _ => Ok(Some(one)),
        }
    }
}

/// The folder was named twice, and not alike.
#[derive(Debug, thiserror::Error)]
#[error("expected one audit folder, found two: `{}` and `--dir {}`", one.display(), other.display())]
pub struct TwoFolders {
    one: PathBuf,
    other: PathBuf,
}

/// Carries out one command on the audit folder `dir`, with its results on `out`.
///
/// # Errors
/// [`Failure`] when it cannot be carried out.
pub fn run(dir: &Path, command: &AuditCommand, out: &mut dyn Write) -> Result<Exit, Failure> {
    match command {
        AuditCommand::Verify(args) => verify::run(dir, args, out),
        AuditCommand::Search(args) => search::run(dir, args, out),
        AuditCommand::Tail(args) => tail::run(dir, args, out),
        AuditCommand::Export(args) => export::run(dir, args, out),
    }
}

/// Why a command stops before its end.
#[derive(Debug)]
enum Stop {
    /// Nobody reads what it writes any more; that is a way to end it.
    Closed,
    Failed(Failure),
}

impl From<io::Error> for Stop {
    /// An error of writing results; reading has its own.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Failed(running(error)),
        }
    }
}

impl From<read::Error> for Stop {
    fn from(error: read::Error) -> Self {
        Self::Failed(running(error))
    }
}

impl From<when::Backwards> for Stop {
    fn from(error: when::Backwards) -> Self {
        Self::Failed(Failure::Usage(Box::new(error)))
    }
}

fn running(error: impl Error + Send + Sync + 'static) -> Failure {
    Failure::Running(Box::new(error))
}

fn ended(result: Result<Exit, Stop>) -> Result<Exit, Failure> {
    match result {
        Ok(exit) => Ok(exit),
        Err(Stop::Closed) => Ok(Exit::Fine),
        Err(Stop::Failed(failure)) => Err(failure),
    }
}
