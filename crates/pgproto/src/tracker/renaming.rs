//! What SQL does to the names of statements and portals.
//!
//! Promises: a name means another text for certain only where the server's tag says that what was read has happened.
//! Deliberately not here: reading texts (`names.rs`).

use std::cell::RefCell;
use std::rc::Rc;

use super::by_name::NameOf;
use super::names::{Change, Hidden};
use super::{Named, Portal, Prepared, TextFacts, Tracker, outcome};

impl<K: Copy, T: Clone, P> Tracker<K, T, P> {
    /// What a text did to names. `changed`: where the server has said that something changed; what it has not said of the
    /// text's own changes may have happened all the same, where an error came in the place of the last tag.
    pub(super) fn apply(&mut self, facts: &TextFacts, text: &T, changed: &[(usize, &'static [u8])]) {
        let Hidden { mut statements, mut portals, at_end } = self.hides(facts);
        for (before, change) in &facts.changes {
            if changed.binary_search(&(*before, change.tag())).is_ok() {
                self.change(change, text, facts);
                continue;
            }
            match change {
                Change::Prepare(name) => self.doubt_prepared(name, text, facts),
                Change::Deallocate(name) => self.doubt_statement(name),
                Change::DeallocateAll | Change::DiscardAll => (statements, portals) = (true, true),
                // An error ends the portals of its transaction; only older ones can be left.
                Change::Declare { .. } | Change::CloseCursor(_) | Change::CloseAllCursors => portals = true,
            }
        }
        self.taint(Hidden { statements, portals, at_end });
        let unread = |(at, tag): &&(usize, &'static [u8])| {
            let read = facts.changes.binary_search_by_key(at, |(before, _)| *before).ok();
            read.and_then(|read| facts.changes.get(read)).is_none_or(|(_, change)| change.tag() != *tag)
        };
        self.taint_by(changed.iter().filter(unread).map(|(_, tag)| *tag));
    }

    /// Something that nobody has read changed names: SQL's EXECUTE of a statement that Parse has prepared, a text in an
    /// encoding whose letters look like other signs.
    pub(super) fn taint_by(&mut self, tags: impl IntoIterator<Item = &'static [u8]>) {
        let mut hidden = Hidden::default();
        for tag in tags {
            hidden.statements |= outcome::OF_STATEMENTS.contains(&tag);
            hidden.portals |= outcome::OF_PORTALS.contains(&tag);
        }
        self.taint(hidden);
    }

    fn change(&mut self, change: &Change, text: &T, facts: &TextFacts) {
        match change {
            Change::Prepare(name) => {
                let doubts = self.statement_doubts;
                let named = Named { value: prepared(text, facts), certain: name.is_ascii(), doubts };
                self.statements.insert(NameOf::Name(name), named);
            }
            Change::Deallocate(name) => drop(self.statements.remove(name)),
            // The unnamed statement is kept elsewhere in the server.
            Change::DeallocateAll => self.statements.remove_named(),
            Change::Declare { name, hold } => {
                let portal = Portal {
                    statement: Some(prepared(text, facts)),
                    statement_name: Rc::default(),
                    params: None,
                    certain: true,
                };
                let doubts = self.portal_doubts;
                let named = Named { value: Rc::new(portal), certain: name.is_ascii(), doubts };
                if *hold {
                    self.portals.hold(NameOf::Name(name), named);
                } else {
                    self.portals.insert(NameOf::Name(name), named);
                }
            }
            Change::CloseCursor(name) => self.portals.remove(name),
            Change::CloseAllCursors => self.portals.clear(),
            Change::DiscardAll => {
                self.statements.remove_named();
                self.portals.clear();
            }
        }
    }

    /// A name may have been given to a text.
    fn doubt_prepared(&mut self, name: &Rc<[u8]>, text: &T, facts: &TextFacts) {
        if self.statements.find(name).is_none() {
            let named = Named { value: prepared(text, facts), certain: false, doubts: self.statement_doubts };
            self.statements.insert(NameOf::Name(name), named);
        }
        self.doubt_statement(name);
    }

    /// A name may mean something else now.
    pub(super) fn doubt_statement(&mut self, name: &[u8]) {
        if let Some(named) = self.statements.find_mut(name) {
            named.certain = false;
        }
    }

    pub(super) fn doubt_portal(&mut self, name: &[u8]) {
        if let Some(named) = self.portals.find_mut(name) {
            named.certain = false;
        }
    }

    /// Names that can be written in SQL may mean something else now. Unnamed ones cannot be written.
    pub(super) fn taint(&mut self, hidden: Hidden) {
        self.statement_doubts += u64::from(hidden.statements);
        self.portal_doubts += u64::from(hidden.portals);
        self.runs_at_end |= hidden.at_end;
    }

    /// What was to run at the end of the transaction has run.
    pub(super) fn end_transaction(&mut self) {
        self.portals.end_transaction();
        if std::mem::take(&mut self.runs_at_end) {
            self.taint(Hidden { at_end: false, ..Hidden::ALL });
        }
    }

    /// Whether a name means one thing: the server folds and cuts what is not ASCII by rules of its encoding. The unnamed
    /// cannot be written in SQL.
    pub(super) fn is_clear(&self, name: &[u8]) -> bool {
        name.is_empty() || (name.is_ascii() && !self.runs_at_end)
    }

    /// Which names a text may change unseen. SQL's EXECUTE may run anything that was prepared.
    pub(super) fn hides(&self, facts: &TextFacts) -> Hidden {
        if facts.executes && self.hides { Hidden::ALL } else { facts.hidden() }
    }

    /// Whether what comes behind a text waits for its end.
    pub(super) fn needs_fence(&self, facts: &TextFacts) -> bool {
        facts.needs_fence() || self.hides(facts).any()
    }

    /// The same of a statement; of one that nobody knows, all.
    pub(super) fn hides_as(&self, statement: Option<&Prepared<T>>) -> Hidden {
        statement.map_or(Hidden::ALL, |statement| self.hides(&statement.facts))
    }

    /// The same of a statement that is bound. Code prepares none without a name.
    pub(super) fn hides_bound(&self, portal: &Portal<T, P>) -> Hidden {
        match &portal.statement {
            None if portal.statement_name.is_empty() => Hidden::default(),
            statement => self.hides_as(statement.as_deref()),
        }
    }
}

/// A statement that SQL prepared: its text is the whole text in which it stood, and may run what that hides.
fn prepared<T: Clone>(text: &T, facts: &TextFacts) -> Rc<Prepared<T>> {
    Rc::new(Prepared { text: text.clone(), facts: facts.of_prepared(), types: RefCell::default() })
}
