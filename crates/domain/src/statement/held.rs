//! Texts and parameters that later records repeat: each Execute has the text of its statement.
//!
//! Promises: what one session holds in memory is bounded; what goes beyond is held as a blob, and still known.
//! Deliberately not here: which name has which text (`pgproto::tracker`).

use std::cell::Cell;
use std::rc::Rc;

use crate::audit::record::{Batch, Content, FIELD_BYTES_MAX, Spilled};

/// How many bytes of texts and parameters a session holds in memory.
const HELD_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A text or a list of parameters that a later record repeats.
#[derive(Clone, Debug)]
pub(super) enum Held {
    Nothing,
    Bytes(Rc<Charged>),
    Blob(Spilled),
    Message(Spilled),
}

/// The text of a statement that has a name, and how the server has read it.
#[derive(Clone, Debug)]
pub(super) struct Text {
    pub(super) held: Held,
    pub(super) encoding: Option<Rc<str>>,
}

/// How much a session holds.
#[derive(Clone, Debug, Default)]
pub(super) struct Budget(Rc<Cell<usize>>);

/// Bytes that count until they are let go.
#[derive(Debug)]
pub(super) struct Charged {
    bytes: Box<[u8]>,
    budget: Budget,
}

impl Drop for Charged {
    fn drop(&mut self) {
        self.budget.0.set(self.budget.0.get().saturating_sub(self.bytes.len()));
    }
}

impl Budget {
    /// Keeps content for later records; what is long, or too much, goes along with this batch as a blob.
    pub(super) fn hold(&self, batch: &mut Batch, bytes: &[u8]) -> Held {
        let held = self.0.get().saturating_add(bytes.len());
        if bytes.len() > FIELD_BYTES_MAX || held > HELD_BYTES_MAX {
            return Held::Blob(batch.spill(bytes));
        }
        self.0.set(held);
        Held::Bytes(Rc::new(Charged { bytes: bytes.into(), budget: self.clone() }))
    }
}

impl Held {
    pub(super) fn content(&self) -> Content<'_> {
        match self {
            Self::Nothing => Content::Bytes(b""),
            Self::Bytes(charged) => Content::Bytes(&charged.bytes),
            Self::Blob(spilled) => Content::Blob(*spilled),
            Self::Message(spilled) => Content::Message(*spilled),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_has_a_bound_and_stays_known() {
        let (budget, mut batch) = (Budget::default(), Batch::default());
        let text = vec![b'x'; FIELD_BYTES_MAX];
        let most = HELD_BYTES_MAX / FIELD_BYTES_MAX;
        let mut all: Vec<_> = (0..most).map(|_| budget.hold(&mut batch, &text)).collect();
        assert!(all.iter().all(|held| matches!(held, Held::Bytes(_))));
        let Held::Blob(blob) = budget.hold(&mut batch, &text) else { panic!("beyond the bound") };
        assert_eq!(blob.bytes, u64::try_from(text.len()).unwrap());
        let again = all.last().cloned();
        all.pop();
        assert!(matches!(budget.hold(&mut batch, &text), Held::Blob(_)), "it is still held elsewhere");
        drop(again);
        assert!(matches!(budget.hold(&mut batch, &text), Held::Bytes(_)));
        drop(all);
        assert_eq!(budget.0.get(), 0);
    }
}
