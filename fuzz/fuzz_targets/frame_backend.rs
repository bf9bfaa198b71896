//! Any bytes from a server: split into frames, each read by its view and walked to the end.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pgproto::backend::{
    Authentication, BackendKeyData, BackendTag, CommandComplete, CopyResponse, NegotiateProtocolVersion,
    NotificationResponse, ParameterDescription, ParameterStatus, ReadyForQuery,
};
use pgproto::frame::{backend_header, split};
use pgproto::notice::Fields;

fuzz_target!(|raw: &[u8]| {
    let mut rest = raw;
    while let Ok(Some((tag, header))) = backend_header(rest) {
        let Ok(Some((frame, after))) = split(rest) else { break };
        assert_eq!(frame.raw().len(), header.frame_bytes());
        assert_eq!(rest.len(), frame.raw().len() + after.len());
        read(tag, frame.body());
        rest = after;
    }
});

fn read(tag: BackendTag, body: &[u8]) {
    match tag {
        BackendTag::Authentication => {
            if let Ok(Authentication::Sasl(mechanisms)) = Authentication::parse(body) {
                assert!(mechanisms.iter().all(|name| !name.is_empty()));
            }
        }
        BackendTag::NegotiateProtocolVersion => {
            if let Ok(negotiate) = NegotiateProtocolVersion::parse(body) {
                assert!(negotiate.unsupported.iter().count() <= body.len());
            }
        }
        BackendTag::ErrorResponse | BackendTag::NoticeResponse => {
            if let Ok(fields) = Fields::parse(body) {
                let bytes: usize = fields.iter().map(|(_, text)| text.len() + 2).sum();
                assert_eq!(bytes + 1, body.len());
                let _ = (fields.severity(), fields.sqlstate().map(|state| state.to_string()), fields.message());
            }
        }
        BackendTag::ParameterDescription => {
            if let Ok(description) = ParameterDescription::parse(body) {
                assert_eq!(description.types.iter().count(), description.types.len());
            }
        }
        BackendTag::CommandComplete => {
            let _ = CommandComplete::parse(body).map(|complete| complete.rows());
        }
        BackendTag::ParameterStatus => {
            let _ = ParameterStatus::parse(body);
        }
        BackendTag::BackendKeyData => {
            let _ = BackendKeyData::parse(body);
        }
        BackendTag::ReadyForQuery => {
            let _ = ReadyForQuery::parse(body);
        }
        BackendTag::NotificationResponse => {
            let _ = NotificationResponse::parse(body);
        }
        BackendTag::CopyInResponse | BackendTag::CopyOutResponse | BackendTag::CopyBothResponse => {
            let _ = CopyResponse::parse(tag, body);
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
        | BackendTag::FunctionCallResponse => {}
    }
}
