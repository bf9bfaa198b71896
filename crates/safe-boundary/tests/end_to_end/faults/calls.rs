//! Every call that the proxy makes on the files of its trail fails once, while sessions run.

use super::super::support::disk::{
    BLOBS, CHANGES, EINTR, EIO, ENOSPC, Effect, Fault, OPEN, ROOM, SIZE, SPARE, SYNC, SYNC_FOLDER, WHOLE, WRITE,
};
use super::super::support::wire::Wire;
use super::super::support::{ALICE, Stage};
use super::{Told, Witness, run, stage};

/// What may become of the sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Must {
    /// Nothing is felt.
    Pass,
    /// 58030 for what could not be recorded; the session lives, and all is well again by itself.
    Refuse,
    /// FATAL 58030 for all, until a restart; or only a refusal, where nothing that exists was touched.
    Stop,
    /// The proxy is killed by it.
    Die,
}

/// Makes every `stride`th call of a round fail in turn, from the `first` on.
fn each_call(fault: &Fault, must: Must, first: u64, stride: usize) {
    let (mut stage, disk) = stage(false);
    let mut witness = Witness::default();
    let mut wires = sign_in(&stage);
    // The first round of all makes folders that later ones find.
    witness.heard(run(&mut wires[0], "first"));
    let counting = Fault { effect: Effect::Passes, ..*fault };
    disk.bring(&Fault { effect: Effect::IsShort, kinds: fault.kinds, ..counting }, u64::MAX, 0);
    witness.heard(run(&mut wires[0], "counted"));
    let calls = disk.selected();
    let (mut hit, mut felt) = (0, 0);
    // A few more than there were: rounds differ, by when segments are full and outcomes written.
    for at in (first..=calls + 4).step_by(stride) {
        let round = format!("{at}");
        disk.bring(fault, at, 1);
        let told = run(&mut wires[0], &round);
        let (was_hit, (kinds, part)) = (disk.affected() > 0, disk.last_hit());
        disk.end();
        hit += u64::from(was_hit);
        let what = format!("{fault:?} at {at} of {calls}, which was of kinds {kinds:#x} for part {part:#x}");
        judge(must, &told, &what);
        let is_felt = told.iter().any(|(_, told)| *told != Told::Done);
        felt += u64::from(is_felt);
        let has_ended = matches!(told.last(), Some((_, Told::Fatal(_) | Told::Cut)));
        witness.heard(told);
        // A segment that is being prepared holds nothing yet; another one is tried.
        if must == Must::Stop && was_hit && kinds & (SYNC | SYNC_FOLDER) != 0 && part != SPARE {
            assert!(has_ended, "{what}: statements passed after a failed sync");
        }
        if has_ended {
            nobody_passes(&stage, &mut wires[1], must, &what);
            stage.proxy.kill_and_restart();
            witness.restarted(&stage);
            wires = sign_in(&stage);
        } else if is_felt {
            mended(&mut wires[1], &what);
        }
        stage.verify_trail();
        witness.heard(run(&mut wires[1], &format!("{at}-after")));
    }
    disk.saw_everything();
    println!("{:?} {}: {calls} calls in a round, {hit} hit, {felt} felt", fault.effect, fault.error);
    assert!(hit > 0, "no call was hit");
    witness.compare(&mut stage, &format!("{:?} {}", fault.effect, fault.error));
}

fn sign_in(stage: &Stage) -> [Wire; 2] {
    std::thread::scope(|scope| {
        [(); 2].map(|()| scope.spawn(|| Wire::signed_in(stage, ALICE))).map(|wire| wire.join().unwrap())
    })
}

fn judge(must: Must, told: &[(String, Told)], what: &str) {
    for (mark, told) in told {
        let is_right = match told {
            Told::Done => true,
            // In a transaction the next statements fail as PostgreSQL has it.
            Told::Error(code) => must != Must::Pass && must != Must::Die && (code == "58030" || code == "25P02"),
            Told::Fatal(code) => must == Must::Stop && code == "58030",
            Told::Cut => must == Must::Die,
        };
        assert!(is_right, "{what}: {mark} was told {told:?}");
    }
}

/// After a failed write or sync, or a death, nothing passes: neither for a session that is there, nor for a new one.
fn nobody_passes(stage: &Stage, other: &mut Wire, must: Must, what: &str) {
    if must == Must::Die {
        return;
    }
    let told = super::heard(other, 1);
    assert_eq!(told, Told::Fatal("58030".to_owned()), "{what}: another session");
    let mut late = Wire::tls(stage);
    late.start(&[("user", ALICE), ("database", "payments"), ("application_name", "psql")]);
    let (error, _) = late.refused();
    assert_eq!((error[&'S'].as_str(), error[&'C'].as_str()), ("FATAL", "58030"), "{what}: a new session");
    stage.proxy.log.wait_for(|line| line.contains("the journal has stopped").then_some(()));
}

/// Waits until the disk is taken for good again: statements are refused until then, and the session lives.
fn mended(wire: &mut Wire, what: &str) {
    let deadline = std::time::Instant::now() + super::super::support::process::PATIENCE;
    loop {
        wire.write(&super::query("/* again */ select 1"));
        match super::heard(wire, 1) {
            Told::Done => return,
            Told::Error(code) if code == "58030" => {}
            told => panic!("{what}: while there was no room: {told:?}"),
        }
        assert!(std::time::Instant::now() < deadline, "{what}: it does not mend");
    }
}

const FULL: Fault = Fault { effect: Effect::Fails, error: ENOSPC, kinds: ROOM, parts: WHOLE };
const FULL_HALFWAY: Fault = Fault { effect: Effect::FailsHalfway, kinds: WRITE, ..FULL };
const SHORT: Fault = Fault { effect: Effect::IsShort, error: 0, kinds: WRITE, parts: WHOLE };
const INTERRUPTED: Fault =
    Fault { effect: Effect::Fails, error: EINTR, kinds: OPEN | WRITE | SYNC | SYNC_FOLDER | SIZE, parts: WHOLE };
const BROKEN: Fault = Fault { effect: Effect::Fails, error: EIO, kinds: CHANGES, parts: WHOLE };
const BROKEN_HALFWAY: Fault = Fault { effect: Effect::FailsHalfway, kinds: WRITE, ..BROKEN };
const BROKEN_AFTERWARDS: Fault = Fault { effect: Effect::FailsAfterwards, ..BROKEN };
const KILLED_BEFORE: Fault = Fault { effect: Effect::KillsBefore, ..BROKEN };
const KILLED_AFTER: Fault = Fault { effect: Effect::KillsAfter, ..BROKEN };

#[test]
fn c1_a_disk_that_is_full_at_any_call_refuses_and_mends() {
    each_call(&FULL, Must::Refuse, 3, 9);
}

#[test]
fn c3_writes_that_come_short_are_not_felt() {
    each_call(&SHORT, Must::Pass, 1, 4);
}

#[test]
fn c3_calls_that_are_interrupted_are_not_felt() {
    each_call(&INTERRUPTED, Must::Pass, 2, 7);
}

#[test]
fn c2_a_disk_that_breaks_at_any_call_stops_the_journal() {
    each_call(&BROKEN, Must::Stop, 5, 11);
}

/// A blob that a session brings to the disk by itself is on the same disk as the journal.
#[test]
fn c2_a_failed_sync_of_a_blob_stops_the_journal_too() {
    each_call(&Fault { kinds: SYNC, parts: BLOBS, ..BROKEN }, Must::Stop, 1, 1);
}

#[test]
fn c4_a_crash_at_any_call_loses_nothing() {
    each_call(&KILLED_AFTER, Must::Die, 2, 11);
}

mod long {
    use super::*;

    #[test]
    fn c3_every_write_comes_short() {
        each_call(&SHORT, Must::Pass, 1, 1);
    }

    #[test]
    fn c3_every_call_is_interrupted() {
        each_call(&INTERRUPTED, Must::Pass, 1, 1);
    }

    #[test]
    fn c1_a_disk_that_is_full_at_every_call() {
        each_call(&FULL, Must::Refuse, 1, 1);
    }

    #[test]
    fn c1_a_disk_that_takes_half_of_every_write() {
        each_call(&FULL_HALFWAY, Must::Refuse, 1, 1);
    }

    #[test]
    fn c2_a_disk_that_breaks_at_every_call() {
        each_call(&BROKEN, Must::Stop, 1, 1);
    }

    #[test]
    fn c2_a_disk_that_breaks_halfway_through_every_write() {
        each_call(&BROKEN_HALFWAY, Must::Stop, 1, 1);
    }

    #[test]
    fn c2_a_disk_that_breaks_after_every_call() {
        each_call(&BROKEN_AFTERWARDS, Must::Stop, 1, 1);
    }

    #[test]
    fn c4_a_crash_before_every_call() {
        each_call(&KILLED_BEFORE, Must::Die, 1, 1);
    }

    #[test]
    fn c4_a_crash_after_every_call() {
        each_call(&KILLED_AFTER, Must::Die, 1, 1);
    }
}
