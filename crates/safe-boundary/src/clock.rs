//! The one place that reads the clock.
//!
//! Promises: everything else gets the time as an argument.
//! Deliberately not here: timers; tokio has them.

use jiff::Timestamp;

/// The present time.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn now() -> Timestamp {
    Timestamp::now()
}
