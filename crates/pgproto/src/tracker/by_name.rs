//! What is kept under the names of statements or portals.
//!
//! Promises: the unnamed one, which nearly every request uses or ends, costs neither a hash nor memory for its name.
//! Deliberately not here: what a name means.

use std::collections::HashMap;
use std::rc::Rc;

/// A name of a statement or portal; the empty one is that of the unnamed.
pub(super) type Name = Rc<[u8]>;

/// The server compares names of statements and portals up to this many bytes (`NAMEDATALEN - 1`).
const NAME_BYTES_MAX: usize = 63;

/// A name as the server compares it.
pub(super) fn effective(name: &[u8]) -> &[u8] {
    name.get(..NAME_BYTES_MAX).unwrap_or(name)
}

/// The name of something that is put in.
#[derive(Clone, Copy, Debug)]
pub(super) enum NameOf<'n> {
    /// The empty one.
    Unnamed,
    /// Any.
    Name(&'n Name),
}

impl NameOf<'_> {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Unnamed => b"",
            Self::Name(name) => name,
        }
    }
}

/// Values by name.
#[derive(Debug)]
pub(super) struct ByName<V> {
    unnamed: Option<V>,
    named: HashMap<Name, V>,
}

impl<V> Default for ByName<V> {
    fn default() -> Self {
        Self { unnamed: None, named: HashMap::new() }
    }
}

impl<V> ByName<V> {
    pub(super) fn len(&self) -> usize {
        usize::from(self.unnamed.is_some()) + self.named.len()
    }

    pub(super) fn find(&self, name: &[u8]) -> Option<&V> {
        if name.is_empty() { self.unnamed.as_ref() } else { self.named.get(name) }
    }

    pub(super) fn find_mut(&mut self, name: &[u8]) -> Option<&mut V> {
        if name.is_empty() { self.unnamed.as_mut() } else { self.named.get_mut(name) }
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.unnamed.iter_mut().chain(self.named.values_mut())
    }

    pub(super) fn insert(&mut self, name: NameOf<'_>, value: V) {
        match name {
            NameOf::Name(name) if !name.is_empty() => drop(self.named.insert(Rc::clone(name), value)),
            NameOf::Name(_) | NameOf::Unnamed => self.unnamed = Some(value),
        }
    }

    pub(super) fn remove(&mut self, name: &[u8]) -> Option<V> {
        if name.is_empty() { self.unnamed.take() } else { self.named.remove(name) }
    }

    /// Keeps the unnamed one only.
    pub(super) fn remove_named(&mut self) {
        self.named.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_name_is_the_unnamed() {
        let (empty, name) = (Name::from(&b""[..]), Name::from(&b"a"[..]));
        let mut values = ByName::default();
        values.insert(NameOf::Name(&empty), 1);
        values.insert(NameOf::Name(&name), 2);
        assert_eq!((values.find(b""), values.find(b"a"), values.len()), (Some(&1), Some(&2), 2));
        values.insert(NameOf::Unnamed, 3);
        assert_eq!(values.find_mut(b""), Some(&mut 3));
        values.insert(NameOf::Name(&name), 4);
        assert_eq!(values.remove(b""), Some(3));
        assert_eq!(values.remove(b"a"), Some(4));
        values.insert(NameOf::Name(&name), 5);
        values.insert(NameOf::Name(&empty), 6);
        values.remove_named();
        assert_eq!((values.find(b"a"), values.len()), (None, 1));
        assert_eq!(values.remove(b""), Some(6));
    }
}
