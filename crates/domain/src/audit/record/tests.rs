use serde_json::{Value, json};

use super::*;
use crate::audit::id::IdSource;

/// Says where a value is not what a schema asks for; knows the keywords that the schema of records uses.
fn fault(root: &Value, schema: &Value, value: &Value, at: &str) -> Option<String> {
    let Some(schema) = schema.as_object() else { return Some(format!("{at}: the schema is no object")) };
    schema.iter().find_map(|(keyword, expected)| {
        let wrong = |what: &str| Some(format!("{at}: {keyword} {expected}: {what} {value}"));
        let holds = match keyword.as_str() {
            "$ref" => {
                let target = root.pointer(expected.as_str().unwrap().trim_start_matches('#')).unwrap();
                return fault(root, target, value, at);
            }
            "anyOf" => expected.as_array().unwrap().iter().any(|one| fault(root, one, value, at).is_none()),
            "type" => match expected.as_str().unwrap() {
                "object" => value.is_object(),
                "array" => value.is_array(),
                "string" => value.is_string(),
                "integer" => value.is_u64() || value.is_i64(),
                "boolean" => value.is_boolean(),
                "null" => value.is_null(),
                other => panic!("type {other} is not known to this test"),
            },
            "const" => value == expected,
            "enum" => expected.as_array().unwrap().contains(value),
            "minimum" => value.as_i64().is_none_or(|value| value >= expected.as_i64().unwrap()),
            "maximum" => value.as_i64().is_none_or(|value| value <= expected.as_i64().unwrap()),
            "required" => expected.as_array().unwrap().iter().all(|name| value.get(name.as_str().unwrap()).is_some()),
            "additionalProperties" => {
                let known = schema["properties"].as_object().unwrap();
                value.as_object().is_none_or(|fields| fields.keys().all(|name| known.contains_key(name)))
            }
            "properties" => {
                return expected
                    .as_object()
                    .unwrap()
                    .iter()
                    .find_map(|(name, schema)| fault(root, schema, value.get(name)?, &format!("{at}/{name}")));
            }
            "items" => {
                let mut items = value.as_array().into_iter().flatten();
                return items.find_map(|item| fault(root, expected, item, &format!("{at}[]")));
            }
            "format" => value.as_str().unwrap().parse::<Timestamp>().is_ok(),
            "pattern" | "description" | "title" | "$schema" | "$id" | "$defs" => true,
            other => panic!("keyword {other} is not known to this test"),
        };
        if holds { None } else { wrong("does not hold for") }
    })
}

fn schema() -> Value {
    serde_json::from_str(include_str!("../../../../../docs/record.schema.json")).unwrap()
}

fn head(kind: Kind, session: bool) -> Head<'static> {
    let (mut ids, time) = (IdSource::new([3; 6]), Timestamp::UNIX_EPOCH);
    let session = session.then(|| ids.session(time));
    Head { id: ids.record(time), time, node: "proxy-1", kind, session, seq: 7 }
}

/// Encodes one record, holds it against the schema, and gives it back.
fn encode(kind: Kind, context: &Context, body: &Body<'_>) -> (Value, Vec<u8>, Vec<Blob>) {
    let mut batch = Batch::default();
    batch.push(&head(kind, kind != Kind::Journal), context, body);
    let raw = batch.entries().next().unwrap().to_vec();
    assert!(raw.len() <= ENTRY_BYTES_MAX, "{} bytes", raw.len());
    assert!(!raw.contains(&b'\n'));
    let value = serde_json::from_slice(&raw).unwrap();
    let schema = schema();
    assert_eq!(fault(&schema, &schema, &value, ""), None, "{value}");
    for blob in batch.blobs() {
        assert_eq!(Hash::of(&blob.bytes), blob.sha256);
    }
    (value, raw, batch.blobs().to_vec())
}

const STATEMENT: Statement<'static> = Statement::new(Protocol::Simple, None);

fn context(groups: &[String], program: &str) -> Context {
    let subject = SubjectFields {
        iss: "https://idp.example.com",
        sub: "00u1",
        login: "alice@example.com",
        groups,
        acr: Some("urn:acr"),
        amr: &["mfa".to_owned()],
        auth_time: Some(Timestamp::UNIX_EPOCH),
    };
    let client = ClientFields {
        address: [10, 0, 0, 1].into(),
        port: 50_000,
        program: Some(program),
        tls: None,
        login: Some("alice@example.com"),
    };
    Context::new(&ContextFields {
        subject: Some(subject),
        proof: Some("code"),
        database: Some("payments"),
        served: None,
        role: Some("payments_rw"),
        client: Some(client),
        request: Some("r-1"),
    })
}

#[test]
fn a_statement_as_it_stands_in_the_log() {
    let context = context(&["on-call".to_owned()], "psql");
    let text = Some(Content::Bytes(b"select 1"));
    let (_, raw, _) = encode(Kind::Statement, &context, &Body::Statement(&Statement { text, ..STATEMENT }));
    let expected = concat!(
        r#"{"v":1,"id":"00000000-0000-7000-8000-000203030303","time":"1970-01-01T00:00:00.000000Z","node":"proxy-1","#,
        r#""kind":"statement","session":"00000000-0000-7000-8000-000103030303","seq":7,"#,
        r#""subject":{"iss":"https://idp.example.com","sub":"00u1","login":"alice@example.com","groups":["on-call"],"#,
        r#""acr":"urn:acr","amr":["mfa"],"auth_time":"1970-01-01T00:00:00Z"},"proof":"code","database":"payments","#,
        r#""role":"payments_rw","client":{"address":"10.0.0.1","port":50000,"program":"psql","tls":null,"#,
        r#""login":"alice@example.com"},"request":"r-1","statement":{"protocol":"simple","text":"select 1","#,
        r#""sha256":"822ae07d4783158bc1912bb623e5107cc9002d519e1143a9c200ed6ee18b6d0f"}}"#,
    );
    // The id's seed and the statement's hash are checked by shape; the rest to the byte.
    let shape = |raw: &str| raw.replace(|c: char| c.is_ascii_hexdigit(), "x");
    assert_eq!(shape(std::str::from_utf8(&raw).unwrap()), shape(expected));
}

#[test]
fn every_kind_of_record_fits_the_schema() {
    let context = context(&[], "psql");
    let of = head(Kind::Statement, true).id;
    let outcome = |result| Outcome { result, ..Outcome::default() };
    let done = Outcome { tag: Some("UPDATE 3".to_owned()), rows: Some(3), ..outcome("ok") };
    let failed = Outcome { sqlstate: Some("42501".to_owned()), message: Some("no".to_owned()), ..outcome("error") };
    let copied = Copied { bytes: 9, rows: Some(1), sha256: Some(Hex(Hash::of(b""))), failed: false };
    let full = Statement {
        protocol: Protocol::Execute,
        text: Some(Content::Bytes(b"select $1")),
        params: Some(Content::Bytes(br#"[{"type":"int4","format":"binary","value":"1"}]"#)),
        prepared: Some(b"s1"),
        portal: Some(b"\xff"),
        limit: Some(10),
        forwarded: Some("select 1"),
        ..STATEMENT
    };
    let decision = Decision { effect: "forbid", rules: &["no-drop".to_owned()], reason: Some("never") };
    let check = |kind: Kind, body: Body<'_>, pointer: &str, expected: Value| {
        let (value, ..) = encode(kind, &context, &body);
        assert_eq!(value.pointer(pointer), Some(&expected), "{value}");
    };
    let session = head(Kind::Statement, true).session;
    check(Kind::Cancel, Body::Cancel { session, pid: 4711 }, "/cancels", json!(session.unwrap().to_string()));
    check(Kind::Cancel, Body::Cancel { session: None, pid: -1 }, "/cancels", Value::Null);
    check(Kind::Cancel, Body::Cancel { session: None, pid: -1 }, "/pid", json!(-1));
    check(Kind::Login, Body::Decision(&decision), "/decision/effect", json!("forbid"));
    check(Kind::Connect, Body::Decision(&decision), "/decision/rules/0", json!("no-drop"));
    check(Kind::Statement, Body::Statement(&full), "/statement/portal_b64", json!("/w=="));
    check(Kind::Denied, Body::Refused(&full, &decision), "/statement/params/0/value", json!("1"));
    check(Kind::Statement, Body::Statement(&STATEMENT), "/statement/resolution", json!("unknown"));
    let function = Statement { protocol: Protocol::Function, function: Some(764), ..STATEMENT };
    check(Kind::Statement, Body::Statement(&function), "/statement/function", json!(764));
    let copy = Statement { protocol: Protocol::Copy, copied: Some(copied), ..STATEMENT };
    check(Kind::Statement, Body::Statement(&copy), "/statement/copied/rows", json!(1));
    let raw = Statement { text: Some(Content::Bytes(b"select '\xe4'")), ..STATEMENT };
    check(Kind::Statement, Body::Statement(&raw), "/statement/text_b64", json!("c2VsZWN0ICfkJw=="));
    let of_one = Body::Outcome { of, outcomes: std::slice::from_ref(&done), duration_us: 5, bytes: 6, again: false };
    check(Kind::Outcome, of_one, "/outcome/tag", json!("UPDATE 3"));
    let both = [done, failed, outcome("skipped")];
    check(
        Kind::Outcome,
        Body::Outcome { of, outcomes: &both, duration_us: 5, bytes: 6, again: false },
        "/outcome/1/sqlstate",
        json!("42501"),
    );
    check(Kind::End, Body::End { reason: "client left", statements: 2 }, "/statements", json!(2));
    for event in [
        JournalEvent::Started { epoch: 1, version: "0.1.0" },
        JournalEvent::Repaired { index: 0, bytes: 3, file: "torn".to_owned() },
        JournalEvent::Resumed { refused: 3 },
        JournalEvent::OutcomesLost { count: 3 },
        JournalEvent::Stopped { epoch: 1 },
    ] {
        encode(Kind::Journal, &Context::default(), &Body::Journal(&event));
    }
}

#[test]
fn what_is_too_large_stands_in_a_blob_and_nothing_is_lost() {
    let check = |context: &Context, body: Body<'_>, pointer: &str, content: &[u8]| {
        let (value, _, blobs) = encode(Kind::Statement, context, &body);
        let reference = json!({ "sha256": Hash::of(content).to_string(), "bytes": content.len() });
        assert_eq!(value.pointer(pointer), Some(&reference));
        assert_eq!(blobs.iter().filter(|blob| blob.bytes == content).count(), 1, "{pointer}");
    };
    let plain = context(&[], "psql");
    let long = "x".repeat(FIELD_BYTES_MAX + 1);
    let control = "\x01".repeat(FIELD_BYTES_MAX);
    for text in [&long, &control] {
        let statement = Statement { text: Some(Content::Bytes(text.as_bytes())), ..STATEMENT };
        check(&plain, Body::Statement(&statement), "/statement/text", text.as_bytes());
        let named = Statement { prepared: Some(text.as_bytes()), forwarded: Some(text), ..statement };
        check(&plain, Body::Statement(&named), "/statement/prepared", text.as_bytes());
        check(&plain, Body::Statement(&named), "/statement/forwarded", text.as_bytes());
        let reason = json!(text).to_string();
        check(&plain, Body::End { reason: text, statements: 1 }, "/reason", reason.as_bytes());
    }
    let params = format!("[{{\"format\":\"text\",\"value\":\"{long}\"}}]");
    let statement = Statement { params: Some(Content::Bytes(params.as_bytes())), ..STATEMENT };
    check(&plain, Body::Statement(&statement), "/statement/params", params.as_bytes());
    let groups: Vec<String> = (0..3000).map(|n| format!("group-{n}")).collect();
    let many = context(&groups, "psql");
    check(&many, Body::None, "/subject/groups", json!(groups).to_string().as_bytes());
    let shouting = context(&[], &control);
    check(&shouting, Body::None, "/client/program", control.as_bytes());
    let outcome = Outcome { result: "ok", tag: Some("SELECT 1".to_owned()), ..Outcome::default() };
    let outcomes = vec![outcome; 5000];
    let of = head(Kind::Statement, true).id;
    let list = serde_json::to_string(&outcomes).unwrap();
    let body = Body::Outcome { of, outcomes: &outcomes, duration_us: 1, bytes: 1, again: false };
    check(&plain, body, "/outcome", list.as_bytes());
}

#[test]
fn a_batch_carries_a_blob_once_and_keeps_the_order_of_records() {
    let groups: Vec<String> = (0..3000).map(|n| format!("group-{n}")).collect();
    let context = context(&groups, "psql");
    let mut batch = Batch::default();
    for n in 0..5 {
        batch.push(&head(Kind::End, true), &context, &Body::End { reason: "x", statements: n });
    }
    assert_eq!((batch.len(), batch.blobs().len(), batch.statements()), (5, 1, 0));
    let order: Vec<Value> =
        batch.entries().map(|entry| serde_json::from_slice::<Value>(entry).unwrap()["statements"].clone()).collect();
    assert_eq!(order, [json!(0), json!(1), json!(2), json!(3), json!(4)]);
    assert_eq!(batch.entries().map(<[u8]>::len).sum::<usize>(), batch.bytes());
    batch.push(&head(Kind::Statement, true), &context, &Body::Statement(&STATEMENT));
    assert_eq!((batch.len(), batch.statements()), (6, 1));
}
