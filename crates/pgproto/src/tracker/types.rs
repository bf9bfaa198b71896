//! The parameter types of prepared statements.
//!
//! Promises: what one session keeps of them is bounded; of statements beyond that the types are not known.
//! Deliberately not here: what a type means.

use std::cell::Cell;
use std::rc::Rc;

/// How many OIDs a session keeps: 4 MiB of them.
const TYPES_MAX: usize = 1024 * 1024;

/// How many a session has.
#[derive(Clone, Debug, Default)]
pub(super) struct TypesBudget(Rc<Cell<usize>>);

/// Types that count until they are let go.
#[derive(Debug, Default)]
pub(super) struct Types {
    oids: Box<[u32]>,
    budget: TypesBudget,
}

impl TypesBudget {
    /// Keeps the types of a statement, as long as there is room.
    pub(super) fn hold(&self, oids: Vec<u32>) -> Types {
        let held = self.0.get().saturating_add(oids.len());
        if held > TYPES_MAX {
            return Types::default();
        }
        self.0.set(held);
        Types { oids: oids.into(), budget: self.clone() }
    }
}

impl Types {
    pub(super) fn oids(&self) -> &[u32] {
        &self.oids
    }
}

impl Drop for Types {
    fn drop(&mut self) {
        self.budget.0.set(self.budget.0.get().saturating_sub(self.oids.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_beyond_the_bound_are_not_known() {
        let budget = TypesBudget::default();
        let mut all: Vec<_> = (0..16).map(|_| budget.hold(vec![23; TYPES_MAX / 16])).collect();
        assert_eq!(budget.hold(vec![23]).oids(), [0; 0]);
        assert_eq!(budget.hold(Vec::new()).oids(), [0; 0]);
        all.pop();
        assert_eq!(budget.hold(vec![23]).oids(), [23]);
        drop(all);
        assert_eq!(budget.0.get(), 0);
    }
}
