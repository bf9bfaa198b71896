//! The one place that draws randomness.
//!
//! Promises: the operating system's generator, or no answer at all: without randomness the process stops.
//! Deliberately not here: keys; rustls makes its own.

/// Fills with random bytes.
///
/// # Panics
/// When the system has no randomness: nothing may go on with guessable secrets.
#[expect(clippy::expect_used, reason = "guessable secrets are worse than a session that ends")]
pub fn fill(bytes: &mut [u8]) {
    rustls::crypto::aws_lc_rs::default_provider().secure_random.fill(bytes).expect("the system has randomness");
}

/// A seed for ids.
#[must_use]
pub fn seed() -> [u8; 6] {
    let mut seed = [0; 6];
    fill(&mut seed);
    seed
}
