//! The first moments of a connection: whose it is, and what it wants.
//!
//! Promises: the address that counts is the one that a trusted proxy announces, else the one that the system knows;
//! whoever is beyond all bounds is let go unheard.
//! Deliberately not here: what becomes of it (`serve.rs`).

use std::net::SocketAddr;

use ipnet::IpNet;
use tokio::net::TcpStream;
use tokio::time::timeout_at;

use super::{Proxy, refuse};
use crate::metrics::ConnectionEnd;
use crate::proxy::announced;
use crate::proxy::front::Front;
use crate::proxy::network::Network;
use crate::proxy::refusal::Refusal;
use crate::proxy::startup::{self, Opening};
use crate::proxy::stream::Stream;
use crate::proxy::tally;
use crate::proxy::vanished::Watched;

/// A connection that has said what it wants.
pub(super) struct Arrived {
    pub(super) opened: Result<Opening, startup::Error>,
    /// Where it comes from: what a trusted proxy says, else what the system says.
    pub(super) peer: SocketAddr,
    /// Its place among the connections of that address.
    pub(super) place: tally::Connection,
    /// Says when it has vanished.
    pub(super) watched: Watched,
}

/// Until it is clear whose connection it is, and what it wants; else how it ends, untold or told.
pub(super) async fn arrive(proxy: &Proxy, mut stream: TcpStream, peer: SocketAddr) -> Result<Arrived, ConnectionEnd> {
    let deadline = tokio::time::Instant::now() + startup::DEADLINE;
    let watched = proxy.vanished.watch(stream.local_addr().map_err(|_| ConnectionEnd::Gone)?, peer);
    let is_trusted = contains(&proxy.config.server.trusted_proxies, peer);
    let peer = if is_trusted {
        let _waiting = proxy.tallies.unannounced().ok_or(ConnectionEnd::BeyondLimits)?;
        match timeout_at(deadline, announced::read(&mut stream)).await {
            Ok(Ok(client)) => client.unwrap_or(peer),
            Ok(Err(announced::Error::Closed)) => return Err((&startup::Error::Closed).into()),
            Err(_) => return Err((&startup::Error::Deadline).into()),
            Ok(Err(error)) => {
                tracing::warn!(proxy = %peer, %error, "a trusted proxy announces no client");
                refuse(Front::new(Stream::Plain(stream), peer), &Refusal::Unannounced(error)).await;
                return Err(ConnectionEnd::Refused);
            }
        }
    } else {
        peer
    };
    let place = proxy.tallies.connection(Network::of(peer.ip())).ok_or(ConnectionEnd::BeyondLimits)?;
    let opened = startup::open(stream, proxy.tls(), deadline).await;
    Ok(Arrived { opened, peer, place, watched })
}

/// Whether one of the networks has the address.
pub(super) fn contains(networks: &[IpNet], peer: SocketAddr) -> bool {
    let address = peer.ip().to_canonical();
    networks.iter().any(|network| network.contains(&address))
}
