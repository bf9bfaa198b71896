//! What statements do to names and transactions in the model of the server.
//!
//! Promises: as in PostgreSQL, what is prepared stays, portals end with their transaction unless they are held.
//! Deliberately not here: messages.

use pgproto::backend::TransactionStatus;

use super::{Portal, Ran, Server, Truth};

impl Server {
    pub(super) fn abort(&mut self) {
        self.portals.retain(|_, portal| portal.hold && !portal.is_new);
        if self.status == TransactionStatus::InTransaction {
            self.status = TransactionStatus::Failed;
        }
    }

    /// The end of a transaction outside of a block.
    pub(super) fn commit(&mut self) {
        self.portals.retain(|_, portal| portal.hold);
        self.portals.values_mut().for_each(|portal| portal.is_new = false);
    }

    /// One statement; `portal`: the one that runs it, which it cannot close; none in a Query.
    pub(super) fn run(&mut self, text: &str, portal: Option<&[u8]>, fails: bool, alone: bool) -> Ran {
        let in_query = portal.is_none();
        // What SQL makes is known by the whole text that it stood in.
        let whole = match self.truths.last() {
            Some(Truth { protocol: "simple", text: Some(whole), results, .. }) if in_query => {
                debug_assert!(!results.contains(&"error"));
                whole.clone()
            }
            _ => text.to_owned(),
        };
        let mut words = text.split(' ');
        let (verb, name) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        if fails || (self.status == TransactionStatus::Failed && !ends_transaction(text)) {
            return Err(());
        }
        let named = name.as_bytes().to_vec();
        match (verb, name) {
            ("begin", _) => self.status = TransactionStatus::InTransaction,
            ("commit" | "rollback", _) => {
                let commits = verb == "commit" && self.status != TransactionStatus::Failed;
                self.status = TransactionStatus::Idle;
                if commits {
                    self.commit();
                } else {
                    self.portals.retain(|_, portal| portal.hold && !portal.is_new);
                }
            }
            ("prepare", _) if self.statements.contains_key(&named) => return Err(()),
            ("prepare", _) => drop(self.statements.insert(named, whole)),
            ("deallocate", "all") => self.statements.clear(),
            ("deallocate", _) => drop(self.statements.remove(&named).ok_or(())?),
            ("discard", _) => {
                if self.status != TransactionStatus::Idle || !alone {
                    return Err(());
                }
                self.statements.clear();
                self.portals.retain(|name, _| Some(name.as_slice()) == portal);
            }
            ("declare", _) => {
                let hold = text.contains("with hold");
                let in_block = self.status == TransactionStatus::InTransaction;
                if self.portals.contains_key(&named) || (!hold && !in_block) {
                    return Err(());
                }
                let cursor = Portal { text: whole, is_done: true, is_cursor: true, hold, is_new: true };
                self.portals.insert(named, cursor);
            }
            ("close", "all") => self.portals.retain(|name, _| Some(name.as_slice()) == portal),
            ("close", _) if Some(named.as_slice()) == portal => return Err(()),
            ("close", _) => drop(self.portals.remove(&named).ok_or(())?),
            _ => {}
        }
        Ok(tag(verb, name))
    }
}

/// What the server calls a command when it has run.
fn tag(verb: &str, name: &str) -> &'static [u8] {
    match (verb, name) {
        ("prepare", _) => b"PREPARE",
        ("deallocate", "all") => b"DEALLOCATE ALL",
        ("deallocate", _) => b"DEALLOCATE",
        ("discard", _) => b"DISCARD ALL",
        ("declare", _) => b"DECLARE CURSOR",
        ("close", "all") => b"CLOSE CURSOR ALL",
        ("close", _) => b"CLOSE CURSOR",
        _ => b"DONE",
    }
}

/// Whether it is taken where the transaction has failed.
pub(super) fn ends_transaction(text: &str) -> bool {
    text.starts_with("commit") || text.starts_with("rollback")
}

/// Whether the proxy put it in the place of something that it refused.
pub(super) fn is_ours(text: &[u8]) -> bool {
    text.starts_with(b"safe_boundary:")
}
