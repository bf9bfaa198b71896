//! What names would mean while the server skips to a Sync.
//!
//! Promises: the record of what is skipped says the same whether the error was seen before it or after; bounded.
//! Deliberately not here: what names do mean; nothing of this happens in the server.

use std::rc::Rc;

use super::by_name::{ByName, NameOf};
use super::{Failure, Portal, Prepared, Request};

/// How many names are followed; those beyond mean what they mean in the server.
const NAMES_MAX: usize = 1024;

/// The server skips, because of an error.
#[derive(Debug)]
pub(super) struct Skipping<T, P> {
    pub(super) failure: Rc<Failure>,
    /// None where a name would have been closed, or nobody knows what it would mean.
    pub(super) statements: ByName<Option<Rc<Prepared<T>>>>,
    pub(super) portals: ByName<Option<Rc<Portal<T, P>>>>,
}

impl<T, P> Skipping<T, P> {
    pub(super) fn new(failure: Failure) -> Self {
        Self { failure: Rc::new(failure), statements: ByName::default(), portals: ByName::default() }
    }

    /// A request that is skipped, or that failed.
    pub(super) fn take<K>(&mut self, request: &Request<K, T, P>) {
        match request {
            Request::Query { .. } => {
                put(&mut self.statements, NameOf::Unnamed, None);
                put(&mut self.portals, NameOf::Unnamed, None);
            }
            Request::Parse { name, statement, .. } => put(&mut self.statements, NameOf::Name(name), Some(statement)),
            Request::CloseStatement { name } => put(&mut self.statements, NameOf::Name(name), None),
            Request::Bind { name, portal, .. } => put(&mut self.portals, NameOf::Name(name), Some(portal)),
            Request::ClosePortal { name } => put(&mut self.portals, NameOf::Name(name), None),
            Request::Describe { .. }
            | Request::Execute { .. }
            | Request::Function { .. }
            | Request::Flush
            | Request::Sync
            | Request::Refused { .. }
            | Request::Ready => {}
        }
    }

    /// Some of what was skipped is not on record, and its content is nowhere: nobody knows what the names would mean.
    pub(super) fn forget(&mut self) {
        self.statements.values_mut().for_each(|statement| *statement = None);
        self.portals.values_mut().for_each(|portal| *portal = None);
    }
}

fn put<V>(names: &mut ByName<Option<Rc<V>>>, name: NameOf<'_>, value: Option<&Rc<V>>) {
    if names.len() < NAMES_MAX || names.find(name.bytes()).is_some() {
        names.insert(name, value.map(Rc::clone));
    }
}
