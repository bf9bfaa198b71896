//! Any bytes from a client, after login: split into frames, each read by its view and walked to the end.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pgproto::frame::{frontend_header, split};
use pgproto::frontend::{
    Bind, Close, CopyFail, Describe, Execute, FrontendTag, FunctionCall, Parse, Query, expect_empty,
};
use pgproto::sasl::InitialResponse;

fuzz_target!(|raw: &[u8]| {
    let mut rest = raw;
    while let Ok(Some((tag, header))) = frontend_header(rest) {
        let Ok(Some((frame, after))) = split(rest) else { break };
        assert_eq!(frame.raw().len(), header.frame_bytes());
        assert_eq!(rest.len(), frame.raw().len() + after.len());
        read(tag, frame.body());
        rest = after;
    }
});

fn read(tag: FrontendTag, body: &[u8]) {
    match tag {
        FrontendTag::Query => {
            if let Ok(query) = Query::parse(body) {
                assert_eq!(query.text.len() + 1, body.len());
            }
        }
        FrontendTag::Parse => {
            if let Ok(parse) = Parse::parse(body) {
                assert_eq!(parse.types.iter().count(), parse.types.len());
            }
        }
        FrontendTag::Bind => {
            if let Ok(bind) = Bind::parse(body) {
                assert_eq!(bind.params.iter().count(), bind.params.len());
                (0..bind.params.len()).for_each(|index| {
                    let _ = bind.format_of(index);
                });
            }
        }
        FrontendTag::FunctionCall => {
            if let Ok(call) = FunctionCall::parse(body) {
                assert_eq!(call.args.iter().count(), call.args.len());
            }
        }
        FrontendTag::Execute => {
            let _ = Execute::parse(body);
        }
        FrontendTag::Describe => {
            let _ = Describe::parse(body);
        }
        FrontendTag::Close => {
            let _ = Close::parse(body);
        }
        FrontendTag::CopyFail => {
            let _ = CopyFail::parse(body);
        }
        FrontendTag::Password => {
            let _ = InitialResponse::parse(body);
        }
        FrontendTag::CopyData => {}
        FrontendTag::CopyDone | FrontendTag::Flush | FrontendTag::Sync | FrontendTag::Terminate => {
            let _ = expect_empty(tag, body);
        }
    }
}
