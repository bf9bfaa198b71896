//! The file descriptors of this process, and the few that are kept for the trail.
//!
//! Promises: connections never take the last ones, so that strangers cannot stop the journal by being many.
//! Deliberately not here: how many connections there may be (`[limits]`).

use std::io;
use std::os::fd::{AsFd, AsRawFd as _};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How many descriptors are kept for segments, blobs, folders, and what libraries open for a moment.
const RESERVED: u64 = 32;

/// Takes as many descriptors as the system lets a process have; gives how many that are.
///
/// Most systems begin with 1024, for the sake of programs that use `select`, and leave raising it to the others.
pub(crate) fn raise() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    if limit.current < limit.maximum {
        // As it was, if it is not permitted.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// How many descriptors so many connections may need: one for each client, one for its server, and the reserve.
#[must_use]
pub(crate) fn needed(connections: usize) -> u64 {
    u64::try_from(connections).unwrap_or(u64::MAX).saturating_mul(2).saturating_add(2 * RESERVED)
}

/// Refuses a connection that has got one of the last descriptors: the system gives the lowest that is free.
///
/// # Errors
/// As if there had been none.
pub(crate) fn leave_some(connection: &impl AsFd) -> io::Result<()> {
    let number = u64::try_from(connection.as_fd().as_raw_fd()).unwrap_or(0);
    let all = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if number.saturating_add(RESERVED) >= all { Err(rustix::io::Errno::MFILE.into()) } else { Ok(()) }
}

/// Refuses one more descriptor to a session, as [`leave_some`] does, before it is opened.
///
/// # Errors
/// As if there had been none.
pub(crate) fn some_left() -> io::Result<()> {
    leave_some(&io::stderr().as_fd().try_clone_to_owned()?)
}
