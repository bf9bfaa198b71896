//! What is on record of statements that come in odd ways: does it say what the server ran?

use sha2::{Digest as _, Sha256};

use super::peer::Peer;
use super::support::proxy::Settings;
use super::support::server_log;
use super::support::trail::Record;
use super::support::wire::{bind, close_statement, execute, frame, function_call, parse, query, results, sync, values};
use super::support::{ALICE, Stage};

fn records(stage: &Stage, protocol: &str) -> Vec<Record> {
    stage.trail().into_iter().filter(|record| record.protocol() == protocol && record.kind() == "statement").collect()
}

fn ended(stage: &Stage, peer: &mut Peer) {
    peer.write(&frame('X', b""));
    peer.until_end();
    stage.wait_for_ends();
}

/// The outcome of a record.
fn outcome_of(trail: &[Record], record: &Record) -> Record {
    trail.iter().find(|outcome| outcome.0["of"] == record.0["id"] && outcome.kind() == "outcome").unwrap().clone()
}

/// A driver whose length word has wrapped round sends us well-formed messages out of what should have been a value.
/// Nobody can tell them from honest ones; but what the server runs is on record, and nothing else is.
#[test]
fn a3_what_is_smuggled_by_a_wrapped_length_is_on_record() {
    let mut stage = Stage::start();
    // A value of 4 GiB and some bytes, of which the length word keeps only the last: the rest are messages.
    let wrapped = [parse("", "select $1::text"), bind("", &[Some("harmless")]), query("select 'smuggled'")].concat();
    let mut peer = Peer::signed_in(&stage, ALICE);
    peer.write(&[wrapped, execute(0), sync()].concat());
    peer.ready();
    peer.ready();
    ended(&stage, &mut peer);
    // A Bind whose inner length says more than the message has; what follows it is judged as it stands.
    let mut cut = bind("", &[Some("harmless")]);
    let at = cut.len() - 2 - 8 - 4;
    cut[at..at + 4].copy_from_slice(&0x7fff_fff0_u32.to_be_bytes());
    let mut peer = Peer::signed_in(&stage, ALICE);
    peer.write(&[parse("", "select $1::text"), cut, query("select 'behind'"), sync()].concat());
    peer.until_end();
    stage.wait_for_ends();
    let log = stage.postgres.stop();
    let mut ran: Vec<_> = log.iter().filter_map(server_log::statement).map(|(text, _)| text.to_owned()).collect();
    ran.retain(|text| text.contains("smuggled") || text.contains("behind"));
    let mut recorded: Vec<_> = records(&stage, "simple").iter().filter_map(|one| one.text(stage.folder())).collect();
    recorded.retain(|text| ran.contains(text));
    assert_eq!(recorded, ran);
    assert_eq!(ran, ["select 'smuggled'"], "what follows a message that is none is not run");
}

/// A long Bind whose names do not end within it: what follows it in the same read belongs to nobody's message, and must not
/// go up with it. It would begin a message that swallows a part of the next one, and what stands there would run unread.
#[test]
fn a3_names_end_within_their_message() {
    const LENGTH: usize = 0x0004_0000;
    const AT_ONCE: usize = 262_000;
    let mut stage = Stage::start();
    let first = [&b"B"[..], &u32::try_from(LENGTH).unwrap().to_be_bytes(), b"\0", &[b'a'; LENGTH - 5]].concat();
    let smuggled = [sync(), query("select 'smuggled'")].concat();
    // `d`, NUL and the first three bytes of this one say 0x00420045 bytes.
    let mut second = [&b"B\0\x45\0\0"[..], &vec![b'a'; 0x0045_0000 - 4]].concat();
    second[5..7].fill(0);
    let at = 3 + 0x0042_0045 - 4;
    second[at..at + smuggled.len()].copy_from_slice(&smuggled);
    for _ in 0..4 {
        let (mut peer, mut other) = (Peer::signed_in(&stage, ALICE), Peer::signed_in(&stage, ALICE));
        peer.write(&first[..AT_ONCE]);
        // Once another session has had its turns, what was written before has been read.
        for _ in 0..3 {
            other.write(&query("select 1"));
            other.ready();
        }
        // It may be refused before all of it is read.
        let _ = peer.try_write(&[&first[AT_ONCE..], b"d\0", &second, &sync()].concat());
        peer.until_end();
    }
    stage.wait_for_ends();
    let reasons: Vec<_> = stage.trail().into_iter().filter(|record| record.kind() == "end").collect();
    let violations = reasons.iter().filter(|record| record.0.to_string().contains("protocol violation")).count();
    assert_eq!(violations, 4);
    let log = stage.postgres.stop();
    let ran = log.iter().filter_map(server_log::statement).filter(|(text, _)| text.contains("smuggled")).count();
    assert_eq!(ran, 0);
    stage.verify_trail();
}

/// Functions by number: large objects pass as libpq needs them, with arguments on record; nothing else does.
#[test]
fn a16_functions_by_number() {
    const LO_CREAT: u32 = 957;
    let stage = Stage::start();
    let mut peer = Peer::signed_in(&stage, ALICE);
    let call = |oid: u32, argument: &[u8]| {
        let size = u32::try_from(argument.len()).unwrap().to_be_bytes();
        frame('F', &[&oid.to_be_bytes()[..], &[0, 1, 0, 1, 0, 1], &size, argument, &[0, 1]].concat())
    };
    peer.write(&call(LO_CREAT, &0x0006_0000_u32.to_be_bytes()));
    assert_eq!(results(&peer.ready()), [""; 0]);
    // lo_import, lo_import with an OID, lo_export; pg_terminate_backend, pg_read_file, set_config, upper.
    let denied = [764, 767, 765, 2096, 2624, 2078, 871];
    for oid in denied {
        peer.write(&function_call(oid, "/etc/passwd"));
        assert_eq!(results(&peer.ready()), ["42501"], "{oid}");
        peer.write(&query("select 'alive'"));
        assert_eq!(values(&peer.ready()), ["alive"]);
    }
    // In a transaction, the transaction fails.
    peer.write(&[query("begin"), function_call(2096, "1"), query("select 1"), query("commit")].concat());
    let answers: Vec<_> = (0..4).flat_map(|_| results(&peer.ready())).collect();
    assert_eq!(answers, ["BEGIN", "42501", "25P02", "ROLLBACK"]);
    ended(&stage, &mut peer);
    let passed = records(&stage, "function");
    assert_eq!(passed.len(), 1);
    assert_eq!(passed[0].0["statement"]["function"], LO_CREAT);
    assert_eq!(passed[0].0["statement"]["params"][0]["value_b64"], "AAYAAA==");
    let trail = stage.trail();
    let refused: Vec<_> = trail.iter().filter(|record| record.kind() == "denied").collect();
    let oids: Vec<_> = refused.iter().map(|record| record.0["statement"]["function"].as_u64().unwrap()).collect();
    assert_eq!(oids, [764, 767, 765, 2096, 2624, 2078, 871, 2096]);
    assert_eq!(refused[0].0["statement"]["params"][0]["value"], "/etc/passwd");
}

/// Bind of the unnamed portal to `name`: one text and one binary parameter.
fn bind_both(name: &str, text: &str, number: u32) -> Vec<u8> {
    let size = u32::try_from(text.len()).unwrap().to_be_bytes();
    let head = [&[0], name.as_bytes(), &[0, 0, 2, 0, 0, 0, 1, 0, 2]].concat();
    frame('B', &[&head, &size[..], text.as_bytes(), &[0, 0, 0, 4], &number.to_be_bytes(), &[0, 0]].concat())
}

/// One Parse, a thousand Executes with parameters of both formats: a record for each, with text, values, portal, limit.
#[test]
fn a17_a_statement_that_is_parsed_once_and_run_a_thousand_times() {
    const RUNS: u32 = 1000;
    let stage = Stage::start();
    let mut peer = Peer::signed_in(&stage, ALICE);
    let text = "select $1::text || $2::int";
    let wrong = [parse("w", "selec 1"), sync(), parse("", "select nothing"), sync()].concat();
    let typed = frame('P', &[b"s\0", text.as_bytes(), &[0, 0, 2, 0, 0, 0, 25, 0, 0, 0, 23]].concat());
    peer.write(&[wrong, typed, sync()].concat());
    let told: Vec<_> = (0..3).flat_map(|_| results(&peer.ready())).collect();
    assert_eq!(told, ["42601", "42703"]);
    for batch in 0..10 {
        let one = |number| [bind_both("s", "n\u{e9}", number), execute(number % 3), sync()].concat();
        peer.write(&(batch * 100..batch * 100 + 100).flat_map(one).collect::<Vec<u8>>());
        for number in batch * 100..batch * 100 + 100 {
            assert_eq!(values(&peer.ready()), [format!("n\u{e9}{number}")]);
        }
    }
    ended(&stage, &mut peer);
    let parsed: Vec<_> = records(&stage, "parse").iter().filter_map(|record| record.text(stage.folder())).collect();
    assert_eq!(parsed, ["selec 1", "select nothing", text], "what fails at Parse has reached the server too");
    let executed = records(&stage, "execute");
    assert_eq!(executed.len(), RUNS as usize);
    let trail = stage.trail();
    for (number, record) in executed.iter().enumerate() {
        let statement = &record.0["statement"];
        assert_eq!((&statement["text"], &statement["prepared"]), (&text.into(), &"s".into()));
        assert_eq!(statement["params"][0]["value"], "n\u{e9}");
        assert_eq!(statement["params"][0]["type"], "text");
        let second = &statement["params"][1];
        assert_eq!(second["value"], number.to_string());
        assert_eq!((&second["type"], &second["format"]), (&"int4".into(), &"binary".into()));
        assert_eq!(statement["limit"].as_u64().unwrap_or(0), number as u64 % 3);
        if number < 3 {
            let expected = if number == 1 { "suspended" } else { "ok" };
            assert_eq!(outcome_of(&trail, record).0["outcome"]["result"], expected, "{number}");
        }
    }
    stage.verify_trail();
}

/// The text that each Execute ran, by what it returned.
fn ran_as_recorded(stage: &Stage, peer: &mut Peer, frames: &[Vec<u8>], syncs: usize, expected: &[&str]) {
    let before = records(stage, "execute").len();
    peer.write(&frames.concat());
    let answers: Vec<_> = (0..syncs).flat_map(|_| values(&peer.ready())).collect();
    assert_eq!(answers, expected);
    let mark = format!("select 'mark {before}'");
    peer.write(&query(&mark));
    peer.ready();
    stage.wait_for_record(|record| record.0["statement"]["text"] == mark.as_str());
    let executed = records(stage, "execute");
    let texts: Vec<_> =
        executed[before..].iter().map(|record| record.text(stage.folder()).unwrap_or_default()).collect();
    let wanted: Vec<_> = expected.iter().map(|value| format!("select '{value}'")).collect();
    assert_eq!(texts, wanted, "what ran stands otherwise on record");
}

/// A name means what the server says it means, however the frames are packed together.
#[test]
fn a17b_names_whose_change_is_under_way() {
    let stage = Stage::start();
    let mut peer = Peer::signed_in(&stage, ALICE);
    let run = |name: &str| [bind(name, &[]), execute(0), sync()].concat();
    let both = [parse("s", "select 'A'"), sync(), parse("s", "select 'B'"), sync(), run("s")];
    ran_as_recorded(&stage, &mut peer, &both, 3, &["A"]);
    let closed = [close_statement("s"), parse("s", "select 'C'"), sync(), run("s")];
    ran_as_recorded(&stage, &mut peer, &closed, 2, &["C"]);
    let failed = [close_statement("s"), sync(), parse("s", "select nothing"), sync(), parse("s", "select 'D'"), sync()];
    ran_as_recorded(&stage, &mut peer, &[failed.concat(), run("s")], 4, &["D"]);
    let in_sql = [query("deallocate s"), parse("s", "select 'E'"), sync(), run("s")];
    ran_as_recorded(&stage, &mut peer, &in_sql, 3, &["E"]);
    let all = [query("discard all"), parse("s", "select 'F'"), sync(), run("s")];
    ran_as_recorded(&stage, &mut peer, &all, 3, &["F"]);
    // A transaction that is rolled back takes no prepared statement back.
    let rolled_back =
        [query("begin"), query("deallocate s"), parse("s", "select 'G'"), sync(), query("rollback"), run("s")];
    ran_as_recorded(&stage, &mut peer, &rolled_back, 5, &["G"]);
}

/// Several statements in one Query: one record with the whole text, and what became of each.
#[test]
fn a19_several_statements_in_one_query() {
    let stage = Stage::start();
    let mut peer = Peer::signed_in(&stage, ALICE);
    let text =
        "select 1; select 2, 3; create temporary table t (n int); insert into t values (1), (2); select 1/0; select 4";
    peer.write(&query(text));
    let told = ["SELECT 1", "SELECT 1", "CREATE TABLE", "INSERT 0 2", "22012"];
    assert_eq!(results(&peer.ready()), told);
    peer.write(&query("select 1;;; ; select 2 -- ; select 3\n;"));
    assert_eq!(results(&peer.ready()), ["SELECT 1", "SELECT 1"]);
    ended(&stage, &mut peer);
    let (trail, recorded) = (stage.trail(), records(&stage, "simple"));
    assert_eq!(recorded.iter().map(|record| record.text(stage.folder()).unwrap()).collect::<Vec<_>>()[0], text);
    let outcome = outcome_of(&trail, &recorded[0]);
    let each: Vec<_> = outcome.outcomes().iter().map(|one| one["tag"].as_str().or(one["sqlstate"].as_str())).collect();
    assert_eq!(each, told.map(Some));
    assert_eq!(outcome.outcomes()[3]["rows"], 2);
    assert_eq!(outcome_of(&trail, &recorded[1]).outcomes().len(), 2);
}

/// What a COPY carries is counted and hashed, and on record before the server hears that it is done.
#[test]
fn a20_what_a_copy_carried_is_on_record_before_its_end() {
    let mut stage = Stage::start();
    let mut peer = Peer::signed_in(&stage, ALICE);
    let data: Vec<Vec<u8>> = (0..200).map(|number| format!("{number}\n").repeat(1000).into_bytes()).collect();
    let (all, rows) = (data.concat(), 200_000);
    let mut frames = query("copy numbers from stdin");
    frames.extend(data.iter().flat_map(|piece| frame('d', piece)));
    frames.extend(frame('c', b""));
    peer.write(&query("create table numbers (n int)"));
    assert_eq!(results(&peer.ready()), ["CREATE TABLE"]);
    peer.write(&frames);
    assert_eq!(results(&peer.ready()), [format!("COPY {rows}")]);
    peer.write(&[query("copy numbers from stdin"), frame('d', b"7\n"), frame('f', b"enough\0")].concat());
    assert_eq!(results(&peer.ready()), ["57014"]);
    peer.write(&query("copy numbers to stdout"));
    let out: u64 = peer.ready().iter().filter(|(tag, _)| *tag == 'd').map(|(_, body)| body.len() as u64).sum();
    assert_eq!(out, all.len() as u64);
    // Whoever is killed now has lost no record of what the server has done.
    peer.write(&[query("copy numbers from stdin"), frame('d', b"8\n"), frame('c', b"")].concat());
    assert_eq!(results(&peer.ready()), ["COPY 1"]);
    stage.proxy.kill_and_restart();
    stage.verify_trail();
    let trail = stage.trail();
    let ends = records(&stage, "copy");
    let copied = |at: usize| &ends[at].0["statement"]["copied"];
    let sha256: String = Sha256::digest(&all).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(ends.len(), 3);
    assert_eq!(
        (&copied(0)["bytes"], &copied(0)["rows"], &copied(0)["sha256"]),
        (&all.len().into(), &rows.into(), &sha256.into())
    );
    assert_eq!((&copied(1)["failed"], &copied(1)["bytes"]), (&true.into(), &2.into()));
    assert_eq!(copied(2)["bytes"], 2);
    // The text came first, and each end names it.
    let copies = records(&stage, "simple");
    let begin = copies.iter().find(|record| record.0["statement"]["text"] == "copy numbers from stdin").unwrap();
    assert_eq!(ends[0].0["statement"]["of"], begin.0["id"]);
    assert!(begin.0["seq"].as_u64() < ends[0].0["seq"].as_u64());
    let to = copies.iter().find(|record| record.0["statement"]["text"] == "copy numbers to stdout").unwrap();
    let outcome = outcome_of(&trail, to);
    assert_eq!(outcome.0["outcome"]["rows"], rows);
    assert!(outcome.0["bytes"].as_u64().unwrap() > all.len() as u64, "{outcome:?}");
}

/// Each session has a backend of its own: nothing of one is there for the next.
#[test]
fn a23_nothing_leaks_into_the_next_session() {
    let stage = Stage::start();
    let mut first = Peer::signed_in(&stage, ALICE);
    let pid = first.key[..4].to_vec();
    first.write(&query(
        "create temporary table leak (n int); prepare leak as select 1; set work_mem = '77MB'; \
         select pg_advisory_lock(4711); listen leak; declare leak cursor with hold for select 1; \
         select set_config('safe_boundary.leak', 'x', false)",
    ));
    assert!(!results(&first.ready()).iter().any(|result| result.len() == 5), "an error");
    for goodbye in [true, false] {
        let mut next = Peer::signed_in(&stage, ALICE);
        assert_ne!(next.key[..4], pid);
        next.write(&query(
            "select concat_ws(',', to_regclass('pg_temp.leak') is null, (select count(*) from pg_prepared_statements), \
             current_setting('work_mem') <> '77MB', (select count(*) from pg_listening_channels()), \
             (select count(*) from pg_cursors), current_setting('safe_boundary.leak', true) is null)",
        ));
        assert_eq!(values(&next.ready()), ["t,0,t,0,0,t"]);
        if goodbye {
            first.write(&frame('X', b""));
            first.until_end();
            // The lock goes with the backend: whoever waits for it gets it.
            next.write(&query("select pg_advisory_lock(4711)"));
            next.ready();
        }
    }
}

/// What a server says may hold what a terminal obeys: the client gets it as it is, records and commands show it plainly.
#[test]
fn a24_error_texts_are_only_text() {
    let stage = Stage::start();
    let mut peer = Peer::signed_in(&stage, ALICE);
    peer.write(&query("do $$ begin raise exception E'\\x1b[31mred\\x07\\r\\n{\"kind\":\"forged\"}'; end $$"));
    assert_eq!(results(&peer.ready()), ["P0001"]);
    ended(&stage, &mut peer);
    let outcome = stage.trail().into_iter().find(|record| record.0["outcome"]["sqlstate"] == "P0001").unwrap();
    assert_eq!(outcome.0["outcome"]["message"], "\u{1b}[31mred\u{7}\r\n{\"kind\":\"forged\"}");
    for arguments in [&["search"][..], &["tail", "--lines", "100", "--no-follow"]] {
        let said = stage.proxy.audit(arguments);
        let plain = |byte: &u8| *byte == b'\n' || *byte == b'\r' || !byte.is_ascii_control();
        assert!(said.stdout.iter().all(plain), "{arguments:?}: {}", String::from_utf8_lossy(&said.stdout));
    }
    assert!(stage.proxy.log.all().iter().all(|line| !line.contains('\u{1b}')));
}

/// Prepared statements without end: what the proxy remembers of them has a bound, and the record still has each text.
#[test]
fn a17_prepared_statements_without_end_have_a_bound() {
    const COUNT: usize = 3000;
    let stage = Stage::with(&Settings { log_statements: "none", ..Settings::default() });
    let mut peer = Peer::signed_in(&stage, ALICE);
    // Below what goes to a blob by itself.
    let text = |number: usize| format!("select {number} /* {} */", "c".repeat(12_000));
    stage.proxy.reset_peak_memory();
    let before = stage.proxy.peak_memory_kib();
    for batch in 0..COUNT / 100 {
        let parsed = (batch * 100..batch * 100 + 100).flat_map(|number| parse(&format!("s{number}"), &text(number)));
        peer.write(&parsed.chain(sync()).collect::<Vec<u8>>());
        assert!(peer.ready().iter().all(|(tag, _)| *tag == '1'));
    }
    let grown = stage.proxy.peak_memory_kib() - before;
    assert!(grown < 32 << 10, "memory grew by {grown} KiB for {} KiB of texts", COUNT * 12);
    for number in [0, COUNT - 1] {
        peer.write(&[bind(&format!("s{number}"), &[]), execute(0), sync()].concat());
        assert_eq!(values(&peer.ready()), [number.to_string()]);
    }
    ended(&stage, &mut peer);
    let executed: Vec<_> = records(&stage, "execute").iter().map(|record| record.text(stage.folder())).collect();
    assert_eq!(executed, [Some(text(0)), Some(text(COUNT - 1))]);
    stage.verify_trail();
}
