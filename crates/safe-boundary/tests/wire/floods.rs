//! Many who have not signed in.

use std::fs;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::cancel::begin;
use super::peer::{Peer, SSL_REQUEST, V3_0, cancel as cancel_request, psql, startup};
use super::support::process::PATIENCE;
use super::support::proxy::{self, Proxy, Settings};
use super::support::psql::code_in;
use super::support::trail::Record;
use super::support::wire::{fields, query, results, values};
use super::support::{ALICE, BOB, Stage};

/// What the TLS state and the pending sign-in of one stranger may take, in KiB.
const STRANGER_KIB: u64 = 128;

/// 200 strangers, each with a start-up packet and then a megabyte of junk that nobody has asked for.
#[test]
fn a6_floods_before_the_sign_in_are_bounded() {
    let stage = Stage::start();
    let mut honest = Peer::signed_in(&stage, ALICE);
    Peer::signed_in(&stage, BOB);
    stage.proxy.reset_peak_memory();
    let before = stage.proxy.peak_memory_kib();
    let junk = vec![b'Q'; 1 << 20];
    thread::scope(|scope| {
        for half in 0..2 {
            let (stage, junk) = (&stage, &junk);
            scope.spawn(move || {
                let mut peers: Vec<_> = (0..100).filter_map(|_| stranger(stage)).collect();
                for (at, peer) in peers.iter_mut().enumerate() {
                    let _ = peer.try_write(&psql(V3_0, &format!("stranger{half}{at}@example.com"), &[]));
                }
                for peer in &mut peers {
                    let _ = peer.try_write(junk);
                }
                for peer in &mut peers {
                    peer.until_end();
                }
            });
        }
        for round in 0..50 {
            honest.write(&query(&format!("select {round}")));
            assert_eq!(values(&honest.ready()), [round.to_string()]);
        }
    });
    let grown = stage.proxy.peak_memory_kib() - before;
    assert!(grown < 200 * STRANGER_KIB, "memory grew by {grown} KiB");
    // The strangers' own address has had its hundred sign-ins that came to nothing; others get in.
    let mut after = Peer::plain_from([127, 0, 0, 2], stage.proxy.address).asking_for_tls(&stage);
    after.sign_in(&stage, BOB, V3_0, &[]);
    after.write(&query("select 'in'"));
    assert_eq!(values(&after.ready()), ["in"]);
}

/// A connection with TLS, if there is room for it.
fn stranger(stage: &Stage) -> Option<Peer> {
    let mut peer = Peer::plain(stage.proxy.address);
    peer.try_write(&SSL_REQUEST).ok()?;
    (!peer.has_ended_after(PATIENCE)).then(|| peer.encrypted(stage, &[]))
}

/// Nobody waits in a queue without end: one login has ten prompts at once, one address a hundred.
#[test]
fn a6_pending_sign_ins_are_capped() {
    let stage = Stage::start();
    let prompted = |login: &str| {
        let mut peer = Peer::tls(&stage);
        peer.write(&psql(V3_0, login, &[]));
        loop {
            match peer.message() {
                ('N', body) => return Ok((peer, code_in(&fields(&body)[&'M']).unwrap())),
                ('E', body) => return Err(fields(&body)[&'M'].clone()),
                _ => {}
            }
        }
    };
    let full = Some("too many sign-ins under way");
    let mut waiting: Vec<_> = (0..10).map(|_| prompted(ALICE).unwrap()).collect();
    assert_eq!(prompted("ALICE@example.com").err().as_deref(), full);
    for number in 0..90 {
        waiting.push(prompted(&format!("person{}@example.com", number / 9)).unwrap());
    }
    assert_eq!(prompted(BOB).err().as_deref(), full);
    // Who gets in makes room.
    let (mut alice, code) = waiting.remove(0);
    stage.idp.approve(&code, ALICE);
    alice.ready();
    prompted(BOB).unwrap();
    // Who goes away does too, but counts for a minute among those that came to nothing: nobody else is kept out by that.
    drop(waiting);
    let mut elsewhere = Peer::plain_from([127, 0, 0, 2], stage.proxy.address).asking_for_tls(&stage);
    elsewhere.sign_in(&stage, BOB, V3_0, &[]);
}

/// To begin costs the provider a request, and the trail two records: whoever only begins is stopped.
#[test]
fn a6_sign_ins_that_come_to_nothing_are_bounded() {
    let stage = Stage::start();
    let begin = || {
        let mut peer = Peer::tls(&stage);
        peer.write(&psql(V3_0, ALICE, &[]));
        peer
    };
    for _ in 0..10 {
        let mut peer = begin();
        peer.prompted();
        peer.tcp().shutdown(Shutdown::Write).unwrap();
        // The proxy closes when all is done that there is to do.
        peer.until_end();
    }
    let codes = stage.idp.codes_made();
    let (code, message, tags) = begin().refused();
    assert_eq!((code.as_str(), message.as_str()), ("53300", "too many sign-ins that came to nothing"));
    assert_eq!(tags, "RE");
    assert_eq!(stage.idp.codes_made(), codes, "the provider was asked for one more");
    let refused = stage.wait_for_record(|record| record.effect() == "refused");
    assert_eq!(refused.0["decision"]["reason"], "sign-ins that came to nothing");
    // She herself is somewhere else; and from there others may sign in, however often they do.
    let mut elsewhere = Peer::plain_from([127, 0, 0, 2], stage.proxy.address).asking_for_tls(&stage);
    elsewhere.sign_in(&stage, ALICE, V3_0, &[]);
    for _ in 0..12 {
        Peer::signed_in(&stage, BOB);
    }
}

/// Connections beyond the bound of an address are told so; those far beyond it are not even kept.
#[test]
fn d3_connections_of_one_address_are_capped() {
    let settings = Settings { server: "[limits]\nper_address = 3", ..Settings::default() };
    let stage = Stage::with(&settings);
    let mut sessions: Vec<_> = (0..3).map(|_| Peer::signed_in(&stage, ALICE)).collect();
    let mut fourth = Peer::tls(&stage);
    fourth.write(&psql(V3_0, ALICE, &[]));
    let (code, _, tags) = fourth.refused();
    assert_eq!((code.as_str(), tags.as_str()), ("53300", "RE"));
    // A cancel still finds its way.
    let victim = &mut sessions[0];
    begin(victim);
    let mut cancel = Peer::plain(stage.proxy.address);
    cancel.write(&cancel_request(&victim.key));
    assert_eq!(cancel.until_end(), b"");
    assert_eq!(results(&victim.ready()), ["57014"]);
    let begun = Instant::now();
    let mut idle: Vec<_> = (0..300).map(|_| Peer::plain(stage.proxy.address)).collect();
    let dropped =
        idle.iter_mut().rev().take(200).filter_map(|peer| peer.has_ended_after(PATIENCE).then_some(())).count();
    assert_eq!(dropped, 200);
    assert!(begun.elapsed() < Duration::from_secs(10), "strangers are kept without a bound");
}

/// No descriptors are left: sessions go on, nothing spins, and when strangers go all is as before.
#[test]
fn d2_without_descriptors_sessions_go_on() {
    let stage = Stage::start();
    let proxy = started_by_this_thread("safe-boundary");
    let mut honest = Peer::signed_in(&stage, ALICE);
    let open = fs::read_dir(format!("/proc/{proxy}/fd")).unwrap().count();
    let limit = |count: usize| {
        let count = format!("--nofile={count}:4096");
        assert!(Command::new("prlimit").args(["--pid", &proxy.to_string(), &count]).status().unwrap().success());
    };
    limit(open + 45);
    let strangers: Vec<_> = (0..100).map(|_| Peer::plain(stage.proxy.address)).collect();
    let before = processor_ticks(proxy);
    honest.write(&query("select pg_sleep(3)"));
    assert_eq!(results(&honest.ready()), ["SELECT 1"]);
    let spent = processor_ticks(proxy) - before;
    assert!(spent < 50, "{spent} hundredths of a second spent on nothing");
    drop(strangers);
    honest.write(&query("select 'on'"));
    assert_eq!(values(&honest.ready()), ["on"]);
    Peer::signed_in(&stage, BOB);
}

/// A record for each of many who are refused would let strangers fill the disk: some have one, the others are counted.
#[test]
fn d3_strangers_cannot_flood_the_journal() {
    let mut stage = Stage::with(&Settings { server: "[limits]\nper_address = 10000", ..Settings::default() });
    for _ in 0..1000 {
        let mut peer = Peer::plain(stage.proxy.address);
        peer.write(&psql(V3_0, ALICE, &[]));
        assert_eq!(peer.refused().0, "28000");
    }
    for _ in 0..300 {
        let mut peer = Peer::plain(stage.proxy.address);
        peer.write(&cancel_request(&[0; 8]));
        peer.until_end();
    }
    assert_eq!(stage.proxy.drain(), 0);
    let trail = stage.trail();
    let reason = |record: &Record| record.0["decision"]["reason"].as_str().unwrap_or("").to_owned();
    let (counts, single): (Vec<_>, Vec<_>) =
        trail.iter().filter(|record| record.effect() == "refused").partition(|record| reason(record).contains("more"));
    // The minute may have ended in between.
    let counted = |what: &str| -> usize {
        let told = counts.iter().map(|record| reason(record)).filter(|told| told.contains(what));
        told.map(|told| told.split(' ').next().unwrap().parse::<usize>().unwrap()).sum()
    };
    let cancels = trail.iter().filter(|record| record.kind() == "cancel").count();
    assert_eq!(single.len() + counted("start-ups"), 1000);
    assert_eq!(cancels + counted("cancel requests"), 300);
    assert!(single.len() <= 400 && cancels <= 200 * 2, "{} and {cancels} records", single.len());
    assert!(counts.iter().all(|record| record.0["client"]["address"] == "127.0.0.1"));
    stage.verify_trail();
}

/// What strangers call themselves is cut before it is recorded: a blob would cost three syncs, and stay.
#[test]
fn d3_names_of_strangers_make_no_blobs() {
    let mut stage = Stage::with(&Settings { server: "[limits]\nper_address = 10000", ..Settings::default() });
    let long = |number: usize| format!("{number}{}", "\u{1}".repeat(3_000));
    for number in 0..300 {
        let name = long(number);
        let mut peer = Peer::plain(stage.proxy.address);
        peer.write(&startup(V3_0, &[("user", &name), ("database", &name), ("application_name", &name)]));
        assert_eq!(peer.refused().0, "28000");
    }
    for (name, expected) in [("user", "08P01"), ("database", "08P01"), ("safe_boundary.role", "08P01")] {
        let mut peer = Peer::tls(&stage);
        peer.write(&psql(V3_0, ALICE, &[(name, &long(0))]));
        let (code, message, _) = peer.refused();
        assert_eq!(code, expected);
        assert!(message.contains(&format!("at most 255 bytes in the start-up parameter `{name}`")), "{message}");
    }
    let mut peer = Peer::tls(&stage);
    peer.write(&psql(V3_0, ALICE, &[("application_name", &long(0))]));
    assert_eq!(peer.refused().0, "28000", "a program that nobody knows");
    assert_eq!(stage.proxy.drain(), 0);
    let mut folders = vec![stage.folder().join("audit/blobs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            assert!(path.is_dir(), "{} is a blob", path.display());
            folders.push(path);
        }
    }
    let trail = stage.trail();
    let refused: Vec<_> = trail.iter().filter(|record| record.0["client"]["program"].is_string()).collect();
    assert!(refused.len() >= 200, "{}", refused.len());
    for record in refused {
        let text = |of: &str, name: &str| record.0[of][name].as_str().unwrap_or_default().to_owned();
        let said = [text("client", "login"), text("client", "program"), text("resource", "database")];
        assert!(said.iter().all(|name| name.len() <= 255), "{:?}", record.0);
        assert!(said.iter().any(|name| name.ends_with('…')), "{:?}", record.0);
    }
    stage.verify_trail();
}

/// Journal segments and blobs need descriptors too: strangers who take them all must not stop the trail for good.
#[test]
fn d2_without_descriptors_the_trail_goes_on() {
    let mut stage = Stage::start();
    let config = proxy::config(&stage.postgres, &stage.idp, &Settings::default());
    stage.proxy.kill();
    let small = config.replace("dir = \"audit\"", "dir = \"audit\"\nsegment = \"1MiB\"");
    assert_ne!(small, config);
    stage.proxy = Proxy::start(stage.folder(), &small);
    let proxy = started_by_this_thread("safe-boundary");
    let mut honest = Peer::signed_in(&stage, ALICE);
    let open = fs::read_dir(format!("/proc/{proxy}/fd")).unwrap().count();
    let count = format!("--nofile={}:4096", open + 45);
    assert!(Command::new("prlimit").args(["--pid", &proxy.to_string(), &count]).status().unwrap().success());
    let strangers: Vec<_> = (0..100).map(|_| Peer::plain(stage.proxy.address)).collect();
    // More than three segments, and texts that are blobs.
    let (mut done, mut refused) = (0, 0);
    for round in 0..600 {
        let size = if round % 50 == 0 { 40_000 } else { 10_000 };
        honest.write(&query(&format!("select {round} /* {} */", "c".repeat(size))));
        match results(&honest.ready()).as_slice() {
            [one] if one == "SELECT 1" => done += 1,
            [one] if one == "58030" => refused += 1,
            other => panic!("{other:?}"),
        }
    }
    drop(strangers);
    let begun = Instant::now();
    loop {
        honest.write(&query(&format!("select 'on' /* {} */", "c".repeat(40_000))));
        if results(&honest.ready()) == ["SELECT 1"] {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{done} done, {refused} refused, and it does not recover");
    }
    Peer::signed_in(&stage, BOB);
    stage.verify_trail();
}

/// Many who connect and go: who works meanwhile hardly feels it, and who comes meanwhile gets in.
#[test]
fn d3_sessions_hardly_feel_a_flood() {
    let stage = Stage::with(&Settings { log_statements: "none", ..Settings::default() });
    let mut honest = Peer::signed_in(&stage, ALICE);
    let mut statement = || {
        honest.write(&query("select 1"));
        honest.ready();
    };
    let newcomer = || drop(Peer::tls(&stage));
    times(200, &mut statement);
    let address = stage.proxy.address;
    // The flood takes its part of perhaps two processors; what must not be is a queue behind the strangers.
    let bound = |calm: Duration| calm * 3 + Duration::from_millis(5);
    let calm = times(1000, &mut statement);
    let (strangers, flooded) = among_strangers(address, Duration::ZERO, || times(1000, &mut statement));
    println!("statements, median and p99: {calm:?} calm, {flooded:?} among {strangers} strangers");
    assert!(flooded.0 < bound(calm.0), "{calm:?} {flooded:?}");
    // As fast as they come is faster than connections can be accepted; then all who come wait for the system.
    let calm = times(100, newcomer);
    let (strangers, flooded) = among_strangers(address, Duration::from_millis(10), || times(100, newcomer));
    println!("newcomers, median and p99: {calm:?} calm, {flooded:?} among {strangers} strangers");
    assert!(flooded.0 < bound(calm.0), "{calm:?} {flooded:?}");
}

/// Does something while strangers come and go, 50 for each `pause`; gives how many did.
fn among_strangers<T>(address: SocketAddr, pause: Duration, done: impl FnOnce() -> T) -> (usize, T) {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let strangers = scope.spawn(|| {
            let mut count = 0;
            while !stop.load(Ordering::Relaxed) {
                let due = Instant::now() + pause;
                count += (0..50).filter(|_| TcpStream::connect(address).is_ok()).count();
                thread::park_timeout(due.saturating_duration_since(Instant::now()));
            }
            count
        });
        let result = done();
        stop.store(true, Ordering::Relaxed);
        (strangers.join().unwrap(), result)
    })
}

/// How long something takes, done so often: median and 99th percentile.
fn times(count: usize, mut done: impl FnMut()) -> (Duration, Duration) {
    let mut times: Vec<_> = (0..count)
        .map(|_| {
            let begun = Instant::now();
            done();
            begun.elapsed()
        })
        .collect();
    times.sort();
    (times[count / 2], times[count * 99 / 100])
}

/// Sessions that do nothing: what each costs, and what is said to one more than there may be.
#[test]
fn d1_idle_sessions_cost_little_and_are_limited() {
    const SESSIONS: u64 = 40;
    let stage = Stage::with(&Settings { server: "[limits]\ntotal = 41\nper_address = 41", ..Settings::default() });
    let mut all = vec![Peer::signed_in(&stage, ALICE)];
    stage.proxy.reset_peak_memory();
    let before = stage.proxy.peak_memory_kib();
    all.extend((0..SESSIONS).map(|_| Peer::signed_in(&stage, ALICE)));
    let each = (stage.proxy.peak_memory_kib() - before) / SESSIONS;
    assert!(each < 160, "{each} KiB for a session, with its sign-in");
    let mut more = Peer::tls(&stage);
    more.write(&psql(V3_0, BOB, &[]));
    assert_eq!(more.refused().0, "53300");
    for peer in &mut all {
        peer.write(&query("select 'here'"));
        assert_eq!(values(&peer.ready()), ["here"]);
    }
    drop(all);
    stage.wait_for_ends();
    Peer::signed_in(&stage, BOB);
}

fn started_by_this_thread(program: &str) -> u32 {
    let children = fs::read_to_string("/proc/thread-self/children").unwrap();
    let is_wanted = |pid: &u32| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe.ends_with(program));
    children.split_whitespace().map(|pid| pid.parse().unwrap()).find(is_wanted).expect("a child of that name")
}

/// Time that a process has spent on the processor, in hundredths of a second.
fn processor_ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}
