//! The life of one connection on one screen: open, sign in, authorize, connect, relay. Start reading here.
//!
//! Promises: each step is taken only with the proof that the step before gives; what goes no further is told why.
//! Deliberately not here: the steps themselves (`proxy/`), and starting and stopping the process (`serve/process.rs`).

mod arrival;
mod cancelling;
#[cfg(debug_assertions)]
mod injected;
mod newcomer;
mod process;

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use domain::identity::login::Login;
use domain::policy::decide::Resource;
use domain::policy::role_mapping::RoleMapping;
use domain::session::{Authorized, Bound, Identified, Session};
use domain::statement::ink::Ink;
use pgproto::backend::encode;
use pgproto::startup::ProtocolVersion;
use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio::sync::watch;

use arrival::{Arrived, arrive, contains};
use cancelling::CancelOnPanic;
pub use process::run;

use crate::causes;
use crate::clock::now;
use crate::config::{Config, Database};
use crate::entropy;
use crate::idp::IdpClient;
use crate::metrics::{self, ConnectionEnd, METRICS, SessionEnd};
use crate::proxy::cancel::{CancelRegistry, Cancellable, Registered};
use crate::proxy::front::Front;
use crate::proxy::listen::Port;
use crate::proxy::login::{self, Stop};
use crate::proxy::network::Network;
use crate::proxy::pace::Pace;
use crate::proxy::refusal::Refusal;
use crate::proxy::refused::Refused;
use crate::proxy::relay::{Bounds, Drain, Relay};
use crate::proxy::request::{NEWEST_MINOR, Request};
use crate::proxy::route::{self, NoRoute, Route};
use crate::proxy::sign_ins::SignIns;
use crate::proxy::startup::{self, Opening, Packet};
use crate::proxy::tally::{Place, Tallies};
use crate::proxy::upstream::{self, Upstream};
use crate::proxy::vanished::{Vanished, Watched};
use crate::trail::journal::Journal;

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Proxy {
    config: Config,
    /// The role mappings of each database, in the order of the configuration.
    mappings: Vec<Vec<RoleMapping>>,
    node: Arc<str>,
    journal: Journal,
    idp: IdpClient,
    cancels: CancelRegistry,
    tallies: Tallies,
    sign_ins: SignIns,
    guesses: Pace<Network>,
    refused: Refused,
    vanished: Vanished,
    tls: RwLock<Arc<ServerConfig>>,
    drain: watch::Receiver<Drain>,
}

/// A session that may be relayed.
struct Admitted<'a> {
    bound: Bound,
    upstream: Upstream,
    registered: Registered,
    database: &'a Database,
    /// What is counted of it.
    meter: &'static metrics::Database,
    /// Her place among the sessions that a person may have.
    place: Place<String>,
}

/// Serves one connection from its first byte to its end.
pub(crate) async fn connection(proxy: &Proxy, stream: TcpStream, peer: SocketAddr, port: &Port) {
    let mut counted = METRICS.connections.begin();
    let mut drain = proxy.drain.clone();
    let arrived = tokio::select! {
        arrived = arrive(proxy, stream, peer) => arrived,
        // Nobody is told who has asked for nothing yet.
        _ = drain.wait_for(|drain| *drain != Drain::No) => return counted.end(ConnectionEnd::Draining),
    };
    let Arrived { opened, peer, place, watched } = match arrived {
        Ok(arrived) => arrived,
        Err(end) => return counted.end(end),
    };
    match opened {
        Ok(Opening::Cancel { stream, pid, secret }) => {
            counted.will_end(ConnectionEnd::Cancel);
            cancelling::answer(proxy, stream, peer, pid, &secret).await;
        }
        Ok(Opening::Session(stream, packet)) => {
            let mut front = Front::new(stream, peer);
            #[cfg(debug_assertions)]
            let program = packet.last("application_name").map(<[u8]>::to_vec);
            match Box::pin(admit(proxy, &mut front, packet, port, !place.is_beyond())).await {
                Ok(admitted) => {
                    counted.will_end(ConnectionEnd::Session);
                    let relayed = relay(proxy, front, admitted, &watched);
                    #[cfg(debug_assertions)]
                    let relayed = injected::or_panic(Box::pin(relayed), program.as_deref());
                    relayed.await;
                }
                Err(Stop::Refused(refusal)) => {
                    counted.will_end(ConnectionEnd::Refused);
                    refuse(front, &refusal).await;
                }
                Err(Stop::Gone) => counted.end(ConnectionEnd::Gone),
            }
        }
        Err(startup::Error::Packet(error, Some(stream))) => {
            counted.will_end(ConnectionEnd::Refused);
            refuse(Front::new(*stream, peer), &Refusal::Malformed(error)).await;
        }
        Err(error) => {
            tracing::debug!(%peer, %error, "a connection came to nothing");
            counted.end((&error).into());
        }
    }
}

async fn refuse(front: Front, refusal: &Refusal) {
    METRICS.refusals.one(refusal.into());
    front.refuse(refusal).await;
}

/// From the start-up packet to a session in the database, step by step.
async fn admit<'a>(
    proxy: &'a Proxy,
    front: &mut Front,
    packet: Packet,
    port: &Port,
    has_place: bool,
) -> Result<Box<Admitted<'a>>, Stop> {
    let client = proxy.client(front, &packet);
    let refused = |refusal: Refusal| proxy.refused(&client, &packet, refusal);
    if client.tls.is_none() && !contains(&proxy.config.server.allow_plaintext, front.peer()) {
        return Err(refused(Refusal::TlsRequired));
    }
    if !has_place {
        return Err(refused(Refusal::TooMany("connections")));
    }
    let request = Request::read(&packet).map_err(|error| refused(Refusal::Request(error)))?;
    negotiate(front, &request).await?;
    let login = proxy.login(&request).map_err(|refusal| refused(*refusal))?;
    let others = proxy.sign_ins.signing_in(login.as_str());
    let sign_in = proxy.sign_ins.sign_in(login.as_str(), Network::of(front.peer().ip()), Instant::now());
    let sign_in = sign_in.map_err(|too_many| refused(Refusal::TooMany(too_many.what())))?;
    let session = Session::new(proxy.ink(), client.clone(), login, request.database.clone());
    let counted = METRICS.sign_in();
    let drain = proxy.drain.clone();
    let signed_in = login::sign_in(session, front, &proxy.idp, &proxy.journal, drain, &others, sign_in).await;
    counted.end((&signed_in).into());
    let session = signed_in?;

    let route = match proxy.route(port, packet.server_name.as_deref(), &request.database) {
        Ok(route) => route,
        Err(why) => {
            return Err(proxy.unknown_database(session, port, packet.server_name.as_deref(), &request, why).await);
        }
    };
    let session = proxy.authorize(session, &route, &request).await?;
    proxy.connect(session, front, &route, request).await.map(Box::new)
}

/// Tells the client its server's settings, then carries frames both ways until the end.
async fn relay(proxy: &Proxy, mut front: Front, admitted: Box<Admitted<'_>>, watched: &Watched) {
    let Admitted { mut bound, upstream, registered, database, meter, place: _place } = *admitted;
    let counted = meter.sessions.begin();
    if front.say(&welcome(&upstream, &registered)).await.is_err() {
        counted.end(SessionEnd::ClientGone);
        return bound.conversation.end("the client went away", now(), |batch| proxy.journal.note(batch));
    }
    // Told, and not kept for as long as the session lasts.
    drop((upstream.parameters, upstream.notices));
    let (role, login) = (bound.permit().role().to_owned(), bound.identity().login().to_owned());
    tracing::info!(%login, %role, database = %database.name, peer = %front.peer(), "session begins");
    let bounds = Bounds {
        until: tokio::time::Instant::now() + proxy.config.session.max_age,
        drain: proxy.drain.clone(),
        vanished: watched.from_now(),
    };
    let cancel = upstream.cancel.clone();
    let relay = Relay {
        client: front.into_stream(),
        server: upstream.stream,
        leftover: upstream.leftover,
        conversation: bound.conversation,
        journal: &proxy.journal,
        cancel: upstream.cancel,
        bounds,
        database: &database.name,
    };
    let _on_panic = CancelOnPanic(cancel);
    let ended = relay.run().await;
    counted.end((&ended).into());
    tracing::info!(%login, %role, database = %database.name, reason = %ended.reason(), "session ends");
}

impl Proxy {
    fn ink(&self) -> Ink {
        Ink::new(Arc::clone(&self.node), entropy::seed(), now())
    }

    fn tls(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.tls.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Who wants to connect, and can she be asked to sign in here?
    fn login(&self, request: &Request) -> Result<Login, Box<Refusal>> {
        if let Some((_, key)) = request.user.split_once('/') {
            return Err(Box::new(Refusal::Key(key.to_owned())));
        }
        let domain = self.config.server.default_domain.as_deref();
        let login =
            Login::parse(&request.user, domain).map_err(|error| Refusal::Login(error, domain.map(str::to_owned)))?;
        let prompts = &self.config.session.prompting_programs;
        if !request.program.as_ref().is_some_and(|program| prompts.contains(program)) {
            let public_url = self.config.server.public_url.clone();
            return Err(Box::new(Refusal::CannotPrompt { login: login.to_string(), public_url }));
        }
        Ok(login)
    }

    fn databases<'a>(&'a self, port: &Port) -> impl Iterator<Item = (usize, &'a Database)> {
        port.databases.iter().filter_map(|index| Some((*index, self.config.databases.get(*index)?)))
    }

    fn route(&self, port: &Port, server_name: Option<&str>, asked: &str) -> Result<Route<'_>, NoRoute> {
        route::find(&self.config.databases, &port.databases, server_name, asked)
    }

    /// Tells a person, now that she is known, what she may reach instead.
    async fn unknown_database(
        &self,
        mut session: Session<Identified>,
        port: &Port,
        server_name: Option<&str>,
        request: &Request,
        why: NoRoute,
    ) -> Stop {
        let groups = session.identity().groups();
        let reachable = |(index, _): &(usize, &Database)| {
            self.mappings.get(*index).is_some_and(|mappings| mappings.iter().any(|m| m.matching(groups).is_some()))
        };
        let is_host_known = route::is_host_known(&self.config.databases, server_name);
        let named = |(_, database): (usize, &Database)| match &database.hostname {
            Some(hostname) => format!("{} at {hostname}", database.name),
            None if is_host_known => format!("{} at any other name or address of this proxy", database.name),
            None => database.name.clone(),
        };
        let names = self.databases(port).filter(reachable).map(named).collect();
        let refusal = Refusal::UnknownDatabase(request.database.clone(), why, names);
        let recorded = session.not_offered(why.reason(), refusal, now());
        Stop::Refused(self.journal.append(recorded).await.unwrap_or(Refusal::Journal))
    }

    async fn authorize(
        &self,
        mut session: Session<Identified>,
        route: &Route<'_>,
        request: &Request,
    ) -> Result<Session<Authorized>, Stop> {
        let database = route.database.name.clone();
        if request.replication.is_some() && !route.database.replication {
            let recorded = session.not_offered("replication is not allowed", Refusal::Replication(database), now());
            return Err(Stop::Refused(self.journal.append(recorded).await.unwrap_or(Refusal::Journal)));
        }
        let login = session.identity().login().to_owned();
        let id = session.ink().id(now()).to_string();
        let mappings = self.mappings.get(route.index).map(Vec::as_slice).unwrap_or_default();
        let resource = Resource { name: &database, mappings };
        let authorized = session.authorize(&resource, request.role.as_deref(), &id, now());
        match self.journal.append(authorized).await.map_err(|_| Refusal::Journal)? {
            Ok(session) => Ok(session),
            Err(denial) => Err(Refusal::Denied { database, login, denial, request: id }.into()),
        }
    }

    async fn connect<'a>(
        &self,
        mut session: Session<Authorized>,
        front: &mut Front,
        route: &Route<'a>,
        request: Request,
    ) -> Result<Admitted<'a>, Stop> {
        let database = route.database;
        let login = session.identity().login().to_owned();
        let role = session.permit().role().to_owned();
        let identity = session.identity();
        let place = match self.tallies.session(identity.issuer(), identity.subject()) {
            Ok(place) => place,
            Err(count) => {
                let refusal = Refusal::TooManySessions { login, count, limit: self.config.limits.per_person };
                let recorded = session.end("too many sessions", refusal, now());
                return Err(Stop::Refused(self.journal.append(recorded).await.unwrap_or(Refusal::Journal)));
            }
        };
        let password = database.roles.get(session.permit().mapping()).and_then(|role| role.password.as_ref());
        let mut parameters = request.parameters;
        parameters.push(("application_name".to_owned(), label(&login, request.program.as_deref())));
        parameters.push(("safe_boundary.login".to_owned(), login.clone()));
        let replication = request.replication.is_some();
        parameters.extend(request.replication.map(|kind| ("replication".to_owned(), kind)));
        let wanted =
            upstream::Request { role: &role, password, database: &route.dbname, parameters: &parameters, replication };
        let (meter, asked) = (METRICS.database(route.index), Instant::now());
        let connected = tokio::select! {
            connected = upstream::connect(&database.upstream, &wanted) => connected,
            // The server may be long in answering; a client that does not wait for it gets no session there.
            interruption = front.interrupted() => {
                let recorded = session.end(interruption.reason(), login::interrupted(&interruption), now());
                return Err(self.journal.append(recorded).await.unwrap_or(Stop::Gone));
            }
        };
        meter.connected(&connected, asked.elapsed());
        let upstream = match connected {
            Ok(upstream) => upstream,
            Err(error) => {
                tracing::warn!(%login, %role, database = %database.name, error = %causes::line(&error), "cannot connect");
                let refusal = Refusal::Upstream(database.name.clone(), error.client_reason(), error.client_code());
                let recorded = session.end(&causes::line(&error), refusal, now());
                return Err(Stop::Refused(self.journal.append(recorded).await.unwrap_or(Refusal::Journal)));
            }
        };
        let cancellable = Cancellable {
            session: session.ink().session(),
            login,
            database: database.name.clone(),
            target: upstream.cancel.clone(),
        };
        let registered = self.cancels.register(upstream.pid_shown, request.minor >= NEWEST_MINOR, cancellable);
        let mut bound = session.bind(&upstream, self.config.audit.parameters);
        for (name, value) in &upstream.parameters {
            bound.conversation.reported(name.as_bytes(), value.as_bytes());
        }
        Ok(Admitted { bound, upstream, registered, database, meter, place })
    }
}

/// NegotiateProtocolVersion, where it must be said: at once, never later.
async fn negotiate(front: &mut Front, request: &Request) -> Result<(), Stop> {
    let Some(unknown) = &request.negotiation else { return Ok(()) };
    let unknown: Vec<&[u8]> = unknown.iter().map(Vec::as_slice).collect();
    let mut bytes = Vec::new();
    let version = ProtocolVersion { major: 3, minor: request.minor };
    encode::negotiate_protocol_version(&mut bytes, version, &unknown).map_err(|_| Stop::Gone)?;
    front.send(&bytes).await.map_err(|_| Stop::Gone)
}

/// What a client hears before its first statement: settings, notices, its cancel key, ready.
fn welcome(upstream: &Upstream, registered: &Registered) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in &upstream.parameters {
        let written = encode::parameter_status(&mut bytes, name.as_bytes(), value.as_bytes());
        debug_assert!(written.is_ok(), "it came out of such a message");
    }
    let written = encode::backend_key_data(&mut bytes, registered.key().pid, &registered.key().secret);
    debug_assert!(written.is_ok(), "the secret is 4 or 32 bytes long");
    bytes.extend(upstream.notices.iter().flatten());
    encode::ready_for_query(&mut bytes, upstream.status);
    bytes
}

/// `application_name` upstream: the login first, so that the human shows in PostgreSQL's own views.
fn label(login: &str, program: Option<&str>) -> String {
    /// `NAMEDATALEN - 1`: PostgreSQL would cut it there, perhaps in the middle of a letter.
    const LABEL_BYTES_MAX: usize = 63;
    let label = program.map_or_else(|| login.to_owned(), |program| format!("{login} {program}"));
    let end = label.floor_char_boundary(LABEL_BYTES_MAX);
    label.get(..end).unwrap_or_default().to_owned()
}
