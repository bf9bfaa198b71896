//! `[[database]]` and its roles.
//!
//! Promises: two databases never compete for one connection; a role is mapped once for each database.
//! Deliberately not here: whether the upstream knows the roles.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::super::source::At;
use super::super::{Database, Role, raw};
use super::{Check, collide, many};
use crate::proxy::upstream::conninfo::Conninfo;

impl Check<'_, '_> {
    pub(super) fn databases(
        &mut self,
        raw: Vec<raw::Database>,
        groups: &BTreeMap<String, String>,
        at: &At,
    ) -> Vec<Database> {
        for (name, group) in groups {
            self.word(group, &At::default().key("groups").key(name));
        }
        let mut databases: Vec<Database> = Vec::new();
        for (index, raw) in raw.into_iter().enumerate() {
            let at = at.index(index);
            let Some(database) = self.database(raw, groups, &at) else { continue };
            for other in &databases {
                self.apart(&database, other, &at);
            }
            databases.push(database);
        }
        databases
    }

    fn database(&mut self, raw: raw::Database, groups: &BTreeMap<String, String>, at: &At) -> Option<Database> {
        self.word(&raw.name, &at.key("name"));
        if let Some(hostname) = &raw.hostname {
            self.host(hostname, &at.key("hostname"));
            if hostname.parse::<IpAddr>().is_ok() {
                let message = format!(
                    "expected a host name for `database.hostname`, found the address `{hostname}`: clients that connect by an \
                     address send no name"
                );
                self.source.wrong(&at.key("hostname"), message);
            }
        }
        let listen = self.address(&raw.listen, "0.0.0.0:6432", &at.key("listen"));
        let mut roles: Vec<Role> = Vec::new();
        for (index, role) in raw.role.into_iter().enumerate() {
            let role = self.role(role, groups, &at.key("role").index(index));
            if roles.iter().any(|other| other.role == role.role) {
                let message = format!(
                    "expected each role once in a `[[database]]`, found `{}` again: put all its groups in one list",
                    role.role
                );
                self.source.wrong(&at.key("role").index(index).key("role"), message);
            }
            roles.push(role);
        }
        let upstream = self.upstream(&raw.upstream, &at.key("upstream"))?;
        let databases = self.names(raw.databases, &raw.name, &upstream, &at.key("databases"));
        Some(Database {
            listen,
            hostname: raw.hostname.map(|hostname| hostname.to_ascii_lowercase()),
            databases,
            upstream,
            replication: raw.replication,
            tags: raw.tags.into_iter().collect(),
            roles,
            name: raw.name,
        })
    }

    pub(super) fn address(&mut self, text: &str, example: &str, at: &At) -> SocketAddr {
        text.parse().unwrap_or_else(|_| {
            let hint = if text.contains(':') { "" } else { ": add a port" };
            let message =
                format!("expected an address and port such as `{example}` for `{}`, found `{text}`{hint}", at.name());
            self.source.wrong(at, message);
            SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
        })
    }

    fn upstream(&mut self, text: &str, at: &At) -> Option<Conninfo> {
        match Conninfo::parse(text, self.base) {
            Ok(upstream) => {
                for path in upstream.files() {
                    self.file(path, at);
                }
                Some(upstream)
            }
            Err(error) => {
                self.source.wrong(at, format!("expected a connection string for `database.upstream`: {error}"));
                None
            }
        }
    }

    /// The database names let through; `None` for all.
    fn names(&mut self, raw: Option<raw::OneOrMany>, name: &str, upstream: &Conninfo, at: &At) -> Option<Vec<String>> {
        let Some(raw) = raw else {
            let mut names = vec![name.to_owned()];
            names.extend(upstream.dbname().filter(|&dbname| dbname != name).map(str::to_owned));
            return Some(names);
        };
        let names = many(raw);
        self.words(&names, at);
        if names.is_empty() {
            let message = "expected database names for `database.databases`, found an empty list: nobody could connect";
            self.source.wrong(at, message.to_owned());
        }
        let all = names.iter().any(|name| name == "*");
        if all && names.len() > 1 {
            let message = "expected either `\"*\"` or names for `database.databases`, found both";
            self.source.wrong(at, message.to_owned());
        }
        (!all).then_some(names)
    }

    fn role(&mut self, raw: raw::Role, groups: &BTreeMap<String, String>, at: &At) -> Role {
        self.word(&raw.role, &at.key("role"));
        self.words(&raw.groups, &at.key("groups"));
        // INVARIANT: records and decisions know groups only as the IdP calls them.
        let resolved = raw.groups.into_iter().map(|group| groups.get(&group).cloned().unwrap_or(group)).collect();
        let password = raw.password.map(|secret| self.secret(secret, &at.key("password")));
        Role { role: raw.role, groups: resolved, password }
    }

    /// Whether a connection to one of the two could mean the other.
    fn apart(&mut self, database: &Database, other: &Database, at: &At) {
        if database.name == other.name {
            let message =
                format!("expected a name of its own for each `[[database]]`, found `{}` again", database.name);
            self.source.wrong(&at.key("name"), message);
        }
        if !collide(database.listen, other.listen) {
            return;
        }
        if database.listen != other.listen {
            let message = format!(
                "expected `{}` and `{}` to share an address for `database.listen` or to have one each, found `{}` and `{}`: the \
                 system gives only one of them",
                database.name, other.name, database.listen, other.listen
            );
            self.source.wrong(&at.key("listen"), message);
            return;
        }
        let by_hostname = match (&database.hostname, &other.hostname) {
            (Some(one), Some(two)) => one != two,
            _ => false,
        };
        let by_name = match (&database.databases, &other.databases) {
            (Some(ones), Some(twos)) => !ones.iter().any(|one| twos.contains(one)),
            _ => false,
        };
        if !by_hostname && !by_name {
            let message = format!(
                "expected `{}` and `{}` to differ in `listen`, in `hostname` or in all of `databases`, found `{}` for both: a \
                 connection could mean either",
                database.name, other.name, database.listen
            );
            self.source.wrong(&at.key("listen"), message);
        }
    }
}
