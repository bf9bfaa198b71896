//! Texts and parameters that later records repeat: each Execute has the text of its statement.
//!
//! Promises: what one session holds in memory is bounded; what goes beyond is held as a blob, and still known.
//! Deliberately not here: which name has which text (`pgproto::tracker`).

use std::rc::Rc;

use pgproto::budget::{Budget, Counted};

use crate::audit::record::{Batch, Content, FIELD_BYTES_MAX, Spilled};

/// How many bytes of texts and parameters a session holds in memory.
pub(super) const HELD_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A text or a list of parameters that a later record repeats.
#[derive(Clone, Debug)]
pub(super) enum Held {
    Nothing,
    Bytes(Rc<Counted<u8>>),
    Blob(Spilled),
    Message(Spilled),
}

/// The text of a statement that has a name, and how the server has read it.
#[derive(Clone, Debug)]
pub(super) struct Text {
    pub(super) held: Held,
    pub(super) encoding: Option<Rc<str>>,
}

impl Held {
    /// Keeps content for later records; what is long, or too much, goes along with this batch as a blob.
    pub(super) fn new(budget: &Budget, batch: &mut Batch, bytes: &[u8]) -> Self {
        let kept = if bytes.len() > FIELD_BYTES_MAX { None } else { budget.keep(bytes) };
        kept.map_or_else(|| Self::Blob(batch.spill(bytes)), |kept| Self::Bytes(Rc::new(kept)))
    }

    pub(super) fn content(&self) -> Content<'_> {
        match self {
            Self::Nothing => Content::Bytes(b""),
            Self::Bytes(bytes) => Content::Bytes(bytes),
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
        let (budget, mut batch) = (Budget::new(HELD_BYTES_MAX), Batch::default());
        let text = vec![b'x'; FIELD_BYTES_MAX];
        let most = HELD_BYTES_MAX / FIELD_BYTES_MAX;
        let mut all: Vec<_> = (0..most).map(|_| Held::new(&budget, &mut batch, &text)).collect();
        assert!(all.iter().all(|held| matches!(held, Held::Bytes(_))));
        let Held::Blob(blob) = Held::new(&budget, &mut batch, &text) else { panic!("beyond the bound") };
        assert_eq!(blob.bytes, u64::try_from(text.len()).unwrap());
        let again = all.last().cloned();
        all.pop();
        assert!(matches!(Held::new(&budget, &mut batch, &text), Held::Blob(_)), "it is still held elsewhere");
        drop(again);
        assert!(matches!(Held::new(&budget, &mut batch, &text), Held::Bytes(_)));
        drop(all);
        assert!(budget.keep(&vec![0_u8; HELD_BYTES_MAX]).is_some(), "nothing is held any more");
    }
}
