//! Every view at once: what a message says, as one line of text.

use std::error::Error;

use crate::backend::{
    Authentication, BackendKeyData, CommandComplete, CopyResponse, NegotiateProtocolVersion, NotificationResponse,
    ParameterDescription, ParameterStatus, ReadyForQuery,
};
use crate::frontend::{
    Bind, Close, CopyFail, Describe, Execute, Format, FunctionCall, Params, Parse, Query, Target, expect_empty,
};
use crate::lists::Names;
use crate::notice::Fields;
use crate::sasl::{InitialResponse, Response};
use crate::startup::{StartupError, Untagged, parse_untagged};
use crate::tag::{BackendTag, FrontendTag};

fn text(raw: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(raw))
}

fn values(params: Params<'_>, format_of: impl Fn(usize) -> Format) -> String {
    let shown: Vec<String> = params
        .iter()
        .enumerate()
        .map(|(index, value)| match (format_of(index), value) {
            (_, None) => "null".to_owned(),
            (Format::Text, Some(value)) => text(value),
            (format, Some(value)) => format!("{format:?} {value:x?}"),
        })
        .collect();
    assert_eq!(shown.len(), params.len(), "a list says how long it is");
    shown.join(", ")
}

fn target(target: Target<'_>) -> String {
    match target {
        Target::Statement(name) => format!("statement {}", text(name)),
        Target::Portal(name) => format!("portal {}", text(name)),
    }
}

fn names(names: Names<'_>) -> String {
    names.iter().map(text).collect::<Vec<_>>().join(", ")
}

/// What a client message says; `sasl_begins` when a `p` is the first answer to a list of mechanisms.
pub(crate) fn frontend(tag: FrontendTag, body: &[u8], sasl_begins: bool) -> Result<String, Box<dyn Error>> {
    Ok(match tag {
        FrontendTag::Query => text(Query::parse(body)?.text),
        FrontendTag::Parse => {
            let parse = Parse::parse(body)?;
            format!("{} {} {:?}", text(parse.name), text(parse.text), parse.types)
        }
        FrontendTag::Bind => {
            let bind = Bind::parse(body)?;
            let values = values(bind.params, |index| bind.format_of(index));
            format!("{} {} ({values}) {:?}", text(bind.portal), text(bind.statement), bind.result_formats)
        }
        FrontendTag::Execute => {
            let execute = Execute::parse(body)?;
            format!("{} {}", text(execute.portal), execute.max_rows)
        }
        FrontendTag::Describe => target(Describe::parse(body)?.target),
        FrontendTag::Close => target(Close::parse(body)?.target),
        FrontendTag::FunctionCall => {
            let call = FunctionCall::parse(body)?;
            let values = values(call.args, |index| call.format_of(index));
            format!("{} ({values}) {:?}", call.oid, call.result_format)
        }
        FrontendTag::CopyFail => text(CopyFail::parse(body)?.reason),
        FrontendTag::CopyData => format!("{} bytes", body.len()),
        FrontendTag::Password if sasl_begins => {
            let answer = InitialResponse::parse(body)?;
            format!("{} {}", text(answer.mechanism), answer.data.map_or("none".into(), text))
        }
        FrontendTag::Password => text(Response::new(body).data),
        FrontendTag::CopyDone | FrontendTag::Flush | FrontendTag::Sync | FrontendTag::Terminate => {
            expect_empty(tag, body)?;
            String::new()
        }
    })
}

/// What a server message says.
pub(crate) fn backend(tag: BackendTag, body: &[u8]) -> Result<String, Box<dyn Error>> {
    Ok(match tag {
        BackendTag::Authentication => match Authentication::parse(body)? {
            Authentication::Sasl(mechanisms) => format!("Sasl {}", names(mechanisms)),
            Authentication::SaslContinue(data) => format!("SaslContinue {}", text(data)),
            Authentication::SaslFinal(data) => format!("SaslFinal {}", text(data)),
            Authentication::GssContinue(data) => format!("GssContinue {}", text(data)),
            Authentication::Md5(salt) => format!("Md5 {}", text(&salt)),
            plain => format!("{plain:?}"),
        },
        BackendTag::ParameterStatus => {
            let status = ParameterStatus::parse(body)?;
            format!("{} {}", text(status.name), text(status.value))
        }
        BackendTag::BackendKeyData => {
            let key = BackendKeyData::parse(body)?;
            format!("{} {:02x?}", key.pid, key.secret)
        }
        BackendTag::ReadyForQuery => format!("{:?}", ReadyForQuery::parse(body)?.status),
        BackendTag::CommandComplete => {
            let complete = CommandComplete::parse(body)?;
            format!("{} {:?}", text(complete.tag), complete.rows())
        }
        BackendTag::ParameterDescription => format!("{:?}", ParameterDescription::parse(body)?.types),
        BackendTag::CopyInResponse | BackendTag::CopyOutResponse | BackendTag::CopyBothResponse => {
            let copy = CopyResponse::parse(tag, body)?;
            format!("{:?} {:?}", copy.format, copy.columns)
        }
        BackendTag::NegotiateProtocolVersion => {
            let negotiate = NegotiateProtocolVersion::parse(body)?;
            format!("{} ({})", negotiate.version, names(negotiate.unsupported))
        }
        BackendTag::NotificationResponse => {
            let notification = NotificationResponse::parse(body)?;
            format!("{} {} {}", notification.pid, text(notification.channel), text(notification.payload))
        }
        BackendTag::ErrorResponse | BackendTag::NoticeResponse => {
            let fields = Fields::parse(body)?;
            format!("{:?} {:?} {}", fields.severity(), fields.sqlstate(), text(fields.message()))
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
        | BackendTag::FunctionCallResponse => format!("{} bytes", body.len()),
    })
}

/// What a packet before login says, and how many bytes it had; `None` when it is not whole.
pub(crate) fn untagged(raw: &[u8]) -> Result<Option<(String, usize)>, StartupError> {
    let Some((packet, consumed)) = parse_untagged(raw)? else {
        return Ok(None);
    };
    let said = match packet {
        Untagged::SslRequest | Untagged::GssEncRequest => format!("{packet:?}"),
        Untagged::CancelRequest { pid, secret } => format!("CancelRequest {pid} {}", text(secret)),
        Untagged::Startup(packet) => {
            let parameters: Vec<String> = packet
                .parameters
                .iter()
                .map(|(name, value)| format!("{}={}", String::from_utf8_lossy(name), String::from_utf8_lossy(value)))
                .collect();
            format!("Startup {} {}", packet.version, parameters.join(", "))
        }
    };
    Ok(Some((said, consumed)))
}
