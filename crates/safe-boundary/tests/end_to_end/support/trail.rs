//! The audit trail as `safe-boundary audit export` gives it.
//!
//! Promises: every line is one record; texts that stand in blobs are read from there.
//! Deliberately not here: what must be in it.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use super::process::{Lines, Process, mortal};
use super::{Stage, root};

/// One record.
#[derive(Clone, Debug)]
pub(crate) struct Record(pub(crate) Value);

impl Record {
    pub(crate) fn kind(&self) -> &str {
        self.0["kind"].as_str().unwrap()
    }

    pub(crate) fn id(&self) -> &str {
        self.0["id"].as_str().unwrap()
    }

    pub(crate) fn session(&self) -> &str {
        self.0["session"].as_str().unwrap_or("")
    }

    pub(crate) fn protocol(&self) -> &str {
        self.0["statement"]["protocol"].as_str().unwrap_or("")
    }

    pub(crate) fn effect(&self) -> &str {
        self.0["decision"]["effect"].as_str().unwrap_or("")
    }

    pub(crate) fn login(&self) -> &str {
        self.0["subject"]["login"].as_str().unwrap_or("")
    }

    /// The text of the statement, from its blob when it is long.
    pub(crate) fn text(&self, folder: &Path) -> Option<String> {
        let text = &self.0["statement"]["text"];
        let Some(hash) = text["sha256"].as_str() else { return text.as_str().map(str::to_owned) };
        let blob = folder.join("audit/blobs/sha256").join(&hash[..2]).join(hash);
        Some(String::from_utf8_lossy(&fs::read(blob).unwrap()).into_owned())
    }

    /// What became of the statements of a record of kind `outcome`, in order.
    pub(crate) fn outcomes(&self) -> Vec<&Value> {
        match &self.0["outcome"] {
            Value::Array(many) => many.iter().collect(),
            Value::Null => Vec::new(),
            one => vec![one],
        }
    }
}

impl Stage {
    /// All records so far.
    pub(crate) fn trail(&self) -> Vec<Record> {
        let export = self.proxy.audit(&["export", "--format", "json"]);
        assert!(export.status.success(), "{}", String::from_utf8_lossy(&export.stderr));
        let text = String::from_utf8(export.stdout).unwrap();
        text.lines().map(|line| Record(serde_json::from_str(line).unwrap())).collect()
    }

    /// Waits until a record is there; the trail itself is followed, nothing is asked twice.
    pub(crate) fn wait_for_record(&self, wanted: impl Fn(&Record) -> bool) -> Record {
        let mut command = mortal(env!("CARGO_BIN_EXE_safe-boundary"));
        let dir = self.folder().join("audit");
        command.args(["audit", "tail", "--json", "--lines", "100000", "--dir"]).arg(dir).stdout(Stdio::piped());
        let mut tail = Process::start(&mut command);
        Lines::of(tail.child().stdout.take().unwrap()).wait_for(|line| {
            let record = Record(serde_json::from_str(line).ok()?);
            wanted(&record).then_some(record)
        })
    }

    /// Waits until every session that was let in has its end on record: then nothing more is to come of it.
    pub(crate) fn wait_for_ends(&self) {
        let records = self.trail();
        let begun =
            records.iter().filter(|record| record.effect() == "permit").map(|record| record.session().to_owned());
        let open = RefCell::new(begun.collect::<BTreeSet<_>>());
        self.wait_for_record(|record| {
            let mut open = open.borrow_mut();
            if record.kind() == "end" {
                open.remove(record.session());
            }
            open.is_empty()
        });
    }

    /// The chain over all records and blobs holds.
    pub(crate) fn verify_trail(&self) {
        let verify = self.proxy.audit(&["verify"]);
        let said = [verify.stdout, verify.stderr].concat();
        assert!(verify.status.success(), "audit verify: {}", String::from_utf8_lossy(&said));
    }

    /// What the program in `docs/audit.md` says of the trail: its head, or that something is wrong.
    pub(crate) fn documented_verifier(&self) -> Result<String, String> {
        let page = fs::read_to_string(root().join("docs/audit.md")).unwrap();
        let program = page.split("```python\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let mut python = mortal("python3");
        let said = python.args(["-c", program]).arg(self.folder().join("audit")).output().unwrap();
        let text = |raw: &[u8]| String::from_utf8_lossy(raw).trim().to_owned();
        if said.status.success() { Ok(text(&said.stdout)) } else { Err(text(&said.stderr)) }
    }
}
