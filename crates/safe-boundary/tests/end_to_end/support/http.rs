//! One HTTP request to loopback: JSON in, JSON out.
//!
//! Promises: ends after a minute.
//! Deliberately not here: everything else of HTTP.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value;

use super::process::PATIENCE;

/// Posts `body` to `path` at `authority` (`127.0.0.1:port`); an answer other than 200 is an error with its text.
pub(crate) fn post(authority: &str, path: &str, body: &Value) -> Result<Value, String> {
    let body = body.to_string();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = exchange(authority, request.as_bytes()).map_err(|error| error.to_string())?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    if !head.starts_with("HTTP/1.1 200") {
        return Err(body.to_owned());
    }
    let body = whole(head, body);
    serde_json::from_str(&body).map_err(|error| format!("{error}: {body}"))
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// Asks `path` at `authority`; `headers` are whole lines.
pub(crate) fn request(authority: &str, method: &str, path: &str, headers: &str) -> Result<Answer, String> {
    let request = format!("{method} {path} HTTP/1.1\r\nhost: {authority}\r\n{headers}\r\n");
    let answer = exchange(authority, request.as_bytes()).map_err(|error| error.to_string())?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| format!("no answer, but {answer:?}"))?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or(head)?;
    Ok(Answer { status, head: head.to_ascii_lowercase(), body: whole(head, body) })
}

fn exchange(authority: &str, request: &[u8]) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(authority)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn whole(head: &str, body: &str) -> String {
    let is_chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    if is_chunked { unchunk(body) } else { body.to_owned() }
}

fn unchunk(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        whole.push_str(&rest[..size]);
        body = rest[size..].trim_start_matches("\r\n");
    }
    whole
}
