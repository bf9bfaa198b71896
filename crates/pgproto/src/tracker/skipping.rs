//! What names would mean while the server skips to a Sync.
//!
//! Promises: the record of what is skipped says the same whether the error was seen before it or after; bounded.
//! Deliberately not here: what names do mean; nothing of this happens in the server.

use std::collections::HashMap;
use std::rc::Rc;

use super::changing::Name;
use super::{Failure, Portal, Prepared, Request};

/// How many names are followed; those beyond mean what they mean in the server.
const NAMES_MAX: usize = 1024;

/// The server skips, because of an error.
#[derive(Debug)]
pub(super) struct Skipping<T, P> {
    pub(super) failure: Failure,
    /// None where a name would have been closed.
    pub(super) statements: HashMap<Name, Option<Rc<Prepared<T>>>>,
    pub(super) portals: HashMap<Name, Option<Rc<Portal<T, P>>>>,
}

impl<T, P> Skipping<T, P> {
    pub(super) fn new(failure: Failure) -> Self {
        Self { failure, statements: HashMap::new(), portals: HashMap::new() }
    }

    /// A request that is skipped, or that failed.
    pub(super) fn take<K>(&mut self, request: &Request<K, T, P>) {
        match request {
            Request::Query { .. } => {
                put(&mut self.statements, &Name::default(), None);
                put(&mut self.portals, &Name::default(), None);
            }
            Request::Parse { name, statement, .. } => put(&mut self.statements, name, Some(statement)),
            Request::CloseStatement { name } => put(&mut self.statements, name, None),
            Request::Bind { name, portal } => put(&mut self.portals, name, Some(portal)),
            Request::ClosePortal { name } => put(&mut self.portals, name, None),
            Request::Describe { .. }
            | Request::Execute { .. }
            | Request::Function { .. }
            | Request::Sync { .. }
            | Request::Refused { .. }
            | Request::Ready => {}
        }
    }
}

fn put<V>(names: &mut HashMap<Name, Option<Rc<V>>>, name: &Name, value: Option<&Rc<V>>) {
    if names.len() < NAMES_MAX || names.contains_key(name) {
        names.insert(Rc::clone(name), value.map(Rc::clone));
    }
}
