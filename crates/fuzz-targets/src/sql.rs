//! Statement texts and their parameters, as the records see them.
//!
//! Promises: a text that may change names is never taken for one that does not, whatever stands around it; every
//! parameter is in its record, and as it was sent.
//! Deliberately not here: what PostgreSQL itself prints for a value; `tests/conversation.rs` asks one.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use domain::audit::record::Parameters;
use domain::statement::params;
use pgproto::frontend::{Bind, Format};
use pgproto::tracker::TextFacts;
use serde_json::Value;

/// Any text of a statement.
pub fn sql_words(raw: &[u8]) {
    let text: Vec<u8> = raw.iter().copied().filter(|byte| *byte != 0).collect();
    let facts = TextFacts::of(&text);
    for nothing in [&b" \n\t"[..], b"/* \" ' */", b"-- '\n", b"/* /* */ */ "] {
        assert_eq!(TextFacts::of(&[nothing, &text].concat()), facts, "{} in front", String::from_utf8_lossy(nothing));
    }
    // What is in parentheses is a part of its statement (a rule's actions); without their end nothing runs.
    if text.contains(&b'(') {
        return;
    }
    // Behind any other text it is a statement of its own, or inside of something that may be run, or nobody can tell.
    for change in ["deallocate all", "Discard ALL", "prepare x as select 1", "do $$ begin end $$", "close all"] {
        let with = [&text, &b"\n;"[..], change.as_bytes()].concat();
        assert!(TextFacts::of(&with).changes_names() || hides(&with), "{}", String::from_utf8_lossy(&with));
    }
}

/// Whether the text is said to hide changes; only its `Debug` tells.
fn hides(text: &[u8]) -> bool {
    let shown = format!("{:?}", TextFacts::of(text));
    shown.contains("Hidden { statements: true") || shown.contains("portals: true")
}

/// Types that have a decoder, some that have none, and none at all.
const TYPES: [u32; 24] = [
    0, 16, 17, 18, 19, 20, 21, 23, 25, 26, 114, 700, 701, 1007, 1009, 1043, 1082, 1083, 1115, 1184, 1231, 1700, 2950,
    3802,
];

/// Any Bind with any types: the first byte says how many types and whether the session's texts are in an encoding of
/// their own, the next ones which types.
pub fn parameters(raw: &[u8]) {
    let Some((&many, rest)) = raw.split_first() else { return };
    let (kinds, body) = rest.split_at(usize::from(many % 16).min(rest.len()));
    let types: Vec<u32> = kinds.iter().map(|kind| TYPES[usize::from(*kind) % TYPES.len()]).collect();
    let Ok(bind) = Bind::parse(body) else { return };
    let encoding = (many & 16 != 0).then_some("GBK");
    assert_eq!(params::encode(&bind, &types, Parameters::Omit, encoding), None);
    let Some(json) = params::encode(&bind, &types, Parameters::Full, encoding) else {
        assert!(bind.params.is_empty());
        return;
    };
    assert!(json.len() <= 64 * body.len() + 200_000, "{} bytes of {}", json.len(), body.len());
    let recorded: Vec<Value> = serde_json::from_slice(&json).expect("a record is JSON");
    assert_eq!(recorded.len(), bind.params.len());
    for (index, (recorded, sent)) in recorded.iter().zip(bind.params.iter()).enumerate() {
        let text = recorded.get("value").and_then(Value::as_str);
        let bytes = recorded.get("value_b64").and_then(Value::as_str).map(|text| BASE64_STANDARD.decode(text).unwrap());
        match (sent, text, bytes) {
            (None, None, None) => assert_eq!(recorded["value"], Value::Null),
            (Some(sent), None, Some(bytes)) => assert_eq!(bytes, sent),
            (Some(sent), Some(text), None) if bind.format_of(index) != Format::Binary => {
                assert_eq!(text.as_bytes(), sent);
            }
            (Some(_), Some(_), None) => {}
            other => panic!("{recorded} of {other:?}"),
        }
    }
}
