//! Secrets: values that must not be shown.
//!
//! Promises: no `Debug` of the value, no `Display`, wiped when dropped.
//! Deliberately not here: where secrets come from; the shell reads them.

use std::fmt;

use zeroize::Zeroize;

/// A value that is neither printed nor logged, and is overwritten in memory when it goes away.
#[derive(Clone)]
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    /// Takes a value into custody.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// Lets the value be seen. Every call is a place to review.
    pub const fn reveal(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret(…)")
    }
}
