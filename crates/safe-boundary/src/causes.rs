//! An error with its causes, for the operator.
//!
//! Promises: every cause is told once, all in one line where each is one.
//! Deliberately not here: what a client is told; that is never a chain of causes.

use std::error::Error;

/// An error and what caused it, in one line where the error is one.
#[must_use]
pub fn line(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        // Many errors name their cause themselves.
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read")]
    struct Outer(#[source] io::Error);

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read: {0}")]
    struct Telling(#[source] io::Error);

    #[test]
    fn causes_are_told_once() {
        assert_eq!(line(&Outer(io::Error::other("disk"))), "cannot read: disk");
        assert_eq!(line(&Telling(io::Error::other("disk"))), "cannot read: disk");
    }
}
