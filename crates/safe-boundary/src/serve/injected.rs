//! A panic on demand, to show what it ends: one session, and no other. Released binaries cannot do it.
//!
//! Promises: it is compiled with debug assertions only.
//! Deliberately not here: catching it; threads, tasks and guards do that as they would for a real one.

use std::time::Duration;

/// The `application_name` that asks for it.
const PROGRAM: &[u8] = b"an injected panic";

/// Does the work of a session, but for one that asked for a panic: that one gets it in the middle.
///
/// # Panics
/// That is what it is for.
pub(super) async fn or_panic<T>(work: impl Future<Output = T>, program: Option<&[u8]>) -> T {
    if program != Some(PROGRAM) {
        return work.await;
    }
    tokio::select! {
        done = work => done,
        () = tokio::time::sleep(Duration::from_secs(1)) => panic!("an injected panic"),
    }
}
