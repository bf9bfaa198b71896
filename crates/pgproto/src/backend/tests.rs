//! Tests: each rule by which a server message is refused.

use super::*;

#[test]
fn the_rows_of_a_command_are_the_number_at_the_end_of_its_tag() {
    for (tag, rows) in [
        ("INSERT 0 5", Some(5)),
        ("UPDATE 3", Some(3)),
        ("DELETE 0", Some(0)),
        ("MERGE 2", Some(2)),
        ("SELECT 7", Some(7)),
        ("COPY 9", Some(9)),
        ("FETCH 18446744073709551615", Some(u64::MAX)),
        ("FETCH 18446744073709551616", None),
        ("CREATE TABLE", None),
        ("BEGIN", None),
        ("SELECT", None),
        ("COPY +9", None),
        ("COPY -1", None),
        ("COPY ", None),
        ("9", None),
        ("", None),
    ] {
        assert_eq!(CommandComplete { tag: tag.as_bytes() }.rows(), rows, "{tag}");
    }
    assert_eq!(CommandComplete { tag: b"\xff 1" }.rows(), None);
}

#[test]
fn a_server_is_trusted_no_more_than_a_client() {
    assert_eq!(ReadyForQuery::parse(b"X"), Err(BackendError::Status { came: b'X' }));
    for body in [&b""[..], b"II"] {
        assert!(ReadyForQuery::parse(body).is_err());
    }
    for (secret, fits) in [(0, false), (3, false), (4, true), (256, true), (257, false)] {
        let body = [vec![0; 4], vec![7; secret]].concat();
        let refused = Err(BackendError::SecretSize { came: secret });
        let came = BackendKeyData::parse(&body).map(|key| key.secret.len());
        assert_eq!(came, if fits { Ok(secret) } else { refused });
    }
    for (body, fits) in [
        (&b"\0\0\0\0"[..], true),
        (b"\0\0\0\0x", false),
        (b"\0\0\0", false),
        (b"\0\0\0\x05abc", false),
        (b"\0\0\0\x05abcde", false),
        (b"\0\0\0\x0aSCRAM-SHA-256\0", false),
        (b"\0\0\0\x0a\0", true),
        (b"\0\0\0\x0a\0x", false),
    ] {
        assert_eq!(Authentication::parse(body).is_ok(), fits, "{body:?}");
    }
    for (body, fits) in [
        (&b"\0\x03\0\0\0\0\0\x01_pq_.x\0"[..], true),
        (b"\0\x03\0\0\0\0\0\x02_pq_.x\0", false),
        (b"\0\x03\0\0\0\0\0\0_pq_.x\0", false),
        (b"\0\x03\0\0\xff\xff\xff\xff", false),
    ] {
        assert_eq!(NegotiateProtocolVersion::parse(body).is_ok(), fits, "{body:?}");
    }
}

#[test]
fn secrets_are_not_shown() {
    let key = BackendKeyData { pid: 7, secret: b"secret" };
    assert_eq!(format!("{key:?}"), "BackendKeyData { pid: 7, .. }");
    assert_eq!(format!("{:?}", Authentication::SaslContinue(b"nonce")), "SaslContinue(…)");
}
