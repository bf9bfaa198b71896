//! The client's side of the tracker: which frames may go up now, and what they will mean.
//!
//! Promises: a frame that passes has its place in flight; a frame that waits has changed nothing.
//! Deliberately not here: reading frames (`frontend.rs`) and the server's answers (`answers.rs`).

use std::cell::RefCell;
use std::rc::Rc;

use super::by_name::effective;
use super::{
    CopyIn, DuringCopy, IN_FLIGHT_MAX, InFlight, Mark, Named, Portal, Prepared, Request, Running, Step, TextFacts,
    Told, Tracker,
};
use crate::frontend::Target;

/// What a name means to the next frame.
enum Meaning<V> {
    Known(V),
    /// The server has no such name, as far as we know.
    Unknown,
    /// It depends on an answer that is still to come.
    Open,
}

impl<K, T, P> InFlight<K, T, P> {
    pub(super) const fn is_flush(&self) -> bool {
        matches!(self.request, Request::Flush)
    }
}

impl<K, T, P> Request<K, T, P> {
    /// Whether the server is ready after it, or after its error, without a Sync.
    pub(super) const fn ends_group(&self) -> bool {
        match self {
            Self::Query { .. } | Self::Function { .. } | Self::Ready => true,
            Self::Refused { ends_with_ready } => *ends_with_ready,
            Self::Parse { .. }
            | Self::Bind { .. }
            | Self::Describe { .. }
            | Self::Execute { .. }
            | Self::CloseStatement { .. }
            | Self::ClosePortal { .. }
            | Self::Flush
            | Self::Sync => false,
        }
    }
}

impl<K: Copy, T: Clone, P> Tracker<K, T, P> {
    /// A Query.
    ///
    /// # Errors
    /// [`DuringCopy`]: the server would end the connection.
    pub fn query(&mut self, text: T, facts: TextFacts, key: K) -> Result<Step, DuringCopy> {
        if self.must_wait("Query")? {
            return Ok(Step::Wait);
        }
        let fence = self.needs_fence(&facts);
        self.hides |= facts.hidden().any();
        self.push(Request::Query { key, told: Told::default(), facts, text });
        self.next_group();
        self.raise_fence(fence, false);
        Ok(Step::Pass(()))
    }

    /// A Parse.
    ///
    /// The server checks the constants of the text against their types here, and code may run for that.
    ///
    /// # Errors
    /// [`DuringCopy`]: the server would end the connection.
    pub fn parse(&mut self, name: &[u8], text: T, facts: TextFacts, types: &[u32], key: K) -> Result<Step, DuringCopy> {
        if self.must_wait("Parse")? {
            return Ok(Step::Wait);
        }
        let types = RefCell::new(self.types.keep(types));
        let statement = Rc::new(Prepared { text, facts: facts.of_one_statement(), types });
        let fence = self.hides(&statement.facts).any();
        self.hides |= statement.facts.hidden().any() || statement.facts.changes_names();
        self.push(Request::Parse { key, name: effective(name).into(), statement });
        self.raise_fence(fence, true);
        Ok(Step::Pass(()))
    }

    /// A Bind; `params` is asked for the parameters once it is clear which types they have. Tells what its portal will be.
    ///
    /// The server plans the statement here: functions of its text may run, and so may checks of the parameters' types.
    ///
    /// # Errors
    /// [`DuringCopy`]: the server would end the connection.
    pub fn bind(
        &mut self,
        portal: &[u8],
        statement_name: &[u8],
        params: impl FnOnce(&[u32]) -> P,
    ) -> Result<Step<Rc<Portal<T, P>>>, DuringCopy> {
        if self.must_wait("Bind")? {
            return Ok(Step::Wait);
        }
        let statement_name = effective(statement_name);
        let statement = match self.statement(statement_name) {
            Meaning::Open => return Ok(Step::Wait),
            Meaning::Known(statement) => Some(statement),
            Meaning::Unknown => None,
        };
        let params = Some(match &statement {
            Some(statement) => params(statement.value.types.borrow().as_deref().unwrap_or_default()),
            None => params(&[]),
        });
        let certain = statement.as_ref().is_some_and(|statement| statement.certain);
        let statement = statement.map(|statement| statement.value);
        let statement_name = statement_name.into();
        let bound = Rc::new(Portal { statement, statement_name, params, certain });
        let fence = self.hides_bound(&bound).any();
        self.push(Request::Bind { key: None, name: effective(portal).into(), portal: Rc::clone(&bound) });
        self.raise_fence(fence, true);
        Ok(Step::Pass(bound))
    }

    /// The Bind at `mark`, which no answer can have ended yet, has a record of its own: its end is told.
    pub fn record_bind(&mut self, mark: Mark, key: K) {
        let at = self.in_flight.partition_point(|entry| entry.mark < mark);
        let entry = self.in_flight.get_mut(at).filter(|entry| entry.mark == mark);
        if let Some(Request::Bind { key: end, .. }) = entry.map(|entry| &mut entry.request) {
            *end = Some(key);
        } else if let Some(skipping) = &self.skipping {
            let failure = Rc::clone(&skipping.failure);
            self.finish_skipped(key, failure, self.attributed);
        }
    }

    /// The Execute that has just passed has one record with the Bind at `mark`, which no answer can have ended yet.
    pub fn join_bind(&mut self, mark: Mark) {
        if let Some(Request::Execute { bind, .. }) = self.in_flight.back_mut().map(|entry| &mut entry.request) {
            *bind = Some(mark);
        }
    }

    /// An Execute: tells the portal that will run, none when nobody knows.
    ///
    /// # Errors
    /// [`DuringCopy`]: the server would end the connection.
    pub fn execute(&mut self, portal: &[u8], key: K) -> Result<Step<Option<Running<T, P>>>, DuringCopy> {
        if self.must_wait("Execute")? {
            return Ok(Step::Wait);
        }
        let running = match self.portal(effective(portal)) {
            Meaning::Open => return Ok(Step::Wait),
            Meaning::Known(Named { value, certain, .. }) => {
                Some(Running { certain: certain && value.certain, portal: value })
            }
            Meaning::Unknown => None,
        };
        let statement = running.as_ref().and_then(|running| running.portal.statement.clone());
        let fence = statement.as_ref().is_none_or(|statement| self.needs_fence(&statement.facts));
        self.push(Request::Execute { key, statement, bind: None });
        self.raise_fence(fence, true);
        Ok(Step::Pass(running))
    }

    /// A Describe.
    ///
    /// # Errors
    /// [`DuringCopy`]: the server would end the connection.
    pub fn describe(&mut self, target: Target<'_>) -> Result<Step, DuringCopy> {
        if self.must_wait("Describe")? {
            return Ok(Step::Wait);
        }
        let statement = match target {
            Target::Portal(_) => None,
            Target::Statement(name) => match self.statement(effective(name)) {
                Meaning::Open => return Ok(Step::Wait),
                Meaning::Known(statement) => Some(statement.value),
                Meaning::Unknown => None,
            },
        };
        self.push(Request::Describe { statement });
        Ok(Step::Pass(()))
    }

    /// A Close.
    ///
    /// # Errors
    /// [`DuringCopy`]: the server would end the connection.
    pub fn close(&mut self, target: Target<'_>) -> Result<Step, DuringCopy> {
        if self.must_wait("Close")? {
            return Ok(Step::Wait);
        }
        self.push(match target {
            Target::Statement(name) => Request::CloseStatement { name: effective(name).into() },
            Target::Portal(name) => Request::ClosePortal { name: effective(name).into() },
        });
        Ok(Step::Pass(()))
    }

    /// A FunctionCall.
    ///
    /// # Errors
    /// [`DuringCopy`]: the server would end the connection.
    pub fn function(&mut self, key: K) -> Result<Step, DuringCopy> {
        if self.must_wait("FunctionCall")? {
            return Ok(Step::Wait);
        }
        self.push(Request::Function { key, has_result: false });
        self.next_group();
        Ok(Step::Pass(()))
    }

    /// A Sync. While the server takes COPY data it swallows it; but where the COPY fails before it has looked for
    /// data, it does not, so a Sync is kept until data follows it.
    pub fn sync(&mut self) -> Step {
        if self.is_held() {
            return Step::Wait;
        }
        if let CopyIn::Yes { held_sync } = &mut self.copy_in {
            *held_sync = true;
            return Step::Drop;
        }
        self.push_sync();
        Step::Pass(())
    }

    /// A Flush.
    pub fn flush(&mut self) -> Step {
        if self.is_held() {
            return Step::Wait;
        }
        match self.copy_in {
            CopyIn::Yes { .. } => Step::Drop,
            CopyIn::No => {
                self.push_flush();
                Step::Pass(())
            }
        }
    }

    /// A CopyData: passes while the server takes data; otherwise the server would ignore it.
    pub const fn copy_data(&self) -> Step {
        if self.fence.is_some() {
            return Step::Wait;
        }
        match self.copy_in {
            CopyIn::Yes { .. } => Step::Pass(()),
            CopyIn::No => Step::Drop,
        }
    }

    /// COPY data goes up: the server has swallowed every Sync before it, and the client will send another.
    pub const fn copied(&mut self) {
        if let CopyIn::Yes { held_sync } = &mut self.copy_in {
            *held_sync = false;
        }
    }

    /// A CopyDone or CopyFail, as [`Self::copy_data`].
    pub fn copy_end(&mut self) -> Step {
        if self.fence.is_some() {
            return Step::Wait;
        }
        if self.copy_in == CopyIn::No {
            return Step::Drop;
        }
        self.copy_in = CopyIn::No;
        // A Query may go on with another COPY; an Execute is followed by its Sync.
        if let Some(head) = self.in_flight.front()
            && matches!(head.request, Request::Query { .. })
        {
            self.fence = Some(head.mark);
        }
        Step::Pass(())
    }

    /// A Sync that was held back during a COPY that has failed since: send one up now.
    pub fn take_held_sync(&mut self) -> bool {
        if self.copy_in == CopyIn::No && std::mem::take(&mut self.sync_owed) {
            self.push_sync();
            return true;
        }
        false
    }

    /// Whether a message that the server does not take during a COPY has to wait, whatever is in it.
    ///
    /// # Errors
    /// [`DuringCopy`]: the server would end the connection.
    pub fn must_wait(&self, message: &'static str) -> Result<bool, DuringCopy> {
        match self.copy_in {
            CopyIn::Yes { .. } => Err(DuringCopy(message)),
            CopyIn::No => Ok(self.is_held()),
        }
    }

    fn is_held(&self) -> bool {
        self.fence.is_some() || self.sync_owed || self.in_flight.len() >= IN_FLIGHT_MAX
    }

    fn push(&mut self, request: Request<K, T, P>) {
        self.is_within_group = true;
        let Some(skipping) = &mut self.skipping else { return self.enter(request) };
        self.next_mark += 1;
        skipping.take(&request);
        if let Some(key) = request.key() {
            let failure = Rc::clone(&skipping.failure);
            self.finish_skipped(key, failure, self.attributed);
        }
    }

    /// A Flush begins nothing. Of two in a row one says as much.
    pub(super) fn push_flush(&mut self) {
        if self.skipping.is_none() && !self.in_flight.back().is_some_and(InFlight::is_flush) {
            self.enter(Request::Flush);
        }
    }

    fn enter(&mut self, request: Request<K, T, P>) {
        let mark = Mark(self.next_mark);
        self.next_mark += 1;
        self.changing.add(mark, &request);
        self.in_flight.push_back(InFlight { mark, group: self.group, refused: None, request });
    }

    fn push_sync(&mut self) {
        self.skipping = None;
        self.push(Request::Sync);
        self.next_group();
    }

    const fn next_group(&mut self) {
        self.group += 1;
        self.is_within_group = false;
    }

    const fn raise_fence(&mut self, wanted: bool, needs_flush: bool) {
        if wanted && self.skipping.is_none() {
            self.fence = Some(Mark(self.next_mark - 1));
            self.flush_wanted |= needs_flush;
        }
    }

    /// What a request in flight makes of a name, as seen by the next frame.
    fn changed<V>(
        &self,
        mark: Option<&Mark>,
        meaning: impl FnOnce(&Request<K, T, P>) -> Meaning<V>,
    ) -> Option<Meaning<V>> {
        let mark = *mark?;
        let at = self.in_flight.partition_point(|entry| entry.mark < mark);
        let entry = self.in_flight.get(at).filter(|entry| entry.mark == mark)?;
        // In one group a failed change also skips us; across groups only the answer tells.
        Some(if entry.group == self.group { meaning(&entry.request) } else { Meaning::Open })
    }

    fn statement(&self, name: &[u8]) -> Meaning<Named<Prepared<T>>> {
        if let Some(skipped) = self.skipping.as_ref().and_then(|skipping| skipping.statements.find(name)) {
            return self.would_be(name, skipped.as_ref());
        }
        let changed = self.changed(self.changing.statements.find(name), |request| match request {
            Request::Parse { statement, .. } => self.would_be(name, Some(statement)),
            _ => Meaning::Unknown,
        });
        changed.unwrap_or_else(|| match self.statements.find(name) {
            Some(named) => Meaning::Known(self.now(name, named, self.statement_doubts)),
            None => Meaning::Unknown,
        })
    }

    fn portal(&self, name: &[u8]) -> Meaning<Named<Portal<T, P>>> {
        if let Some(skipped) = self.skipping.as_ref().and_then(|skipping| skipping.portals.find(name)) {
            return self.would_be(name, skipped.as_ref());
        }
        let changed = self.changed(self.changing.portals.find(name), |request| match request {
            Request::Bind { portal, .. } => self.would_be(name, Some(portal)),
            _ => Meaning::Unknown,
        });
        changed.unwrap_or_else(|| match self.portals.find(name) {
            // The end of an earlier group may be the end of its transaction, and so of the portal.
            Some(_) if self.in_flight.front().is_some_and(|entry| entry.group != self.group) => Meaning::Open,
            Some(named) => Meaning::Known(self.now(name, named, self.portal_doubts)),
            None => Meaning::Unknown,
        })
    }

    /// What a name means after names of its kind were in doubt so often.
    fn now<V>(&self, name: &[u8], named: &Named<V>, doubts: u64) -> Named<V> {
        let is_after = name.is_empty() || (named.doubts == doubts && !self.runs_at_end);
        Named { certain: named.certain && is_after, ..named.clone() }
    }

    /// What a name means after a change that is not answered.
    fn would_be<V>(&self, name: &[u8], value: Option<&Rc<V>>) -> Meaning<Named<V>> {
        match value {
            Some(value) => Meaning::Known(Named { value: Rc::clone(value), certain: self.is_clear(name), doubts: 0 }),
            None => Meaning::Unknown,
        }
    }
}
