//! The portals of a session: most end with their transaction, those of cursors WITH HOLD do not.
//!
//! Promises: the end of a transaction takes time for the portals that end with it, not for those that are held.
//! Deliberately not here: when a transaction ends.

use super::by_name::{ByName, NameOf};

/// Portals by name.
#[derive(Debug)]
pub(super) struct Portals<V> {
    passing: ByName<V>,
    held: ByName<V>,
}

impl<V> Default for Portals<V> {
    fn default() -> Self {
        Self { passing: ByName::default(), held: ByName::default() }
    }
}

impl<V> Portals<V> {
    pub(super) fn len(&self) -> usize {
        self.passing.len() + self.held.len()
    }

    pub(super) fn find(&self, name: &[u8]) -> Option<&V> {
        self.passing.find(name).or_else(|| self.held.find(name))
    }

    pub(super) fn find_mut(&mut self, name: &[u8]) -> Option<&mut V> {
        self.passing.find_mut(name).or_else(|| self.held.find_mut(name))
    }

    /// A portal that ends with its transaction.
    pub(super) fn insert(&mut self, name: NameOf<'_>, portal: V) {
        self.held.remove(name.bytes());
        self.passing.insert(name, portal);
    }

    /// One of a cursor WITH HOLD.
    pub(super) fn hold(&mut self, name: NameOf<'_>, portal: V) {
        self.passing.remove(name.bytes());
        self.held.insert(name, portal);
    }

    pub(super) fn remove(&mut self, name: &[u8]) {
        self.passing.remove(name);
        self.held.remove(name);
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn end_transaction(&mut self) {
        if self.passing.len() > 0 {
            self.passing = ByName::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    #[test]
    fn a_name_is_that_of_one_portal_and_held_ones_outlive_the_transaction() {
        let name = Rc::from(&b"c"[..]);
        let mut portals = Portals::default();
        portals.hold(NameOf::Name(&name), 1);
        portals.insert(NameOf::Name(&name), 2);
        portals.insert(NameOf::Unnamed, 3);
        assert_eq!((portals.find(b"c"), portals.find(b""), portals.len()), (Some(&2), Some(&3), 2));
        portals.hold(NameOf::Name(&name), 4);
        portals.end_transaction();
        assert_eq!((portals.find(b"c"), portals.find(b""), portals.len()), (Some(&4), None, 1));
        portals.remove(b"c");
        assert_eq!(portals.len(), 0);
    }
}
