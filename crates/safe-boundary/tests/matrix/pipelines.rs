//! Pipelines that no library sends: beside the clients of the matrix, so that the comparison sees them too.
//!
//! Promises: errors in them, names that are taken, limits, an empty statement, an aborted transaction.
//! Deliberately not here: what comes back; the server's log and the trail are compared.

use super::support::wire::{Wire, bind, execute, frame, parse, query, sync};
use super::support::{ALICE, Stage};

/// The `application_name` of the bare protocol.
pub(crate) const NAME: &str = "psql";

pub(crate) fn run(stage: &Stage) {
    let mut wire = Wire::tls(stage);
    wire.start(&[("user", ALICE), ("database", "payments"), ("application_name", NAME)]);
    wire.ready();
    let one = |sql| [parse("", sql), bind("", &[]), execute(0)].concat();
    let groups: [Vec<Vec<u8>>; 8] = [
        (0..100).map(|_| one("select 'many'")).chain([sync()]).collect(),
        vec![one("select 1 / 0"), one("select 'skipped'"), sync()],
        vec![parse("a", "select generate_series(1, 9)"), bind("a", &[]), execute(2), execute(2), execute(0), sync()],
        vec![parse("a", "select 'taken'"), bind("a", &[]), execute(0), sync()],
        vec![parse("", "select $1::int"), bind("", &[Some("no number")]), execute(0), sync()],
        vec![one("select nonsense"), sync()],
        vec![one("begin"), one("select 1 / 0"), sync()],
        vec![one("select 'aborted'"), sync()],
    ];
    wire.write(&groups.concat().concat());
    for _ in groups {
        wire.ready();
    }
    wire.query("select 'aborted too'");
    wire.query("rollback");
    wire.write(&[query("select 1;;select 2"), query(""), frame('X', &[])].concat());
    while wire.try_message().is_some() {}
}
