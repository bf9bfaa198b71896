//! Reading a secret from where the configuration says it is.
//!
//! Promises: read anew at each call, so rotation needs no restart; bounded in time and size; an error never holds a
//! part of the secret, nor of what a command printed; a command takes none of the last file descriptors.
//! Deliberately not here: remembering secrets, and a shell: commands are run as a list of arguments.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use domain::secret::Secret;
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use zeroize::{Zeroize, Zeroizing};

use super::SecretSource;
use crate::descriptors;

/// A longer secret is a mistake: a file or command that holds something else.
const SECRET_BYTES_MAX: usize = 64 * 1024;

/// A command that needs longer would hold up the person who is connecting.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is no secret. Says where it was looked for, never what was found.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The variable does not exist.
    #[error("expected a secret in the environment variable `{name}`, found no such variable")]
    NoVariable {
        /// Its name.
        name: String,
    },
    /// The file cannot be read.
    #[error("expected a secret in the file `{}`, and it cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The path is a folder, a pipe or a device: reading it might never end.
    #[error("expected a secret in the file `{}`, found something that is no regular file", path.display())]
    NoFile {
        /// The path.
        path: PathBuf,
    },
    /// The list of arguments is empty.
    #[error("expected a command that prints a secret, found an empty list")]
    NoCommand,
    /// The command cannot be started, or its output not be read.
    #[error("expected a secret from the command `{program}`, and it cannot be run: {source}")]
    NotRun {
        /// Its first word.
        program: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The command did not end in time.
    #[error("expected a secret from the command `{program}` within {seconds} s, found it still running")]
    Slow {
        /// Its first word.
        program: String,
        /// The time it had.
        seconds: u64,
    },
    /// The command said that it failed.
    #[error("expected a secret from the command `{program}`, and it ended with {status}")]
    Failed {
        /// Its first word.
        program: String,
        /// Exit code or signal.
        status: ExitStatus,
    },
    /// There is nothing in it.
    #[error("expected a secret in {place}, found it empty")]
    Empty {
        /// Where it was looked for.
        place: Place,
    },
    /// It is no secret but something large.
    #[error("expected a secret of at most {SECRET_BYTES_MAX} bytes in {place}, found more")]
    TooLong {
        /// Where it was looked for.
        place: Place,
    },
    /// It cannot be sent as a password.
    #[error("expected a secret in {place} as UTF-8 text, found other bytes")]
    NotText {
        /// Where it was looked for.
        place: Place,
    },
}

/// Where a secret was looked for, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// An environment variable.
    Variable(String),
    /// A file.
    File(PathBuf),
    /// A command, by its first word: arguments may be secrets themselves.
    Command(String),
}

impl std::fmt::Display for Place {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Variable(name) => write!(out, "the environment variable `{name}`"),
            Self::File(path) => write!(out, "the file `{}`", path.display()),
            Self::Command(program) => write!(out, "the output of the command `{program}`"),
        }
    }
}

/// Reads a secret from its source, now.
///
/// # Errors
/// [`Error`] when there is none, it is empty, longer than 64 KiB, no text, or a command takes longer than 10 s.
pub async fn read(source: &SecretSource) -> Result<Secret<String>, Error> {
    let (raw, place) = match source {
        SecretSource::Env(name) => (variable(name)?, Place::Variable(name.clone())),
        SecretSource::File(path) => (file(path)?, Place::File(path.clone())),
        SecretSource::Command(argv) => {
            let (program, arguments) = argv.split_first().ok_or(Error::NoCommand)?;
            (command(program, arguments, COMMAND_TIMEOUT).await?, Place::Command(program.clone()))
        }
    };
    let stripped = !matches!(source, SecretSource::Env(_));
    secret(raw, place, stripped)
}

/// Whether there can be a secret at all: a variable that is not set never will be, while this process runs.
///
/// # Errors
/// [`Error::NoVariable`]; for files and commands, which may change, none.
pub fn can_come(source: &SecretSource) -> Result<(), Error> {
    match source {
        SecretSource::Env(name) => variable(name).map(|_is_set| ()),
        SecretSource::File(_) | SecretSource::Command(_) => Ok(()),
    }
}

/// Whether everyone on this machine may read the file; `false` when it cannot be told.
#[must_use]
pub fn is_world_readable(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.mode() & 0o004 != 0)
}

fn secret(mut raw: Zeroizing<Vec<u8>>, place: Place, stripped: bool) -> Result<Secret<String>, Error> {
    if raw.len() > SECRET_BYTES_MAX {
        return Err(Error::TooLong { place });
    }
    if stripped && raw.last() == Some(&b'\n') {
        raw.pop();
        if raw.last() == Some(&b'\r') {
            raw.pop();
        }
    }
    if raw.is_empty() {
        return Err(Error::Empty { place });
    }
    match String::from_utf8(std::mem::take(&mut *raw)) {
        Ok(text) => Ok(Secret::new(text)),
        Err(error) => {
            error.into_bytes().zeroize();
            Err(Error::NotText { place })
        }
    }
}

fn variable(name: &str) -> Result<Zeroizing<Vec<u8>>, Error> {
    use std::os::unix::ffi::OsStringExt;
    let value = std::env::var_os(name).ok_or_else(|| Error::NoVariable { name: name.to_owned() })?;
    Ok(Zeroizing::new(value.into_vec()))
}

/// Regular files only: they are small and local, so reading one does not need a thread of its own.
fn file(path: &Path) -> Result<Zeroizing<Vec<u8>>, Error> {
    let unreadable = |source| Error::Unreadable { path: path.to_owned(), source };
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(Error::NoFile { path: path.to_owned() });
    }
    let mut raw = room();
    let file = File::open(path).map_err(unreadable)?;
    file.take(SECRET_BYTES_MAX as u64 + 1).read_to_end(&mut raw).map_err(unreadable)?;
    Ok(raw)
}

async fn command(program: &str, arguments: &[String], timeout: Duration) -> Result<Zeroizing<Vec<u8>>, Error> {
    let run = async {
        let not_run = |source| Error::NotRun { program: program.to_owned(), source };
        descriptors::some_left().map_err(not_run)?;
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null()) // it may quote the secret, and our stderr is a log
            .kill_on_drop(true)
            .spawn()
            .map_err(not_run)?;
        let mut raw = room();
        if let Some(stdout) = child.stdout.take() {
            stdout.take(SECRET_BYTES_MAX as u64 + 1).read_to_end(&mut raw).await.map_err(not_run)?;
        }
        if raw.len() > SECRET_BYTES_MAX {
            return Ok(raw); // too long, whatever else it prints; dropping the child ends it
        }
        let status = child.wait().await.map_err(not_run)?;
        if status.success() { Ok(raw) } else { Err(Error::Failed { program: program.to_owned(), status }) }
    };
    match tokio::time::timeout(timeout, run).await {
        Ok(result) => result,
        Err(_) => Err(Error::Slow { program: program.to_owned(), seconds: timeout.as_secs() }),
    }
}

/// Room for the largest secret from the start: a buffer that grows leaves copies behind that nobody wipes.
fn room() -> Zeroizing<Vec<u8>> {
    Zeroizing::new(Vec::with_capacity(SECRET_BYTES_MAX + 2))
}

#[cfg(test)]
mod tests;
