//! The port for machines that watch: `/metrics`, `/healthz`, `/readyz`.
//!
//! Promises: `/healthz` answers as long as the thread that accepts connections lives; `/readyz` says whether statements
//! can be recorded and new sessions are wanted, and never asks the identity provider: it is not ours to restart.
//! Deliberately not here: HTTP itself (`http.rs`), and TLS: whoever needs it on this port puts a proxy before it.

use std::convert::Infallible;

use hyper::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::METRICS;
use super::scrape::Moment;
use super::text::Format;
use crate::http;
use crate::proxy::relay::Drain;
use crate::trail::journal::{Journal, Status};

/// Plain text for people.
const TEXT: &str = "text/plain; charset=utf-8";

/// What `/readyz` looks at.
#[derive(Clone, Debug)]
pub struct Readiness {
    /// Where records go.
    pub journal: Journal,
    /// Whether the proxy goes down.
    pub drain: watch::Receiver<Drain>,
}

impl Readiness {
    /// Why no new session is wanted here, if so.
    fn objection(&self) -> Option<&'static str> {
        match *self.journal.status().borrow() {
            Status::Stopped => return Some("the audit log has stopped"),
            Status::Full => return Some("the disk of the audit log is full"),
            Status::Working => {}
        }
        (*self.drain.borrow() != Drain::No).then_some("draining")
    }
}

/// The port.
#[derive(Debug)]
pub struct Listener {
    /// Where it listens.
    pub socket: TcpListener,
    /// What it tells of.
    pub readiness: Readiness,
}

impl Listener {
    /// Answers until the future is dropped.
    pub async fn serve(self) {
        let readiness = self.readiness;
        let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
            let answer = answer(&readiness, request.method(), request.uri().path(), request.headers());
            std::future::ready(Ok::<_, Infallible>(answer))
        });
        http::serve(&self.socket, service).await;
    }
}

fn answer(readiness: &Readiness, method: &Method, path: &str, headers: &HeaderMap) -> Response<String> {
    if !matches!(path, "/metrics" | "/healthz" | "/readyz") {
        return reply(StatusCode::NOT_FOUND, TEXT, "not found: there are /metrics, /healthz and /readyz\n".to_owned());
    }
    if !matches!(*method, Method::GET | Method::HEAD) {
        let mut refusal = reply(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD\n".to_owned());
        refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refusal;
    }
    let objection = readiness.objection();
    match (path, objection) {
        ("/metrics", _) => {
            let format = Format::accepted(headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()));
            let journal = *readiness.journal.status().borrow();
            let moment = Moment { journal, queued: readiness.journal.queued(), is_ready: objection.is_none() };
            reply(StatusCode::OK, format.content_type(), METRICS.page(format, moment))
        }
        ("/healthz", _) => reply(StatusCode::OK, TEXT, "alive\n".to_owned()),
        (_, None) => reply(StatusCode::OK, TEXT, "ready\n".to_owned()),
        (_, Some(why)) => reply(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("not ready: {why}\n")),
    }
}

fn reply(status: StatusCode, content_type: &'static str, body: String) -> Response<String> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
