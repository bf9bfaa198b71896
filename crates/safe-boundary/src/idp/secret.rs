//! Our client's secret at the provider, read when a sign-in needs it.
//!
//! Promises: of commands that print it, one runs at a time, however many people sign in; what it has printed serves those
//! who begin within [`KEPT`], and is wiped then. Each sign-in has a copy of its own, and wipes it when it ends. A command
//! that was begun goes on when the person who waited for it goes away, so that nobody can keep it from ever ending.
//! Deliberately not here: how it is shown to the provider (`client.rs`), and running a command (`config/secret.rs`).

use std::sync::Arc;
use std::time::Duration;

use domain::secret::Secret;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::error::{Endpoint, Error};
use crate::config::{SecretSource, secret};
use crate::trail::disk::lacks_descriptors;

/// How long the secret serves that a command has printed.
const KEPT: Duration = Duration::from_secs(10);

/// How long a sign-in waits for the command: a person must hear soon that it is the command that is slow, and it goes on for those
/// who try again.
const PATIENCE: Duration = Duration::from_secs(3);

/// Where the secret is, and what a command has said of it.
#[derive(Debug)]
pub(super) struct ClientSecret {
    source: Option<SecretSource>,
    kept_for: Duration,
    patience: Duration,
    /// Locked while a command runs.
    kept: Arc<Mutex<Option<Secret<String>>>>,
}

impl ClientSecret {
    pub(super) fn new(source: Option<SecretSource>) -> Self {
        Self { source, kept_for: KEPT, patience: PATIENCE, kept: Arc::default() }
    }

    /// The secret; none for a client without one.
    pub(super) async fn read(&self) -> Result<Option<Secret<String>>, Error> {
        match &self.source {
            None => Ok(None),
            Some(source @ (SecretSource::Env(_) | SecretSource::File(_))) => Ok(Some(secret::read(source).await?)),
            Some(source @ SecretSource::Command(argv)) => {
                let program = argv.first().cloned().unwrap_or_default();
                let slow = secret::Error::Slow { program, seconds: self.patience.as_secs() };
                timeout(self.patience, self.run(source)).await.map_err(|_| slow)?.map(Some)
            }
        }
    }

    async fn run(&self, source: &SecretSource) -> Result<Secret<String>, Error> {
        let mut kept = Arc::clone(&self.kept).lock_owned().await;
        if let Some(secret) = &*kept {
            return Ok(secret.clone());
        }
        let (source, kept_for, again) = (source.clone(), self.kept_for, Arc::clone(&self.kept));
        let running = tokio::spawn(async move {
            let secret = secret::read(&source).await.map_err(unread)?;
            *kept = Some(secret.clone());
            tokio::spawn(async move {
                tokio::time::sleep(kept_for).await;
                *again.lock().await = None;
            });
            Ok(secret)
        });
        running.await.unwrap_or_else(|error| {
            let source = std::io::Error::other(error);
            Err(secret::Error::NotRun { program: "client_secret".to_owned(), source }.into())
        })
    }
}

/// Why there is none: for want of descriptors it may be there a moment later, and nothing on this machine is wrong.
fn unread(error: secret::Error) -> Error {
    match error {
        secret::Error::NotRun { source, .. } if lacks_descriptors(&source) => {
            Error::NoDescriptors { endpoint: Endpoint::DeviceAuthorization, source }
        }
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::Path;

    use rustix::io::Errno;
    use tokio::task::JoinSet;

    use super::*;

    /// A secret of a command, which runs in `folder`.
    fn secret(folder: &Path, script: &str, kept_for: Duration) -> Arc<ClientSecret> {
        let script = format!("cd '{}'; {script}", folder.display());
        let source = SecretSource::Command(["sh", "-c", &script].map(str::to_owned).into());
        Arc::new(ClientSecret { kept_for, patience: Duration::from_secs(60), ..ClientSecret::new(Some(source)) })
    }

    async fn hundred(secret: &Arc<ClientSecret>) -> Vec<Result<String, String>> {
        let read = |secret: Arc<ClientSecret>| async move {
            let secret = secret.read().await.map_err(|error| format!("{error:?}"))?;
            Ok(secret.unwrap().reveal().clone())
        };
        (0..100).map(|_| read(Arc::clone(secret))).collect::<JoinSet<_>>().join_all().await
    }

    #[tokio::test]
    async fn a6_a_hundred_sign_ins_run_one_command() {
        let folder = tempfile::tempdir().unwrap();
        let secret = secret(folder.path(), "echo run >> runs; echo hunter2", Duration::from_millis(100));
        let runs = || std::fs::read_to_string(folder.path().join("runs")).unwrap().lines().count();
        assert!(hundred(&secret).await.iter().all(|read| read.as_deref() == Ok("hunter2")));
        assert_eq!(runs(), 1);
        while secret.kept.lock().await.is_some() {
            tokio::task::yield_now().await;
        }
        assert_eq!(secret.read().await.unwrap().unwrap().reveal(), "hunter2");
        assert_eq!(runs(), 2, "what was kept is wiped, and printed again");
    }

    #[tokio::test]
    async fn commands_that_fail_run_one_after_another() {
        let folder = tempfile::tempdir().unwrap();
        let secret = secret(folder.path(), "mkdir alone || exit 7; rmdir alone; exit 3", KEPT);
        let failed = hundred(&secret).await;
        assert!(failed.iter().all(|read| read.as_ref().is_err_and(|error| error.contains("768"))), "{failed:?}");
    }

    #[tokio::test]
    async fn a_command_goes_on_when_nobody_waits_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let patient = secret(folder.path(), "echo run >> runs; sleep 0.3; echo hunter2", KEPT);
        let hasty = ClientSecret {
            source: patient.source.clone(),
            patience: Duration::from_millis(100),
            kept: Arc::clone(&patient.kept),
            ..*patient
        };
        let error = hasty.read().await.unwrap_err();
        assert!(!error.is_unreachable() && format!("{error:?}").contains("Slow"), "it is not the provider: {error:?}");
        assert_eq!(patient.read().await.unwrap().unwrap().reveal(), "hunter2");
        assert_eq!(std::fs::read_to_string(folder.path().join("runs")).unwrap(), "run\n");
    }

    #[test]
    fn for_want_of_descriptors_it_may_be_there_later() {
        let check = |source: io::Error, expected: bool| {
            let error = unread(secret::Error::NotRun { program: "print".to_owned(), source });
            assert_eq!(error.is_unreachable(), expected, "{error}");
        };
        check(Errno::MFILE.into(), true);
        check(Errno::NFILE.into(), true);
        check(Errno::NOENT.into(), false);
    }
}
