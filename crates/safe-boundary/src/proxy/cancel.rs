//! Cancel requests: which running session they belong to.
//!
//! Promises: a cancel reaches only the session whose process id and secret it names; the secret is the proxy's own, so
//! the server's never leaves; secrets are compared in constant time.
//! Deliberately not here: reading the request, and telling the server (`upstream`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::audit::id::SessionId;
use subtle::ConstantTimeEq as _;

use super::upstream::CancelTarget;
use crate::entropy;

/// The length of a secret that protocol 3.0 can carry, in bytes.
const SECRET_BYTES_V3_0: usize = 4;

/// The length of a secret for protocol 3.2 and later, in bytes.
const SECRET_BYTES_V3_2: usize = 32;

/// Whether a secret has the length that nobody can hit by guessing.
#[must_use]
pub const fn is_long(secret: &[u8]) -> bool {
    secret.len() == SECRET_BYTES_V3_2
}

/// What a cancel request must name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CancelKey {
    /// The process id that the client was told.
    pub pid: i32,
    /// The proxy's own secret.
    pub secret: Vec<u8>,
}

/// A running session that can be cancelled.
#[derive(Clone, Debug)]
pub struct Cancellable {
    /// Which session.
    pub session: SessionId,
    /// The person's login, for the record.
    pub login: String,
    /// The database's name, for the record.
    pub database: String,
    /// How to tell the server.
    pub target: CancelTarget,
}

/// Sessions by process id; two servers may have the same one, so each has its secret beside it.
type Sessions = HashMap<i32, Vec<(Vec<u8>, Cancellable)>>;

/// All running sessions, by what cancels them.
#[derive(Clone, Debug, Default)]
pub struct CancelRegistry(Arc<Mutex<Sessions>>);

/// Keeps a session in the registry as long as it lives.
#[derive(Debug)]
pub struct Registered {
    registry: CancelRegistry,
    key: CancelKey,
}

impl CancelRegistry {
    /// Makes a session cancellable; `long`: the client speaks protocol 3.2 or later.
    #[must_use]
    pub fn register(&self, pid: i32, long: bool, session: Cancellable) -> Registered {
        let mut secret = vec![0; if long { SECRET_BYTES_V3_2 } else { SECRET_BYTES_V3_0 }];
        entropy::fill(&mut secret);
        self.lock().entry(pid).or_default().push((secret.clone(), session));
        Registered { registry: self.clone(), key: CancelKey { pid, secret } }
    }

    /// The session that a request names, if there is one.
    #[must_use]
    pub fn find(&self, pid: i32, secret: &[u8]) -> Option<Cancellable> {
        // All are compared, whether one has matched or not.
        let sessions = self.lock();
        let mut found = None;
        for (known, session) in sessions.get(&pid).into_iter().flatten() {
            if bool::from(known.as_slice().ct_eq(secret)) {
                found = Some(session.clone());
            }
        }
        found
    }

    fn lock(&self) -> MutexGuard<'_, Sessions> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registered {
    /// What the client is told.
    #[must_use]
    pub const fn key(&self) -> &CancelKey {
        &self.key
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut sessions = self.registry.lock();
        if let Some(list) = sessions.get_mut(&self.key.pid) {
            list.retain(|(secret, _)| *secret != self.key.secret);
            if list.is_empty() {
                sessions.remove(&self.key.pid);
            }
        }
    }
}
