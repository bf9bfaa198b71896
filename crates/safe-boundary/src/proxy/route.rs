//! Which `[[database]]` a client means: by where it connected, the TLS server name, and the database's name.
//!
//! Promises: a server name narrows, and its absence never widens beyond the port; an answer is one database or none.
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

/// The database that a client means, among those of the port it connected to, each with its place in the configuration.
#[must_use]
pub fn find<'a>(
    databases: impl Iterator<Item = (usize, &'a Database)> + Clone,
    server_name: Option<&str>,
    asked: &str,
) -> Option<Route<'a>> {
    let is_named = |(_, database): &(usize, &Database)| {
        let hostname = database.hostname.as_deref();
        server_name.is_some_and(|name| hostname.is_some_and(|hostname| hostname.eq_ignore_ascii_case(name)))
    };
    let serves = |(index, database)| serves(index, database, asked);
    // Without a matching server name (an address, an older driver), the database's name decides.
    let named = databases.clone().filter(is_named).find_map(serves);
    named.or_else(|| databases.filter(|database| !is_named(database)).find_map(serves))
}

fn serves<'a>(index: usize, database: &'a Database, asked: &str) -> Option<Route<'a>> {
    if database.databases.as_ref().is_some_and(|names| !names.iter().any(|name| name == asked)) {
        return None;
    }
    // The name people connect to stands for the upstream's default.
    let dbname = if asked == database.name { database.upstream.dbname().unwrap_or(asked) } else { asked };
    Some(Route { index, database, dbname: dbname.to_owned() })
}
