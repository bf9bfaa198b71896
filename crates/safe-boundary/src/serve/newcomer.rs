//! A client that is nobody yet: how records show it, and the record of its refusal.
//!
//! Promises: a record has no more than the beginning of what a stranger says, so that strangers cannot make it long; their
//! refusals cost no syncs, and beyond a bound no records.
//! Deliberately not here: why it is refused, and what it is told.

use domain::identity::login::Login;
use domain::session::{Client, refused_many, refused_start};

use super::Proxy;
use crate::clock::now;
use crate::proxy::front::Front;
use crate::proxy::login::Stop;
use crate::proxy::network::Network;
use crate::proxy::refusal::Refusal;
use crate::proxy::refused::{Count, What};
use crate::proxy::request::for_record;
use crate::proxy::startup::Packet;

impl Proxy {
    /// The other end, as its start-up packet shows it, and as records have it.
    pub(super) fn client(&self, front: &Front, packet: &Packet) -> Client {
        let said = |name: &str| packet.last(name).map(for_record);
        let domain = self.config.server.default_domain.as_deref();
        Client {
            address: front.peer(),
            program: said("application_name"),
            tls: front.tls_version(),
            login: said("user").map(|user| completed(user, domain)).unwrap_or_default(),
        }
    }

    /// Records that a client is refused before it is anybody. Nothing waits for such a record, and a flood of strangers
    /// costs no syncs.
    pub(super) fn refused(&self, client: &Client, packet: &Packet, refusal: Refusal) -> Stop {
        if self.refused.is_recorded(What::Start, Network::of(client.address.ip())) {
            let database = packet.last("database").map(for_record);
            let batch = refused_start(&mut self.ink(), client, database.as_deref(), refusal.reason(), now());
            self.journal.note(batch);
        }
        Stop::Refused(refusal)
    }

    /// Records how many more were refused since the last call than have a record each.
    pub(super) fn tell_refused(&self) {
        for Count { from, count } in self.refused.take() {
            let batch = match from {
                Some((what, network)) => {
                    let reason = format!("{count} more {} refused from this address within a minute", what.many());
                    refused_many(&mut self.ink(), Some(network.address()), &reason, now())
                }
                None => {
                    let reason = format!("{count} more refused from other addresses within a minute");
                    refused_many(&mut self.ink(), None, &reason, now())
                }
            };
            self.journal.note(batch);
        }
    }
}

/// The login that a `user` asks for, with the name of a key behind it if there is one. What cannot be a login stays as it is.
fn completed(user: String, default_domain: Option<&str>) -> String {
    let (name, key) = user.split_at(user.find('/').unwrap_or(user.len()));
    match Login::parse(name, default_domain) {
        Ok(login) => format!("{login}{key}"),
        Err(_) => user,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_name_whom_a_client_asks_to_be() {
        let check = |user: &str, domain: Option<&str>, expected: &str| {
            assert_eq!(completed(user.to_owned(), domain), expected);
        };
        check("alice", Some("example.com"), "alice@example.com");
        check("alice/laptop", Some("example.com"), "alice@example.com/laptop");
        check("alice", None, "alice");
        check("alice@example.org", Some("example.com"), "alice@example.org");
        check("al ice", Some("example.com"), "al ice");
        check("/", Some("example.com"), "/");
        check("", Some("example.com"), "");
    }
}
