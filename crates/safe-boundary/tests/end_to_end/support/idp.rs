//! The certified identity provider, and the people who sign in at it.
//!
//! Promises: whoever signs in here does it on the provider's own pages (`scripts/idp/`).
//! Deliberately not here: a provider that lies.

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::process::Stdio;

use serde_json::{Value, json};

use super::http;
use super::process::{Lines, Process, mortal};
use super::root;

/// A running provider.
pub(crate) struct Idp {
    process: Process,
    pub(crate) issuer: String,
}

impl Idp {
    pub(crate) fn start() -> Self {
        let mut command = mortal("node");
        command.arg(root().join("scripts/idp/provider.mjs")).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = Process::start(&mut command);
        let lines = Lines::of(process.child().stdout.take().unwrap());
        let issuer = lines.wait_for(|line| {
            let ready: Value = serde_json::from_str(line).ok()?;
            Some(ready["issuer"].as_str()?.to_owned())
        });
        Self { process, issuer }
    }

    /// The person opens the page, confirms the code, says who she is and agrees.
    pub(crate) fn approve(&self, code: &str, login: &str) {
        self.control("approve", &json!({ "code": code, "login": login }));
    }

    /// The person opens the page and refuses.
    pub(crate) fn refuse(&self, code: &str, login: &str) {
        self.control("approve", &json!({ "code": code, "login": login, "deny": true }));
    }

    /// From now on approves every code that is made, as `login`, until the provider ends.
    pub(crate) fn approve_everything(&self, login: &str) {
        let (authority, login) = (self.authority().to_owned(), login.to_owned());
        std::thread::spawn(move || {
            let mut seen: Vec<String> = Vec::new();
            while TcpStream::connect(&authority).is_ok() {
                let next = http::post(&authority, "/control/code", &json!({ "seen": seen }));
                // An error is that nobody asked for a code, for a while; or that it went with who asked for it.
                if let Some(code) = next.as_ref().ok().and_then(|next| next["code"].as_str()) {
                    http::post(&authority, "/control/approve", &json!({ "code": code, "login": login })).ok();
                    seen.push(code.to_owned());
                }
            }
        });
    }

    /// How many codes were made.
    pub(crate) fn codes_made(&self) -> u64 {
        self.control("state", &json!({}))["requests"]["/device/auth"].as_u64().unwrap_or(0)
    }

    /// How often each code was asked for; written without the hyphen.
    pub(crate) fn polls(&self) -> BTreeMap<String, u64> {
        serde_json::from_value(self.control("state", &json!({}))["polls"].clone()).unwrap()
    }

    pub(crate) fn rotate_keys(&self) {
        self.control("keys", &json!({}));
    }

    pub(crate) fn set_code_lifetime(&self, seconds: u32) {
        self.control("lifetime", &json!({ "device_code": seconds }));
    }

    pub(crate) fn set_groups(&self, login: &str, groups: &[&str]) {
        self.control("person", &json!({ "login": login, "groups": groups }));
    }

    pub(crate) fn stop(&mut self) {
        self.process.kill();
    }

    fn authority(&self) -> &str {
        self.issuer.strip_prefix("http://").unwrap()
    }

    fn control(&self, verb: &str, body: &Value) -> Value {
        http::post(self.authority(), &format!("/control/{verb}"), body)
            .unwrap_or_else(|error| panic!("{verb} {body}: {error}"))
    }
}
