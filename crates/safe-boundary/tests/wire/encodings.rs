//! Texts in other encodings than UTF-8: is what stands on record what the server has read?

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::peer::{Peer, V3_0};
use super::support::trail::Record;
use super::support::wire::{execute, frame, parse, query, results, sync, values};
use super::support::{ALICE, Stage};

fn raw_query(text: &[u8]) -> Vec<u8> {
    frame('Q', &[text, &[0]].concat())
}

/// The bytes of the text on record, and the encoding that the record names.
fn text_of(record: &Record) -> (Vec<u8>, Option<String>) {
    let statement = &record.0["statement"];
    let bytes = match statement["text_b64"].as_str() {
        Some(base64) => BASE64_STANDARD.decode(base64).unwrap(),
        None => statement["text"].as_str().unwrap().as_bytes().to_vec(),
    };
    (bytes, statement["encoding"].as_str().map(str::to_owned))
}

/// What the server reads a literal as, in UTF-8.
fn reading(literal: &[u8]) -> Vec<u8> {
    [b"select encode(convert_to('", literal, b"', 'UTF8'), 'escape')"].concat()
}

/// What is on record of this session's simple statements, in order.
fn recorded(stage: &Stage, peer: &mut Peer) -> Vec<(Vec<u8>, Option<String>)> {
    peer.write(&frame('X', b""));
    peer.until_end();
    stage.wait_for_ends();
    let trail = stage.trail();
    let session = trail.iter().rfind(|record| record.kind() == "end").unwrap().session();
    let own = trail.iter().filter(|record| record.protocol() == "simple" && record.session() == session);
    own.map(text_of).collect()
}

/// Letters whose second byte is a backslash or looks like ASCII otherwise, and bytes that would be UTF-8 by accident.
#[test]
fn a21_texts_in_other_encodings_are_kept_as_they_came() {
    let cases: [(&str, &[u8], &str); 6] = [
        ("SJIS", b"\x83\x5c\x95\x5c", "\u{30bd}\u{8868}"),
        ("BIG5", b"\xa5\x5c\xb3\x5c", "\u{529f}\u{8a31}"),
        ("GBK", b"\xc3\xa9\x81\x5c", "\u{8305}\u{4e57}"),
        ("UHC", b"\xc3\xa9", "\u{cc55}"),
        ("LATIN1", b"\xc3\xa9\xff", "\u{c3}\u{a9}\u{ff}"),
        ("WIN1252", b"\x80\x92", "\u{20ac}\u{2019}"),
    ];
    let stage = Stage::start();
    for (encoding, bytes, letters) in cases {
        // At the start, by SET in the same segment, by a function in the same segment, and back again.
        let mut peer = Peer::signed_in_with(&stage, ALICE, V3_0, &[("client_encoding", encoding)]);
        peer.write(&raw_query(&reading(bytes)));
        let escaped: String = letters.bytes().map(|byte| format!("\\{byte:03o}")).collect();
        assert_eq!(values(&peer.ready()), std::slice::from_ref(&escaped), "{encoding}");
        let set = format!("set names '{encoding}'");
        let call = format!("select set_config('client_encoding', '{encoding}', false)");
        let segment = [
            query("set names 'UTF8'"),
            query("select '\u{e9}'"),
            query(&set),
            raw_query(&reading(bytes)),
            query("set client_encoding to utf8"),
            query("select '\u{fc}'"),
            query(&call),
            raw_query(&reading(bytes)),
        ];
        peer.write(&segment.concat());
        let told: Vec<_> = segment.iter().flat_map(|_| values(&peer.ready())).collect();
        assert_eq!((&told[1], told.last().unwrap()), (&escaped, &escaped), "{encoding}: {told:?}");
        let expected: [(&[u8], bool); 9] = [
            (&reading(bytes), true),
            (b"set names 'UTF8'", true),
            ("select '\u{e9}'".as_bytes(), false),
            (set.as_bytes(), false),
            (&reading(bytes), true),
            (b"set client_encoding to utf8", true),
            ("select '\u{fc}'".as_bytes(), false),
            (call.as_bytes(), false),
            (&reading(bytes), true),
        ];
        let expected = expected.map(|(text, other)| (text.to_vec(), other.then(|| encoding.to_owned())));
        assert_eq!(recorded(&stage, &mut peer), expected, "{encoding}");
        // What happens to be UTF-8 is not shown as letters that the server has not read.
        let trail = stage.trail();
        let shown = trail.iter().filter(|record| record.0["statement"]["encoding"] == encoding);
        assert!(shown.clone().count() > 0);
        assert!(shown.clone().all(|record| record.0["statement"]["text"].as_str().is_none_or(str::is_ascii)));
        stage.verify_trail();
    }
}

/// A statement is read when it is parsed, a parameter when it is bound.
#[test]
fn a21_parameters_and_prepared_texts_have_their_own_encoding() {
    let stage = Stage::start();
    let mut peer = Peer::signed_in_with(&stage, ALICE, V3_0, &[("client_encoding", "GBK")]);
    let text = b"select '\xc3\xa9' || $1::text";
    let parse_gbk = frame('P', &[b"s\0", &text[..], &[0, 0, 1, 0, 0, 0, 25]].concat());
    let bind = |value: &[u8]| {
        let size = u32::try_from(value.len()).unwrap().to_be_bytes();
        frame('B', &[b"\0s\0\0\0\0\x01", &size[..], value, &[0, 0]].concat())
    };
    let (first, second) = ([bind(b"\xc3\xa9"), execute(0), sync()], [bind("\u{e9}".as_bytes()), execute(0), sync()]);
    peer.write(&[&[parse_gbk, sync()][..], &first, &[query("set names 'utf8'")], &second].concat().concat());
    let answers: Vec<_> = (0..4).map(|_| peer.ready()).collect();
    let told: Vec<_> = answers.iter().flat_map(|answer| values(answer)).collect();
    assert_eq!(told.last().unwrap(), "\u{8305}\u{e9}");
    peer.write(&frame('X', b""));
    peer.until_end();
    stage.wait_for_ends();
    let trail = stage.trail();
    let executed: Vec<_> = trail.iter().filter(|record| record.protocol() == "execute").collect();
    for record in &executed {
        assert_eq!(text_of(record), (text.to_vec(), Some("GBK".to_owned())), "read when it was parsed");
    }
    let param = |at: usize| executed[at].0["statement"]["params"][0].clone();
    assert_eq!((&param(0)["value_b64"], &param(0)["encoding"]), (&"w6k=".into(), &"GBK".into()));
    assert_eq!((&param(1)["value"], param(1).get("encoding")), (&"\u{e9}".into(), None));
}

/// In UTF-8 itself: what is none, letters that hide or turn the line round, and strings that mean what settings say.
#[test]
fn a21_odd_bytes_and_strings_in_utf_8() {
    let stage = Stage::start();
    let mut peer = Peer::signed_in(&stage, ALICE);
    let cases: [(&[u8], &str); 10] = [
        (b"select '\xff'", "22021"),
        (b"select '\xc0\x80'", "22021"),
        (b"select '\xed\xa0\x80'", "22021"),
        (b"select '\xe2\x82'", "22021"),
        (b"\xef\xbb\xbfselect 1", "42601"),
        ("select '\u{202e}gnp.exe\u{200b}\u{2028}'".as_bytes(), "SELECT 1"),
        (b"select U&'\\0041\\+01F600', E'\\x41\\'\\n'", "SELECT 1"),
        (b"set standard_conforming_strings = off", "SET"),
        (b"select 'a\\'; select 2 --'", "SELECT 1"),
        (b"select 'a''b\\\\'", "SELECT 1"),
    ];
    for (text, expected) in &cases {
        peer.write(&raw_query(text));
        assert_eq!(results(&peer.ready()), [*expected], "{}", String::from_utf8_lossy(text));
    }
    // While strings mean something else, what stands in them is not taken for words.
    peer.write(&[query("set escape_string_warning = off"), query("select 'x\\'; discard all; --'")].concat());
    peer.ready();
    assert_eq!(results(&peer.ready()), ["SELECT 1"]);
    peer.write(&[parse("kept", "select 'kept'"), sync(), query("select 'y\\'; deallocate kept; --'")].concat());
    peer.ready();
    peer.ready();
    peer.write(&[frame('B', b"\0kept\0\0\0\0\0\0\0"), execute(0), sync()].concat());
    assert_eq!(values(&peer.ready()), ["kept"]);
    let all = recorded(&stage, &mut peer);
    for ((text, _), (found, encoding)) in cases.iter().zip(&all) {
        assert_eq!((found.as_slice(), encoding), (*text, &None), "{}", String::from_utf8_lossy(text));
    }
    let trail = stage.trail();
    let executed = trail.iter().find(|record| record.protocol() == "execute").unwrap();
    assert_eq!(executed.0["statement"]["text"], "select 'kept'");
}
