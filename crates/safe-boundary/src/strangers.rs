//! The decoders that read what strangers write and are private otherwise, each under one name: for the fuzzers.
//!
//! Promises: calls what the program itself calls, and adds nothing.
//! Deliberately not here: decoders that are public anyway, and what must hold of them (`fuzz-targets`).

use std::io::Write;
use std::path::Path;

use domain::identity::claims::Claims;
use domain::identity::device_flow::Answer;
use jiff::Timestamp;
use pgproto::backend::Authentication;

use crate::cli::audit::{verify, when};
use crate::cli::exit::{Exit, Failure};
use crate::config::Preset;
use crate::idp::device::{self, Prompt};
use crate::idp::discovery::Metadata;
use crate::idp::error::Error as IdpError;
use crate::idp::http::Reach;
use crate::proxy::upstream::auth::{Binding, Exchange, Step};
use crate::proxy::upstream::conninfo::ChannelBinding;

/// Reads a discovery document of this issuer.
///
/// # Errors
/// As the program itself would refuse it.
pub fn discovery(raw: &[u8], issuer: &str) -> Result<Metadata, IdpError> {
    Metadata::parse(raw, issuer, Preset::Generic, Reach::of_issuer(issuer)?)
}

/// Reads the answer of this issuer's device authorization endpoint: what a person would be shown.
///
/// # Errors
/// As the program itself would refuse it.
pub fn device_code(raw: &[u8], issuer: &str) -> Option<Result<Prompt, IdpError>> {
    let mut answer = Claims::parse(raw).ok()?;
    let reach = Reach::of_issuer(issuer).ok()?;
    Some(device::read_code(&mut answer, reach, std::time::Duration::from_secs(300)).map(|(prompt, ..)| prompt))
}

/// What an error of the token endpoint means, and the code that would be shown.
#[must_use]
pub fn token_refusal(raw: &[u8]) -> Option<(Option<Answer>, Option<String>)> {
    let answer = Claims::parse(raw).ok()?;
    Some((device::meaning(&answer), device::error_code(&answer).map(str::to_owned)))
}

/// Whether a time is between two that people typed; none when they are not times.
#[must_use]
pub fn is_between(from: &str, to: &str, now: Timestamp, time: Timestamp) -> Option<bool> {
    let range = when::Range { from: Some(when::parse(from).ok()?), to: Some(when::parse(to).ok()?) };
    Some(range.span(now).is_ok_and(|span| span.contains(Some(time))))
}

/// `audit verify` of a folder that nobody writes to.
///
/// # Errors
/// When there is no journal, or it cannot be read.
pub fn verify_at_rest(dir: &Path, out: &mut dyn Write) -> Result<Exit, Failure> {
    verify::run_once(dir, &verify::Args::default(), out)
}

/// A login upstream, with nothing between it and the server's messages.
pub struct UpstreamLogin<'a>(Exchange<'a>);

impl<'a> UpstreamLogin<'a> {
    /// Begins with the password of the role; `server_end_point`: the hash of the server's certificate, under TLS.
    #[must_use]
    pub const fn begin(password: &'a str, server_end_point: Option<Vec<u8>>) -> Self {
        let tls = server_end_point.is_some();
        Self(Exchange::new(Some(password), Binding { wanted: ChannelBinding::Prefer, tls, server_end_point }))
    }

    /// What is sent in answer to a request of the server, and whether the login is over; none when it has failed.
    pub fn answer(&mut self, request: Authentication<'_>) -> Option<(Vec<u8>, bool)> {
        Some(match self.0.answer(request).ok()? {
            Step::Send(bytes) => (bytes, false),
            Step::Wait => (Vec::new(), false),
            Step::Done => (Vec::new(), true),
        })
    }
}
