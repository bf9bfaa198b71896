//! The client's side of a conversation: judge each frame, write its record, say what may go up.
//!
//! Promises: the match over tags has no catch-all: a message that nobody thought of cannot pass.
//! Deliberately not here: what becomes of a statement (`conversation.rs`).

use jiff::Timestamp;
use pgproto::frame;
use pgproto::frontend::expect_empty;
use pgproto::frontend::{Bind, Close, CopyFail, Describe, Execute, FrontendTag, FunctionCall, Parse, Query, Target};
use pgproto::tracker::{Portal, Step, TextFacts};

use super::conversation::{
    Bound, Conversation, FRAME_BYTES_MAX, Forward, Intake, Key, NAMES_MAX, Next, Violation, write_outcome,
};
use super::held::{Held, Text};
use super::params;
use super::refusal::may_be_called;
use crate::audit::pending::Unrecorded;
use crate::audit::record::{Batch, Body, Content, Kind, Protocol, Statement};

/// How many bytes of records are made before the frames they are for go up. What is left of the client's bytes waits for its
/// turn, and other sessions have theirs.
const BATCH_BYTES_MAX: usize = 1 << 20;

/// The same for blobs, each of which costs a file and several syncs, while others wait.
const BATCH_BLOBS_MAX: usize = 16;

impl Conversation {
    /// Judges the whole frames at the front of the client's bytes, up to the first that cannot simply pass.
    #[must_use]
    pub fn intake(&mut self, raw: &[u8], now: Timestamp) -> Intake {
        let (mark, first) = (self.tracker.mark(), self.ink.id(now));
        let mut batch = Batch::default();
        let mut taken = 0;
        let mut flush = false;
        let mut instead = None;
        let next = loop {
            let rest = raw.get(taken..).unwrap_or_default();
            let (tag, header) = match frame::frontend_header(rest) {
                Ok(Some(found)) => found,
                Ok(None) => break Next::More,
                Err(error) => break Next::Violation(error.into()),
            };
            let bytes = header.frame_bytes();
            if bytes > FRAME_BYTES_MAX {
                break Next::Large(tag, bytes);
            }
            let Some(body) = rest.get(frame::HEADER_BYTES..bytes) else { break Next::More };
            // A frame of ten bytes may make a record of many thousand, or a blob.
            if taken > 0 && (batch.weight() >= BATCH_BYTES_MAX || batch.blobs().len() >= BATCH_BLOBS_MAX) {
                break Next::Skip(0);
            }
            if tag == FrontendTag::FunctionCall && !FunctionCall::parse(body).is_ok_and(|call| may_be_called(call.oid))
            {
                if taken > 0 {
                    break Next::Skip(0);
                }
                match self.denied_function(body, &mut batch, now) {
                    Ok(Step::Pass(bytes_instead)) => {
                        (taken, instead) = (bytes, Some(bytes_instead));
                        // More frames may be here already.
                        break Next::Skip(0);
                    }
                    Ok(Step::Wait) => break Next::Wait,
                    Ok(Step::Drop) => break Next::Skip(bytes),
                    Err(violation) => break Next::Violation(violation),
                }
            }
            match self.frame(tag, body, &mut batch, now) {
                Ok(Step::Pass(())) if tag == FrontendTag::Terminate => {
                    taken += bytes;
                    break Next::Terminate;
                }
                Ok(Step::Pass(())) => taken += bytes,
                // Answers may come while what was taken is recorded and sent: look again after that.
                Ok(Step::Wait) if taken > 0 => break Next::Skip(0),
                Ok(Step::Wait) => break Next::Wait,
                Ok(Step::Drop) => break Next::Skip(bytes + self.ignored(rest.get(bytes..).unwrap_or_default())),
                Err(violation) => break Next::Violation(violation),
            }
            if self.tracker.wants_flush() {
                flush = true;
            }
        };
        self.record_bound(&mut batch, now);
        // While the server skips to a Sync it says nothing: what is skipped must not pile up until it does.
        for skipped in self.tracker.finished_of(|ended| ended.key.id >= first) {
            write_outcome(&mut self.ink, &mut batch, &skipped, now);
        }
        self.unsettled = (!batch.is_empty()).then_some(first);
        Intake { taken, effect: Unrecorded::new(batch, Forward { bytes: taken, flush, instead }), mark, first, next }
    }

    /// How many bytes at the front are CopyData that the server would ignore too.
    fn ignored(&self, raw: &[u8]) -> usize {
        let mut ignored = 0;
        while self.copy_data() == Step::Drop
            && let Some(rest) = raw.get(ignored..)
            && let Ok(Some((FrontendTag::CopyData, header))) = frame::frontend_header(rest)
            && header.frame_bytes() <= rest.len()
        {
            ignored += header.frame_bytes();
        }
        ignored
    }

    fn frame(&mut self, tag: FrontendTag, body: &[u8], batch: &mut Batch, now: Timestamp) -> Result<Step, Violation> {
        let names_max = match tag {
            FrontendTag::Parse | FrontendTag::Bind => NAMES_MAX,
            // PREPARE and DECLARE, but also what makes room again.
            FrontendTag::Query => 2 * NAMES_MAX,
            _ => usize::MAX,
        };
        if self.tracker.names() >= names_max {
            return Err(Violation::Names);
        }
        // Before anything is read: a long text is not read again at each answer of the server.
        if let Some(message) = not_during_copy(tag)
            && self.tracker.must_wait(message)?
        {
            return Ok(Step::Wait);
        }
        if !matches!(tag, FrontendTag::Bind | FrontendTag::Describe | FrontendTag::Execute) {
            self.record_bound(batch, now);
        }
        match tag {
            FrontendTag::Query => self.query(&Query::parse(body)?, batch, now),
            FrontendTag::Parse => self.parse(&Parse::parse(body)?, batch, now),
            FrontendTag::Bind => self.bind(&Bind::parse(body)?, batch, now),
            FrontendTag::Execute => self.execute(Execute::parse(body)?, batch, now),
            FrontendTag::FunctionCall => self.function(&FunctionCall::parse(body)?, batch, now),
            FrontendTag::Describe => self.describe(Describe::parse(body)?.target, batch, now),
            FrontendTag::Close => Ok(self.tracker.close(Close::parse(body)?.target)?),
            FrontendTag::Sync => {
                expect_empty(tag, body)?;
                Ok(self.tracker.sync())
            }
            FrontendTag::Flush => {
                expect_empty(tag, body)?;
                Ok(self.tracker.flush())
            }
            FrontendTag::CopyData => {
                let step = self.tracker.copy_data();
                if step == Step::Pass(()) {
                    self.copied(body);
                }
                Ok(step)
            }
            FrontendTag::CopyDone => {
                expect_empty(tag, body)?;
                Ok(self.copy_end(false, batch, now))
            }
            FrontendTag::CopyFail => {
                CopyFail::parse(body)?;
                Ok(self.copy_end(true, batch, now))
            }
            FrontendTag::Terminate => {
                expect_empty(tag, body)?;
                Ok(Step::Pass(()))
            }
            FrontendTag::Password => Err(Violation::Password),
        }
    }

    /// Whether the server waits for COPY data.
    #[must_use]
    pub fn is_copying_in(&self) -> bool {
        self.tracker.is_copying_in()
    }

    /// Whether COPY data may go up now.
    #[must_use]
    pub const fn copy_data(&self) -> Step {
        self.tracker.copy_data()
    }

    /// A piece of COPY data that goes up.
    pub fn copied(&mut self, data: &[u8]) {
        self.tracker.copied();
        if let Some(copy) = &mut self.copy {
            copy.take(data);
        }
    }

    fn query(&mut self, query: &Query<'_>, batch: &mut Batch, now: Timestamp) -> Result<Step, Violation> {
        let facts = TextFacts::of(query.text);
        let key = self.key(now);
        // The text is needed later only where it gives a name to something.
        let held = if facts.changes_names() { Held::new(&self.budget, batch, query.text) } else { Held::Nothing };
        let step = self.tracker.query(self.text(held), facts, key)?;
        if step == Step::Pass(()) {
            let statement = Statement::new(Protocol::Simple, Some(Content::Bytes(query.text)));
            self.record(batch, key, &statement);
        }
        Ok(step)
    }

    fn parse(&mut self, parse: &Parse<'_>, batch: &mut Batch, now: Timestamp) -> Result<Step, Violation> {
        let key = self.key(now);
        let held = Held::new(&self.budget, batch, parse.text);
        let facts = TextFacts::of(parse.text);
        let types: Vec<u32> = parse.types.iter().collect();
        let step = self.tracker.parse(parse.name, self.text(held), facts, &types, key)?;
        if step == Step::Pass(()) {
            let mut statement = Statement::new(Protocol::Parse, Some(Content::Bytes(parse.text)));
            statement.prepared = named(parse.name);
            self.record(batch, key, &statement);
        }
        Ok(step)
    }

    fn bind(&mut self, bind: &Bind<'_>, batch: &mut Batch, now: Timestamp) -> Result<Step, Violation> {
        self.record_bound(batch, now);
        let mark = self.tracker.mark();
        let (parameters, encoding, budget) = (self.parameters, self.encoding.as_deref(), &self.budget);
        let held = |types: &[u32]| {
            params::encode(bind, types, parameters, encoding).map(|json| Held::new(budget, batch, &json))
        };
        let step = self.tracker.bind(bind.portal, bind.statement, held)?;
        Ok(step.map(|portal| self.bound = Some(Bound { mark, name: bind.portal.into(), portal })))
    }

    /// A Bind waits for its Execute behind a Describe of its portal, as drivers send them. Any other Describe may fail for reasons
    /// of its own.
    fn describe(&mut self, target: Target<'_>, batch: &mut Batch, now: Timestamp) -> Result<Step, Violation> {
        let is_of = |bound: &Bound| matches!(target, Target::Portal(name) if name == bound.name);
        if !self.bound.as_ref().is_some_and(is_of) {
            self.record_bound(batch, now);
        }
        Ok(self.tracker.describe(target)?)
    }

    /// A Bind runs code: functions while the statement is planned, checks of its parameters' types. So it has a record, that
    /// of the Execute which came together with it, or its own.
    pub(super) fn record_bound(&mut self, batch: &mut Batch, now: Timestamp) {
        let Some(Bound { mark, name, portal }) = self.bound.take() else { return };
        let key = self.key(now);
        self.tracker.record_bind(mark, key);
        self.record_portal(batch, key, Protocol::Bind, &name, Some((&portal, portal.certain)), 0);
    }

    fn execute(&mut self, execute: Execute<'_>, batch: &mut Batch, now: Timestamp) -> Result<Step, Violation> {
        let key = self.key(now);
        let running = match self.tracker.execute(execute.portal, key)? {
            Step::Pass(running) => running,
            Step::Wait => return Ok(Step::Wait),
            Step::Drop => return Ok(Step::Drop),
        };
        let runs = running.as_ref().map(|running| (&*running.portal, running.certain));
        match self.bound.take_if(|bound| runs.is_some_and(|(runs, _)| std::ptr::eq(runs, &*bound.portal))) {
            Some(bound) => self.tracker.join_bind(bound.mark),
            None => self.record_bound(batch, now),
        }
        self.record_portal(batch, key, Protocol::Execute, execute.portal, runs, execute.max_rows);
        Ok(Step::Pass(()))
    }

    /// Records what a portal is bound to, and whether that is certain.
    fn record_portal(
        &mut self,
        batch: &mut Batch,
        key: Key,
        protocol: Protocol,
        name: &[u8],
        bound: Option<(&Portal<Text, Option<Held>>, bool)>,
        limit: u32,
    ) {
        let text = bound.and_then(|(portal, _)| portal.statement.as_ref()).map(|one| &one.text);
        let mut statement = Statement::new(protocol, text.map(|text| text.held.content()));
        statement.portal = named(name);
        statement.limit = (limit > 0).then_some(limit);
        if let Some((portal, certain)) = bound {
            statement.uncertain = !certain;
            statement.prepared = named(&portal.statement_name);
            statement.params = portal.params.as_ref().and_then(|params| params.as_ref()).map(Held::content);
        }
        // What it was read as when it was parsed, whatever has been set since.
        statement.encoding = text.and_then(|text| text.encoding.as_deref());
        self.record_as(batch, key, &statement);
    }

    fn function(&mut self, call: &FunctionCall<'_>, batch: &mut Batch, now: Timestamp) -> Result<Step, Violation> {
        let key = self.key(now);
        let step = self.tracker.function(key)?;
        if step == Step::Pass(()) {
            let args = arguments(call, self.encoding.as_deref());
            let statement = function_call(call.oid, self.keeps_parameters().then_some(Content::Bytes(&args)));
            self.record(batch, key, &statement);
        }
        Ok(step)
    }

    /// A call by number that is not allowed: recorded as denied, and something that fails goes up in its place.
    fn denied_function(&mut self, body: &[u8], batch: &mut Batch, now: Timestamp) -> Result<Step<Vec<u8>>, Violation> {
        let call = FunctionCall::parse(body)?;
        let (mark, key) = (self.tracker.mark(), self.key(now));
        match self.tracker.function(key)? {
            Step::Wait => Ok(Step::Wait),
            Step::Drop => Ok(Step::Drop),
            Step::Pass(()) => {
                let args = arguments(&call, self.encoding.as_deref());
                let statement = function_call(call.oid, self.keeps_parameters().then_some(Content::Bytes(&args)));
                Ok(Step::Pass(self.deny_function(mark, key, &statement, batch)))
            }
        }
    }

    fn copy_end(&mut self, failed: bool, batch: &mut Batch, now: Timestamp) -> Step {
        let of = self.tracker.copying();
        let step = self.tracker.copy_end();
        if step == Step::Pass(()) {
            let key = self.key(now);
            let mut statement = Statement::new(Protocol::Copy, None);
            statement.of = of.map(|copy| copy.id);
            statement.copied = self.copy.take().map(|copy| copy.end(failed));
            self.record(batch, key, &statement);
        }
        step
    }

    pub(super) fn key(&mut self, now: Timestamp) -> Key {
        Key { id: self.ink.id(now), sent: now }
    }

    pub(super) fn record(&mut self, batch: &mut Batch, key: Key, statement: &Statement<'_>) {
        let encoding = self.encoding.clone();
        self.record_as(batch, key, &Statement { encoding: encoding.as_deref(), ..*statement });
    }

    fn record_as(&mut self, batch: &mut Batch, key: Key, statement: &Statement<'_>) {
        self.statements += 1;
        self.ink.write(batch, Kind::Statement, key.id, key.sent, &Body::Statement(statement));
    }
}

/// The name of a message that PostgreSQL does not take while it waits for COPY data.
const fn not_during_copy(tag: FrontendTag) -> Option<&'static str> {
    Some(match tag {
        FrontendTag::Query => "Query",
        FrontendTag::Parse => "Parse",
        FrontendTag::Bind => "Bind",
        FrontendTag::Execute => "Execute",
        FrontendTag::FunctionCall => "FunctionCall",
        FrontendTag::Describe => "Describe",
        FrontendTag::Close => "Close",
        FrontendTag::Sync
        | FrontendTag::Flush
        | FrontendTag::CopyData
        | FrontendTag::CopyDone
        | FrontendTag::CopyFail
        | FrontendTag::Terminate
        | FrontendTag::Password => return None,
    })
}

/// What is recorded of a call by number.
pub(super) const fn function_call(oid: u32, params: Option<Content<'_>>) -> Statement<'_> {
    let mut statement = Statement::new(Protocol::Function, None);
    statement.function = Some(oid);
    statement.params = params;
    statement
}

/// The arguments of a call by number, as a JSON list. Their types are nowhere said.
fn arguments(call: &FunctionCall<'_>, encoding: Option<&str>) -> Vec<u8> {
    let mut args = vec![b'['];
    for (at, value) in call.args.iter().enumerate() {
        if at > 0 {
            args.push(b',');
        }
        params::one(&mut args, 0, call.format_of(at), value, encoding);
    }
    args.push(b']');
    args
}

/// A name, unless it is the empty one.
pub(super) fn named(name: &[u8]) -> Option<&[u8]> {
    (!name.is_empty()).then_some(name)
}
