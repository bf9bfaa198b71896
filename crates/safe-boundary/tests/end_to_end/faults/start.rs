//! Every call that a start makes on the files of the trail fails once: it starts, or says why it does not.

use super::super::support::disk::{CHANGES, EIO, ENOSPC, Effect, Fault, WHOLE};
use super::super::support::proxy::Proxy;
use super::super::support::wire::Wire;
use super::super::support::{ALICE, copy_folder};
use super::{RESTART_MAX, Told, Witness, run, stage};

/// What may happen to a start.
const FAULTS: [Fault; 5] = [
    Fault { effect: Effect::Fails, error: EIO, kinds: CHANGES, parts: WHOLE },
    Fault { effect: Effect::Fails, error: ENOSPC, kinds: CHANGES, parts: WHOLE },
    Fault { effect: Effect::FailsHalfway, error: EIO, kinds: CHANGES, parts: WHOLE },
    Fault { effect: Effect::KillsBefore, error: 0, kinds: CHANGES, parts: WHOLE },
    Fault { effect: Effect::KillsAfter, error: 0, kinds: CHANGES, parts: WHOLE },
];

/// What a proxy starts on.
#[derive(Clone, Copy, Debug)]
enum Trail {
    /// A folder with nothing in it.
    New,
    /// One whose writer was killed, with a torn frame at its end.
    Torn,
}

#[test]
fn c1_a_start_on_a_new_disk_that_is_full_at_any_call() {
    each_call(Trail::New, &FAULTS[1..2]);
}

#[test]
fn c2_a_start_on_a_torn_trail_that_breaks_at_any_call() {
    each_call(Trail::Torn, &FAULTS[..1]);
}

/// What had been durable and is damaged is not papered over: no start, and a text that says what to do.
#[test]
fn c3_a_damaged_trail_does_not_start_and_says_what_to_do() {
    let (mut stage, disk) = stage(false);
    let mut wire = Wire::signed_in(&stage, ALICE);
    run(&mut wire, "before");
    stage.proxy.kill();
    let left = std::fs::canonicalize(stage.folder().join("audit")).unwrap();
    let last = last_segment(&left);
    let whole = std::fs::read(&last).unwrap();
    let second = frame_after(&whole, 72 + 1);
    let cases: [(&str, usize, &[u8], &str); 4] = [
        ("a header of zeros", 0, &[0; 72], "does not continue the chain"),
        ("a header of something else", 8, &[0xff; 8], "does not continue the chain"),
        ("the first frame gone", 72, &[0; 84], "proves that it was durable"),
        ("a byte of the first record", second - 20, b"\0", "proves that it was durable"),
    ];
    for (turn, (what, at, bytes, says)) in cases.into_iter().enumerate() {
        let place = disk.insert(&format!("disk-{turn}-damaged"));
        copy_folder(&left, &place);
        let mut damaged = whole.clone();
        damaged[at..at + bytes.len()].copy_from_slice(bytes);
        std::fs::write(last_segment(&place), &damaged).unwrap();
        for _ in 0..2 {
            let Err(ended) = Proxy::start_again(stage.folder(), disk.wrapper()) else { panic!("{what}: it starts") };
            assert_eq!(ended.code, Some(1), "{what}: {ended:?}");
            let advice = "restore the file, or move the audit folder aside and keep it as evidence";
            assert!(ended.log.contains(says) && ended.log.contains(advice), "{what}: {ended:?}");
            assert_eq!(std::fs::read(last_segment(&place)).unwrap(), damaged, "{what}: evidence is left as it is");
        }
        let verify = stage.proxy.audit(&["verify"]);
        assert_eq!(verify.status.code(), Some(2), "{what}: {verify:?}");
    }
    // The advice works: a new folder starts, and so does the restored one.
    disk.insert("disk-new");
    drop(Proxy::start_again(stage.folder(), disk.wrapper()).unwrap_or_else(|ended| panic!("{ended:?}")));
    disk.insert_again(&left);
    drop(Proxy::start_again(stage.folder(), disk.wrapper()).unwrap_or_else(|ended| panic!("{ended:?}")));
    stage.verify_trail();
}

/// The offset of the first frame at or after `from`.
fn frame_after(segment: &[u8], from: usize) -> usize {
    from + segment[from..].windows(4).position(|four| four == b"\xffSBF").expect("a frame")
}

fn last_segment(place: &std::path::Path) -> std::path::PathBuf {
    let names = std::fs::read_dir(place.join("journal")).unwrap().map(|name| name.unwrap().path());
    names.filter(|path| path.extension().is_some_and(|end| end == "sbj")).max().unwrap()
}

mod long {
    use super::{FAULTS, Trail, each_call};

    #[test]
    fn c4_a_start_on_a_new_disk_with_any_fault_at_any_call() {
        each_call(Trail::New, &FAULTS);
    }

    #[test]
    fn c4_a_start_on_a_torn_trail_with_any_fault_at_any_call() {
        each_call(Trail::Torn, &FAULTS);
    }
}

fn each_call(trail: Trail, faults: &[Fault]) {
    let (mut stage, disk) = stage(false);
    let mut wire = Wire::signed_in(&stage, ALICE);
    let mut witness = Witness::default();
    witness.heard(run(&mut wire, "before"));
    stage.proxy.kill();
    let left = std::fs::canonicalize(stage.folder().join("audit")).unwrap();
    let mut slowest = std::time::Duration::ZERO;
    let (mut starts, mut refusals, mut calls) = (0, 0, 0);
    for (turn, fault) in faults.iter().enumerate() {
        for at in 1.. {
            let place = disk.insert(&format!("disk-{turn}-{at}"));
            if let Trail::Torn = trail {
                copy_folder(&left, &place);
                tear(&place);
            }
            disk.bring(fault, at, 1);
            let started = Proxy::start_again(stage.folder(), disk.wrapper());
            let was_hit = disk.affected() > 0;
            disk.end();
            let what = format!("{trail:?}: {fault:?} at {at}");
            match started {
                Ok(started) => {
                    starts += 1;
                    drop(started);
                }
                Err(ended) => {
                    refusals += 1;
                    let is_killed = matches!(fault.effect, Effect::KillsBefore | Effect::KillsAfter);
                    let expected = if is_killed { None } else { Some(1) };
                    assert_eq!(ended.code, expected, "{what}: {ended:?}");
                    let says = ended.log.contains("cannot open the journal in ");
                    assert!(is_killed || says, "{what}: {ended:?}");
                }
            }
            let again = Proxy::start_again(stage.folder(), disk.wrapper());
            stage.proxy = again.unwrap_or_else(|ended| panic!("{what}, and then: {ended:?}"));
            slowest = slowest.max(stage.proxy.up_after);
            stage.verify_trail();
            stage.proxy.kill();
            let names = std::fs::read_dir(place.join("journal")).unwrap().map(|name| name.unwrap().file_name());
            let torn = names.filter(|name| name.to_string_lossy().starts_with("torn-")).count();
            assert!(torn > 0 || matches!(trail, Trail::New), "{what}: the torn tail was not put aside");
            std::fs::remove_dir_all(place).unwrap();
            if !was_hit {
                break;
            }
            calls = calls.max(at);
        }
    }
    disk.saw_everything();
    println!(
        "{trail:?}: {calls} calls, {starts} starts with a fault, {refusals} refused; the slowest start after it {} ms",
        slowest.as_millis()
    );
    assert!(calls > 15 && refusals > 15, "{calls} calls, {refusals} refusals");
    assert!(slowest < RESTART_MAX, "{slowest:?}");
    assert!(witness.told.values().all(|told| *told == Told::Done));
    disk.insert_again(&left);
    stage.proxy = Proxy::start_again(stage.folder(), disk.wrapper()).unwrap_or_else(|ended| panic!("{ended:?}"));
    witness.compare(&mut stage, "starts");
}

/// Half a frame behind the last one, as a loss of power leaves it.
fn tear(place: &std::path::Path) {
    use std::os::unix::fs::FileExt as _;
    let last = last_segment(place);
    let bytes = std::fs::read(&last).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() as u64;
    let file = std::fs::File::options().write(true).open(&last).unwrap();
    file.write_all_at(b"\xffSBF torn", (end + 1).next_multiple_of(8)).unwrap();
}
