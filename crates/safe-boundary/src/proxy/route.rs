//! Which `[[database]]` a client means: by where it connected, the TLS server name, and the database's name.
//!
//! Promises: an answer is one database or none; a client that names a host is never led to a database of another, on
//! whatever port, and one that names none is led nowhere when it could mean several.
//! Deliberately not here: whether the person may reach it.

use crate::config::Database;

/// A database, and its name on the upstream server.
#[derive(Clone, Debug)]
pub struct Route<'a> {
    /// Its place in the configuration.
    pub index: usize,
    /// Its configuration.
    pub database: &'a Database,
    /// What to ask the upstream for.
    pub dbname: String,
}

/// Why no database is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoute {
    /// None of those that the client can mean serves this name.
    Unknown,
    /// Several do, and the client did not say a host name that tells them apart.
    Ambiguous,
}

impl NoRoute {
    /// The reason, for the record.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Unknown => "database is not served here",
            Self::Ambiguous => "several databases serve this name, and no host name was given",
        }
    }
}

/// The database that a client means: one of all that are configured, reached through the port it connected to, which has
/// these indexes.
///
/// # Errors
/// [`NoRoute`]: it means none of them, or several.
pub fn find<'a>(
    databases: &'a [Database],
    on_port: &[usize],
    server_name: Option<&str>,
    asked: &str,
) -> Result<Route<'a>, NoRoute> {
    // A host name of ours is one on every port: where none of its databases is, it means none, and never another host's.
    let is_host_known = is_host_known(databases, server_name);
    // Without a host name of ours (an address, an older driver, plaintext), the database's name must do.
    let here = on_port.iter().filter_map(|index| Some((*index, databases.get(*index)?)));
    let meant = here.filter(|(_, database)| !is_host_known || is_named(database, server_name));
    let mut serving = meant.filter_map(|(index, database)| serves(index, database, asked));
    match (serving.next(), serving.next()) {
        (Some(route), None) => Ok(route),
        (None, _) => Err(NoRoute::Unknown),
        (Some(_), Some(_)) => Err(NoRoute::Ambiguous),
    }
}

/// Whether a client named the host of any of our databases: then it means none without a host name.
#[must_use]
pub fn is_host_known(databases: &[Database], server_name: Option<&str>) -> bool {
    databases.iter().any(|database| is_named(database, server_name))
}

fn is_named(database: &Database, server_name: Option<&str>) -> bool {
    let hostname = database.hostname.as_deref();
    server_name.is_some_and(|name| hostname.is_some_and(|hostname| hostname.eq_ignore_ascii_case(name)))
}

fn serves<'a>(index: usize, database: &'a Database, asked: &str) -> Option<Route<'a>> {
    if database.databases.as_ref().is_some_and(|names| !names.iter().any(|name| name == asked)) {
        return None;
    }
    // The name people connect to stands for the upstream's default.
    let dbname = if asked == database.name { database.upstream.dbname().unwrap_or(asked) } else { asked };
    Some(Route { index, database, dbname: dbname.to_owned() })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::proxy::upstream::conninfo::Conninfo;

    fn database(name: &str, hostname: Option<&str>, databases: &[&str]) -> Database {
        Database {
            name: name.to_owned(),
            listen: "127.0.0.1:6432".parse().unwrap(),
            hostname: hostname.map(str::to_owned),
            databases: (databases != ["*"]).then(|| databases.iter().map(|name| (*name).to_owned()).collect()),
            upstream: Conninfo::parse("host=db dbname=main", Path::new("/")).unwrap(),
            replication: false,
            tags: Vec::new(),
            roles: Vec::new(),
        }
    }

    #[test]
    fn a_client_is_never_led_to_another_host_s_database() {
        let databases = [
            database("payments", Some("production.x"), &["payments", "ledger"]),
            database("staging", Some("staging.x"), &["payments", "trial"]),
            database("reports", None, &["reports"]),
        ];
        let check = |server_name: Option<&str>, asked: &str, expected: Result<&str, NoRoute>| {
            let found = find(&databases, &[0, 1, 2], server_name, asked);
            let found = found.as_ref().map(|route| route.database.name.as_str()).map_err(|no| *no);
            assert_eq!(found, expected, "{server_name:?} {asked}");
        };
        let (unknown, ambiguous) = (Err(NoRoute::Unknown), Err(NoRoute::Ambiguous));
        check(Some("production.x"), "payments", Ok("payments"));
        check(Some("STAGING.x"), "payments", Ok("staging"));
        // The host is known, and does not serve that: no other does it in its place.
        check(Some("staging.x"), "ledger", unknown);
        check(Some("staging.x"), "reports", unknown);
        check(Some("production.x"), "trial", unknown);
        // No host, or one that nobody has: only a name that one database alone serves is clear.
        for server_name in [None, Some("elsewhere.x")] {
            check(server_name, "payments", ambiguous);
            check(server_name, "ledger", Ok("payments"));
            check(server_name, "trial", Ok("staging"));
            check(server_name, "reports", Ok("reports"));
            check(server_name, "nothing", unknown);
        }
    }

    #[test]
    fn a_host_that_serves_all_names_takes_none_from_another() {
        let databases = [database("all", Some("all.x"), &["*"]), database("one", Some("one.x"), &["one"])];
        let find = |server_name, asked| {
            let route = find(&databases, &[0, 1], server_name, asked)?;
            Ok((route.index, route.dbname))
        };
        assert_eq!(find(Some("all.x"), "one"), Ok((0, "one".to_owned())));
        assert_eq!(find(Some("one.x"), "one"), Ok((1, "main".to_owned())), "its own name stands for the upstream's");
        assert_eq!(find(Some("one.x"), "two"), Err(NoRoute::Unknown));
        assert_eq!(find(None, "one"), Err(NoRoute::Ambiguous));
        assert_eq!(find(None, "two"), Ok((0, "two".to_owned())));
    }

    #[test]
    fn a_host_s_name_on_a_port_of_others_leads_nowhere() {
        let databases = [
            database("payments", Some("production.x"), &["payments"]),
            database("staging", Some("staging.x"), &["payments", "trial"]),
            database("reports", None, &["*"]),
        ];
        let check = |on_port: &[usize], server_name: Option<&str>, asked: &str, expected: Result<&str, NoRoute>| {
            let found = find(&databases, on_port, server_name, asked);
            let found = found.as_ref().map(|route| route.database.name.as_str()).map_err(|no| *no);
            assert_eq!(found, expected, "{on_port:?} {server_name:?} {asked}");
        };
        for elsewhere in [&[1][..], &[2], &[1, 2], &[]] {
            check(elsewhere, Some("PRODUCTION.x"), "payments", Err(NoRoute::Unknown));
        }
        check(&[0], Some("production.x"), "payments", Ok("payments"));
        check(&[0, 2], Some("staging.x"), "trial", Err(NoRoute::Unknown));
        // A name that is nobody's, as of a load balancer, says nothing.
        check(&[1], Some("balancer.x"), "payments", Ok("staging"));
        check(&[2], None, "payments", Ok("reports"));
    }
}
