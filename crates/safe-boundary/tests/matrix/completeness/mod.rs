//! Two witnesses: what PostgreSQL logged that it ran, and what the trail says was sent to it.
//!
//! Session by session, in order, with parameters: every statement, execution and function call that the server logged
//! is on record, and nothing is on record that it did not log. Likewise every error, with SQLSTATE, message and text, and
//! with the parameters that the server tells of it.
//!
//! What is left out of the comparison, and why:
//! - A text that the server could not parse, and what it skipped after an error: `log_statement` shows only what is
//!   about to run. The error is compared instead.
//! - A Parse that succeeded: the server logs executions. Its text is compared with each of them.
//! - COPY data, which the server does not log; and an Execute of an empty statement.
//! - Arguments of a function call: the server logs its OID only.
//! - What the proxy asks on its own, before any client is let through: it is no statement of a person.
//! - How a parameter is written: the server logs what its type prints. Where that differs from what the client sent,
//!   the server is asked how it reads that (`judge.rs`); a difference that it does not explain stands.
//! - Names of prepared statements and portals: the log has them in a form that cannot be taken apart.
//!
//! Promises: it finds a record that is missing, one too many, and a parameter that was changed.
//! Deliberately not here: whether the chain of the trail holds (`audit verify`).

mod difference;
mod judge;
mod log;
mod record;

use difference::Story;

use super::servers::Server;
use super::support::{ALICE, Stage};

/// Compares both for everything that went through `stage` so far, and prints how much that was; gives what differs.
pub(crate) fn compare(stage: &Stage, server: Server) -> Vec<String> {
    stage.wait_for_ends();
    let entries = stage.postgres.log_when_idle();
    let records = stage.trail();
    let mut judge = judge::Judge::of(stage, ALICE);
    let statements = (log::statements(&entries), record::statements(&records, stage.folder()));
    let errors = (log::errors(&entries), record::errors(&records, stage.folder()));
    println!("{}: by the server's log, by the trail:", server.name());
    println!("  sessions    {:6} {:6}", statements.0.len(), statements.1.len());
    println!("  statements  {:6} {:6}", count(&statements.0), count(&statements.1));
    println!("  parameters  {:6} {:6}", parameters(&statements.0), parameters(&statements.1));
    println!("  errors      {:6} {:6}", count(&errors.0), count(&errors.1));
    let mut found = difference::between(statements.0, statements.1, |bound, logged| judge.is_same(bound, logged));
    // An execution that ends with the error of its Bind was never begun, and so not logged; whether the server told of that
    // error, with this text, is compared below.
    let failed = record::failed_executions(&records, stage.folder());
    found.retain(|lone| {
        let step = lone.what.split(" with [").next().unwrap_or_default();
        lone.is_missing || !failed.contains(&(lone.program.clone(), step.to_owned()))
    });
    // Of an error the server does not always tell all parameters.
    found.extend(difference::between(errors.0, errors.1, |bound, told| {
        told.iter().all(|(at, logged)| bound.get(*at).is_some_and(|bound| judge.is_same(bound, logged)))
    }));
    let (missing, unexplained): (Vec<_>, Vec<_>) = found.iter().partition(|one| one.is_missing);
    println!("  missing {}, unexplained {}; {}", missing.len(), unexplained.len(), judge.told());
    found.iter().map(ToString::to_string).collect()
}

fn count<P>(stories: &[Story<P>]) -> usize {
    stories.iter().map(|story| story.steps.len()).sum()
}

fn parameters<P>(stories: &[Story<P>]) -> usize {
    stories.iter().flat_map(|story| &story.steps).map(|step| step.params.len()).sum()
}
