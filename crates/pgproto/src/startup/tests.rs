//! Tests: the untagged packets, above all those that must be refused at once.

use super::*;

/// A packet of this length word, code and rest.
fn packet(length: u32, code: u32, rest: &[u8]) -> Vec<u8> {
    [length.to_be_bytes().as_slice(), &code.to_be_bytes(), rest].concat()
}

fn check(raw: &[u8], expected: Result<Option<usize>, StartupError>) {
    assert_eq!(parse_untagged(raw).map(|came| came.map(|(_, consumed)| consumed)), expected, "{raw:02x?}");
}

const V3: u32 = 0x0003_0000;

#[test]
fn a_length_out_of_bounds_fails_on_its_four_bytes() {
    for came in [i32::MIN, -1, 0, 3, 4, 7, 10_001, i32::MAX] {
        check(&came.to_be_bytes(), Err(StartupError::Length { came }));
        check(&came.to_be_bytes()[..3], Ok(None));
    }
    for length in [8_u32, 9, 10_000] {
        check(&length.to_be_bytes(), Ok(None));
    }
}

#[test]
fn a_bad_code_or_size_fails_on_the_first_eight_bytes() {
    let size = |request, came| Err(StartupError::RequestSize { request, expected: 8, came });
    let version = |major, minor| Err(StartupError::Version { came: ProtocolVersion { major, minor } });
    for (length, code, expected) in [
        (8, SSL_CODE, Ok(Some(8))),
        (9, SSL_CODE, size("SSLRequest", 9)),
        (8, GSSENC_CODE, Ok(Some(8))),
        (10_000, GSSENC_CODE, size("GSSENCRequest", 10_000)),
        (8, CANCEL_CODE, Err(StartupError::CancelSize { came: 8 })),
        (15, CANCEL_CODE, Err(StartupError::CancelSize { came: 15 })),
        (16, CANCEL_CODE, Ok(None)),
        (268, CANCEL_CODE, Ok(None)),
        (269, CANCEL_CODE, Err(StartupError::CancelSize { came: 269 })),
        (9, V3, Ok(None)),
        (9, 0x0003_ffff, Ok(None)),
        (9, 0x0002_0000, version(2, 0)),
        (9, 0x0004_0000, version(4, 0)),
        (9, 80_877_101, version(1234, 5677)),
        (9, 0x4745_5420, version(0x4745, 0x5420)), // "GET " of HTTP
        (9, 0, version(0, 0)),
    ] {
        check(&packet(length, code, b""), expected);
    }
}

/// What PostgreSQL calls an `invalid startup packet layout`.
#[test]
fn parameters_are_pairs_and_end_with_a_zero_byte() {
    let name = BodyError::NoTerminator { what: "a parameter name", came: 0 };
    let value = BodyError::NoTerminator { what: "a parameter value", came: 0 };
    for (rest, expected) in [
        (&b"\0"[..], Ok(())),
        (b"user\0alice\0\0", Ok(())),
        (b"user\0\0\0", Ok(())),
        (b"", Err(name)),
        (b"user\0alice\0", Err(name)),
        (b"user\0", Err(value)),
        (b"user\0alice\0database\0\0", Err(name)),
        (b"user\0alice\0\0x", Err(BodyError::Trailing { came: 1 })),
        (b"\0\0", Err(BodyError::Trailing { came: 1 })),
        (b"user\0alice", Err(BodyError::NoTerminator { what: "a parameter value", came: 5 })),
    ] {
        let length = u32::try_from(rest.len() + 8).expect("short");
        let expected = expected.map(|()| Some(rest.len() + 8)).map_err(StartupError::Body);
        check(&packet(length, V3, rest), expected);
    }
}

#[test]
fn no_more_than_a_hundred_parameters() {
    for (count, expected) in [(100, Ok(Some(509))), (101, Err(StartupError::Parameters))] {
        let rest = [b"a\0bc\0".repeat(count), vec![0]].concat();
        check(&packet(u32::try_from(rest.len() + 8).expect("short"), V3, &rest), expected);
    }
}

#[test]
fn equal_names_are_all_shown_and_the_last_one_counts() {
    let rest = b"user\0alice\0user\0bob\0_pq_.x\0on\0\xff\0\xfe\0\0";
    let raw = packet(u32::try_from(rest.len() + 8).expect("short"), V3, rest);
    let Ok(Some((Untagged::Startup(packet), _))) = parse_untagged(&raw) else { panic!("a startup packet") };
    let names: Vec<&[u8]> = packet.parameters.iter().map(|(name, _)| name).collect();
    assert_eq!(names, [&b"user"[..], b"user", b"_pq_.x", b"\xff"]);
    assert_eq!(packet.parameters.lookup(b"user"), Some(&b"bob"[..]));
    assert_eq!(packet.parameters.lookup(b"User"), None);
    assert_eq!(packet.parameters.pq_options().collect::<Vec<_>>(), [(&b"_pq_.x"[..], &b"on"[..])]);
}

#[test]
fn what_follows_a_packet_is_left_alone() {
    let raw = [packet(8, SSL_CODE, b""), b"more".to_vec()].concat();
    assert_eq!(parse_untagged(&raw), Ok(Some((Untagged::SslRequest, 8))));
}

#[test]
fn a_cancel_secret_is_not_shown() {
    let raw = packet(16, CANCEL_CODE, b"\0\0\0\x07\x11\x22\x33\x44");
    let (packet, _) = parse_untagged(&raw).expect("well formed").expect("whole");
    assert_eq!(packet, Untagged::CancelRequest { pid: 7, secret: &[0x11, 0x22, 0x33, 0x44] });
    assert_eq!(format!("{packet:?}"), "CancelRequest(7, …)");
}
