//! What is large passes whole, and takes no memory with it.

use super::support::proxy::Settings;
use super::support::psql::Answer;
use super::support::{ALICE, Stage};

/// What a session may take beyond what it is sent at once.
const SESSION_KIB: u64 = 8 * 1024;

#[test]
fn a_large_result_takes_no_memory() {
    let stage = Stage::start();
    let memory = memory_for(&stage, |stage| {
        let rows = "copy (select repeat('x', 10000) from generate_series(1, 20000)) to stdout";
        let count = stage.psql(ALICE).argument("-o").argument("|wc -c >&2").run(&[rows]);
        assert!(count.err.contains("200020000"), "{count:?}");
        let rows = "select repeat('x', 10000) from generate_series(1, 20000)";
        let count = stage.psql(ALICE).argument("-o").argument("|wc -c >&2").run(&["\\set FETCH_COUNT 1000", rows]);
        assert!(count.err.contains("200020000"), "{count:?}");
    });
    assert!(memory < SESSION_KIB, "{memory} KiB for results of 200 MB");
}

#[test]
fn a_large_statement_arrives_whole() {
    const LENGTH: usize = 64 << 20;
    let stage = Stage::with(&Settings { log_statements: "none", ..Settings::default() });
    let memory = memory_for(&stage, |stage| {
        let script = format!("select length('{}');\nselect 'alive';\n", "x".repeat(LENGTH));
        assert_eq!(stage.psql(ALICE).script(&script).lines(), [LENGTH.to_string(), "alive".to_owned()]);
    });
    assert!(memory < 2 * (LENGTH as u64 / 1024) + SESSION_KIB, "{memory} KiB for a statement of 64 MiB");
    let long = stage.trail().into_iter().find(|record| record.0["statement"]["text"]["sha256"].is_string()).unwrap();
    assert_eq!(long.text(stage.folder()).unwrap().len(), LENGTH + "select length('');".len());
    stage.verify_trail();
}

/// By how much `run` raises the proxy's memory, after one session has warmed it up.
fn memory_for(stage: &Stage, run: impl FnOnce(&Stage)) -> u64 {
    stage.psql(ALICE).answered(Answer::As(ALICE)).run(&["select 1"]).lines();
    stage.proxy.reset_peak_memory();
    let before = stage.proxy.peak_memory_kib();
    run(stage);
    stage.proxy.peak_memory_kib() - before
}
