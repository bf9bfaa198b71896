//! Frames of either side, each read by its view, walked to the end, and written again.
//!
//! Promises: what is decoded and encoded again is what came; any cut of the bytes gives the same frames.
//! Deliberately not here: what the frames mean in their order (`pipeline`).

use pgproto::backend::{
    self, Authentication, BackendKeyData, BackendTag, CommandComplete, CopyResponse, NegotiateProtocolVersion,
    NotificationResponse, ParameterDescription, ParameterStatus, ReadyForQuery,
};
use pgproto::frame::{HEADER_BYTES, backend_header, frontend_header, limit_of, split};
use pgproto::frontend::{
    self, Bind, Close, CopyFail, Describe, Execute, FrontendTag, FunctionCall, Parse, Query, Target, expect_empty,
};
use pgproto::notice::{Fields, Notice, Severity};
use pgproto::sasl::{InitialResponse, Response};

/// The whole frames at the front of these bytes, as tag and body.
fn frames(mut raw: &[u8]) -> (Vec<(u8, &[u8])>, &[u8]) {
    let mut all = Vec::new();
    while let Ok(Some((frame, rest))) = split(raw) {
        assert_eq!(frame.raw().len(), frame.header().frame_bytes());
        assert_eq!(frame.raw().len(), HEADER_BYTES + frame.body().len());
        assert_eq!(raw.len(), frame.raw().len() + rest.len());
        all.push((frame.tag(), frame.body()));
        raw = rest;
    }
    (all, raw)
}

/// Any cut of the bytes gives the same frames: here at the place that the bytes themselves name.
fn cut(raw: &[u8]) {
    let Some(at) = raw.iter().map(|byte| usize::from(*byte)).sum::<usize>().checked_rem(raw.len()) else { return };
    let (whole, _) = frames(raw);
    let (before, left) = frames(&raw[..at]);
    let joined = [left, &raw[at..]].concat();
    let (after, _) = frames(&joined);
    assert_eq!([before, after].concat(), whole);
}

/// What an encoder writes for what a view read must be the frame that it was read from.
fn same(tag: u8, body: &[u8], written: &[u8]) {
    let (frames, rest) = frames(written);
    assert_eq!((frames.as_slice(), rest), ([(tag, body)].as_slice(), &b""[..]));
}

/// Any bytes from a client, after login.
pub fn frame_frontend(raw: &[u8]) {
    cut(raw);
    let mut rest = raw;
    while let Ok(Some((tag, header))) = frontend_header(rest) {
        assert_eq!(FrontendTag::from_byte(tag.byte()), Some(tag));
        assert!(header.frame_bytes() <= limit_of(tag) + 1);
        let Ok(Some((frame, after))) = split(rest) else { break };
        read_frontend(tag, frame.body());
        rest = after;
    }
}

fn read_frontend(tag: FrontendTag, body: &[u8]) {
    let mut out = Vec::new();
    match tag {
        FrontendTag::Query => {
            let Ok(query) = Query::parse(body) else { return };
            frontend::encode::query(&mut out, query.text).unwrap();
        }
        FrontendTag::Parse => {
            let Ok(parse) = Parse::parse(body) else { return };
            let types: Vec<u32> = parse.types.iter().collect();
            assert_eq!(types.len(), parse.types.len());
            frontend::encode::parse(&mut out, parse.name, parse.text, &types).unwrap();
        }
        FrontendTag::Execute => {
            let Ok(execute) = Execute::parse(body) else { return };
            frontend::encode::execute(&mut out, execute.portal, execute.max_rows).unwrap();
            // A negative limit is none, and is written as none.
            let limit = body.len() - 4;
            if body[limit] & 0x80 != 0 {
                assert_eq!(execute.max_rows, 0);
                return same(tag.byte(), &[&body[..limit], &[0; 4]].concat(), &out);
            }
        }
        FrontendTag::Bind => return read_bind(body),
        FrontendTag::FunctionCall => return read_call(body),
        FrontendTag::Describe | FrontendTag::Close => return read_target(tag, body),
        FrontendTag::CopyFail => {
            let Ok(fail) = CopyFail::parse(body) else { return };
            frontend::encode::copy_fail(&mut out, fail.reason).unwrap();
        }
        FrontendTag::Password => {
            frontend::encode::sasl_response(&mut out, Response::new(body).data).unwrap();
            same(tag.byte(), body, &out);
            let Ok(initial) = InitialResponse::parse(body) else { return };
            assert!(!format!("{initial:?}").contains("Bearer") || initial.mechanism.windows(6).any(|w| w == b"Bearer"));
            out.clear();
            // An empty name is read, for whoever wants to say so, and never written.
            if frontend::encode::sasl_initial_response(&mut out, initial.mechanism, initial.data).is_err() {
                assert!(initial.mechanism.is_empty());
                return;
            }
        }
        FrontendTag::CopyData => return,
        FrontendTag::CopyDone | FrontendTag::Flush | FrontendTag::Sync | FrontendTag::Terminate => {
            assert_eq!(expect_empty(tag, body).is_ok(), body.is_empty());
            return;
        }
    }
    same(tag.byte(), body, &out);
}

/// The parts of a Bind are all of it.
fn read_bind(body: &[u8]) {
    let Ok(bind) = Bind::parse(body) else { return };
    assert_eq!(bind.params.iter().count(), bind.params.len());
    let values: usize = bind.params.iter().map(|value| 4 + value.map_or(0, <[u8]>::len)).sum();
    let fixed = bind.portal.len() + bind.statement.len() + 2 + 6;
    let codes = 2 * (bind.formats.len() + bind.result_formats.len());
    assert_eq!(fixed + codes + values, body.len());
    assert!((0..bind.params.len()).all(|index| bind.formats.len() > 1 || bind.format_of(index) == bind.format_of(0)));
}

/// The parts of a FunctionCall are all of it.
fn read_call(body: &[u8]) {
    let Ok(call) = FunctionCall::parse(body) else { return };
    let values: usize = call.args.iter().map(|value| 4 + value.map_or(0, <[u8]>::len)).sum();
    assert_eq!(4 + 2 + 2 * call.formats.len() + 2 + values + 2, body.len());
}

/// A Describe and a Close are read alike.
fn read_target(tag: FrontendTag, body: &[u8]) {
    let target = |tag| match tag {
        FrontendTag::Close => Close::parse(body).ok().map(|close| close.target),
        _ => Describe::parse(body).ok().map(|describe| describe.target),
    };
    assert_eq!(target(FrontendTag::Close), target(FrontendTag::Describe));
    let (kind, name) = match target(tag) {
        Some(Target::Statement(name)) => (b'S', name),
        Some(Target::Portal(name)) => (b'P', name),
        None => return,
    };
    assert_eq!([&[kind], name, &[0]].concat(), body);
}

/// Any bytes from a server.
pub fn frame_backend(raw: &[u8]) {
    cut(raw);
    let mut rest = raw;
    while let Ok(Some((tag, header))) = backend_header(rest) {
        assert_eq!(BackendTag::from_byte(tag.byte()), Some(tag));
        let Ok(Some((frame, after))) = split(rest) else { break };
        assert_eq!(frame.raw().len(), header.frame_bytes());
        read_backend(tag, frame.body());
        rest = after;
    }
}

fn read_backend(tag: BackendTag, body: &[u8]) {
    let mut out = Vec::new();
    match tag {
        BackendTag::Authentication => return read_request(body),
        BackendTag::NegotiateProtocolVersion => {
            let Ok(negotiate) = NegotiateProtocolVersion::parse(body) else { return };
            let names: Vec<&[u8]> = negotiate.unsupported.iter().collect();
            assert!(names.len() <= body.len());
            if body[..2] == [0, 0] || names.iter().any(|name| name.is_empty()) {
                return;
            }
            backend::encode::negotiate_protocol_version(&mut out, negotiate.version, &names).unwrap();
        }
        BackendTag::ErrorResponse | BackendTag::NoticeResponse => return read_fields(body),
        BackendTag::ParameterDescription => {
            let Ok(description) = ParameterDescription::parse(body) else { return };
            assert_eq!(description.types.iter().count() * 4 + 2, body.len());
            return;
        }
        BackendTag::CommandComplete => {
            let Ok(complete) = CommandComplete::parse(body) else { return };
            if let Some(rows) = complete.rows() {
                assert!(complete.tag.last().is_some_and(u8::is_ascii_digit), "{rows} of {complete:?}");
            }
            backend::encode::command_complete(&mut out, complete.tag).unwrap();
        }
        BackendTag::ParameterStatus => {
            let Ok(status) = ParameterStatus::parse(body) else { return };
            backend::encode::parameter_status(&mut out, status.name, status.value).unwrap();
        }
        BackendTag::BackendKeyData => {
            let Ok(key) = BackendKeyData::parse(body) else { return };
            backend::encode::backend_key_data(&mut out, key.pid, key.secret).unwrap();
        }
        BackendTag::ReadyForQuery => {
            let Ok(ready) = ReadyForQuery::parse(body) else { return };
            backend::encode::ready_for_query(&mut out, ready.status);
        }
        BackendTag::NotificationResponse => {
            let Ok(said) = NotificationResponse::parse(body) else { return };
            assert_eq!(4 + said.channel.len() + 1 + said.payload.len() + 1, body.len());
            return;
        }
        BackendTag::CopyInResponse | BackendTag::CopyOutResponse | BackendTag::CopyBothResponse => {
            let Ok(response) = CopyResponse::parse(tag, body) else { return };
            assert_eq!(3 + 2 * response.columns.len(), body.len());
            return;
        }
        BackendTag::ParseComplete
        | BackendTag::BindComplete
        | BackendTag::CloseComplete
        | BackendTag::CopyDone
        | BackendTag::CopyData
        | BackendTag::DataRow
        | BackendTag::EmptyQueryResponse
        | BackendTag::NoData
        | BackendTag::PortalSuspended
        | BackendTag::RowDescription
        | BackendTag::FunctionCallResponse => return,
    }
    same(tag.byte(), body, &out);
}

/// What the server wants of one who logs in.
fn read_request(body: &[u8]) {
    let mut out = Vec::new();
    match Authentication::parse(body) {
        Ok(Authentication::Ok) => backend::encode::authentication_ok(&mut out),
        Ok(Authentication::Sasl(names)) => {
            let names: Vec<&[u8]> = names.iter().collect();
            backend::encode::authentication_sasl(&mut out, &names).unwrap();
        }
        Ok(Authentication::SaslContinue(text)) => {
            backend::encode::authentication_sasl_continue(&mut out, text).unwrap();
        }
        Ok(Authentication::SaslFinal(text)) => backend::encode::authentication_sasl_final(&mut out, text).unwrap(),
        _ => return,
    }
    same(BackendTag::Authentication.byte(), body, &out);
}

/// The fields of an error or notice; and what we would say of it, read again.
fn read_fields(body: &[u8]) {
    let Ok(fields) = Fields::parse(body) else { return };
    let bytes: usize = fields.iter().map(|(_, text)| text.len() + 2).sum();
    assert_eq!(bytes + 1, body.len());
    let message = String::from_utf8_lossy(fields.message()).into_owned();
    let (Some(severity), Some(sqlstate)) = (fields.severity(), fields.sqlstate()) else { return };
    let mut out = Vec::new();
    Notice::new(severity, sqlstate, message.clone()).detail(message.clone()).hint(message.clone()).encode(&mut out);
    let (frames, rest) = frames(&out);
    let [(tag, written)] = frames.as_slice() else { panic!("not one message") };
    assert_eq!((*tag, rest), (severity.tag().byte(), &b""[..]));
    assert!(out.len() < 30_000, "libpq takes no longer error before login");
    let again = Fields::parse(written).unwrap();
    assert_eq!((again.severity(), again.sqlstate()), (Some(severity), Some(sqlstate)));
    let text = std::str::from_utf8(again.message()).expect("what we say is text");
    assert!(text == message || text.ends_with('…'));
    assert!(Severity::from_bytes(severity.as_str().as_bytes()) == Some(severity));
}
