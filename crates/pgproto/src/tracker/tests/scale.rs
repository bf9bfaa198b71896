//! Time and memory grow with what is sent, and no faster.

use super::*;

#[test]
fn a_server_that_repeats_itself_takes_no_memory() {
    check("> query A\n< error\n< error\n< error\n< idle : A=error");
    check("> query A\n< copy\n< copy : unexpected `CopyInResponse` from the server");
}

#[test]
fn long_pipelines_take_linear_time() {
    let mut stage = Stage::new();
    let tracker = &mut stage.tracker;
    let facts = TextFacts::default();
    tracker.parse(b"s", String::new(), facts.clone(), &[], 0).unwrap();
    let groups = 10_000_u32;
    let (mut sent, mut waited) = (0, 0);
    for key in 1..=groups {
        let name = key.to_string();
        for step in [
            tracker.parse(name.as_bytes(), String::new(), facts.clone(), &[], key).unwrap(),
            tracker.bind(b"", b"s", |_| ()).unwrap().map(drop),
            match tracker.execute(b"", key + groups).unwrap() {
                Step::Pass(running) => {
                    assert!(running.unwrap().portal.statement.is_some());
                    Step::Pass(())
                }
                Step::Wait => Step::Wait,
                Step::Drop => Step::Drop,
            },
        ] {
            match step {
                Step::Pass(()) => sent += 1,
                _ => waited += 1,
            }
        }
    }
    assert_eq!((sent, waited), (3 * groups, 0));
    // Beyond a bound the next frame waits until there are answers.
    while tracker.sync() == Step::Pass(()) {
        sent += 1;
    }
    assert!(sent < 40_000);
    tracker.answer(Answer::ParseComplete, 1).unwrap();
    assert_eq!(tracker.sync(), Step::Pass(()));
    tracker.lost();
    assert_eq!(tracker.finished().count(), 1 + 2 * usize::try_from(groups).unwrap());
}

/// If each change went through all names, this would take a thousand times as long.
#[test]
fn many_doubtful_changes_of_many_names_take_linear_time() {
    let mut stage = Stage::new();
    let tracker = &mut stage.tracker;
    for number in 0..50_000_u32 {
        let name = number.to_string();
        tracker.parse(name.as_bytes(), String::new(), TextFacts::default(), &[], number).unwrap();
        tracker.answer(Answer::ParseComplete, u64::from(number) + 1).unwrap();
    }
    let text = format!("select 1/0;{}", "discard all;".repeat(20_000));
    tracker.query(text.clone(), TextFacts::of(text.as_bytes()), 50_000).unwrap();
    let failure = Failure { sqlstate: b"22012".to_vec(), message: Vec::new() };
    tracker.answer(Answer::Error(failure), 50_001).unwrap();
    tracker.answer(Answer::Ready(TransactionStatus::Idle), 50_002).unwrap();
    for name in [b"0".as_slice(), b"49999"] {
        tracker.bind(b"", name, |_| ()).unwrap();
        let Step::Pass(Some(running)) = tracker.execute(b"", 50_001).unwrap() else { panic!("it runs") };
        assert!(!running.certain, "any of the names may be gone");
    }
}

/// If each ReadyForQuery looked at all of them, these would be five billion looks: more than a test's time.
#[test]
fn many_syncs_beside_many_held_cursors_take_linear_time() {
    let mut stage = Stage::new();
    let tracker = &mut stage.tracker;
    let mut at = 0;
    let mut answer = |tracker: &mut Told, answer| {
        at += 1;
        tracker.answer(answer, at).unwrap();
    };
    for number in 0..50_000 {
        let text = format!("declare c{number} cursor with hold for select 1");
        tracker.query(text.clone(), TextFacts::of(text.as_bytes()), 0).unwrap();
        answer(tracker, Answer::Complete(b"DECLARE CURSOR"));
        answer(tracker, Answer::Ready(TransactionStatus::Idle));
    }
    assert_eq!(tracker.names(), 50_000);
    for _ in 0..100_000 {
        assert_eq!(tracker.sync(), Step::Pass(()));
        answer(tracker, Answer::Ready(TransactionStatus::Idle));
    }
    assert_eq!(tracker.names(), 50_000);
}
