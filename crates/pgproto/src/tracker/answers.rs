//! The server's side of the tracker: what each answer ends, and what it changes.
//!
//! Promises: an answer that nothing in flight explains is an error; names change here and nowhere else.
//! Deliberately not here: reading frames (`backend.rs`); rows, notices and notifications, which end nothing.

use std::rc::Rc;

use super::by_name::NameOf;
use super::names::Hidden;
use super::outcome;
use super::{
    CopyIn, Failure, InFlight, Mark, Named, OutOfStep, Outcome, Prepared, Refused, Request, Skipping, Told, Tracker,
};
use crate::backend::TransactionStatus;

/// A server message that ends or changes something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// ParseComplete
    ParseComplete,
    /// BindComplete
    BindComplete,
    /// CloseComplete
    CloseComplete,
    /// ParameterDescription, with the type OIDs
    ParameterTypes(Vec<u32>),
    /// RowDescription
    RowDescription,
    /// NoData
    NoData,
    /// CommandComplete, with its tag
    Complete(&'a [u8]),
    /// EmptyQueryResponse
    EmptyQuery,
    /// PortalSuspended
    Suspended,
    /// ErrorResponse
    Error(Failure),
    /// ErrorResponse, after which the server closes the connection
    Fatal(Failure),
    /// FunctionCallResponse
    FunctionResult,
    /// CopyInResponse or CopyBothResponse: the server waits for data
    CopyIn,
    /// ReadyForQuery
    Ready(TransactionStatus),
}

/// What to do with the server's message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// Send it to the client.
    Pass,
    /// It is the error of something that was refused: tell that instead.
    Refusal(Refused),
}

impl<K: Copy, T: Clone, P> Tracker<K, T, P> {
    /// Takes one message of the server; `at`: the position in its byte stream where the message ends.
    ///
    /// # Errors
    /// [`OutOfStep`]: nothing in flight explains the message.
    pub fn answer(&mut self, answer: Answer<'_>, at: u64) -> Result<Reaction, OutOfStep> {
        // The server has read what it answers, and so what stood before that.
        let past_flush = self.pass_flush();
        match answer {
            Answer::ParseComplete => self.parse_complete(at)?,
            Answer::BindComplete => self.bind_complete(at)?,
            Answer::CloseComplete => self.close_complete()?,
            Answer::ParameterTypes(types) => self.parameter_types(&types)?,
            Answer::RowDescription | Answer::NoData => self.described()?,
            Answer::Complete(tag) => self.complete(Outcome::Completed(tag.to_vec()), at)?,
            Answer::EmptyQuery => self.complete(Outcome::Completed(Vec::new()), at)?,
            Answer::Suspended => self.complete(Outcome::Suspended, at)?,
            Answer::FunctionResult => self.function_result()?,
            Answer::CopyIn => self.copy_begins()?,
            Answer::Ready(status) => self.ready(status, at)?,
            Answer::Error(failure) => {
                self.check_place(&failure, past_flush)?;
                return Ok(self.error(&failure, past_flush, at));
            }
            Answer::Fatal(failure) => {
                // The server's own last word, whatever of ours it ends.
                let _refusal = self.error(&failure, past_flush, at);
            }
        }
        Ok(Reaction::Pass)
    }

    /// The place of a Flush that stands first, which goes.
    fn pass_flush(&mut self) -> Option<Mark> {
        self.in_flight.pop_front_if(|entry| entry.is_flush()).map(|entry| entry.mark)
    }

    /// Whether it is clear what fails. An error at a Flush makes the server skip to the next Sync, and all that is between with
    /// it; one at a Query or FunctionCall behind that Flush ends the group.
    fn check_place(&mut self, failure: &Failure, past_flush: Option<Mark>) -> Result<(), OutOfStep> {
        let Some(next) = self.in_flight.front() else {
            return past_flush.map(|_| ()).ok_or(OutOfStep("ErrorResponse"));
        };
        if past_flush.is_some() && next.request.ends_group() && failure.may_be_of_reading() {
            if !self.in_flight.iter().skip(1).all(InFlight::is_flush) {
                return Err(OutOfStep("ErrorResponse"));
            }
            // If that has failed, the server says next that it is ready, and until then nothing is sent that would be skipped.
            self.fence = Some(next.mark);
            self.is_in_doubt = true;
        }
        Ok(())
    }

    fn pop(&mut self) -> Option<Request<K, T, P>> {
        let entry = self.in_flight.pop_front()?;
        self.changing.remove(entry.mark, &entry.request);
        if self.fence == Some(entry.mark) {
            self.fence = None;
        }
        Some(entry.request)
    }

    fn parse_complete(&mut self, at: u64) -> Result<(), OutOfStep> {
        let Some(Request::Parse { key, name, statement }) = self.in_flight.front().map(|entry| &entry.request) else {
            return Err(OutOfStep("ParseComplete"));
        };
        let (key, name, value) = (*key, Rc::clone(name), Rc::clone(statement));
        self.pop();
        // The name is given when code has run.
        self.taint(self.hides(&value.facts));
        let named = Named { value, certain: name.is_ascii(), doubts: self.statement_doubts };
        self.statements.insert(NameOf::Name(&name), named);
        self.finish(key, vec![Outcome::Completed(Vec::new())], at);
        Ok(())
    }

    fn bind_complete(&mut self, at: u64) -> Result<(), OutOfStep> {
        let Some(Request::Bind { key, name, portal }) = self.in_flight.front().map(|entry| &entry.request) else {
            return Err(OutOfStep("BindComplete"));
        };
        let (key, name, value) = (*key, Rc::clone(name), Rc::clone(portal));
        self.pop();
        let hides = self.hides_bound(&value);
        self.portals.insert(NameOf::Name(&name), Named { value, certain: name.is_ascii(), doubts: self.portal_doubts });
        self.taint(hides);
        if let Some(key) = key {
            self.finish(key, vec![Outcome::Completed(Vec::new())], at);
        }
        Ok(())
    }

    fn close_complete(&mut self) -> Result<(), OutOfStep> {
        match self.in_flight.front().map(|entry| &entry.request) {
            Some(Request::CloseStatement { name }) => {
                let name = Rc::clone(name);
                self.statements.remove(&name);
            }
            Some(Request::ClosePortal { name }) => {
                let name = Rc::clone(name);
                self.portals.remove(&name);
            }
            _ => return Err(OutOfStep("CloseComplete")),
        }
        self.pop();
        Ok(())
    }

    fn parameter_types(&self, types: &[u32]) -> Result<(), OutOfStep> {
        let Some(Request::Describe { statement }) = self.in_flight.front().map(|entry| &entry.request) else {
            return Err(OutOfStep("ParameterDescription"));
        };
        if let Some(statement) = statement {
            // What was known goes first, so that it does not count twice.
            statement.types.take();
            statement.types.replace(self.types.keep(types));
        }
        Ok(())
    }

    fn described(&mut self) -> Result<(), OutOfStep> {
        match self.in_flight.front().map(|entry| &entry.request) {
            Some(Request::Query { .. }) => Ok(()),
            Some(Request::Describe { .. }) => {
                self.pop();
                Ok(())
            }
            _ => Err(OutOfStep("RowDescription")),
        }
    }

    fn complete(&mut self, outcome: Outcome, at: u64) -> Result<(), OutOfStep> {
        // A replication server may end COPY BOTH by itself.
        self.copy_in = CopyIn::No;
        match self.in_flight.front_mut().map(|entry| &mut entry.request) {
            Some(Request::Query { told, .. }) => told.add(outcome),
            Some(Request::Execute { key, statement, .. }) => {
                let (key, statement) = (*key, statement.clone());
                self.pop();
                let tag = if let Outcome::Completed(tag) = &outcome { outcome::changing_tag(tag) } else { None };
                // What ended its transaction holds, whatever fails then, and so does what it ended.
                let is_end = |statement: &Prepared<T>| statement.facts.may_end_transaction();
                let has_ended = outcome.is_end_of_transaction() && statement.as_deref().is_some_and(is_end);
                self.unsettled = (!has_ended).then_some(key);
                self.finish(key, vec![outcome], at);
                if has_ended {
                    self.end_transaction();
                }
                let changed = tag.map(|tag| (0, tag));
                match statement {
                    Some(statement) => self.apply(&statement.facts, &statement.text, changed.as_slice()),
                    None => self.taint(Hidden::ALL),
                }
            }
            _ => return Err(OutOfStep("CommandComplete")),
        }
        Ok(())
    }

    fn function_result(&mut self) -> Result<(), OutOfStep> {
        match self.in_flight.front_mut().map(|entry| &mut entry.request) {
            Some(Request::Function { has_result, .. }) if !*has_result => *has_result = true,
            _ => return Err(OutOfStep("FunctionCallResponse")),
        }
        Ok(())
    }

    fn copy_begins(&mut self) -> Result<(), OutOfStep> {
        match self.in_flight.front() {
            // What was sent behind it, not expecting this, the server reads as it reads during a COPY: nobody knows what
            // its answers mean then.
            Some(entry)
                if self.in_flight.iter().skip(1).all(InFlight::is_flush)
                    && self.copy_in == CopyIn::No
                    && matches!(entry.request, Request::Query { .. } | Request::Execute { .. }) =>
            {
                if self.fence == Some(entry.mark) {
                    self.fence = None;
                }
                // A Flush behind it is swallowed.
                self.in_flight.truncate(1);
                self.copy_in = CopyIn::Yes { held_sync: false };
                Ok(())
            }
            _ => Err(OutOfStep("CopyInResponse")),
        }
    }

    fn ready(&mut self, status: TransactionStatus, at: u64) -> Result<(), OutOfStep> {
        self.is_in_doubt = false;
        let Some(entry) = self.in_flight.front_mut() else { return Err(OutOfStep("ReadyForQuery")) };
        match &mut entry.request {
            Request::Sync | Request::Ready => drop(self.pop()),
            Request::Function { key, has_result: true } => {
                let key = *key;
                self.pop();
                self.finish(key, vec![Outcome::Completed(Vec::new())], at);
            }
            // The server has said of each Query at least that it is empty.
            Request::Query { told, .. } if told.outcomes.is_empty() => return Err(OutOfStep("ReadyForQuery")),
            Request::Query { key, told, facts, text } => {
                let (key, Told { outcomes, changed, .. }) = (*key, std::mem::take(told));
                let (facts, text) = (std::mem::take(facts), text.clone());
                self.pop();
                self.end_unnamed(&outcomes);
                // Another may have begun in the same text, or by AND CHAIN.
                if facts.may_end_transaction() && outcomes.iter().any(Outcome::is_end_of_transaction) {
                    self.end_transaction();
                }
                self.apply(&facts, &text, &changed);
                self.finish(key, outcomes, at);
            }
            _ => return Err(OutOfStep("ReadyForQuery")),
        }
        self.unsettled = None;
        self.status = status;
        if status == TransactionStatus::Idle {
            self.end_transaction();
        }
        Ok(())
    }

    fn error(&mut self, failure: &Failure, past_flush: Option<Mark>, at: u64) -> Reaction {
        let copy = std::mem::replace(&mut self.copy_in, CopyIn::No);
        let Some(entry) = self.in_flight.front_mut() else {
            // Nothing in flight at all: the server speaks of its own accord, as at shutdown.
            if let Some(flush) = past_flush {
                self.undone(failure, at);
                self.skip_to_sync(Skipping::new(failure.clone()), flush, at);
            }
            return Reaction::Pass;
        };
        let mark = entry.mark;
        let reaction = entry.refused.map_or(Reaction::Pass, Reaction::Refusal);
        let failed = || vec![Outcome::Failed(failure.clone())];
        match &mut entry.request {
            Request::Query { told, .. } => told.fail(failure),
            Request::Function { key, .. } => {
                let key = *key;
                entry.request = Request::Ready;
                self.finish(key, failed(), at);
            }
            // The commit failed.
            Request::Sync => self.undone(failure, at),
            // A Query of ours, so it ends what every Query ends.
            Request::Refused { ends_with_ready: true } => {
                self.changing.remove(mark, &entry.request);
                entry.request = Request::Ready;
                self.drop_unnamed(failure);
                self.undone(failure, at);
            }
            // Two do not stand side by side.
            Request::Flush | Request::Ready => {}
            Request::Parse { .. }
            | Request::Bind { .. }
            | Request::Describe { .. }
            | Request::Execute { .. }
            | Request::CloseStatement { .. }
            | Request::ClosePortal { .. }
            | Request::Refused { ends_with_ready: false } => {
                let Some(request) = self.pop() else { return reaction };
                if matches!(&request, Request::Parse { name, .. } if name.is_empty()) {
                    self.drop_unnamed(failure);
                }
                // A change by SQL is the last thing its statement does, but code may have got half way.
                match &request {
                    Request::Execute { statement, .. } => self.taint(self.hides_as(statement.as_deref())),
                    Request::Bind { portal, .. } => self.taint(self.hides_bound(portal)),
                    Request::Parse { statement, .. } => self.taint(self.hides(&statement.facts)),
                    _ => {}
                }
                match (request.key(), &request) {
                    (Some(key), _) => self.finish(key, failed(), at),
                    // It is told with its Execute.
                    (None, Request::Bind { .. }) => {}
                    // What has no record is told of what it undoes.
                    (None, _) => self.undone(failure, at),
                }
                let mut skipping = Skipping::new(failure.clone());
                skipping.take(&request);
                self.skip_to_sync(skipping, mark, at);
            }
        }
        if copy == (CopyIn::Yes { held_sync: true }) {
            self.sync_owed = true;
        }
        reaction
    }

    /// What was executed since the last ReadyForQuery does not hold.
    fn undone(&mut self, failure: &Failure, at: u64) {
        if let Some(key) = self.unsettled.take() {
            self.finish_again(key, Outcome::Failed(failure.clone()), at);
        }
    }

    /// After an error in the extended protocol, that of the request at `failed`, the server ignores everything before the
    /// next Sync.
    fn skip_to_sync(&mut self, mut skipping: Skipping<T, P>, failed: Mark, at: u64) {
        while let Some(entry) = self.in_flight.front() {
            if matches!(entry.request, Request::Sync) {
                return;
            }
            let Some(request) = self.pop() else { break };
            skipping.take(&request);
            let Some(key) = request.key() else { continue };
            let failure = Rc::clone(&skipping.failure);
            // Of a Bind and its Execute with one record, the Bind was not skipped: code may have run.
            if matches!(request, Request::Execute { bind: Some(bind), .. } if bind <= failed) {
                self.finish(key, vec![Outcome::Failed(Failure::clone(&failure))], at);
            } else {
                self.finish_skipped(key, failure, at);
            }
        }
        self.skipping = Some(skipping);
    }

    /// A Query has ended: it ends the unnamed statement when it is read, the unnamed portal when it runs something.
    fn end_unnamed(&mut self, outcomes: &[Outcome]) {
        match outcomes {
            [Outcome::Failed(failure), ..] => {
                self.drop_unnamed(failure);
                // Nobody says how far it came.
                self.doubt_portal(b"");
            }
            [Outcome::Completed(tag)] if tag.is_empty() => drop(self.statements.remove(b"")),
            _ => {
                self.statements.remove(b"");
                self.portals.remove(b"");
            }
        }
    }

    /// The server drops the old unnamed statement before it reads a new text, but after it has converted it, and has looked
    /// whether anything else ends it.
    fn drop_unnamed(&mut self, failure: &Failure) {
        if failure.is_of_circumstances() || matches!(failure.sqlstate.as_slice(), b"22021" | b"22P05") {
            self.doubt_statement(b"");
        } else {
            self.statements.remove(b"");
        }
    }
}
