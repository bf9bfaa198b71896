use crate::audit::record::{FIELD_BYTES_MAX, Hex, Spilled};
use crate::statement::large::LargeFrame;
use std::sync::Arc;

use pgproto::frontend::{FrontendTag, encode};
use pgproto::tracker::Step;
use serde_json::{Value, json};

use super::*;

struct Stage {
    conversation: Conversation,
    at: u64,
}

impl Stage {
    fn new(parameters: Parameters) -> Self {
        let ink = Ink::new(Arc::from("node"), [7; 6], Timestamp::UNIX_EPOCH);
        Self { conversation: Conversation::new(ink, parameters), at: 0 }
    }

    fn intake(&mut self, raw: &[u8]) -> Intake {
        self.conversation.intake(raw, Timestamp::UNIX_EPOCH)
    }

    /// Judges the bytes, and says the records and what comes next.
    fn judge(&mut self, raw: &[u8]) -> (Vec<Value>, usize, Next) {
        let intake = self.intake(raw);
        (entries(intake.effect.batch()), intake.taken, intake.next)
    }

    fn answer(&mut self, tag: BackendTag, body: &[u8]) -> Vec<Value> {
        self.conversation.settled();
        self.answer_early(tag, body)
    }

    /// An answer that comes before the records of the last intake are durable.
    fn answer_early(&mut self, tag: BackendTag, body: &[u8]) -> Vec<Value> {
        self.at += 10;
        self.conversation.answer(tag, body, self.at).unwrap();
        self.outcomes()
    }

    fn outcomes(&mut self) -> Vec<Value> {
        let mut told = Vec::new();
        self.conversation.outcomes(Timestamp::UNIX_EPOCH, |batch| told.extend(entries(&batch)));
        told
    }
}

fn entries(batch: &Batch) -> Vec<Value> {
    batch.entries().map(|entry| serde_json::from_slice(entry).unwrap()).collect()
}

fn frame(tag: FrontendTag, body: &[u8]) -> Vec<u8> {
    [&[tag.byte()][..], &u32::try_from(body.len() + 4).unwrap().to_be_bytes(), body].concat()
}

/// A Bind of the unnamed statement with one parameter in text.
fn bind(value: &[u8]) -> Vec<u8> {
    let length = u32::try_from(value.len()).unwrap().to_be_bytes();
    frame(FrontendTag::Bind, &[&[0, 0, 0, 0, 0, 1], &length[..], value, &[0, 0]].concat())
}

fn execute() -> Vec<u8> {
    frame(FrontendTag::Execute, &[0; 5])
}

fn parse(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode::parse(&mut out, b"", text, &[]).unwrap();
    out
}

fn query(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    encode::query(&mut out, text.as_bytes()).unwrap();
    out
}

const ERROR: &[u8] = b"SERROR\0VERROR\0C22012\0Mdivision by zero\0\0";

#[test]
fn long_parameters_are_stored_when_their_bind_comes_alone() {
    let long = vec![b'x'; FIELD_BYTES_MAX + 1];
    let mut stage = Stage::new(Parameters::Full);
    let _ = stage.intake(&parse(b"select $1"));
    let intake = stage.intake(&bind(&long));
    assert_eq!((intake.effect.batch().len(), intake.effect.batch().blobs().len()), (1, 1));
    let sealed = intake.effect.unsealed().expect_err("a Bind must not pass before its parameters are stored");
    let blob = sealed.batch().blobs()[0].sha256.to_string();
    let (records, ..) = stage.judge(&execute());
    assert_eq!(records[0]["statement"]["params"]["sha256"], blob);
}

/// The server plans at Bind, and functions run there.
#[test]
fn a_bind_has_a_record_of_its_own_unless_its_execute_comes_with_it() {
    let protocols = |records: &[Value]| -> Vec<String> {
        records.iter().map(|record| record["statement"]["protocol"].as_str().unwrap().to_owned()).collect()
    };
    let [describe, nowhere, other] =
        [&b"P\0"[..], b"Snowhere\0", b"Pother\0"].map(|target| frame(FrontendTag::Describe, target));
    let mut sync = Vec::new();
    encode::sync(&mut sync);
    for (frames, expected) in [
        (vec![bind(b"1"), execute()], vec!["parse", "execute"]),
        (vec![bind(b"1"), describe.clone(), execute()], vec!["parse", "execute"]),
        (vec![bind(b"1")], vec!["parse", "bind"]),
        (vec![bind(b"1"), describe], vec!["parse", "bind"]),
        // Their failure would leave the Execute skipped, and the Bind without a trace.
        (vec![bind(b"1"), nowhere, execute()], vec!["parse", "bind", "execute"]),
        (vec![bind(b"1"), other, execute()], vec!["parse", "bind", "execute"]),
        (vec![bind(b"1"), sync], vec!["parse", "bind"]),
        (vec![bind(b"1"), bind(b"2"), execute()], vec!["parse", "bind", "execute"]),
        (vec![bind(b"1"), execute(), execute()], vec!["parse", "execute", "execute"]),
    ] {
        let mut stage = Stage::new(Parameters::Full);
        let (records, ..) = stage.judge(&[parse(b"select $1"), frames.concat()].concat());
        assert_eq!(protocols(&records), expected);
        assert_eq!(records[1]["statement"]["text"], "select $1");
        assert_eq!(records[1]["statement"]["params"][0]["value"], "1");
    }
}

#[test]
fn an_execute_that_came_with_a_bind_that_fails_is_told_its_error() {
    let mut stage = Stage::new(Parameters::Full);
    let (records, ..) = stage.judge(&[parse(b"select $1"), bind(b"1"), execute(), execute()].concat());
    stage.answer(BackendTag::ParseComplete, b"");
    let told = stage.answer(BackendTag::ErrorResponse, ERROR);
    let told: Vec<_> = told.iter().map(|one| (&one["of"], one["outcome"]["result"].as_str().unwrap())).collect();
    // The second ran nothing, and nothing came with it.
    assert_eq!(told, [(&records[1]["id"], "error"), (&records[2]["id"], "skipped")]);
}

#[test]
fn what_waits_is_looked_at_again_after_what_was_taken_is_sent() {
    let mut stage = Stage::new(Parameters::Full);
    let copy = query("copy t from stdin");
    let both = [copy.clone(), query("select 1")].concat();
    // Answers may come while the first is recorded and sent; only a look that takes nothing may wait for one.
    let (records, taken, next) = stage.judge(&both);
    assert_eq!((records.len(), taken, next), (1, copy.len(), Next::Skip(0)));
    let (records, taken, next) = stage.judge(&both[copy.len()..]);
    assert_eq!((records.len(), taken, next), (0, 0, Next::Wait));
}

#[test]
fn what_is_skipped_is_told_at_once() {
    // The server says nothing until a Sync: without this, outcomes would pile up in memory.
    let mut stage = Stage::new(Parameters::Full);
    let _ = stage.intake(&parse(b"selec"));
    let outcome = stage.answer(BackendTag::ErrorResponse, ERROR);
    assert_eq!(outcome[0]["outcome"], json!({"result": "error", "sqlstate": "22012", "message": "division by zero"}));
    let (records, _, next) = stage.judge(&[parse(b"select 1"), bind(b"1"), execute()].concat());
    let kinds: Vec<_> = records.iter().map(|record| record["kind"].as_str().unwrap()).collect();
    assert_eq!((kinds, next), (vec!["statement", "statement", "outcome", "outcome"], Next::More));
    assert_eq!(records[2]["outcome"], json!({"result": "skipped", "sqlstate": "22012", "message": "division by zero"}));
    assert_eq!((&records[2]["of"], &records[3]["of"]), (&records[0]["id"], &records[1]["id"]));
    assert_eq!(stage.outcomes().len(), 0);
}

#[test]
fn what_is_told_at_once_has_a_bound() {
    // Batches that cannot be kept are lost as a whole: what a client skips must not take along what it has done before.
    let mut stage = Stage::new(Parameters::Full);
    let raw = [query("delete from t"), parse(b"selec"), [bind(b"1"), execute()].concat().repeat(4_000)].concat();
    let mut rest = raw.as_slice();
    while !rest.is_empty() {
        rest = &rest[stage.intake(rest).taken..];
    }
    let _ = stage.intake(b"");
    for (tag, body) in [(BackendTag::CommandComplete, &b"DELETE 7\0"[..]), (BackendTag::ReadyForQuery, b"I")] {
        stage.conversation.answer(tag, body, 10).unwrap();
    }
    let message = [&b"SERROR\0C22012\0M"[..], &b"m".repeat(8_000), b"\0\0"].concat();
    stage.conversation.answer(BackendTag::ErrorResponse, &message, 20).unwrap();
    let mut batches = Vec::new();
    stage.conversation.outcomes(Timestamp::UNIX_EPOCH, |batch| batches.push((batch.bytes(), entries(&batch))));
    assert_eq!(batches[0].1[0]["outcome"]["tag"], "DELETE 7");
    assert_eq!(batches.iter().map(|(_, records)| records.len()).sum::<usize>(), 4_002);
    assert!(batches.iter().all(|(bytes, _)| *bytes < 128 * 1024));
    let skipped = batches.last().unwrap().1[0]["outcome"]["message"].as_str().unwrap();
    assert_eq!((skipped.len(), skipped.ends_with("m…")), (256, true));
}

#[test]
fn very_many_statements_of_one_text_have_a_bounded_outcome() {
    let mut stage = Stage::new(Parameters::Full);
    for fails in [false, true] {
        let _ = stage.intake(&query(&"select;".repeat(5_000)));
        for _ in 0..4_000 {
            stage.conversation.answer(BackendTag::CommandComplete, b"SELECT 0\0", 10).unwrap();
        }
        if fails {
            stage.conversation.answer(BackendTag::ErrorResponse, ERROR, 20).unwrap();
        }
        stage.conversation.answer(BackendTag::ReadyForQuery, b"I", 30).unwrap();
        stage.conversation.settled();
        let mut blobs = Vec::new();
        stage.conversation.outcomes(Timestamp::UNIX_EPOCH, |batch| {
            blobs.extend(batch.blobs().iter().map(|blob| serde_json::from_slice::<Value>(&blob.bytes).unwrap()));
        });
        let list = blobs[0].as_array().unwrap();
        assert_eq!(
            (list.len(), &list[1_000]),
            (1_001 + usize::from(fails), &json!({"result": "ok", "statements": 3_000}))
        );
        // What fails in the end is told all the same.
        assert_eq!(list.last().unwrap()["sqlstate"] == "22012", fails);
    }
}

#[test]
fn a_refused_intake_leaves_no_outcome_behind() {
    let mut stage = Stage::new(Parameters::Full);
    let _ = stage.intake(&parse(b"select 1"));
    stage.answer(BackendTag::ParseComplete, b"");
    let raw = [bind(b"1"), execute(), frame(FrontendTag::Sync, b"")].concat();
    let intake = stage.intake(&raw);
    let instead = stage.conversation.refuse(&intake.refused(), &raw);
    assert!(!instead.windows(8).any(|bytes| bytes == b"select 1"));
    let mut tags = Vec::new();
    let mut rest = instead.as_slice();
    while let Some((frame, tail)) = pgproto::frame::split(rest).unwrap() {
        tags.push(frame.tag());
        rest = tail;
    }
    assert_eq!(tags, *b"PPS", "nothing that would run what a client has prepared for it");
    let reaction = stage.conversation.answer(BackendTag::ErrorResponse, ERROR, 20).unwrap();
    assert_eq!(reaction, Reaction::Refusal(tracker::Refused::Unrecorded));
    assert_eq!(stage.answer(BackendTag::ReadyForQuery, b"I"), Vec::<Value>::new());
    assert!(stage.conversation.is_quiet());
}

/// What the server skips gives names a meaning for what it skips later. A blob that was refused with its batch is nowhere.
#[test]
fn no_record_names_a_blob_that_was_refused_while_the_server_skips() {
    let long = vec![b'x'; FIELD_BYTES_MAX + 1];
    let cases = [
        ("the text", vec![], parse(&long), true),
        ("the text, and its error comes while the journal writes", vec![], parse(&long), false),
        ("the parameters", parse(b"select $1"), bind(&long), true),
        ("the parameters, and their error comes while the journal writes", parse(b"select $1"), bind(&long), false),
    ];
    for (what, kept, refused, is_skipping) in cases {
        let mut stage = Stage::new(Parameters::Full);
        let _ = stage.intake(&[parse(b"selec"), kept].concat());
        if is_skipping {
            stage.answer(BackendTag::ErrorResponse, ERROR);
        }
        let intake = stage.intake(&refused);
        assert_eq!(intake.effect.batch().blobs().len(), 1, "{what}");
        if !is_skipping {
            stage.answer(BackendTag::ErrorResponse, ERROR);
        }
        let _ = stage.conversation.refuse(&intake.refused(), &refused);
        assert_names_what_is_stored(&mut stage, what);
    }
    // A frame that is too large for a buffer, when the disk has not even taken its content.
    let mut stage = Stage::new(Parameters::Full);
    let _ = stage.intake(&parse(b"selec"));
    stage.answer(BackendTag::ErrorResponse, ERROR);
    let text = Spilled { sha256: Hex(tlog::hash::Hash::default()), bytes: 0 };
    let frame = LargeFrame::Parse { name: Vec::new(), text, types: Vec::new() };
    let Step::Pass(judged) = stage.conversation.large(&frame, Timestamp::UNIX_EPOCH).unwrap() else {
        panic!("it waits")
    };
    let _ = stage.conversation.refuse_large(&judged.refused, FrontendTag::Parse);
    assert_names_what_is_stored(&mut stage, "a large text");
}

/// What the unnamed names mean now refers to nothing but what comes along.
fn assert_names_what_is_stored(stage: &mut Stage, what: &str) {
    let intake = stage.intake(&[execute(), bind(b"1"), execute()].concat());
    let batch = intake.effect.batch();
    let stored: Vec<String> = batch.blobs().iter().map(|blob| blob.sha256.to_string()).collect();
    let records = entries(batch);
    assert_eq!(records.iter().filter(|record| record["kind"] == "statement").count(), 2, "{what}");
    for field in records.iter().flat_map(|record| ["text", "params"].map(|field| &record["statement"][field])) {
        let named = field["sha256"].as_str();
        assert!(named.is_none_or(|named| stored.iter().any(|stored| stored == named)), "{what}: {field}");
    }
}

#[test]
fn nothing_is_told_of_what_is_not_yet_recorded() {
    let fatal = b"SFATAL\0VFATAL\0C57P01\0Mterminating connection\0\0";
    let raw = [bind(b"1"), execute()].concat();
    for is_refused in [true, false] {
        let mut stage = Stage::new(Parameters::Full);
        let _ = stage.intake(&parse(b"selec"));
        let intake = stage.intake(&raw);
        // The error comes while the journal still writes: of the Parse all is told, of the Execute nothing.
        assert_eq!(stage.answer_early(BackendTag::ErrorResponse, ERROR).len(), 1);
        if is_refused {
            let _ = stage.conversation.refuse(&intake.refused(), &raw);
        } else {
            stage.conversation.settled();
        }
        assert_eq!(stage.outcomes().len(), usize::from(!is_refused));

        // A server that ends speaks of what stands first, sent or not.
        let mut stage = Stage::new(Parameters::Full);
        let _ = stage.intake(&parse(b"select $1"));
        assert_eq!(stage.answer(BackendTag::ParseComplete, b"").len(), 1);
        let intake = stage.intake(&raw);
        assert_eq!(stage.answer_early(BackendTag::ErrorResponse, fatal).len(), 0);
        if is_refused {
            let _ = stage.conversation.refuse(&intake.refused(), &raw);
        } else {
            stage.conversation.settled();
        }
        assert_eq!(stage.outcomes().len(), usize::from(!is_refused));
    }
    // Nor when the session ends before anybody knows whether they are written.
    for is_settled in [true, false] {
        let mut stage = Stage::new(Parameters::Full);
        let _ = stage.intake(&query("select 1"));
        if is_settled {
            stage.conversation.settled();
        }
        let mut kinds = Vec::new();
        stage.conversation.end("over", Timestamp::UNIX_EPOCH, |batch| {
            kinds.extend(entries(&batch).iter().map(|record| record["kind"].as_str().unwrap().to_owned()));
        });
        assert_eq!(kinds, if is_settled { vec!["outcome", "end"] } else { vec!["end"] });
    }
}

#[test]
fn a_copy_is_counted_and_hashed_before_it_ends() {
    let mut stage = Stage::new(Parameters::Full);
    let (records, ..) = stage.judge(&query("copy t from stdin"));
    stage.answer(BackendTag::CopyInResponse, &[0, 0, 1, 0, 0]);
    let data =
        [frame(FrontendTag::CopyData, b"1\n2"), frame(FrontendTag::CopyData, b"\n"), frame(FrontendTag::CopyDone, b"")];
    let (ends, _, next) = stage.judge(&data.concat());
    assert_eq!(next, Next::More);
    let statement = &ends[0]["statement"];
    assert_eq!((&statement["protocol"], &statement["of"]), (&json!("copy"), &records[0]["id"]));
    let sha256 = "a6e2b7a040683432de03a18fd8a1939a2fdf82585b364bfc874bdd4095c4cae1";
    let copied = &statement["copied"];
    assert_eq!((&copied["bytes"], &copied["rows"], &copied["failed"]), (&json!(4), &json!(2), &json!(false)));
    assert_eq!(copied["sha256"], sha256);
    assert_eq!(stage.answer(BackendTag::CommandComplete, b"COPY 2\0"), Vec::<Value>::new());
    let outcome = stage.answer(BackendTag::ReadyForQuery, b"I");
    assert_eq!(outcome[0]["outcome"], json!({"result": "ok", "tag": "COPY 2", "rows": 2}));
}

#[test]
fn long_errors_are_understood_from_their_beginning() {
    let mut stage = Stage::new(Parameters::Full);
    let _ = stage.intake(&query("select 1/0"));
    let long = [&b"SERROR\0VERROR\0C22012\0Mdivision by zero\0D"[..], &[b'x'; 100_000], b"\0\0"].concat();
    let needed = Conversation::reads(BackendTag::ErrorResponse, long.len()).unwrap();
    assert!(needed < 10_000);
    stage.answer(BackendTag::ErrorResponse, &long[..needed]);
    let outcome = stage.answer(BackendTag::ReadyForQuery, b"I");
    assert_eq!(outcome[0]["outcome"], json!({"result": "error", "sqlstate": "22012", "message": "division by zero"}));
}

#[test]
fn a_server_cannot_make_us_hold_what_no_server_says() {
    for tag in [BackendTag::ParameterDescription, BackendTag::ErrorResponse, BackendTag::CommandComplete] {
        assert!(Conversation::reads(tag, 1 << 30).unwrap() < 300_000);
    }
}

#[test]
fn long_pipelines_take_linear_time() {
    let mut stage = Stage::new(Parameters::Full);
    let _ = stage.intake(&parse(b"select $1"));
    let one = [bind(b"1"), execute()].concat();
    let mut raw = one.repeat(10_000);
    let mut records = 0;
    while !raw.is_empty() {
        let here = raw.len().min(64 * 1024);
        let (judged, taken, next) = stage.judge(&raw[..here]);
        assert_eq!(next, Next::More);
        records += judged.iter().filter(|record| record["statement"]["text"] == "select $1").count();
        raw.drain(..taken);
    }
    assert_eq!(records, 10_000);
}

/// Judges until all is taken; says the records and the heaviest batch, in bytes and in blobs.
fn judge_all(stage: &mut Stage, raw: &[u8]) -> (usize, usize, usize) {
    let (mut records, mut bytes, mut blobs, mut taken) = (0, 0, 0, 0);
    while taken < raw.len() {
        let intake = stage.intake(&raw[taken..]);
        assert!(intake.taken > 0, "{:?}", intake.next);
        let batch = intake.effect.batch();
        records += batch.len();
        (bytes, blobs) = (bytes.max(batch.weight()), blobs.max(batch.blobs().len()));
        taken += intake.taken;
    }
    (records, bytes, blobs)
}

#[test]
fn small_frames_with_long_records_go_in_many_batches() {
    let mut stage = Stage::new(Parameters::Full);
    let _ = stage.intake(&parse(&[b'x'; FIELD_BYTES_MAX - 1]));
    let (records, bytes, _) = judge_all(&mut stage, &[bind(b"1"), execute().repeat(5000)].concat());
    assert_eq!(records, 5000);
    assert!(bytes < (1 << 20) + 2 * FIELD_BYTES_MAX, "{bytes} bytes in one batch");
}

#[test]
fn many_blobs_go_in_many_batches() {
    let mut stage = Stage::new(Parameters::Full);
    let mut texts = Vec::new();
    for number in 0..1100 {
        encode::parse(&mut texts, format!("{number}").as_bytes(), &[b'x'; FIELD_BYTES_MAX - 1], &[]).unwrap();
    }
    judge_all(&mut stage, &texts);
    let _ = stage.intake(&parse(b"select $1"));
    // What a session may hold in memory is used up: from here on each parameter is a file.
    let binds: Vec<u8> = (0..200_u32).flat_map(|number| bind(&number.to_be_bytes())).collect();
    assert_eq!(judge_all(&mut stage, &binds).2, 16);
}

#[test]
fn messages_that_break_the_protocol_end_the_conversation() {
    let check = |raw: &[u8], expected: &str| {
        let (records, _, next) = Stage::new(Parameters::Full).judge(raw);
        let Next::Violation(violation) = next else { panic!("{raw:?}: {next:?}") };
        assert_eq!((violation.to_string().contains(expected), records.len()), (true, 0), "{violation}");
    };
    check(b"?", "expected the tag");
    check(b"Q\0\0\0\x03", "length");
    check(&frame(FrontendTag::Query, b"select 1\0; drop table t\0"), "malformed Query");
    check(&frame(FrontendTag::Query, b"select 1"), "malformed Query");
    check(&frame(FrontendTag::Sync, b"x"), "malformed Sync");
    check(&frame(FrontendTag::Password, b"x\0"), "unexpected password");
}

#[test]
fn what_follows_a_denied_call_is_looked_at_without_more_bytes() {
    let mut stage = Stage::new(Parameters::Full);
    let call = frame(FrontendTag::FunctionCall, &[0, 0, 0, 177, 0, 0, 0, 0, 0, 0]);
    let raw = [call.clone(), query("select 1")].concat();
    let (records, taken, next) = stage.judge(&raw);
    assert_eq!((&records[0]["kind"], taken, next), (&json!("denied"), call.len(), Next::Skip(0)));
    let (records, _, next) = stage.judge(&raw[taken..]);
    assert_eq!((&records[0]["statement"]["text"], next), (&json!("select 1"), Next::More));
}
