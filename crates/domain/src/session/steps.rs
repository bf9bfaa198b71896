//! The steps of a session's life, each with its record.
//!
//! Promises: the next state is inside an [`Unrecorded`], so it is reached only when the step's record is durable.
//! Deliberately not here: waiting for people, providers and servers.

use std::net::IpAddr;

use jiff::Timestamp;

use super::{Authorized, Bound, Client, Identified, Session, Startup};
use crate::audit::id::SessionId;
use crate::audit::pending::Unrecorded;
use crate::audit::record::{
    Batch, Body, ClientFields, Context, ContextFields, Decision as DecisionFields, Kind, Parameters, SubjectFields,
};
use crate::identity::login::Login;
use crate::identity::verify::Identity;
use crate::policy::decide::{Decision, Denial, Permit, Resource, decide};
use crate::statement::conversation::Conversation;
use crate::statement::ink::Ink;

/// A step of signing in that is recorded and changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginStep {
    /// The person was shown a code.
    Prompted,
    /// She did not answer in time.
    Expired,
    /// She, or the IdP, said no; or someone else signed in.
    Denied,
    /// The client went away before an answer.
    Abandoned,
    /// The IdP could not be asked, or its answer could not be believed.
    Failed,
    /// It was refused before anybody was asked.
    Refused,
}

impl LoginStep {
    const fn effect(self) -> &'static str {
        match self {
            Self::Prompted => "prompted",
            Self::Expired => "expired",
            Self::Denied => "denied",
            Self::Abandoned => "abandoned",
            Self::Failed => "failed",
            Self::Refused => "refused",
        }
    }
}

/// Someone signed in, but not the person that the client asked to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnotherPerson {
    /// The login of the token.
    pub signed_in_as: String,
    /// The login that was asked for.
    pub asked_for: String,
}

/// The record of a client that was refused before it was anybody.
#[must_use]
pub fn refused_start(ink: &mut Ink, client: &Client, database: Option<&str>, reason: &str, now: Timestamp) -> Batch {
    let fields = ContextFields { database, client: Some(client.fields()), ..ContextFields::default() };
    refused(ink, &fields, reason, now)
}

/// The record of many that were refused and have no record each; `address` when all came from there.
#[must_use]
pub fn refused_many(ink: &mut Ink, address: Option<IpAddr>, reason: &str, now: Timestamp) -> Batch {
    let client = address.map(|address| ClientFields { address, port: 0, program: None, tls: None, login: None });
    refused(ink, &ContextFields { client, ..ContextFields::default() }, reason, now)
}

fn refused(ink: &mut Ink, of: &ContextFields<'_>, reason: &str, now: Timestamp) -> Batch {
    ink.set_context(Context::new(of));
    let decision = DecisionFields { effect: LoginStep::Refused.effect(), rules: &[], reason: Some(reason) };
    ink.note(Kind::Login, now, &Body::Decision(&decision))
}

/// The record of a cancel request: who asked, and for which session, if it named one.
#[must_use]
pub fn cancel_record(ink: &mut Ink, client: &Client, of: Option<SessionId>, pid: i32, now: Timestamp) -> Batch {
    let fields = ContextFields { client: Some(client.fields()), ..ContextFields::default() };
    ink.set_context(Context::new(&fields));
    ink.note(Kind::Cancel, now, &Body::Cancel { session: of, pid })
}

impl Session<Startup> {
    /// A session of a client that has said whom it wants to be.
    pub fn new(mut ink: Ink, client: Client, login: Login, database: String) -> Self {
        let fields =
            ContextFields { database: Some(&database), client: Some(client.fields()), ..ContextFields::default() };
        ink.set_context(Context::new(&fields));
        Self { ink, client, state: Startup { login, database } }
    }

    /// The name it connects with.
    #[must_use]
    pub const fn login(&self) -> &Login {
        &self.state.login
    }

    /// The database it asked for.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.state.database
    }

    /// Records a step of signing in; the effect is the caller's.
    pub fn step<T>(&mut self, step: LoginStep, reason: Option<&str>, effect: T, now: Timestamp) -> Unrecorded<T> {
        let decision = DecisionFields { effect: step.effect(), rules: &[], reason };
        Unrecorded::new(self.ink.note(Kind::Login, now, &Body::Decision(&decision)), effect)
    }

    /// The person has proved who she is: if she is who the client asked to be, the session is hers.
    pub fn identify(
        mut self,
        identity: Identity,
        proof: &str,
        now: Timestamp,
    ) -> Unrecorded<Result<Session<Identified>, AnotherPerson>> {
        if !self.state.login.is(identity.login()) {
            let asked_for = self.state.login.as_str().to_owned();
            let refusal = AnotherPerson { signed_in_as: identity.login().to_owned(), asked_for };
            self.set_context(&identity, proof);
            let reason = format!("signed in as {}", identity.login());
            return self.step(LoginStep::Denied, Some(&reason), Err(refusal), now);
        }
        self.set_context(&identity, proof);
        let decision = DecisionFields { effect: "approved", rules: &[], reason: None };
        let batch = self.ink.note(Kind::Login, now, &Body::Decision(&decision));
        let Self { ink, client, state } = self;
        let state = Identified { identity, database: state.database };
        Unrecorded::new(batch, Ok(Session { ink, client, state }))
    }

    fn set_context(&mut self, identity: &Identity, proof: &str) {
        let fields = context(identity, proof, &self.state.database, None, None, &self.client);
        self.ink.set_context(Context::new(&fields));
    }
}

impl Session<Identified> {
    /// The person.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.state.identity
    }

    /// Asks policy whether she may reach the database, and as which role.
    pub fn authorize(
        mut self,
        resource: &Resource<'_>,
        asked_role: Option<&str>,
        request: &str,
        now: Timestamp,
    ) -> Unrecorded<Result<Session<Authorized>, Denial>> {
        match decide(&self.state.identity, resource, asked_role) {
            Decision::Permit(permit) => self.permitted(permit, resource.name, now),
            Decision::Forbid(denial) => {
                let served = served(resource.name, &self.state.database);
                let fields = context(&self.state.identity, "code", &self.state.database, served, None, &self.client);
                let fields = ContextFields { request: Some(request), ..fields };
                self.ink.set_context(Context::new(&fields));
                let decision = DecisionFields { effect: "forbid", rules: &denial.rules, reason: Some(&denial.reason) };
                let batch = self.ink.note(Kind::Connect, now, &Body::Decision(&decision));
                Unrecorded::new(batch, Err(denial))
            }
        }
    }

    /// What she asks for is not offered here, to nobody: recorded, and told only now that she is known.
    pub fn not_offered<T>(&mut self, reason: &str, effect: T, now: Timestamp) -> Unrecorded<T> {
        let decision = DecisionFields { effect: "forbid", rules: &[], reason: Some(reason) };
        Unrecorded::new(self.ink.note(Kind::Connect, now, &Body::Decision(&decision)), effect)
    }

    fn permitted(
        mut self,
        permit: Permit,
        resource: &str,
        now: Timestamp,
    ) -> Unrecorded<Result<Session<Authorized>, Denial>> {
        let role = Some(permit.role());
        let served = served(resource, &self.state.database);
        let fields = context(&self.state.identity, "code", &self.state.database, served, role, &self.client);
        self.ink.set_context(Context::new(&fields));
        let rules = [permit.rule().to_owned()];
        let decision = DecisionFields { effect: "permit", rules: &rules, reason: None };
        let batch = self.ink.note(Kind::Connect, now, &Body::Decision(&decision));
        let Self { ink, client, state } = self;
        let state = Authorized { identity: state.identity, permit };
        Unrecorded::new(batch, Ok(Session { ink, client, state }))
    }
}

impl Session<Authorized> {
    /// The right to connect.
    #[must_use]
    pub const fn permit(&self) -> &Permit {
        &self.state.permit
    }

    /// The person.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.state.identity
    }

    /// The database let her in as the role: from now on the session is sealed to her.
    pub fn bind(self, _upstream: &impl UpstreamReady, parameters: Parameters) -> Bound {
        let Authorized { identity, permit } = self.state;
        Bound { identity, permit, conversation: Box::new(Conversation::new(self.ink, parameters)) }
    }

    /// The database could not be reached: the end of the session.
    pub fn end<T>(mut self, reason: &str, effect: T, now: Timestamp) -> Unrecorded<T> {
        let body = Body::End { reason, statements: 0 };
        Unrecorded::new(self.ink.note(Kind::End, now, &body), effect)
    }
}

impl Bound {
    /// The person.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The right under which she is connected.
    #[must_use]
    pub const fn permit(&self) -> &Permit {
        &self.permit
    }
}

/// Proof that an upstream connection was opened as the permitted role. The shell's upstream implements it.
pub trait UpstreamReady {}

/// What serves her, unless that has the name that she has asked for.
fn served<'a>(resource: &'a str, asked: &str) -> Option<&'a str> {
    (resource != asked).then_some(resource)
}

fn context<'a>(
    identity: &'a Identity,
    proof: &'a str,
    database: &'a str,
    served: Option<&'a str>,
    role: Option<&'a str>,
    client: &'a Client,
) -> ContextFields<'a> {
    ContextFields {
        subject: Some(SubjectFields {
            iss: identity.issuer(),
            sub: identity.subject(),
            login: identity.login(),
            groups: identity.groups(),
            acr: identity.acr(),
            amr: identity.amr(),
            auth_time: identity.auth_time(),
        }),
        proof: Some(proof),
        database: Some(database),
        served,
        role,
        client: Some(client.fields()),
        request: None,
    }
}
