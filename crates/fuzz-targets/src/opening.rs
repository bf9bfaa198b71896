//! The first bytes of a connection, before anyone is known.
//!
//! Promises: packets are what they were written as; what a start-up packet may not say does not pass, in any spelling
//! that PostgreSQL would understand.
//! Deliberately not here: TLS, and the order in which packets may come.

use pgproto::frontend::encode;
use pgproto::options::{self, Opt};
use pgproto::startup::{PACKET_BYTES_MAX, PACKET_BYTES_MIN, PARAMETERS_MAX, StartupPacket, Untagged, parse_untagged};
use safe_boundary::proxy::request::Request;
use safe_boundary::proxy::startup::Packet;

/// Any first bytes: packets, their parameters, and the switches in `options`.
pub fn startup(raw: &[u8]) {
    let mut rest = raw;
    while let Ok(Some((packet, consumed))) = parse_untagged(rest) {
        assert!((PACKET_BYTES_MIN..=PACKET_BYTES_MAX).contains(&consumed));
        let mut out = Vec::new();
        match packet {
            Untagged::SslRequest => encode::ssl_request(&mut out),
            Untagged::GssEncRequest => out.extend(&rest[..consumed]),
            Untagged::CancelRequest { pid, secret } => encode::cancel_request(&mut out, pid, secret).unwrap(),
            Untagged::Startup(packet) => {
                let pairs: Vec<(&[u8], &[u8])> = packet.parameters.iter().collect();
                assert!(pairs.len() <= PARAMETERS_MAX);
                encode::startup(&mut out, packet.version, &pairs).unwrap();
                served(&packet);
            }
        }
        assert_eq!(out, rest[..consumed], "a packet is what it was written as");
        rest = &rest[consumed..];
    }
    switches(raw);
}

fn served(packet: &StartupPacket<'_>) {
    assert!(packet.parameters.pq_options().all(|(name, _)| packet.parameters.lookup(name).is_some()));
    let parameters = packet.parameters.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
    let held = Packet { version: packet.version, parameters, server_name: None };
    let Ok(request) = Request::read(&held) else { return };
    assert!(!request.user.is_empty() && !request.database.is_empty());
    for (name, value) in &request.parameters {
        if name == "options" {
            for (name, _) in postgres_settings(value.as_bytes()) {
                assert!(!is_sealed(&name), "{value:?} sets {}", String::from_utf8_lossy(&name));
            }
        } else {
            assert!(!is_sealed(name.as_bytes()), "{name} passes");
        }
    }
    assert_eq!(request.parameters.iter().filter(|(name, _)| name == "options").count().max(1), 1);
}

/// Whether a setting changes who one is or what the server loads, in any case of letters, as `proxy/request.rs` refuses it.
fn is_sealed(name: &[u8]) -> bool {
    let name = String::from_utf8_lossy(name).to_ascii_lowercase();
    let sealed = ["role", "session_authorization", "replication", "user", "database", "options"];
    sealed.contains(&name.as_str()) || name.starts_with("safe_boundary.") || name.ends_with("_preload_libraries")
}

/// What PostgreSQL's `pg_split_opts` and `process_postgres_switches` make of `options`, written from its source.
fn postgres_settings(options: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let is_space = |byte: u8| matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r');
    let mut words = Vec::new();
    let mut at = 0;
    while at < options.len() {
        while at < options.len() && is_space(options[at]) {
            at += 1;
        }
        if at == options.len() {
            break;
        }
        let (mut word, mut escaped) = (Vec::new(), false);
        while at < options.len() && (escaped || !is_space(options[at])) {
            if !escaped && options[at] == b'\\' {
                escaped = true;
            } else {
                word.push(options[at]);
                escaped = false;
            }
            at += 1;
        }
        words.push(word);
    }
    let mut settings = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let assignment = match word.as_slice() {
            b"-c" => words.next().unwrap_or_default(),
            [b'-', b'c' | b'-', rest @ ..] => rest.to_vec(),
            other => panic!("a switch that is no setting: {:?}", String::from_utf8_lossy(other)),
        };
        let equals = assignment.iter().position(|byte| *byte == b'=').expect("a switch without a value passed");
        let name = assignment[..equals].iter().map(|byte| if *byte == b'-' { b'_' } else { *byte }).collect();
        settings.push((name, assignment[equals + 1..].to_vec()));
    }
    settings
}

/// What is read from `options` and joined again is read as the same, also by PostgreSQL.
fn switches(raw: &[u8]) {
    let read = options::parse(raw);
    let settings: Vec<(String, Vec<u8>)> = read
        .iter()
        .filter_map(|opt| match opt {
            Opt::Setting { name, value } => Some((name.clone(), value.clone())),
            Opt::Other(_) => None,
        })
        .collect();
    let joined = options::join(settings.iter().map(|(name, value)| (name.as_str(), value.as_slice())));
    let again: Vec<Opt> =
        settings.iter().map(|(name, value)| Opt::Setting { name: name.clone(), value: value.clone() }).collect();
    assert_eq!(options::parse(&joined), again);
    let theirs: Vec<(Vec<u8>, Vec<u8>)> =
        settings.into_iter().map(|(name, value)| (name.into_bytes(), value)).collect();
    assert_eq!(postgres_settings(&joined), theirs);
}
