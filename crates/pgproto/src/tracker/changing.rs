//! Which names the requests in flight change, and which request changes each of them last.
//!
//! Promises: finding the last change of a name takes the same time however many requests are in flight.
//! Deliberately not here: what a change makes of a name.

use std::collections::HashMap;
use std::rc::Rc;

use super::{Mark, Request};

/// A name of a statement or portal.
pub(super) type Name = Rc<[u8]>;

/// The last change in flight of each name.
#[derive(Debug, Default)]
pub(super) struct Changing {
    pub(super) statements: HashMap<Name, Mark>,
    pub(super) portals: HashMap<Name, Mark>,
}

impl Changing {
    /// A request goes up.
    pub(super) fn add<K, T, P>(&mut self, mark: Mark, request: &Request<K, T, P>) {
        let (statement, portal) = changed(request);
        if let Some(name) = statement {
            self.statements.insert(name, mark);
        }
        if let Some(name) = portal {
            self.portals.insert(name, mark);
        }
    }

    /// A request has ended.
    pub(super) fn remove<K, T, P>(&mut self, mark: Mark, request: &Request<K, T, P>) {
        let (statement, portal) = changed(request);
        for (names, name) in [(&mut self.statements, statement), (&mut self.portals, portal)] {
            // A later change of the same name stays.
            if let Some(name) = name.filter(|name| names.get(name) == Some(&mark)) {
                names.remove(&name);
            }
        }
    }
}

/// The names of the statement and the portal that a request changes.
fn changed<K, T, P>(request: &Request<K, T, P>) -> (Option<Name>, Option<Name>) {
    match request {
        // A simple Query ends the unnamed statement and the unnamed portal.
        Request::Query { .. } => (Some(Rc::default()), Some(Rc::default())),
        Request::Parse { name, .. } | Request::CloseStatement { name } => (Some(Rc::clone(name)), None),
        Request::Bind { name, .. } | Request::ClosePortal { name } => (None, Some(Rc::clone(name))),
        Request::Describe { .. }
        | Request::Execute { .. }
        | Request::Function { .. }
        | Request::Sync { .. }
        | Request::Refused { .. }
        | Request::Ready => (None, None),
    }
}
