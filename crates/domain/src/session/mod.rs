//! The life of one connection, as types: `Startup -> Identified -> Authorized -> Bound`.
//!
//! Promises: each step takes a proof that only one function makes, and leaves as a record with a sealed effect, so a
//! session that is not identified cannot be authorized, and nothing happens that is not written down first.
//! Deliberately not here: sockets, and the conversation of a bound session (`statement`).

mod steps;

use std::net::SocketAddr;

use pgproto::notice::Notice;

pub use steps::{AnotherPerson, LoginStep, UpstreamReady, cancel_record, refused_many, refused_start};

use crate::audit::record::ClientFields;
use crate::identity::login::Login;
use crate::identity::verify::Identity;
use crate::policy::decide::Permit;
use crate::statement::conversation::Conversation;
use crate::statement::ink::Ink;

/// A connection in one state of its life.
#[derive(Debug)]
#[must_use = "a session that is dropped has no end record"]
pub struct Session<S> {
    ink: Ink,
    client: Client,
    state: S,
}

/// The other end, as it shows itself.
#[derive(Clone, Debug)]
pub struct Client {
    /// Where it connects from.
    pub address: SocketAddr,
    /// The `application_name` of its start-up packet.
    pub program: Option<String>,
    /// The TLS version, none on plaintext.
    pub tls: Option<&'static str>,
    /// Whom its start-up packet asks to be: `user`, completed where it can be a login.
    pub login: String,
}

/// It said whom it wants to be and what it wants to reach; nobody knows who it is.
#[derive(Debug)]
pub struct Startup {
    login: Login,
    database: String,
}

/// The person is known, just now.
#[derive(Debug)]
pub struct Identified {
    identity: Identity,
    database: String,
}

/// The person may be one role in one database.
#[derive(Debug)]
pub struct Authorized {
    identity: Identity,
    permit: Permit,
}

/// A session with a database connection of its own, sealed to one person until it ends.
#[derive(Debug)]
#[must_use = "a session that is dropped has no end record"]
pub struct Bound {
    identity: Identity,
    permit: Permit,
    /// What client and server say to each other. It is large, and handed on until it is relayed.
    pub conversation: Box<Conversation>,
}

impl<S> Session<S> {
    /// The pen of this session.
    pub const fn ink(&mut self) -> &mut Ink {
        &mut self.ink
    }

    /// The other end.
    #[must_use]
    pub const fn client(&self) -> &Client {
        &self.client
    }
}

impl Client {
    pub(crate) fn fields(&self) -> ClientFields<'_> {
        ClientFields {
            address: self.address.ip().to_canonical(),
            port: self.address.port(),
            program: self.program.as_deref(),
            tls: self.tls,
            login: Some(&self.login),
        }
    }
}

/// An error that may be shown to a client.
pub trait ToClient {
    /// What it is told.
    fn to_client(&self) -> Notice;
}
