//! Before the start-up packet is read: encryption requests, lengths, silence.

use std::thread;
use std::time::{Duration, Instant};

use super::peer::{GSSENC_REQUEST, Peer, SSL_REQUEST, V3_0, cancel, psql, startup};
use super::support::wire::{fields, query, values};
use super::support::{ALICE, Stage};

/// Lengths that no packet has, at its beginning.
const LENGTHS: [u32; 9] = [0, 3, 4, 7, 10_001, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff];

/// What a connection may stay open for, in a test of what is closed at once.
const AT_ONCE: Duration = Duration::from_secs(1);

#[test]
fn a1_bytes_in_the_clear_never_reach_the_inside_of_tls() {
    let stage = Stage::start();
    let start = psql(V3_0, ALICE, &[]);
    let client_hello = [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[7; 507]].concat();
    let cases: [&[u8]; 5] = [b"\0", &start, &client_hello, &SSL_REQUEST, &query("select 1")];
    for smuggled in cases {
        let mut peer = Peer::plain(stage.proxy.address);
        peer.write(&[&SSL_REQUEST, smuggled].concat());
        let said = peer.ends_within(AT_ONCE, "bytes after SSLRequest");
        assert!(said.is_empty() || said == b"E", "{smuggled:?} was answered {said:?}");
    }
    assert_eq!(stage.idp.codes_made(), 0);
    // Bytes after a cancel request are nobody's.
    let mut peer = Peer::plain(stage.proxy.address);
    peer.write(&[cancel(&[0; 8]), start].concat());
    assert_eq!(peer.ends_within(AT_ONCE, "bytes after a cancel request"), b"");
    assert_eq!(stage.idp.codes_made(), 0);
}

#[test]
fn a2_lengths_that_no_startup_packet_has() {
    let stage = Stage::start();
    let mut packets: Vec<Vec<u8>> =
        LENGTHS.iter().map(|length| [&length.to_be_bytes()[..], &[0, 3, 0, 0]].concat()).collect();
    packets.push(b"\0\0\0\x10\0\x03\0\0useralic".to_vec());
    packets.push(b"\0\0\0\x12\0\x03\0\0user\0alice".to_vec());
    let mut without_end = startup(V3_0, &[("user", ALICE)]);
    without_end.pop();
    without_end[3] -= 1;
    packets.push(without_end);
    packets.push(startup(V3_0, &[("a", "b"); 101]));
    // What is allocated once at the first connection is no growth.
    Peer::tls(&stage).write(&packets[0]);
    stage.proxy.reset_peak_memory();
    let before = stage.proxy.peak_memory_kib();
    for packet in &packets {
        for is_tls in [false, true] {
            let mut peer = if is_tls { Peer::tls(&stage) } else { Peer::plain(stage.proxy.address) };
            peer.write(packet);
            let begun = Instant::now();
            let said = peer.last_messages();
            assert!(begun.elapsed() < AT_ONCE, "{packet:?}: closed after {:?}", begun.elapsed());
            let codes: Vec<_> =
                said.iter().filter(|(tag, _)| *tag == 'E').map(|(_, body)| fields(body)[&'C'].clone()).collect();
            assert_eq!(codes, ["08P01"], "{packet:?} on TLS: {is_tls}");
        }
    }
    let grown = stage.proxy.peak_memory_kib() - before;
    assert!(grown < 1024, "memory grew by {grown} KiB");
}

/// Silence at each place where something is expected, and one byte now and then; meanwhile others work.
#[test]
fn a5_silence_and_slow_talkers_are_dropped() {
    let stage = Stage::start();
    let mut honest = Peer::signed_in(&stage, ALICE);
    let address = stage.proxy.address;
    let begun = Instant::now();
    let silent = [&b""[..], &[0, 0], &[0, 0, 0, 40, 0, 3], &SSL_REQUEST, &[0x16, 3, 1], &GSSENC_REQUEST];
    let mut peers: Vec<Peer> = silent
        .iter()
        .map(|beginning| {
            let mut peer = Peer::plain(address);
            peer.write(beginning);
            peer
        })
        .collect();
    let mut in_tls = Peer::tls(&stage);
    in_tls.write(&[0, 0]);
    peers.push(in_tls);
    let (mut slow, packet) = (Peer::plain(address), [&[0, 0, 0x27, 0x10, 0, 3, 0, 0][..], &[b'a'; 9992]].concat());
    let mut slow_tls = Peer::tls(&stage);
    slow_tls.write(&[0]);
    let talkers = thread::scope(|scope| {
        let talk = |peer: &mut Peer| {
            for byte in &packet {
                if peer.try_write(&[*byte]).is_err() || peer.has_ended_after(Duration::from_millis(100)) {
                    return begun.elapsed();
                }
            }
            panic!("ten thousand bytes at leisure");
        };
        let (first, second) = (scope.spawn(move || talk(&mut slow)), scope.spawn(move || talk(&mut slow_tls)));
        assert_eq!(values_of(&mut honest), ["1"]);
        [first.join().unwrap(), second.join().unwrap()]
    });
    for peer in &mut peers {
        peer.until_end();
    }
    for elapsed in [talkers[0], talkers[1], begun.elapsed()] {
        assert!(elapsed < Duration::from_secs(17), "dropped after {elapsed:?} only");
    }
    assert_eq!(values_of(&mut honest), ["1"]);
}

fn values_of(honest: &mut Peer) -> Vec<String> {
    honest.write(&query("select 1"));
    values(&honest.ready())
}

#[test]
fn encryption_is_asked_for_in_every_order() {
    let stage = Stage::start();
    let address = stage.proxy.address;
    // GSSAPI first, as libpq with a ticket does.
    let mut peer = Peer::plain(address);
    peer.write(&GSSENC_REQUEST);
    assert_eq!(peer.bytes::<1>(), *b"N");
    peer.write(&SSL_REQUEST);
    assert_eq!(peer.bytes::<1>(), *b"S");
    peer.encrypted(&stage, &["postgresql"]).sign_in(&stage, ALICE, V3_0, &[]);
    // Twice the same.
    let mut peer = Peer::plain(address);
    peer.write(&GSSENC_REQUEST);
    assert_eq!(peer.bytes::<1>(), *b"N");
    peer.write(&GSSENC_REQUEST);
    assert_eq!(peer.ends_within(AT_ONCE, "GSSENCRequest twice"), b"");
    // Inside TLS.
    for request in [SSL_REQUEST, GSSENC_REQUEST] {
        let mut peer = Peer::tls(&stage);
        peer.write(&request);
        assert_eq!(peer.ends_within(AT_ONCE, "an encryption request inside TLS"), b"");
    }
}

#[test]
fn a25_direct_tls_is_for_postgresql_alone() {
    let stage = Stage::start();
    let address = stage.proxy.address;
    let mut direct = Peer::plain(address).encrypted(&stage, &["postgresql"]);
    direct.sign_in(&stage, ALICE, V3_0, &[]);
    assert_eq!(values_of(&mut direct), ["1"]);
    Peer::plain(address).encrypted(&stage, &["h2", "postgresql"]).sign_in(&stage, ALICE, V3_0, &[]);
    let codes = stage.idp.codes_made();
    for alpn in [&[][..], &["h2"], &["http/1.1"], &["postgresq"], &["h2", "http/1.1"]] {
        for hello in [&psql(V3_0, ALICE, &[])[..], b"GET / HTTP/1.1\r\n\r\n"] {
            let mut peer = Peer::plain(address).encrypted(&stage, alpn);
            // The refusal may come before or after the first write.
            let _ = peer.try_write(hello);
            assert_eq!(peer.ends_within(AT_ONCE, "another ALPN"), b"", "{alpn:?}");
        }
    }
    let mut http = Peer::plain(address);
    http.write(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n");
    assert_eq!(http.refused().0, "08P01");
    assert_eq!(stage.idp.codes_made(), codes);
}
