//! Random conversations with a server that is as forgetful as it may be.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::super::answers::Answer;
use super::super::*;
use crate::frontend::Target;

#[derive(Clone, Debug)]
enum Frame {
    Query(&'static str),
    Parse(u8, &'static str),
    Bind(u8, u8),
    /// With a record of its own.
    BindAlone(u8, u8),
    Execute(u8),
    Describe(u8),
    Close(u8),
    Function,
    Sync,
    Flush,
    Data,
    Done,
    /// Something of ours fails in its place.
    Refused(Box<Self>),
}

const TEXTS: [&str; 6] = ["select 1", "copy t from stdin", "prepare a as x", "deallocate a", "do $$ $$", ""];

fn frame() -> impl Strategy<Value = Frame> {
    prop_oneof![8 => passed(), 1 => passed().prop_map(|frame| Frame::Refused(Box::new(frame)))]
}

fn passed() -> impl Strategy<Value = Frame> {
    let text = || proptest::sample::select(&TEXTS[..]);
    let name = || 0..3_u8;
    prop_oneof![
        text().prop_map(Frame::Query),
        (name(), text()).prop_map(|(name, text)| Frame::Parse(name, text)),
        (name(), name()).prop_map(|(portal, name)| Frame::Bind(portal, name)),
        (name(), name()).prop_map(|(portal, name)| Frame::BindAlone(portal, name)),
        name().prop_map(Frame::Execute),
        name().prop_map(Frame::Describe),
        name().prop_map(Frame::Close),
        Just(Frame::Function),
        Just(Frame::Sync),
        Just(Frame::Sync),
        Just(Frame::Flush),
        Just(Frame::Data),
        Just(Frame::Done),
    ]
}

fn name(number: u8) -> &'static [u8] {
    [&b""[..], b"a", b"b"][usize::from(number)]
}

/// What a server has yet to answer, as it sees it.
#[derive(Debug)]
enum Job {
    Parse,
    Bind,
    Execute,
    Describe,
    Close,
    Query,
    Function,
    Sync,
    /// A text that no grammar accepts, in a Parse or in a Query.
    Ours {
        ends_with_ready: bool,
    },
}

/// A server that decides by chance, within the protocol.
#[derive(Debug, Default)]
struct Server {
    jobs: VecDeque<Job>,
    skips: bool,
}

impl Server {
    fn error() -> Answer<'static> {
        Answer::Error(Failure { sqlstate: b"42601".to_vec(), message: b"no".to_vec() })
    }

    /// The answers to the next job, by chance.
    fn answer(&mut self, chance: u8, tracker: &mut Tracker<u32, u32, ()>, at: u64) {
        let mut say = |answer| assert_eq!(tracker.answer(answer, at).map(drop), Ok(()));
        let fails = chance.is_multiple_of(4);
        let Some(job) = self.jobs.pop_front() else { return };
        if self.skips && !matches!(job, Job::Sync) {
            return;
        }
        let is_ours = matches!(job, Job::Ours { ends_with_ready: false });
        let extended = !matches!(job, Job::Query | Job::Function | Job::Sync | Job::Ours { .. });
        if is_ours || (fails && extended) {
            self.skips = true;
            return say(Self::error());
        }
        match job {
            Job::Ours { .. } => {
                say(Self::error());
                say(Answer::Ready(TransactionStatus::Idle));
            }
            Job::Parse => say(Answer::ParseComplete),
            Job::Bind => say(Answer::BindComplete),
            Job::Close => say(Answer::CloseComplete),
            Job::Describe => {
                say(Answer::ParameterTypes(vec![]));
                say(Answer::NoData);
            }
            Job::Execute => say(if chance.is_multiple_of(3) { Answer::Suspended } else { Answer::Complete(b"X") }),
            Job::Query => {
                say(if fails { Self::error() } else { Answer::Complete(b"X") });
                say(Answer::Ready(TransactionStatus::Idle));
            }
            Job::Function => {
                say(if fails { Self::error() } else { Answer::FunctionResult });
                say(Answer::Ready(TransactionStatus::InTransaction));
            }
            Job::Sync => {
                self.skips = false;
                if chance.is_multiple_of(16) {
                    say(Self::error());
                }
                say(Answer::Ready(if chance.is_multiple_of(2) {
                    TransactionStatus::Idle
                } else {
                    TransactionStatus::InTransaction
                }));
            }
        }
    }
}

/// Everything that a frame could mean now, and how much is in flight: what a Wait must not change.
fn state(tracker: &Tracker<u32, u32, ()>) -> String {
    format!("{tracker:?}").replace("flush_wanted: true", "flush_wanted: false")
}

fn offer(tracker: &mut Tracker<u32, u32, ()>, frame: &Frame, key: u32) -> (Step, Option<Job>) {
    let text = |text: &str| (key, TextFacts::of(text.as_bytes()));
    match frame {
        Frame::Query(sql) => {
            let (text, facts) = text(sql);
            (tracker.query(text, facts, key).unwrap(), Some(Job::Query))
        }
        Frame::Parse(statement, sql) => {
            let (text, facts) = text(sql);
            (tracker.parse(name(*statement), text, facts, &[], key).unwrap(), Some(Job::Parse))
        }
        Frame::Bind(portal, statement) => {
            (tracker.bind(name(*portal), name(*statement), |_| ()).unwrap().map(drop), Some(Job::Bind))
        }
        Frame::BindAlone(portal, statement) => {
            let mark = tracker.mark();
            let step = tracker.bind(name(*portal), name(*statement), |_| ()).unwrap().map(drop);
            if step == Step::Pass(()) {
                tracker.record_bind(mark, key);
            }
            (step, Some(Job::Bind))
        }
        Frame::Refused(frame) => {
            let mark = tracker.mark();
            let (step, job) = offer(tracker, frame, key);
            if step == Step::Pass(()) {
                tracker.refuse_since(mark, Refused::Unrecorded);
                // Outcomes of what has no record.
                drop(tracker.finished_of(|finished| finished.key == key));
            }
            let ends_with_ready = matches!(job, Some(Job::Query | Job::Function));
            (step, job.map(|job| if matches!(job, Job::Sync) { job } else { Job::Ours { ends_with_ready } }))
        }
        Frame::Execute(portal) => (tracker.execute(name(*portal), key).unwrap().map(drop), Some(Job::Execute)),
        Frame::Describe(statement) => {
            (tracker.describe(Target::Statement(name(*statement))).unwrap(), Some(Job::Describe))
        }
        Frame::Close(statement) => (tracker.close(Target::Statement(name(*statement))).unwrap(), Some(Job::Close)),
        Frame::Function => (tracker.function(key).unwrap(), Some(Job::Function)),
        Frame::Sync => (tracker.sync(), Some(Job::Sync)),
        Frame::Flush => (tracker.flush(), None),
        Frame::Data => (tracker.copy_data(), None),
        Frame::Done => (tracker.copy_end(), None),
    }
}

proptest! {
    #[test]
    fn every_key_comes_back_once_and_waiting_changes_nothing(
        frames in proptest::collection::vec(frame(), 0..60),
        chances in proptest::collection::vec(any::<u8>(), 240),
        cut in any::<bool>(),
    ) {
        let mut tracker: Tracker<u32, u32, ()> = Tracker::default();
        let mut server = Server::default();
        let mut chances = chances.into_iter().cycle();
        let mut sent = HashSet::new();
        let mut at = 0;
        for (key, frame) in (0_u32..).zip(&frames) {
            let mut turns = 0;
            loop {
                let before = state(&tracker);
                let (step, job) = offer(&mut tracker, frame, key);
                if step == Step::Wait {
                    prop_assert_eq!(before, state(&tracker), "a wait changes nothing: {:?}", frame);
                    prop_assert!(!server.jobs.is_empty(), "it waits for a server that has nothing to answer: {:?}", frame);
                    turns += 1;
                    prop_assert!(turns < 100, "it waits for ever: {:?}", frame);
                    at += 1;
                    server.answer(chances.next().unwrap(), &mut tracker, at);
                    continue;
                }
                if step == Step::Pass(()) {
                    if matches!(frame, Frame::Query(_) | Frame::Parse(..) | Frame::BindAlone(..) | Frame::Execute(_) | Frame::Function) {
                        sent.insert(key);
                    }
                    server.jobs.extend(job);
                }
                break;
            }
            while chances.next().unwrap().is_multiple_of(3) && !server.jobs.is_empty() {
                at += 1;
                server.answer(chances.next().unwrap(), &mut tracker, at);
            }
        }
        if !cut {
            while !server.jobs.is_empty() {
                at += 1;
                server.answer(chances.next().unwrap(), &mut tracker, at);
            }
            prop_assert!(tracker.is_quiet() || server.skips);
        }
        tracker.lost();
        let mut came: HashMap<u32, Vec<Vec<Outcome>>> = HashMap::new();
        for finished in tracker.finished() {
            came.entry(finished.key).or_default().push(finished.outcomes);
        }
        for key in &sent {
            let outcomes = came.remove(key).unwrap_or_default();
            let (first, more) = outcomes.split_first().expect("every key comes back");
            prop_assert!(!first.is_empty());
            // A commit that fails, or is not answered, adds its own.
            let is_undone = |more: &[Outcome]| matches!(more, [Outcome::Failed(_) | Outcome::Lost]);
            prop_assert!(more.is_empty() || matches!(more, [second] if is_undone(second)), "{:?}", more);
        }
        prop_assert!(came.is_empty(), "keys that were not sent: {:?}", came);
    }
}
