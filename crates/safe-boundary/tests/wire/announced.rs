//! Addresses that load balancers announce, and that others pretend to.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use super::cancel::begin;
use super::peer::{Peer, SSL_REQUEST, V3_0, cancel, psql};
use super::support::postgres::free_port;
use super::support::process::{PATIENCE, Process, mortal};
use super::support::proxy::Settings;
use super::support::trail::Record;
use super::support::wire::{query, results, values};
use super::support::{ALICE, BOB, Stage};

/// The load balancer's address; from all others a header is garbage.
const BALANCER: [u8; 4] = [127, 0, 0, 9];

const TRUSTED: &str =
    "trusted_proxies = [\"127.0.0.9/32\", \"127.0.0.10/32\"]\nallow_plaintext = [\"198.51.100.0/24\"]";

fn trusting() -> Stage {
    Stage::with(&Settings { server: TRUSTED, ..Settings::default() })
}

fn v1(address: &str) -> Vec<u8> {
    format!("PROXY TCP4 {address} 127.0.0.1 50000 5432\r\n").into_bytes()
}

/// Version 2, with extensions as HAProxy and AWS send them.
fn v2(address: [u8; 4]) -> Vec<u8> {
    let body = [&address[..], &[127, 0, 0, 1, 0xc3, 0x50, 0x15, 0x38], &[3, 0, 4, 1, 2, 3, 4, 0xea, 0, 1, 1]].concat();
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n\x21\x11", &length[..], &body].concat()
}

/// A connection that begins as the load balancer's do.
fn announced(stage: &Stage, header: &[u8]) -> Peer {
    let mut peer = Peer::plain_from(BALANCER, stage.proxy.address);
    peer.write(header);
    peer
}

fn address_of(record: &Record) -> &str {
    record.0["client"]["address"].as_str().unwrap()
}

#[test]
fn an_announced_address_is_the_client_s() {
    let stage = trusting();
    let mut after_ssl_request = announced(&stage, &v1("192.0.2.1")).asking_for_tls(&stage);
    after_ssl_request.sign_in(&stage, ALICE, V3_0, &[]);
    let mut direct = announced(&stage, &v2([192, 0, 2, 2])).encrypted(&stage, &["postgresql"]);
    direct.sign_in(&stage, ALICE, V3_0, &[]);
    let mut plain = announced(&stage, &v2([198, 51, 100, 3]));
    plain.sign_in(&stage, ALICE, V3_0, &[]);
    let mut own = announced(&stage, b"PROXY UNKNOWN\r\n").asking_for_tls(&stage);
    own.sign_in(&stage, ALICE, V3_0, &[]);
    let mut checked = announced(&stage, b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0").asking_for_tls(&stage);
    checked.sign_in(&stage, ALICE, V3_0, &[]);
    let mut mapped = announced(&stage, b"PROXY TCP6 ::ffff:198.51.100.9 ::1 1 2\r\n");
    mapped.sign_in(&stage, ALICE, V3_0, &[]);
    // Who is not trusted is who the system says.
    let mut nobody_s = Peer::tls(&stage);
    nobody_s.sign_in(&stage, ALICE, V3_0, &[]);
    let expected = ["192.0.2.1", "192.0.2.2", "198.51.100.3", "127.0.0.9", "127.0.0.9", "198.51.100.9", "127.0.0.1"];
    let peers = [&mut after_ssl_request, &mut direct, &mut plain, &mut own, &mut checked, &mut mapped, &mut nobody_s];
    for (peer, address) in peers.into_iter().zip(expected) {
        peer.write(&query(&format!("select '{address}'")));
        assert_eq!(values(&peer.ready()), [address]);
        let text = format!("select '{address}'");
        let record = stage.wait_for_record(|record| record.0["statement"]["text"] == text.as_str());
        assert_eq!(address_of(&record), address);
        begin(peer);
        announced(&stage, &[v1("203.0.113.7"), cancel(&peer.key)].concat()).until_end();
        assert_eq!(results(&peer.ready()), ["57014"]);
    }
    let cancels = stage.trail().into_iter().filter(|record| record.kind() == "cancel").collect::<Vec<_>>();
    assert_eq!(cancels.iter().map(address_of).collect::<Vec<_>>(), ["203.0.113.7"; 7]);
    assert_eq!(cancels[0].0["client"]["port"], 50000);
}

/// From addresses that are not in the list, a header is garbage like any other.
#[test]
fn an_announcement_of_a_stranger_is_a_violation() {
    let stage = trusting();
    for header in [v1("198.51.100.1"), v2([198, 51, 100, 1]), b"PROXY UNKNOWN\r\n".to_vec()] {
        let mut peer = Peer::plain(stage.proxy.address);
        peer.write(&[header, psql(V3_0, ALICE, &[])].concat());
        let (code, message, tags) = peer.refused();
        assert_eq!((code.as_str(), tags.as_str()), ("08P01", "E"), "{message}");
        // Inside TLS it is no better.
        let mut peer = Peer::tls(&stage);
        peer.write(&v1("198.51.100.1"));
        assert_eq!(peer.refused().0, "08P01");
    }
    assert_eq!(stage.idp.codes_made(), 0);
}

/// Whoever reaches the port past the load balancer's rules must not pass for the load balancer itself.
#[test]
fn a_trusted_proxy_must_announce() {
    let stage = trusting();
    let long = [&b"PROXY UNKNOWN "[..], &[b'x'; 200]].concat();
    let huge = [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff"[..], &[0; 300]].concat();
    let garbage: [&[u8]; 7] = [
        &SSL_REQUEST,
        &psql(V3_0, ALICE, &[]),
        &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3],
        b"PROXY TCP4 192.0.2.1\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.1 70000 1\r\n",
        &long,
        &huge,
    ];
    for raw in garbage {
        let begun = Instant::now();
        let (code, message, tags) = announced(&stage, raw).refused();
        assert_eq!((code.as_str(), tags.as_str()), ("08P01", "E"), "{message}");
        assert!(message.starts_with("protocol violation: expected a"), "{message}");
        assert!(begun.elapsed() < Duration::from_secs(1), "{raw:?}: closed after {:?}", begun.elapsed());
    }
    // One header, not two; and nothing of it inside TLS.
    let two = [v1("198.51.100.1"), v1("198.51.100.2"), psql(V3_0, ALICE, &[])].concat();
    assert_eq!(announced(&stage, &two).refused().0, "08P01");
    // Bytes of the start-up that came with the header are none that came before TLS.
    let mut eager = announced(&stage, &[v1("192.0.2.1"), SSL_REQUEST.to_vec()].concat());
    assert_eq!(eager.bytes::<1>(), *b"S");
    eager.encrypted(&stage, &[]).sign_in(&stage, ALICE, V3_0, &[]);
    let mut early = announced(&stage, &[v1("192.0.2.1"), SSL_REQUEST.to_vec(), psql(V3_0, BOB, &[])].concat());
    let said = early.until_end();
    assert!(said.is_empty() || said == b"E", "{said:?}");
    assert_eq!(stage.idp.codes_made(), 1);
    // TLS is required from where the client is, not from where the load balancer is.
    assert_eq!(announced(&stage, &[v1("192.0.2.1"), psql(V3_0, ALICE, &[])].concat()).refused().0, "28000");
    stage.proxy.log.wait_for(|line| line.contains("a trusted proxy announces no client").then_some(()));
}

/// The header and the start-up packet have one deadline together.
#[test]
fn a5_a_slow_announcement_is_dropped() {
    let stage = trusting();
    let begun = Instant::now();
    thread::scope(|scope| {
        let header = v1("192.0.2.1");
        let beginnings: [Vec<u8>; 5] =
            [Vec::new(), b"PROXY ".to_vec(), b"\r\n\r\n\0\r\nQUIT".to_vec(), v2([192, 0, 2, 1])[..20].to_vec(), header];
        let mut silent: Vec<_> = beginnings.iter().map(|beginning| announced(&stage, beginning)).collect();
        let slow = scope.spawn(|| {
            let mut peer = announced(&stage, b"");
            let bytes = [v1("192.0.2.1"), [0, 0, 0x27, 0x10, 0, 3, 0, 0].to_vec(), vec![b'a'; 9992]].concat();
            for byte in bytes {
                if peer.try_write(&[byte]).is_err() || peer.has_ended_after(Duration::from_millis(150)) {
                    return begun.elapsed();
                }
            }
            panic!("ten thousand bytes at leisure");
        });
        for peer in &mut silent {
            assert_eq!(peer.until_end(), b"");
        }
        let slowest = slow.join().unwrap().max(begun.elapsed());
        assert!(slowest < Duration::from_secs(17), "dropped after {slowest:?} only");
    });
}

/// One client behind a load balancer must not use up what all clients behind it may have.
#[test]
fn d3_limits_count_announced_addresses() {
    let limited = format!("{TRUSTED}\n[limits]\nper_address = 2");
    let settings = Settings { server: Box::leak(limited.into()), ..Settings::default() };
    let stage = Stage::with(&settings);
    let connect = |address: &str| announced(&stage, &v1(address)).asking_for_tls(&stage);
    let mut sessions: Vec<_> = (0..2).map(|_| connect("192.0.2.1")).collect();
    for session in &mut sessions {
        session.sign_in(&stage, ALICE, V3_0, &[]);
    }
    let mut third = connect("192.0.2.1");
    third.write(&psql(V3_0, ALICE, &[]));
    assert_eq!(third.refused().0, "53300");
    let mut other = connect("192.0.2.2");
    other.sign_in(&stage, BOB, V3_0, &[]);
    let refused = stage.wait_for_record(|record| record.effect() == "refused");
    assert_eq!(address_of(&refused), "192.0.2.1");
    // Guesses of one address do not stop another one's cancel.
    let guess = [&sessions[0].key[..4], &[0; 4]].concat();
    for _ in 0..30 {
        announced(&stage, &[v1("192.0.2.3"), cancel(&guess)].concat()).until_end();
    }
    begin(&mut sessions[0]);
    announced(&stage, &[v1("192.0.2.4"), cancel(&sessions[0].key.clone())].concat()).until_end();
    assert_eq!(results(&sessions[0].ready()), ["57014"]);
}

/// A host has a whole /64 to choose its addresses from: it counts as one, and records tell which address it was.
#[test]
fn d3_a_network_of_ipv6_counts_as_one_address() {
    let limited = format!("{TRUSTED}\n[limits]\nper_address = 2");
    let settings = Settings { server: Box::leak(limited.into()), ..Settings::default() };
    let stage = Stage::with(&settings);
    let connect = |address: &str| {
        let header = format!("PROXY TCP6 {address} 2001:db8:9::9 50000 6432\r\n");
        announced(&stage, header.as_bytes()).asking_for_tls(&stage)
    };
    let _others = [connect("2001:db8:1:2::1"), connect("2001:db8:1:2:ffff::2")];
    let mut third = connect("2001:db8:1:2:3:4:5:6");
    third.write(&psql(V3_0, ALICE, &[]));
    assert_eq!(third.refused().0, "53300");
    let refused = stage.wait_for_record(|record| record.effect() == "refused");
    assert_eq!(address_of(&refused), "2001:db8:1:2:3:4:5:6");
    connect("2001:db8:1:3::1").sign_in(&stage, ALICE, V3_0, &[]);
}

/// A real load balancer in front, with a real psql before it; its health checks pass, and leave no trace.
#[test]
fn a_real_haproxy_announces_its_clients() {
    let stage = trusting();
    let (first, second) = (free_port(), free_port());
    let (server, socket) = (stage.proxy.address, stage.folder().join("haproxy.sock"));
    let config = format!(
        "global\n  stats socket {}\n\
         defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1m\n  timeout server 1m\n  option tcp-check\n  \
         tcp-check send-binary 0000000804d2162f\n  tcp-check expect binary 53\n\
         listen v1\n  bind 127.0.0.1:{first}\n  source 127.0.0.9\n  server db {server} send-proxy check inter 100ms\n\
         listen v2\n  bind 127.0.0.1:{second}\n  source 127.0.0.10\n  unique-id-format %[uuid()]\n  \
         server db {server} send-proxy-v2 proxy-v2-options unique-id,crc32c check inter 100ms\n",
        socket.display()
    );
    let file = stage.folder().join("haproxy.cfg");
    fs::write(&file, config).unwrap();
    let mut command = mortal("haproxy");
    let _haproxy = Process::start(command.args(["-db", "-f"]).arg(&file).stderr(Stdio::null()));
    // On a busy machine a check may be late, and the next one tells.
    let pass = |listeners: &[&str]| {
        let begun = Instant::now();
        while !listeners.iter().all(|name| passed_checks(&socket).iter().any(|passed| passed == name)) {
            assert!(begun.elapsed() < PATIENCE, "the checks of {listeners:?} do not pass");
        }
    };
    for (port, login, listener) in [(first, ALICE, "v1"), (second, BOB, "v2")] {
        pass(&[listener]);
        let conninfo = stage.conninfo(login).replace(&format!("port={}", server.port()), &format!("port={port}"));
        let said = stage.psql(login).to(conninfo).run(&["select 1"]);
        assert_eq!(said.lines(), ["1"]);
        let record = stage.wait_for_record(|record| record.login() == login && record.kind() == "statement");
        assert_eq!(address_of(&record), "127.0.0.1");
    }
    pass(&["v1", "v2"]);
    assert!(stage.trail().iter().all(|record| record.effect() != "refused"), "a check is on record");
}

/// The servers whose last check was answered as it should be, by the name of their section.
fn passed_checks(socket: &Path) -> Vec<String> {
    let Ok(mut stream) = UnixStream::connect(socket) else { return Vec::new() };
    stream.write_all(b"show stat\n").unwrap();
    let mut stat = String::new();
    stream.read_to_string(&mut stat).unwrap();
    let passed = stat.lines().filter(|line| line.contains(",db,") && line.contains(",L7OK,"));
    passed.map(|line| line.split(',').next().unwrap().to_owned()).collect()
}
