//! Tests: each rule by which a client message is refused.

use super::*;

fn body<T>(tag: FrontendTag, cause: BodyError) -> Result<T, FrontendError> {
    Err(FrontendError::Body { tag, cause })
}

#[test]
fn statement_text_has_exactly_one_zero_byte_at_its_end() {
    let what = "the statement text";
    let short = |came| body(FrontendTag::Query, BodyError::NoTerminator { what, came });
    let long = |came| body(FrontendTag::Query, BodyError::Trailing { came });
    for (raw, expected) in [
        (&b"select 1\0"[..], Ok(Query { text: b"select 1" })),
        (b"\0", Ok(Query { text: b"" })),
        (b"\xff\xfe\0", Ok(Query { text: b"\xff\xfe" })),
        (b"", short(0)),
        (b"select 1", short(8)),
        (b"select 1\0drop table t\0", long(13)),
        (b"\0\0", long(1)),
    ] {
        assert_eq!(Query::parse(raw), expected, "{raw:?}");
    }
}

#[test]
fn a_row_limit_of_zero_or_less_is_none() {
    for (raw, max_rows) in
        [(*b"\0\0\0\0\0", 0), (*b"\0\0\0\0\x07", 7), (*b"\0\x7f\xff\xff\xff", 0x7fff_ffff), (*b"\0\xff\xff\xff\xff", 0)]
    {
        assert_eq!(Execute::parse(&raw).map(|execute| execute.max_rows), Ok(max_rows));
    }
}

#[test]
fn format_codes_are_none_one_or_each() {
    let count = |came| Err(FrontendError::FormatCount { tag: FrontendTag::Bind, expected: 3, came });
    for (codes, expected) in [
        (&[][..], Ok([Format::Text; 3])),
        (&[1][..], Ok([Format::Binary; 3])),
        (&[0, 1, 7], Ok([Format::Text, Format::Binary, Format::Other(7)])),
        (&[0, 1], count(2)),
        (&[0, 1, 0, 1], count(4)),
    ] {
        let mut raw = vec![0, 0, 0, u8::try_from(codes.len()).expect("few")];
        raw.extend(codes.iter().flat_map(|&code| [0, code]));
        raw.extend(*b"\0\x03\0\0\0\x011\xff\xff\xff\xff\0\0\0\0\0\0");
        let formats = Bind::parse(&raw).map(|bind| [0, 1, 2].map(|index| bind.format_of(index)));
        assert_eq!(formats, expected, "{codes:?}");
    }
}

#[test]
fn every_length_of_a_value_is_checked_before_anyone_walks_the_list() {
    let what = "a parameter value";
    for (values, expected) in [
        (&b"\0\x02\0\0\0\x02ab\xff\xff\xff\xff"[..], Ok(vec![Some(&b"ab"[..]), None])),
        (b"\0\x01\0\0\0\0", Ok(vec![Some(b"")])),
        (b"\0\0", Ok(vec![])),
        (b"\0\x01\xff\xff\xff\xfe", Err(BodyError::NegativeLength { what, came: -2 })),
        (b"\0\x01\x80\0\0\0", Err(BodyError::NegativeLength { what, came: i32::MIN })),
        (b"\0\x01\x7f\xff\xff\xff", Err(BodyError::Short { what, expected: 0x7fff_ffff, came: 2 })),
        (b"\0\x01\0\0\0\x03", Err(BodyError::Short { what, expected: 3, came: 2 })),
        (b"\xff\xff", Err(BodyError::Short { what, expected: 4, came: 2 })),
    ] {
        let raw = [b"\0\0\0\0", values, b"\0\0"].concat();
        match expected {
            Ok(expected) => {
                let params = Bind::parse(&raw).expect("well formed").params;
                assert_eq!((params.iter().len(), params.iter().collect::<Vec<_>>()), (expected.len(), expected));
            }
            Err(cause) => assert_eq!(Bind::parse(&raw), body(FrontendTag::Bind, cause), "{values:?}"),
        }
    }
}

#[test]
fn a_target_is_a_statement_or_a_portal() {
    for (raw, describe, close) in [
        (&b"Sx\0"[..], Ok(Target::Statement(&b"x"[..])), Ok(Target::Statement(&b"x"[..]))),
        (b"P\0", Ok(Target::Portal(b"")), Ok(Target::Portal(b""))),
        (
            b"s\0",
            Err(FrontendError::Target { tag: FrontendTag::Describe, came: b's' }),
            Err(FrontendError::Target { tag: FrontendTag::Close, came: b's' }),
        ),
    ] {
        assert_eq!(Describe::parse(raw).map(|describe| describe.target), describe);
        assert_eq!(Close::parse(raw).map(|close| close.target), close);
    }
}

#[test]
fn errors_say_what_was_expected_and_what_came() {
    let error = Query::parse(b"select 1\0x").expect_err("bytes after the end");
    assert_eq!(error.to_string(), "malformed Query message: expected the end of the message, came 1 more bytes");
    let error = Describe::parse(b"X\0").expect_err("no such target");
    assert_eq!(error.to_string(), "malformed Describe message: expected `S` or `P`, came byte 0x58");
}
