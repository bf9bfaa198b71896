//! What one session keeps for later, counted for as long as it keeps it.
//!
//! Promises: what is kept at the same time is never more than the budget has.
//! Deliberately not here: what becomes of that which does not fit.

use std::cell::Cell;
use std::ops::Deref;
use std::rc::Rc;

/// How many items a session may keep.
#[derive(Debug)]
pub struct Budget {
    kept: Rc<Cell<usize>>,
    max: usize,
}

/// Items that count until they are let go.
#[derive(Debug)]
pub struct Counted<T> {
    items: Box<[T]>,
    kept: Rc<Cell<usize>>,
}

impl Budget {
    /// A budget of so many items.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { kept: Rc::default(), max }
    }

    /// Keeps a copy of items, if there is room for all of them.
    #[must_use]
    pub fn keep<T: Clone>(&self, items: &[T]) -> Option<Counted<T>> {
        let kept = self.kept.get().checked_add(items.len()).filter(|kept| *kept <= self.max)?;
        self.kept.set(kept);
        Some(Counted { items: items.into(), kept: Rc::clone(&self.kept) })
    }
}

impl<T> Deref for Counted<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.items
    }
}

impl<T> Drop for Counted<T> {
    fn drop(&mut self) {
        self.kept.set(self.kept.get().saturating_sub(self.items.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_has_a_bound_and_counts_until_it_is_let_go() {
        let budget = Budget::new(16);
        let mut all: Vec<_> = (0..4).map(|_| budget.keep(&[23_u32; 4]).unwrap()).collect();
        assert!(budget.keep(&[23]).is_none());
        assert_eq!(*budget.keep::<u32>(&[]).unwrap(), []);
        all.pop();
        assert!(budget.keep(&[0_u8; 5]).is_none(), "all or nothing");
        assert_eq!(*budget.keep(&[25]).unwrap(), [25]);
        drop(all);
        assert_eq!(budget.keep(&[0_u8; 16]).unwrap().len(), 16);
    }
}
