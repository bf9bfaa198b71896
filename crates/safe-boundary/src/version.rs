//! What this build calls itself.
//!
//! Promises: a build that records nothing says so wherever it names itself.
//! Deliberately not here: the version number; `Cargo.toml` has it.

/// The version, as `--version` and the log say it.
pub const VERSION: &str = if cfg!(feature = "unaudited-bench") {
    concat!(env!("CARGO_PKG_VERSION"), " WITHOUT AUDIT, for measuring only")
} else {
    env!("CARGO_PKG_VERSION")
};
