//! Tests: what we say, and what others say.

use super::*;

#[test]
fn fields_come_in_the_order_clients_know_and_the_severity_chooses_the_message() {
    let denial =
        Notice::new(Severity::Error, SqlState::INSUFFICIENT_PRIVILEGE, "no").detail("a group\0 is missing").hint("ask");
    let prompt = Notice::new(Severity::Notice, SqlState::SUCCESSFUL_COMPLETION, "open it");
    for (notice, expected) in [
        (denial, &b"E\0\0\0\x37SERROR\0VERROR\0C42501\0Mno\0Da group is missing\0Hask\0\0"[..]),
        (prompt, b"N\0\0\0\x25SNOTICE\0VNOTICE\0C00000\0Mopen it\0\0"),
    ] {
        let mut raw = Vec::new();
        notice.encode(&mut raw);
        assert_eq!(String::from_utf8_lossy(&raw), String::from_utf8_lossy(expected));
    }
}

#[test]
fn a_long_text_is_cut_between_characters() {
    for (text, bytes) in [
        ("a".repeat(TEXT_BYTES_MAX), TEXT_BYTES_MAX),
        ("a".repeat(TEXT_BYTES_MAX + 1), TEXT_BYTES_MAX),
        ("ü".repeat(TEXT_BYTES_MAX), TEXT_BYTES_MAX - 1),
    ] {
        let sent = sendable(&text);
        assert_eq!(sent.len(), bytes);
        assert_eq!(sent.ends_with('…'), text.len() > TEXT_BYTES_MAX);
    }
}

#[test]
fn fields_of_others_are_checked_as_a_whole() {
    for (body, code, severity) in [
        (&b"SFEHLER\0VERROR\0C42601\0Mx\0\0"[..], Some(SqlState::SYNTAX_ERROR), Some(Severity::Error)),
        (b"SFATAL\0C57P01\0\0", Some(SqlState::ADMIN_SHUTDOWN), Some(Severity::Fatal)),
        (b"C4260\0\0", None, None),
        (b"\0", None, None),
    ] {
        let fields = Fields::parse(body).expect("well formed");
        assert_eq!((fields.sqlstate(), fields.severity()), (code, severity), "{body:?}");
    }
    for body in [&b""[..], b"Mx", b"Mx\0", b"Mx\0\0y", b"\0\0", b"M"] {
        assert!(Fields::parse(body).is_err(), "{body:?}");
    }
}

#[test]
fn every_severity_is_its_word() {
    for (word, tag) in [
        ("DEBUG", BackendTag::NoticeResponse),
        ("LOG", BackendTag::NoticeResponse),
        ("INFO", BackendTag::NoticeResponse),
        ("NOTICE", BackendTag::NoticeResponse),
        ("WARNING", BackendTag::NoticeResponse),
        ("ERROR", BackendTag::ErrorResponse),
        ("FATAL", BackendTag::ErrorResponse),
        ("PANIC", BackendTag::ErrorResponse),
    ] {
        let severity = Severity::from_bytes(word.as_bytes()).expect("a severity");
        assert_eq!((severity.as_str(), severity.tag()), (word, tag));
    }
    assert_eq!(Severity::from_bytes(b"error"), None);
}
