//! A disk that takes seconds: who waits, waits; who need not, goes on; nothing is lost.

use super::super::support::ALICE;
use super::super::support::disk::{EIO, Effect, Fault, JOURNAL, SYNC, WRITE};
use super::super::support::wire::{Wire, query, results, values};
use super::{Told, Witness, heard, stage};

/// All syncs and writes of the journal.
const STALLED: Fault = Fault { effect: Effect::Waits, error: EIO, kinds: SYNC | WRITE, parts: JOURNAL };

#[test]
fn c2_a_sync_that_does_not_end_holds_back_statements_and_no_results() {
    let (mut stage, disk) = stage(false);
    let (mut runs, mut waits, mut waits_too) =
        (Wire::signed_in(&stage, ALICE), Wire::signed_in(&stage, ALICE), Wire::signed_in(&stage, ALICE));
    // It has begun before the disk stalls, and has more to say than fits into any buffer on the way.
    runs.write(&query("select repeat('x', 200) from generate_series(1, 50000)"));
    let mut rows = 0;
    while rows < 10 {
        rows += usize::from(runs.message().0 == 'D');
    }
    disk.bring(&STALLED, 1, u64::MAX);
    waits.write(&query("/* stalled-1 */ insert into load values ('stalled-1')"));
    disk.wait_until_held();
    waits_too.write(&query("/* stalled-2 */ insert into load values ('stalled-2')"));
    // The results of what runs are not held back: all rows come, and the end.
    let rest = runs.ready();
    assert_eq!(results(&rest).last().map(String::as_str), Some("SELECT 50000"));
    // New connections are answered as far as nothing is to be recorded: TLS is up while the disk is not.
    drop(Wire::tls(&stage));
    assert!(stage.postgres.log().iter().all(|line| !line.contains("stalled-")), "a statement ran before its record");
    disk.end();
    let mut witness = Witness::default();
    for (mark, wire) in [("stalled-1", &mut waits), ("stalled-2", &mut waits_too)] {
        let told = heard(wire, 1);
        assert_eq!(told, Told::Done, "{mark}");
        witness.heard(vec![(mark.to_owned(), told)]);
    }
    assert_eq!(values(&runs.query("select count(*) from load")), ["2"]);
    stage.verify_trail();
    disk.saw_everything();
    witness.compare(&mut stage, "a disk that stalls");
}

/// Whoever goes away while her record waits: the record may be there, the statement does not run.
#[test]
fn c2_a_client_that_leaves_a_stalled_disk_leaves_no_statement_behind() {
    let (mut stage, disk) = stage(false);
    let mut leaves = Wire::signed_in(&stage, ALICE);
    disk.bring(&STALLED, 1, u64::MAX);
    leaves.write(&query("/* left */ insert into load values ('left')"));
    disk.wait_until_held();
    // Killed while the record waits: neither the statement nor the session is to come back.
    stage.proxy.kill();
    disk.end();
    drop(leaves);
    stage.proxy.kill_and_restart();
    let mut witness = Witness::default();
    witness.restarted(&stage);
    stage.verify_trail();
    assert!(stage.postgres.log().iter().all(|line| !line.contains("/* left */")));
    witness.compare(&mut stage, "killed while the disk stalls");
}
