//! SQL that changes what the protocol's names mean, or begins a COPY, without saying so in its text.
//!
//! Promises: each test makes the server run something else than the text shows, and says so itself before it compares.
//! Deliberately not here: functions and DO blocks (`conversation.rs` tries what records say of them).

use super::peer::Peer;
use super::support::proxy::Settings;
use super::support::trail::Record;
use super::support::wire::{bind, execute, frame, parse, query, results, sync, values};
use super::support::{ALICE, Stage};

/// The record of the last Execute: its text, and what it says of that.
fn last_execute(stage: &Stage, peer: &mut Peer) -> (Option<String>, String) {
    peer.write(&frame('X', b""));
    peer.until_end();
    stage.wait_for_ends();
    let trail = stage.trail();
    let last = trail.iter().rfind(|record| record.protocol() == "execute").unwrap();
    (last.text(stage.folder()), last.0["statement"]["resolution"].as_str().unwrap_or_default().to_owned())
}

/// Parse takes PREPARE and DEALLOCATE, and SQL's EXECUTE runs what it has prepared. No function is needed for that.
#[test]
fn a17b_names_that_change_by_executing_what_was_parsed() {
    for pipelined in [false, true] {
        let stage = Stage::start();
        let mut peer = Peer::signed_in(&stage, ALICE);
        let prepared =
            [parse("s", "select 'A'"), parse("d", "deallocate s"), parse("g", "prepare s as select 'B'"), sync()];
        peer.write(&prepared.concat());
        peer.ready();
        let (first, second) = (query("execute d"), query("execute g"));
        let run = [bind("s", &[]), execute(0), sync()].concat();
        if pipelined {
            peer.write(&[first, second, run].concat());
            assert_eq!(results(&peer.ready()), ["DEALLOCATE"]);
            assert_eq!(results(&peer.ready()), ["PREPARE"]);
        } else {
            for (frames, tag) in [(first, "DEALLOCATE"), (second, "PREPARE")] {
                peer.write(&frames);
                assert_eq!(results(&peer.ready()), [tag]);
            }
            peer.write(&run);
        }
        assert_eq!(values(&peer.ready()), ["B"], "the server runs something else");
        assert_eq!(last_execute(&stage, &mut peer), (Some("select 'A'".to_owned()), "uncertain".to_owned()));
        stage.verify_trail();
    }
}

/// In SJIS the byte of an `@` may be the end of a letter: then what we take for a string is none, and the other way round.
#[test]
fn a17b_a_text_that_reads_otherwise_in_the_encoding_of_the_client() {
    let stage = Stage::start();
    let mut peer = Peer::signed_in(&stage, ALICE);
    peer.write(&[query("set client_encoding = 'SJIS'"), parse("s", "select 'A'"), sync()].concat());
    peer.ready();
    peer.ready();
    let text = b"select 1 as X$a$; select $a$ ; prepare s as select 'B'; select $a$ as y; select 2 as X$a$\0";
    let text: Vec<u8> =
        text.iter().flat_map(|byte| if *byte == b'X' { vec![0x83, 0x40] } else { vec![*byte] }).collect();
    peer.write(&frame('Q', &text));
    assert_eq!(results(&peer.ready()), ["SELECT 1"; 3], "the server prepares nothing");
    peer.write(&[bind("s", &[]), execute(0), sync()].concat());
    assert_eq!(values(&peer.ready()), ["A"]);
    assert_eq!(last_execute(&stage, &mut peer), (Some("select 'A'".to_owned()), "uncertain".to_owned()));
}

/// A COPY that SQL's EXECUTE begins: what is sent behind it waits, so that each outcome stays with its statement.
#[test]
fn a19_a_copy_that_begins_by_executing_what_was_parsed() {
    let stage = Stage::with(&Settings { log_statements: "none", ..Settings::default() });
    let mut peer = Peer::signed_in(&stage, ALICE);
    peer.write(&[query("create temporary table t (n int)"), parse("c", "copy t from stdin"), sync()].concat());
    peer.ready();
    peer.ready();
    peer.write(&[query("execute c"), sync()].concat());
    while peer.message().0 != 'G' {}
    peer.write(&[frame('d', b"1\n2\n"), frame('c', b"")].concat());
    assert_eq!(results(&peer.ready()), ["COPY 2"]);
    let frames = [query("select 1/0"), query("delete from t"), query("select 2/0")];
    peer.write(&frames.concat());
    let told: Vec<_> = (0..3).flat_map(|_| results(&peer.ready())).collect();
    assert_eq!(told, ["22012", "DELETE 2", "22012"]);
    last_outcomes(
        &stage,
        &mut peer,
        &[("select 1/0", "22012"), ("delete from t", "DELETE 2"), ("select 2/0", "22012")],
    );
}

fn last_outcomes(stage: &Stage, peer: &mut Peer, expected: &[(&str, &str)]) {
    peer.write(&frame('X', b""));
    peer.until_end();
    stage.wait_for_ends();
    let trail = stage.trail();
    for (text, told) in expected {
        let statement = trail.iter().rfind(|record| record.0["statement"]["text"] == *text).unwrap();
        let of_it = |record: &&Record| record.kind() == "outcome" && record.0["of"] == statement.0["id"];
        let outcome = &trail.iter().find(of_it).unwrap().0["outcome"];
        let on_record = outcome["tag"].as_str().or(outcome["sqlstate"].as_str());
        assert_eq!(on_record, Some(*told), "{text}");
    }
}
