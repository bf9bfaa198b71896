//! All targets by name.
//!
//! Promises: a target that is not here has no corpus and is not run; the tests see to both.
//! Deliberately not here: what the targets do.

use crate::{frames, login, opening, pipeline, sql, texts, tokens, trail};

/// What is run with any bytes.
pub type Target = fn(&[u8]);

/// All targets, by the name of their corpus and of their program.
pub const TARGETS: [(&str, Target); 16] = [
    ("audit_reader", trail::audit_reader),
    ("audit_tail", trail::audit_tail),
    ("claims", tokens::claims),
    ("config", texts::config),
    ("conninfo", texts::conninfo),
    ("discovery", tokens::discovery),
    ("frame_backend", frames::frame_backend),
    ("frame_frontend", frames::frame_frontend),
    ("key_set", tokens::key_set),
    ("parameters", sql::parameters),
    ("pipeline", pipeline::pipeline),
    ("sql_words", sql::sql_words),
    ("startup", opening::startup),
    ("times", texts::times),
    ("token", tokens::token),
    ("upstream_login", login::upstream_login),
];

/// Runs the target of this name.
///
/// # Panics
/// When there is none, or a promise is broken.
pub fn run(name: &str, raw: &[u8]) {
    let (_, target) = TARGETS.into_iter().find(|(known, _)| *known == name).expect("a target of this name");
    target(raw);
}
