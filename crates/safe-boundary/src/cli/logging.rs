//! Logs: to stderr, for people on a terminal, as JSON elsewhere.
//!
//! Promises: of the libraries only warnings are logged, whatever the level: below that they print what they send. A panic
//! is logged with its place, never with its message, which may quote what was in hand.
//! Deliberately not here: what is worth a line.

use std::io::{self, IsTerminal};
use std::panic::PanicHookInfo;

use clap::ValueEnum;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::Common;
use crate::metrics::METRICS;

/// How much to log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Level {
    /// What needs somebody's hand.
    Error,
    /// And what may need it soon.
    Warn,
    /// And what happens.
    #[default]
    Info,
    /// And how.
    Debug,
    /// And each step of it.
    Trace,
}

impl From<Level> for LevelFilter {
    fn from(level: Level) -> Self {
        match level {
            Level::Error => Self::ERROR,
            Level::Warn => Self::WARN,
            Level::Info => Self::INFO,
            Level::Debug => Self::DEBUG,
            Level::Trace => Self::TRACE,
        }
    }
}

/// Starts logging. A second start changes nothing.
pub fn start(common: &Common) {
    let level = LevelFilter::from(common.log_level);
    // LevelFilter orders by how much is let through: the smaller is the quieter.
    let filter = Targets::new().with_default(level.min(LevelFilter::WARN)).with_target("safe_boundary", level);
    let registry = tracing_subscriber::registry().with(filter);
    let stderr = io::stderr();
    let layer = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let _running_already = if stderr.is_terminal() {
        registry.with(layer.with_ansi(common.color.is_on(&stderr)).with_target(false)).try_init()
    } else {
        registry.with(layer.json().flatten_event(true).with_target(false)).try_init()
    };
    std::panic::set_hook(Box::new(log_panic));
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    METRICS.panics.one();
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current().name().unwrap_or_default().to_owned();
    // Function names only; empty unless RUST_BACKTRACE is set.
    let backtrace = std::backtrace::Backtrace::capture();
    let backtrace = match backtrace.status() {
        std::backtrace::BacktraceStatus::Captured => backtrace.to_string(),
        _ => String::new(),
    };
    tracing::error!(place, thread, backtrace, "internal error: this is a bug, please report it with this line");
}
