//! Frames of any length, cut anywhere: exactly what was judged goes up, byte by byte, and all of it is on record.
//!
//! Promises: what went up is taken from the wire before the server, not from anything that the proxy says.
//! Deliberately not here: what the server makes of it; half of the frames that are sent cannot be read by anybody.

use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};

use super::peer::Peer;
use super::support::proxy::Settings;
use super::support::tap::Tap;
use super::support::trail::Record;
use super::support::wire::{close_statement, execute, frame, query, sync};
use super::support::{ALICE, Stage};

/// Where a frame becomes too long for the proxy's buffer (`FRAME_BYTES_MAX`).
const LONG: usize = 256 * 1024;

/// The text that begins what is compared, another one for each case.
fn beginning() -> String {
    static CASES: AtomicUsize = AtomicUsize::new(0);
    format!("select 'case {}'", CASES.fetch_add(1, Ordering::Relaxed))
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Query,
    Parse,
    ParseWithTypes,
    Bind,
    Execute,
    Call,
    Close,
    Flush,
    Sync,
    /// Names that do not end in it.
    NamelessBind,
    /// A parameter that is longer than what is left.
    LyingBind,
    /// A text that does not end in it.
    EndlessParse,
    /// A text that ends too early.
    TwoQueries,
}

impl Kind {
    const ALL: [Self; 13] = [
        Self::Query,
        Self::Parse,
        Self::ParseWithTypes,
        Self::Bind,
        Self::Execute,
        Self::Call,
        Self::Close,
        Self::Flush,
        Self::Sync,
        Self::NamelessBind,
        Self::LyingBind,
        Self::EndlessParse,
        Self::TwoQueries,
    ];

    const fn is_wild(self) -> bool {
        matches!(self, Self::NamelessBind | Self::LyingBind | Self::EndlessParse | Self::TwoQueries)
    }

    /// A frame of this kind, `bytes` long where it can be.
    fn frame(self, bytes: usize) -> Vec<u8> {
        let padded = |tag: char, before: &[u8], after: &[u8]| {
            let padding = vec![b'a'; bytes.saturating_sub(5 + before.len() + after.len())];
            frame(tag, &[before, &padding, after].concat())
        };
        let value = |head: &[u8], beyond: usize, tail: &[u8]| {
            let length = bytes.saturating_sub(9 + head.len() + tail.len());
            let claimed = u32::try_from(length + beyond).unwrap().to_be_bytes();
            padded(if head.len() == 8 { 'B' } else { 'F' }, &[head, &claimed].concat(), tail)
        };
        match self {
            Self::Query => padded('Q', b"select length('", b"')\0"),
            Self::Parse => padded('P', b"\0select $1::text, length('", b"')\0\0\0"),
            Self::ParseWithTypes => padded('P', b"\0select $1, length('", b"')\0\0\x01\0\0\0\x19"),
            Self::Bind => value(b"\0\0\0\x01\0\0\0\x01", 0, b"\0\0"),
            Self::LyingBind => value(b"\0\0\0\x01\0\0\0\x01", 1, b""),
            Self::Execute => execute(0),
            // lowrite, of no large object.
            Self::Call => value(b"\0\0\x03\xbb\0\x01\0\x01\0\x02\0\0\0\x04\0\0\0\0", 0, b"\0\0"),
            Self::Close => close_statement("s"),
            Self::Flush => frame('H', &[]),
            Self::Sync => sync(),
            Self::NamelessBind => padded('B', b"\0", b""),
            Self::EndlessParse => padded('P', b"\0select 1", b""),
            Self::TwoQueries => padded('Q', b"select 1\0", b"\0"),
        }
    }
}

/// What a client sends: frames and their lengths, and where its writes are cut.
#[derive(Clone, Debug)]
struct Case {
    frames: Vec<(Kind, usize)>,
    cuts: Vec<Index>,
    /// Cuts this many bytes from the beginning of a frame.
    near: Vec<(Index, i16)>,
}

fn cases() -> impl Strategy<Value = Case> {
    let bytes = prop_oneof![
        3 => 40..400_usize,
        1 => 8_000..20_000_usize,
        3 => LONG - 20..LONG + 20,
        2 => LONG..3 * LONG,
    ];
    let frames = prop::collection::vec((prop::sample::select(&Kind::ALL[..]), bytes), 1..9);
    let cuts = prop::collection::vec(any::<Index>(), 0..6);
    let near = prop::collection::vec((any::<Index>(), -12..12_i16), 0..6);
    (frames, cuts, near).prop_map(|(frames, cuts, near)| Case { frames, cuts, near })
}

/// Splits bytes of the frontend into frames; a part of one at the end is a mistake.
fn frames(mut rest: &[u8]) -> Vec<&[u8]> {
    let mut frames = Vec::new();
    while let Some(head) = rest.first_chunk::<5>() {
        let bytes = 1 + u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        assert!(rest.len() >= bytes, "a frame of {bytes} bytes went up in part: {} bytes", rest.len());
        let (frame, after) = rest.split_at(bytes);
        frames.push(frame);
        rest = after;
    }
    assert!(rest.is_empty(), "{rest:?} went up after the last frame");
    frames
}

/// What went up in the session that begins so, from there on. Others may have been left behind by cases that failed.
fn up_since(tap: &Tap, begin: &str) -> Vec<u8> {
    let begin = query(begin);
    loop {
        let up = tap.next().join().unwrap();
        if let Some(at) = up.windows(begin.len()).position(|window| window == begin) {
            return up[at + begin.len()..].to_vec();
        }
    }
}

/// Protocol and text of what must be on record of what went up.
fn all_wanted(up: &[&[u8]], records: &[(&str, Option<String>)]) -> Vec<(&'static str, Option<String>)> {
    let mut all = Vec::new();
    let mut asks = up.iter().filter(|frame| !matches!(frame[0], b'D' | b'H')).peekable();
    while let Some(frame) = asks.next() {
        let alone = records.get(all.len()).is_some_and(|(protocol, _)| *protocol == "bind");
        if frame[0] == b'B' && (alone || asks.peek().is_none_or(|next| next[0] != b'E')) {
            all.push(("bind", None));
        } else {
            all.extend(wanted(frame));
        }
    }
    all
}

/// Those of a frame, if it has a record whatever stands around it.
fn wanted(frame: &[u8]) -> Option<(&'static str, Option<String>)> {
    let text =
        |from: usize| frame[from..].split(|byte| *byte == 0).next().map(|text| String::from_utf8_lossy(text).into());
    match frame[0] {
        b'Q' => Some(("simple", text(5))),
        b'P' => Some(("parse", text(6))),
        b'E' => Some(("execute", None)),
        b'F' => Some(("function", None)),
        _ => None,
    }
}

fn on_record<'a>(stage: &Stage, record: &'a Record) -> (&'a str, Option<String>) {
    let text = matches!(record.protocol(), "simple" | "parse").then(|| record.text(stage.folder())).flatten();
    (record.protocol(), text)
}

fn write_in_pieces(peer: &mut Peer, beside: &mut Peer, all: &[u8], mut cuts: Vec<usize>) {
    cuts.sort_unstable();
    cuts.dedup();
    let mut from = 0;
    for cut in cuts.into_iter().chain([all.len()]) {
        if peer.try_write(&all[from..cut]).is_err() {
            break;
        }
        from = cut;
        // When another session has been answered, what was written before has been read.
        beside.write(&query("select 1"));
        beside.ready();
    }
    peer.until_end();
}

/// The statements of the session that begins so, after that.
fn recorded(stage: &Stage, begin: &str) -> Vec<Record> {
    let trail = stage.trail();
    let begin = trail.iter().rfind(|record| record.0["statement"]["text"] == begin).unwrap();
    stage.wait_for_record(|record| record.kind() == "end" && record.session() == begin.session());
    let of_it = |record: &Record| record.kind() == "statement" && record.session() == begin.session();
    stage.trail().into_iter().filter(of_it).skip(1).collect()
}

fn check(stage: &Stage, tap: &Tap, beside: &mut Peer, case: &Case) {
    let sent: Vec<_> = case.frames.iter().map(|(kind, bytes)| kind.frame(*bytes)).collect();
    let last = frame('X', &[]);
    let all = [sent.concat(), last.clone()].concat();
    let starts: Vec<_> = sent.iter().scan(0, |at, frame| Some(std::mem::replace(at, *at + frame.len()))).collect();
    let near = case.near.iter().filter_map(|(frame, bytes)| frame.get(&starts).checked_add_signed((*bytes).into()));
    let cuts = near.filter(|cut| *cut < all.len()).chain(case.cuts.iter().map(|cut| cut.index(all.len()))).collect();

    let mut peer = Peer::signed_in(stage, ALICE);
    let begin = beginning();
    peer.write(&query(&begin));
    peer.ready();
    write_in_pieces(&mut peer, beside, &all, cuts);
    let up = up_since(tap, &begin);
    let up = frames(&up);

    let mut expected = sent.iter().chain([&last]);
    let mut passed = 0;
    for frame in &up {
        let next = expected.clone().next();
        if next.is_some_and(|next| next == frame) {
            expected.next();
            passed += 1;
        } else {
            let ours = matches!(frame[0], b'H' | b'X') && frame.len() == 5;
            assert!(
                ours,
                "after {passed} frames, {:?} went up",
                String::from_utf8_lossy(&frame[..frame.len().min(80)])
            );
        }
    }
    if !case.frames.iter().any(|(kind, _)| kind.is_wild()) {
        assert_eq!(passed, sent.len() + 1, "frames that anybody can read all go up");
    }
    let recorded = recorded(stage, &begin);
    let records: Vec<_> = recorded.iter().map(|record| on_record(stage, record)).collect();
    let wanted = all_wanted(&up, &records);
    assert_eq!(records.get(..wanted.len()), Some(&wanted[..]));
}

#[test]
fn a3_what_goes_up_is_what_was_judged() {
    let (stage, tap) = Stage::with_a_tap(&Settings { log_statements: "none", ..Settings::default() });
    let beside = RefCell::new(Peer::signed_in(&stage, ALICE));
    // It stays open to the end, and is of no interest.
    drop(tap.next());
    let config = Config { cases: 24, max_shrink_iters: 64, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&cases(), |case| {
        check(&stage, &tap, &mut beside.borrow_mut(), &case);
        Ok(())
    });
    outcome.unwrap();
    stage.verify_trail();
}
