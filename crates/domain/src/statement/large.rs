//! Frames too large for a buffer: their content is in a blob before they are judged.
//!
//! Promises: judged like any other frame; the record refers to the content by its hash.
//! Deliberately not here: bringing the content to the disk and sending it up from there (the relay).

use jiff::Timestamp;
use pgproto::tracker::{Step, TextFacts};

use super::conversation::{Bound, Conversation, Violation};
use super::held::Held;
use super::intake::{function_call, named};
use super::refusal::{Refused, may_be_called};
use crate::audit::pending::Unrecorded;
use crate::audit::record::{Batch, Content, Parameters, Protocol, Spilled, Statement};

/// What is known of a large frame. Content is none where it must not be kept (`audit.parameters = "omit"`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LargeFrame {
    /// A Query.
    Query {
        /// Its text.
        text: Spilled,
    },
    /// A Parse.
    Parse {
        /// The statement's name.
        name: Vec<u8>,
        /// Its text.
        text: Spilled,
        /// The parameter types it names.
        types: Vec<u32>,
    },
    /// A Bind.
    Bind {
        /// The portal's name.
        portal: Vec<u8>,
        /// The statement's name.
        statement: Vec<u8>,
        /// The message's body.
        message: Option<Spilled>,
    },
    /// A FunctionCall.
    Function {
        /// The function's OID.
        oid: u32,
        /// The message's body.
        message: Option<Spilled>,
    },
}

/// A large frame that was judged.
#[derive(Debug)]
pub struct LargeIntake {
    /// The permission to send it up, sealed until its record is durable.
    pub effect: Unrecorded<Flush>,
    /// For [`Conversation::refuse_large`].
    pub refused: Refused,
    /// What goes up in the frame's place, when it is not allowed.
    pub instead: Option<Vec<u8>>,
}

/// Whether a Flush must follow the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flush(pub bool);

impl Conversation {
    /// Whether the content of parameters may be kept.
    #[must_use]
    pub fn keeps_parameters(&self) -> bool {
        self.parameters != Parameters::Omit
    }

    /// Judges a large frame.
    ///
    /// # Errors
    /// [`Violation`]: the session must end.
    pub fn large(&mut self, frame: &LargeFrame, now: Timestamp) -> Result<Step<LargeIntake>, Violation> {
        let refused = Refused { mark: self.tracker.mark(), first: self.ink.id(now) };
        let mut batch = Batch::default();
        let key = self.key(now);
        // Nobody looks through that much text for names: everything may happen.
        let facts = TextFacts::unknown();
        let (step, statement) = match frame {
            LargeFrame::Bind { portal, statement, message } => {
                return self.large_bind(portal, statement, *message, refused, now);
            }
            LargeFrame::Query { text } => {
                let statement = Statement::new(Protocol::Simple, Some(Content::Blob(*text)));
                (self.tracker.query(self.text(Held::Blob(*text)), facts, key)?, statement)
            }
            LargeFrame::Parse { name, text, types } => {
                let mut statement = Statement::new(Protocol::Parse, Some(Content::Blob(*text)));
                statement.prepared = named(name);
                (self.tracker.parse(name, self.text(Held::Blob(*text)), facts, types, key)?, statement)
            }
            LargeFrame::Function { oid, message } => {
                (self.tracker.function(key)?, function_call(*oid, message.map(Content::Message)))
            }
        };
        match step {
            Step::Wait => Ok(Step::Wait),
            Step::Drop => Ok(Step::Drop),
            Step::Pass(()) => {
                let instead = if matches!(frame, LargeFrame::Function { oid, .. } if !may_be_called(*oid)) {
                    Some(self.deny_function(refused.mark, key, &statement, &mut batch))
                } else {
                    self.record(&mut batch, key, &statement);
                    None
                };
                Ok(Step::Pass(self.sealed(batch, refused, instead)))
            }
        }
    }

    /// Its Execute comes later, so it has a record of its own.
    fn large_bind(
        &mut self,
        portal: &[u8],
        statement: &[u8],
        message: Option<Spilled>,
        refused: Refused,
        now: Timestamp,
    ) -> Result<Step<LargeIntake>, Violation> {
        let mut batch = Batch::default();
        let step = self.tracker.bind(portal, statement, |_| message.map(Held::Message))?;
        Ok(step.map(|bound| {
            self.bound = Some(Bound { mark: refused.mark, name: portal.to_vec(), portal: bound });
            self.record_bound(&mut batch, now);
            self.sealed(batch, refused, None)
        }))
    }

    fn sealed(&mut self, batch: Batch, refused: Refused, instead: Option<Vec<u8>>) -> LargeIntake {
        let flush = Flush(self.tracker.wants_flush());
        self.unsettled = (!batch.is_empty()).then_some(refused.first);
        LargeIntake { effect: Unrecorded::new(batch, flush), refused, instead }
    }
}
