//! Properties: whatever is written is read again as the same, and no bytes at all make anything fail badly.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::views;
use crate::backend::{self, Authentication, BackendKeyData, NegotiateProtocolVersion, ParameterStatus, ReadyForQuery};
use crate::frame::{Frame, Header, header, split};
use crate::frontend::{self, Bind, CopyFail, Execute, Parse, Query};
use crate::notice::Fields;
use crate::options::{self, Opt};
use crate::sasl::{InitialResponse, Response};
use crate::startup::{ProtocolVersion, Untagged, parse_untagged};
use crate::tag::{BackendTag, FrontendTag};

/// Any string that a message can carry.
fn text() -> impl Strategy<Value = Vec<u8>> {
    vec(1..=u8::MAX, 0..40)
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    vec(1..=u8::MAX, 1..20)
}

/// Bytes that look enough like a body to reach the deeper fields.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        vec(any::<u8>(), 0..8),
        Just(vec![0]),
        Just(b"name\0".to_vec()),
        (0..4_u16).prop_map(|count| count.to_be_bytes().to_vec()),
        (-3..9_i32).prop_map(|length| length.to_be_bytes().to_vec()),
        any::<i32>().prop_map(|length| length.to_be_bytes().to_vec()),
    ];
    vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

fn slices(owned: &[Vec<u8>]) -> Vec<&[u8]> {
    owned.iter().map(Vec::as_slice).collect()
}

/// The one frame in `raw`, which must be all of it.
fn only(raw: &[u8]) -> Frame<'_> {
    let (frame, rest) = split(raw).expect("a frame").expect("whole");
    assert!(rest.is_empty() && frame.raw() == raw, "one message is one frame");
    frame
}

proptest! {
    #[test]
    fn any_cuts_of_a_stream_give_the_same_frames(
        frames in vec((any::<u8>(), vec(any::<u8>(), 0..50)), 0..8),
        mut cuts in vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mut stream = Vec::new();
        for (tag, body) in &frames {
            crate::encode::message(&mut stream, *tag, |out| { out.bytes(body); Ok(()) }).expect("short");
        }
        let mut cuts: Vec<usize> = cuts.drain(..).map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let (mut buffer, mut came) = (Vec::new(), Vec::new());
        for cut in cuts.windows(2) {
            buffer.extend_from_slice(&stream[cut[0]..cut[1]]);
            let mut rest = buffer.as_slice();
            while let Some((frame, after)) = split(rest).expect("well formed") {
                came.push((frame.tag(), frame.body().to_vec()));
                rest = after;
            }
            buffer = rest.to_vec();
        }
        prop_assert_eq!(came, frames);
        prop_assert!(buffer.is_empty());
    }

    #[test]
    fn any_bytes_are_read_or_refused_by_every_view(raw in prop_oneof![body(), vec(any::<u8>(), 0..64)]) {
        for byte in 0..=u8::MAX {
            if let Some(tag) = FrontendTag::from_byte(byte) {
                let _ = views::frontend(tag, &raw, false);
                let _ = views::frontend(tag, &raw, true);
            }
            if let Some(tag) = BackendTag::from_byte(byte) {
                let _ = views::backend(tag, &raw);
            }
        }
        if let Ok(Some((_, consumed))) = views::untagged(&raw) {
            prop_assert!((8..=raw.len()).contains(&consumed));
        }
        if let Ok(Some((frame, rest))) = split(&raw) {
            prop_assert_eq!([frame.raw(), rest].concat(), raw.clone());
        }
        let _ = options::parse(&raw);
    }

    #[test]
    fn any_bytes_after_a_startup_header_are_read_or_refused(code in any::<u32>(), raw in body()) {
        for code in [code, 0x0003_0000, 0x0003_0002, 80_877_102, 80_877_103, 80_877_104] {
            let length = u32::try_from(raw.len() + 8).expect("short");
            let packet = [length.to_be_bytes().as_slice(), &code.to_be_bytes(), &raw].concat();
            if let Ok(came) = views::untagged(&packet) {
                prop_assert_eq!(came.expect("whole").1, packet.len());
            }
        }
    }

    #[test]
    fn frontend_messages_say_what_was_written(
        (portal, name_, statement) in (text(), text(), text()),
        types in vec(any::<u32>(), 0..9),
        limit in 0..=i32::MAX.unsigned_abs(),
    ) {
        let mut raw = Vec::new();
        frontend::encode::query(&mut raw, &statement).expect("short");
        prop_assert_eq!(Query::parse(only(&raw).body()), Ok(Query { text: &statement }));

        raw.clear();
        frontend::encode::parse(&mut raw, &name_, &statement, &types).expect("short");
        let parse = Parse::parse(only(&raw).body()).expect("ours");
        prop_assert_eq!((parse.name, parse.text), (name_.as_slice(), statement.as_slice()));
        prop_assert_eq!(parse.types.iter().collect::<Vec<_>>(), types.clone());
        prop_assert_eq!(parse.types.at(0), types.first().copied());

        raw.clear();
        frontend::encode::bind(&mut raw, &portal, &name_).expect("short");
        let bind = Bind::parse(only(&raw).body()).expect("ours");
        prop_assert_eq!((bind.portal, bind.statement, bind.params.len()), (portal.as_slice(), name_.as_slice(), 0));

        raw.clear();
        frontend::encode::execute(&mut raw, &portal, limit).expect("short");
        prop_assert_eq!(Execute::parse(only(&raw).body()), Ok(Execute { portal: &portal, max_rows: limit }));

        raw.clear();
        frontend::encode::copy_fail(&mut raw, &statement).expect("short");
        prop_assert_eq!(CopyFail::parse(only(&raw).body()), Ok(CopyFail { reason: &statement }));
    }

    #[test]
    fn sasl_answers_say_what_was_written(mechanism in name(), data in option::of(vec(any::<u8>(), 0..40))) {
        let mut raw = Vec::new();
        frontend::encode::sasl_initial_response(&mut raw, &mechanism, data.as_deref()).expect("short");
        let answer = InitialResponse { mechanism: &mechanism, data: data.as_deref() };
        prop_assert_eq!(InitialResponse::parse(only(&raw).body()), Ok(answer));

        raw.clear();
        let data = data.unwrap_or_default();
        frontend::encode::sasl_response(&mut raw, &data).expect("short");
        prop_assert_eq!(Response::new(only(&raw).body()).data, &data);
    }

    #[test]
    fn startup_packets_say_what_was_written(
        parameters in vec((name(), text()), 0..9),
        minor in any::<u16>(),
        pid in any::<i32>(),
        secret in vec(any::<u8>(), 4..=256),
    ) {
        let version = ProtocolVersion { major: 3, minor };
        let pairs: Vec<(&[u8], &[u8])> =
            parameters.iter().map(|(name, value)| (name.as_slice(), value.as_slice())).collect();
        let mut raw = Vec::new();
        frontend::encode::startup(&mut raw, version, &pairs).expect("short");
        let Ok(Some((Untagged::Startup(packet), consumed))) = parse_untagged(&raw) else {
            panic!("a startup packet, not {:?}", parse_untagged(&raw));
        };
        prop_assert_eq!((packet.version, consumed), (version, raw.len()));
        prop_assert_eq!(packet.parameters.iter().collect::<Vec<_>>(), pairs.clone());
        for (name, _) in &pairs {
            let last = pairs.iter().rev().find(|(each, _)| each == name).map(|(_, value)| *value);
            prop_assert_eq!(packet.parameters.lookup(name), last, "the last one counts");
        }

        raw.clear();
        frontend::encode::cancel_request(&mut raw, pid, &secret).expect("a secret");
        let expected = (Untagged::CancelRequest { pid, secret: &secret }, raw.len());
        prop_assert_eq!(parse_untagged(&raw), Ok(Some(expected)));
    }

    #[test]
    fn backend_messages_say_what_was_written(
        (name_, value) in (text(), text()),
        names in vec(name(), 0..5),
        pid in any::<i32>(),
        secret in vec(any::<u8>(), 4..=256),
        minor in any::<u16>(),
    ) {
        let mut raw = Vec::new();
        backend::encode::parameter_status(&mut raw, &name_, &value).expect("short");
        let status = ParameterStatus { name: &name_, value: &value };
        prop_assert_eq!(ParameterStatus::parse(only(&raw).body()), Ok(status));

        raw.clear();
        backend::encode::backend_key_data(&mut raw, pid, &secret).expect("a secret");
        prop_assert_eq!(BackendKeyData::parse(only(&raw).body()), Ok(BackendKeyData { pid, secret: &secret }));

        raw.clear();
        backend::encode::authentication_sasl(&mut raw, &slices(&names)).expect("short");
        let Ok(Authentication::Sasl(mechanisms)) = Authentication::parse(only(&raw).body()) else {
            panic!("a list of mechanisms");
        };
        prop_assert_eq!(mechanisms.iter().collect::<Vec<_>>(), slices(&names));

        raw.clear();
        let version = ProtocolVersion { major: 3, minor };
        backend::encode::negotiate_protocol_version(&mut raw, version, &slices(&names)).expect("short");
        let negotiate = NegotiateProtocolVersion::parse(only(&raw).body()).expect("ours");
        prop_assert_eq!(negotiate.version, version);
        prop_assert_eq!(negotiate.unsupported.iter().collect::<Vec<_>>(), slices(&names));
    }

    #[test]
    fn a_notice_is_whole_whatever_it_says(message in ".*", detail in option::of(".*"), large in any::<bool>()) {
        use crate::notice::{Notice, Severity};
        let message = if large { format!("{message}{}", "ü\0".repeat(9000)) } else { message };
        let notice = Notice::new(Severity::Fatal, crate::sqlstate::SqlState::PROTOCOL_VIOLATION, message.clone());
        let notice = detail.clone().into_iter().fold(notice, Notice::detail);
        let mut raw = Vec::new();
        notice.encode(&mut raw);
        let frame = only(&raw);
        prop_assert_eq!(BackendTag::from_byte(frame.tag()), Some(BackendTag::ErrorResponse));
        prop_assert!(raw.len() < 30_000, "libpq takes no longer error before login");
        let fields = Fields::parse(frame.body()).expect("ours");
        let said = std::str::from_utf8(fields.message()).expect("cut between characters");
        let expected = message.replace('\0', "");
        match said.strip_suffix('…').filter(|_| large) {
            Some(start) => prop_assert!(expected.starts_with(start)),
            None => prop_assert_eq!(said, expected),
        }
        prop_assert_eq!(fields.field(b'D').is_some(), detail.is_some());
        prop_assert_eq!((fields.severity(), fields.field(b'H')), (Some(Severity::Fatal), None));
    }

    #[test]
    fn options_say_what_was_joined(settings in vec(("[a-z_.]{1,9}", text()), 0..6)) {
        let pairs = settings.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
        let expected: Vec<Opt> = pairs
            .clone()
            .map(|(name, value)| Opt::Setting { name: name.to_owned(), value: value.to_vec() })
            .collect();
        prop_assert_eq!(options::parse(&options::join(pairs)), expected);
    }
}

#[test]
fn messages_without_fields_are_what_the_protocol_says() {
    let mut raw = Vec::new();
    frontend::encode::sync(&mut raw);
    frontend::encode::flush(&mut raw);
    frontend::encode::terminate(&mut raw);
    assert_eq!(raw, b"S\0\0\0\x04H\0\0\0\x04X\0\0\0\x04");

    raw.clear();
    frontend::encode::ssl_request(&mut raw);
    assert_eq!(parse_untagged(&raw), Ok(Some((Untagged::SslRequest, 8))));

    raw.clear();
    backend::encode::authentication_ok(&mut raw);
    assert_eq!(Authentication::parse(only(&raw).body()), Ok(Authentication::Ok));

    raw.clear();
    for byte in *b"ITE" {
        let status = ReadyForQuery::parse(&[byte]).expect("a status").status;
        backend::encode::ready_for_query(&mut raw, status);
    }
    assert_eq!(raw, b"Z\0\0\0\x05IZ\0\0\0\x05TZ\0\0\0\x05E");
}

#[test]
fn rows_of_our_own_are_what_postgresql_would_send() {
    let mut raw = Vec::new();
    backend::encode::row_description(&mut raw, &[b"text"]).expect("short");
    backend::encode::data_row(&mut raw, &[Some(b"1"), None]).expect("short");
    backend::encode::command_complete(&mut raw, b"SELECT 1").expect("short");
    let expected: [&[u8]; 3] = [
        b"T\0\0\0\x1d\0\x01text\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0",
        b"D\0\0\0\x0f\0\x02\0\0\0\x011\xff\xff\xff\xff",
        b"C\0\0\0\x0dSELECT 1\0",
    ];
    assert_eq!(raw, expected.concat());
}

#[test]
fn what_cannot_be_written_is_refused() {
    use frontend::encode as front;
    let mut raw = Vec::new();
    let many = [(&b"a"[..], &b"b"[..]); 101];
    let long = vec![b'x'; 10_000];
    let refused = [
        front::query(&mut raw, b"select 1\0; drop table t"),
        front::parse(&mut raw, b"s\0", b"", &[]),
        front::parse(&mut raw, b"s", b"", &vec![0; 65_536]),
        front::execute(&mut raw, b"", 0x8000_0000),
        front::password(&mut raw, b"a\0b"),
        front::cancel_request(&mut raw, 1, b"abc"),
        front::cancel_request(&mut raw, 1, &[0; 257]),
        front::startup(&mut raw, ProtocolVersion::V3_0, &many),
        front::startup(&mut raw, ProtocolVersion::V3_0, &[(b"user", &long)]),
        front::startup(&mut raw, ProtocolVersion::V3_0, &[(b"", b"x")]),
        front::startup(&mut raw, ProtocolVersion::V3_0, &[(b"user\0role", b"x")]),
        backend::encode::backend_key_data(&mut raw, 1, b""),
        backend::encode::authentication_sasl(&mut raw, &[b"SCRAM\0"]),
        backend::encode::data_row(&mut raw, &vec![None; 65_536]),
    ];
    for (index, refused) in refused.iter().enumerate() {
        assert!(refused.is_err(), "case {index}");
    }
    assert_eq!(raw, b"", "nothing of a refused message is left in the buffer");
    assert_eq!(header(b"Q\0\0\0\x04"), Ok(Some(Header { tag: b'Q', body_bytes: 0 })));
}
