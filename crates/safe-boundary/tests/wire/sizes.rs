//! Large statements, large parameters, large results: constant memory, and nothing is lost.

use sha2::{Digest as _, Sha256};

use super::peer::Peer;
use super::support::proxy::Settings;
use super::support::wire::{execute, frame, parse, query, results, sync, values};
use super::support::{ALICE, Stage};

const HUNDRED_MB: usize = 100_000_000;

fn quiet_server() -> Stage {
    Stage::with(&Settings { log_statements: "none", ..Settings::default() })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a22_a_statement_of_a_hundred_megabytes() {
    let stage = quiet_server();
    let mut peer = Peer::signed_in(&stage, ALICE);
    let text = format!("select length('{}')", "a".repeat(HUNDRED_MB));
    let parsed = [parse("", &text), frame('B', &[0, 0, 0, 0, 0, 0, 0, 0]), execute(0), sync()].concat();
    let simple = query(&text);
    for frames in [&simple, &parsed] {
        stage.proxy.reset_peak_memory();
        let before = stage.proxy.peak_memory_kib();
        peer.write(frames);
        assert_eq!(values(&peer.ready()), [HUNDRED_MB.to_string()]);
        let grown = stage.proxy.peak_memory_kib() - before;
        assert!(grown < 8 << 10, "memory grew by {grown} KiB");
    }
    let record = stage.wait_for_record(|record| record.protocol() == "simple");
    let sha256 = hex(&Sha256::digest(&text));
    assert_eq!(record.0["statement"]["text"]["sha256"], sha256);
    assert_eq!(record.text(stage.folder()).map(|text| hex(&Sha256::digest(text))), Some(sha256));
    stage.verify_trail();
}

#[test]
fn a22_a_parameter_of_a_hundred_megabytes() {
    let stage = quiet_server();
    let mut peer = Peer::signed_in(&stage, ALICE);
    let value = vec![b'p'; HUNDRED_MB];
    let length = u32::try_from(HUNDRED_MB).unwrap().to_be_bytes();
    let bind = frame('B', &[&[0, 0, 0, 0, 0, 1][..], &length, &value, &[0, 0]].concat());
    let frames = [parse("", "select length($1::text)"), bind, execute(0), sync()].concat();
    stage.proxy.reset_peak_memory();
    let before = stage.proxy.peak_memory_kib();
    peer.write(&frames);
    assert_eq!(values(&peer.ready()), [HUNDRED_MB.to_string()]);
    let grown = stage.proxy.peak_memory_kib() - before;
    assert!(grown < 8 << 10, "memory grew by {grown} KiB");
    stage.verify_trail();
    let head = stage.documented_verifier().unwrap();
    let ours = stage.proxy.audit(&["verify", "--head", &head]);
    assert!(ours.status.success(), "{head}: {}", String::from_utf8_lossy(&ours.stdout));
    // What was bound belongs to the trail as much as the record that names it.
    let trail = stage.trail();
    let message = trail.iter().find_map(|record| record.0["statement"]["params"]["sha256"].as_str()).unwrap();
    std::fs::remove_file(stage.folder().join("audit/blobs/sha256").join(&message[..2]).join(message)).unwrap();
    let verify = stage.proxy.audit(&["verify"]);
    let told = String::from_utf8_lossy(&verify.stdout).into_owned() + &String::from_utf8_lossy(&verify.stderr);
    assert!(verify.status.code() == Some(2) && told.contains(message), "{told}");
    assert!(stage.documented_verifier().unwrap_err().contains(message));
}

/// Types, names that change, digits: a few bytes of a client must not be many of ours.
#[test]
fn a17_what_is_kept_beside_texts_has_a_bound() {
    let stage = quiet_server();
    let mut peer = Peer::signed_in(&stage, ALICE);
    let mut check = |what: &str, write: &dyn Fn(&mut Peer)| {
        stage.proxy.reset_peak_memory();
        let before = stage.proxy.peak_memory_kib();
        write(&mut peer);
        peer.ready();
        let grown = stage.proxy.peak_memory_kib() - before;
        assert!(grown < 32 << 10, "memory grew by {grown} KiB for {what}");
    };
    check("the types of 300 statements", &|peer| {
        let types = [&60_000_u16.to_be_bytes()[..], &23_u32.to_be_bytes().repeat(60_000)].concat();
        for number in 0..300 {
            peer.write(&frame('P', &[format!("s{number}\0select 1\0").as_bytes(), &types].concat()));
        }
        peer.write(&sync());
    });
    check("names that would be closed, while the server skips", &|peer| {
        peer.write(&[parse("", "selec"), frame('H', &[])].concat());
        while peer.message().0 != 'E' {}
        for number in 0..300 {
            peer.write(&parse(&format!("t{number}"), &"close a;".repeat(30_000)));
        }
        peer.write(&sync());
    });
    check("the digits of 18,000 numbers", &|peer| {
        let count = 18_000_u16.to_be_bytes();
        let typed = [&b"\0select 1\0"[..], &count, &1700_u32.to_be_bytes().repeat(18_000)].concat();
        let number = [&10_u32.to_be_bytes()[..], &[0, 1, 0x7f, 0xff, 0, 0, 0, 0, 0, 1]].concat();
        let values = [&[0, 0, 0, 1, 0, 1][..], &count, &number.repeat(18_000), &[0, 0]].concat();
        peer.write(&[frame('P', &typed), frame('B', &values), execute(0), sync()].concat());
    });
    stage.verify_trail();
}

/// A frame that promises a gigabyte and brings a kilobyte, and then its sender is gone.
#[test]
fn a2_a_promise_of_a_gigabyte_costs_nothing() {
    let stage = quiet_server();
    stage.proxy.reset_peak_memory();
    let mut peers: Vec<_> = (0..4).map(|_| Peer::signed_in(&stage, ALICE)).collect();
    let before = stage.proxy.peak_memory_kib();
    for (peer, tag) in peers.iter_mut().zip(['Q', 'P', 'B', 'F']) {
        peer.write(&[&[tag as u8][..], &0x3fff_fff0_u32.to_be_bytes(), &[b'x'; 1000]].concat());
    }
    for peer in peers {
        peer.vanish();
    }
    stage.wait_for_ends();
    let grown = stage.proxy.peak_memory_kib() - before;
    assert!(grown < 4 << 10, "memory grew by {grown} KiB");
    let statements = stage.trail().iter().filter(|record| record.kind() == "statement").count();
    assert_eq!(statements, 0);
}

/// What a session may take more while it carries any amount, in KiB.
const MORE_KIB: u64 = 4 << 10;

/// The client reads a result as slowly as it can without standing still.
fn read_slowly(rows: usize) {
    let stage = quiet_server();
    let mut peer = Peer::signed_in(&stage, ALICE);
    stage.proxy.reset_peak_memory();
    let before = stage.proxy.peak_memory_kib();
    peer.write(&query(&format!("select repeat('x', 20000) from generate_series(1, {rows})")));
    let (mut read, mut bytes) = (0, 0);
    loop {
        let (tag, body) = peer.message();
        match tag {
            'D' => (read, bytes) = (read + 1, bytes + body.len()),
            'Z' => break,
            _ => {}
        }
        if read == rows / 2 {
            // A pause while all that fits is on its way.
            Peer::signed_in(&stage, ALICE);
        }
    }
    assert_eq!((read, bytes), (rows, rows * 20_006));
    let grown = stage.proxy.peak_memory_kib() - before;
    assert!(grown < MORE_KIB, "memory grew by {grown} KiB for {bytes} bytes");
}

/// The server does not take what the client sends: a COPY into a table that somebody else has locked.
fn copy_slowly(megabytes: usize) {
    let stage = quiet_server();
    let mut peer = Peer::signed_in(&stage, ALICE);
    peer.write(&query("create table taken (line text)"));
    peer.ready();
    // A trigger that waits at the first row: the server has begun the COPY, and reads no further.
    peer.write(&query(
        "create function wait() returns trigger language plpgsql as \
         'begin perform pg_advisory_xact_lock(8); return new; end'; \
         create trigger wait before insert on taken for each row execute function wait(); ",
    ));
    peer.ready();
    let mut holder = Peer::signed_in(&stage, ALICE);
    holder.write(&query("select pg_advisory_lock(8)"));
    holder.ready();
    stage.proxy.reset_peak_memory();
    let before = stage.proxy.peak_memory_kib();
    peer.write(&query("copy taken from stdin"));
    assert_eq!(peer.message().0, 'G');
    let line = [&vec![b'y'; 65_535][..], b"\n"].concat();
    let megabyte = frame('d', &line).repeat(16);
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            for _ in 0..megabytes {
                peer.write(&megabyte);
            }
            peer.write(&frame('c', b""));
            results(&peer.ready())
        });
        // Time passes in which nothing is taken.
        holder.write(&query("select pg_sleep(3)"));
        holder.ready();
        assert!(!sender.is_finished(), "nobody has waited");
        let grown = stage.proxy.peak_memory_kib() - before;
        assert!(grown < MORE_KIB, "memory grew by {grown} KiB while the server took nothing");
        holder.write(&query("select pg_advisory_unlock(8)"));
        holder.ready();
        assert_eq!(sender.join().unwrap(), [format!("COPY {}", megabytes * 16)]);
    });
    let grown = stage.proxy.peak_memory_kib() - before;
    assert!(grown < MORE_KIB, "memory grew by {grown} KiB");
    stage.verify_trail();
}

#[test]
fn a8_a_large_result_read_slowly() {
    read_slowly(10_000);
}

#[test]
fn a8_a_server_that_takes_nothing() {
    copy_slowly(200);
}

mod long {
    #[test]
    fn a8_two_gigabytes_read_slowly() {
        super::read_slowly(100_000);
    }

    #[test]
    fn a8_two_gigabytes_that_the_server_does_not_take() {
        super::copy_slowly(2000);
    }

    #[test]
    fn a22_the_largest_statement_there_can_be() {
        super::largest_statement();
    }
}

/// PostgreSQL takes messages of nearly a gigabyte, and has no room for what it would make of them: its own error comes
/// back, and the text is on record.
fn largest_statement() {
    let stage = quiet_server();
    let mut peer = Peer::signed_in(&stage, ALICE);
    stage.proxy.reset_peak_memory();
    let before = stage.proxy.peak_memory_kib();
    let text = format!("select length('{}')", "a".repeat((1 << 30) - 100));
    peer.write(&query(&text));
    let answer = results(&peer.ready());
    let grown = stage.proxy.peak_memory_kib() - before;
    assert!(grown < 8 << 10, "memory grew by {grown} KiB");
    assert_eq!(answer.len(), 1, "{answer:?}");
    let record = stage.wait_for_record(|record| record.protocol() == "simple");
    assert_eq!(record.0["statement"]["text"]["sha256"], hex(&Sha256::digest(&text)));
    peer.write(&query("select 'alive'"));
    assert_eq!(values(&peer.ready()), ["alive"]);
    // One byte more than the protocol has room for is told as such.
    peer.write(&[b"Q", &0x4000_0000_u32.to_be_bytes()[..]].concat());
    assert_eq!(peer.refused().0, "08P01");
}

/// The client asks for two gigabytes and reads nothing; then it takes a few of them, and cancels the rest.
#[test]
fn a8_a_slow_reader_costs_no_memory() {
    let stage = quiet_server();
    let mut peer = Peer::signed_in(&stage, ALICE);
    stage.proxy.reset_peak_memory();
    let before = stage.proxy.peak_memory_kib();
    peer.write(&query("select repeat('x', 20000) from generate_series(1, 100000)"));
    // Another session's work shows that time has passed while nothing was read here.
    let mut other = Peer::signed_in(&stage, ALICE);
    other.write(&query("select pg_sleep(2)"));
    assert_eq!(results(&other.ready()), ["SELECT 1"]);
    for _ in 0..1000 {
        peer.message();
    }
    let grown = stage.proxy.peak_memory_kib() - before;
    assert!(grown < 4 << 10, "memory grew by {grown} KiB");
    let mut cancel = Peer::plain(stage.proxy.address);
    cancel.write(&super::peer::cancel(&peer.key));
    assert_eq!(results(&peer.ready()), ["57014"]);
}
