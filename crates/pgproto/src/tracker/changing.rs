//! Which names the requests in flight change, and which request changes each of them last.
//!
//! Promises: finding the last change of a name takes the same time however many requests are in flight.
//! Deliberately not here: what a change makes of a name.

use super::by_name::{ByName, NameOf};
use super::{Mark, Request};

/// The last change in flight of each name.
#[derive(Debug, Default)]
pub(super) struct Changing {
    pub(super) statements: ByName<Mark>,
    pub(super) portals: ByName<Mark>,
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

    /// Whether a request changes names.
    pub(super) fn is_by<K, T, P>(request: &Request<K, T, P>) -> bool {
        !matches!(changed(request), (None, None))
    }

    /// A request has ended.
    pub(super) fn remove<K, T, P>(&mut self, mark: Mark, request: &Request<K, T, P>) {
        let (statement, portal) = changed(request);
        for (names, name) in [(&mut self.statements, statement), (&mut self.portals, portal)] {
            // A later change of the same name stays.
            if let Some(name) = name.filter(|name| names.find(name.bytes()) == Some(&mark)) {
                names.remove(name.bytes());
            }
        }
    }
}

/// The names of the statement and the portal that a request changes.
fn changed<K, T, P>(request: &Request<K, T, P>) -> (Option<NameOf<'_>>, Option<NameOf<'_>>) {
    match request {
        // A simple Query ends the unnamed statement and the unnamed portal; one of ours fails before it runs anything.
        Request::Query { .. } => (Some(NameOf::Unnamed), Some(NameOf::Unnamed)),
        Request::Refused { ends_with_ready: true } => (Some(NameOf::Unnamed), None),
        Request::Parse { name, .. } | Request::CloseStatement { name } => (Some(NameOf::Name(name)), None),
        Request::Bind { name, .. } | Request::ClosePortal { name } => (None, Some(NameOf::Name(name))),
        Request::Describe { .. }
        | Request::Execute { .. }
        | Request::Function { .. }
        | Request::Flush
        | Request::Sync
        | Request::Refused { ends_with_ready: false }
        | Request::Ready => (None, None),
    }
}
