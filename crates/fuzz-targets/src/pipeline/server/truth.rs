//! What became of what went up, for the records to be held against.
//!
//! Promises: one truth for each message that carries SQL, in order; what the proxy put in the place of another has none.
//! Deliberately not here: what makes it so (`server.rs`, `effects.rs`).

use pgproto::frontend::{Bind, Execute, Parse, Query};

use super::{Server, is_ours, key};

/// What became of one statement that went up.
#[derive(Debug)]
pub(crate) struct Truth {
    pub(crate) protocol: &'static str,
    /// The portal of a Bind or an Execute.
    pub(crate) portal: Option<Vec<u8>>,
    /// The text that it ran, or would have.
    pub(crate) text: Option<String>,
    /// `ok`, `error`, `suspended`, `skipped`: one for each statement that came to its end.
    pub(crate) results: Vec<&'static str>,
}

impl Server {
    pub(super) fn truth(&mut self, protocol: &'static str, text: Option<&str>, results: Vec<&'static str>) {
        self.truths.push(Truth { protocol, portal: None, text: text.map(str::to_owned), results });
    }

    /// The same of a message that names a portal.
    pub(super) fn truth_of(
        &mut self,
        protocol: &'static str,
        portal: &[u8],
        text: Option<&str>,
        results: Vec<&'static str>,
    ) {
        self.truths.push(Truth { protocol, portal: Some(key(portal)), text: text.map(str::to_owned), results });
    }

    pub(super) fn skipped(&mut self, tag: u8, body: &[u8]) {
        let text = |text: &[u8]| String::from_utf8(text.to_vec()).unwrap();
        match tag {
            b'Q' if !is_ours(body) => {
                let text = text(Query::parse(body).unwrap().text);
                self.truth("simple", Some(&text), vec!["skipped"]);
            }
            b'P' => {
                let parse = Parse::parse(body).unwrap();
                if !is_ours(parse.text) {
                    self.truth("parse", Some(&text(parse.text)), vec!["skipped"]);
                }
            }
            b'B' => self.truth_of("bind", Bind::parse(body).unwrap().portal, None, vec!["skipped"]),
            b'E' => self.truth_of("execute", Execute::parse(body).unwrap().portal, None, vec!["skipped"]),
            b'F' => self.truth("function", None, vec!["skipped"]),
            _ => {}
        }
    }

    pub(super) fn result(&mut self, result: &'static str) {
        self.truths.last_mut().unwrap().results.push(result);
    }
}
