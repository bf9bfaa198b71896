//! Each database and role: whether the proxy gets in, and whether the role is fit for a person.
//!
//! Promises: connects exactly as a session would, asks one question, leaves.
//! Deliberately not here: judging rights on tables; a role's owner does that.

use std::time::Duration;

use serde::Deserialize;
use tokio::time::timeout;

use super::report::Report;
use crate::causes;
use crate::config::{Config, Database, Role};
use crate::proxy::stream::Stream;
use crate::proxy::upstream::{self, Request};

/// How long a server may think about one question.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// One row, one text: what the role is and may do.
const QUESTION: &str = "SELECT pg_catalog.json_build_object(\
     'version', pg_catalog.current_setting('server_version'), 'role', CURRENT_USER, \
     'superuser', r.rolsuper, 'createrole', r.rolcreaterole, 'bypassrls', r.rolbypassrls, 'replication', r.rolreplication, \
     'member_of', (SELECT coalesce(pg_catalog.json_agg(g.rolname ORDER BY g.rolname), '[]'::pg_catalog.json) \
     FROM pg_catalog.pg_roles g WHERE g.oid <> r.oid AND NOT r.rolsuper AND pg_catalog.pg_has_role(r.oid, g.oid, 'MEMBER'))\
     )::pg_catalog.text FROM pg_catalog.pg_roles r WHERE r.rolname = CURRENT_USER /* safe-boundary check */";

/// The answer.
#[derive(Debug, Deserialize)]
struct Standing {
    version: String,
    role: String,
    superuser: bool,
    createrole: bool,
    bypassrls: bool,
    replication: bool,
    member_of: Vec<String>,
}

/// Why a role cannot be used.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Upstream(#[from] upstream::Error),
    #[error("no answer to a question within {} s", ANSWER_TIMEOUT.as_secs())]
    Slow,
    #[error("the server's answer about the role cannot be read: {0}")]
    Answer(#[from] serde_json::Error),
}

pub(super) async fn check(report: &mut Report, config: &Config) {
    for database in &config.databases {
        if !database.upstream.is_verified() {
            report.warn(
                &database.name,
                format!("`{}` need not prove that it is the server meant", database.upstream.hosts()),
                "set sslmode=verify-full in `upstream`: who sits in between could be the database",
            );
        }
        if let Some(hostname) = other_s_hostname(config, database) {
            report.warn(
                &database.name,
                format!(
                    "it has no `hostname`, and is not reached by who connects by that of another, as by `{hostname}`"
                ),
                "give it a `hostname`, or tell people an address or a name that is no other's",
            );
        }
        for role in &database.roles {
            role_of(report, database, role).await;
        }
    }
}

/// A host name by which people reach the port of a database that has none, but not that database.
fn other_s_hostname<'a>(config: &'a Config, database: &Database) -> Option<&'a str> {
    let others = config.databases.iter().filter(|other| other.listen == database.listen);
    others.filter_map(|other| other.hostname.as_deref()).next().filter(|_| database.hostname.is_none())
}

async fn role_of(report: &mut Report, database: &Database, role: &Role) {
    match Box::pin(standing(database, role)).await {
        Ok((standing, how)) => judge(report, &database.name, &role.role, &standing, how),
        Err(error) => {
            let remedy = format!(
                "see `upstream` of `{}`, the password of `{}`, and pg_hba.conf of the server",
                database.name, role.role
            );
            report.fail(
                &database.name,
                format!("role `{}` cannot log in: {}", role.role, causes::line(&error)),
                &remedy,
            );
        }
    }
}

async fn standing(database: &Database, role: &Role) -> Result<(Standing, &'static str), Error> {
    let request = Request {
        role: &role.role,
        password: role.password.as_ref(),
        database: database.upstream.dbname().unwrap_or(&database.name),
        parameters: &[("application_name".to_owned(), "safe-boundary check".to_owned())],
        replication: false,
    };
    let upstream = upstream::connect(&database.upstream, &request).await?;
    let how = match upstream.stream {
        Stream::Tls(_) => "over TLS",
        Stream::Unix(_) => "over a local socket",
        Stream::Plain(_) => "without TLS",
    };
    let answer = timeout(ANSWER_TIMEOUT, upstream.ask(QUESTION, "what the role may do")).await;
    let answer = answer.map_err(|_| Error::Slow)??;
    Ok((serde_json::from_str(&answer)?, how))
}

fn judge(report: &mut Report, database: &str, role: &str, standing: &Standing, how: &str) {
    if standing.role != role {
        report.fail(
            database,
            format!("role `{role}` logs in and is `{}`", standing.role),
            "remove the role setting (ALTER ROLE … RESET role), or the pooler that changes it",
        );
        return;
    }
    report.ok(database, format!("role `{role}` logs in {how}, PostgreSQL {}", standing.version));
    let mut warn = |what: &str, remedy: &str| report.warn(database, format!("role `{role}` {what}"), remedy);
    if standing.superuser {
        warn("is a superuser: it can do anything, also outside the database", "map people to a role that is not");
        return;
    }
    let powers = [
        (standing.createrole, "CREATEROLE", "it can make itself other roles"),
        (standing.bypassrls, "BYPASSRLS", "row-level security does not hold for it"),
        (standing.replication, "REPLICATION", "it can copy every database of the server"),
    ];
    for (_, power, why) in powers.iter().filter(|(has, ..)| *has) {
        warn(&format!("has {power}: {why}"), &format!("ALTER ROLE {role} NO{power}"));
    }
    let files = ["pg_read_server_files", "pg_write_server_files", "pg_execute_server_program"];
    let (server, others): (Vec<&str>, Vec<&str>) =
        standing.member_of.iter().map(String::as_str).partition(|other| files.contains(other));
    for group in server {
        warn(
            &format!("is a member of {group}: it reaches beyond the database"),
            &format!("REVOKE {group} FROM {role}"),
        );
    }
    if !others.is_empty() {
        let what = format!("is a member of {}: with SET ROLE it becomes them", others.join(", "));
        warn(&what, "give it the rights it needs, and no membership");
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::Verdict;
    use super::*;
    use crate::cli::Color;

    fn said(standing: &str) -> Vec<(Verdict, String)> {
        let standing: Standing = serde_json::from_str(standing).unwrap();
        let mut report = Report::new(true, Color::Never);
        judge(&mut report, "payments", "ro", &standing, "over TLS");
        report.lines().iter().map(|line| (line.verdict, line.message.clone())).collect()
    }

    #[test]
    fn roles_that_are_fit_and_unfit() {
        let plain = r#"{"version":"15.1","role":"ro","superuser":false,"createrole":false,"bypassrls":false,
            "replication":false,"member_of":[]}"#;
        let ok = (Verdict::Ok, "role `ro` logs in over TLS, PostgreSQL 15.1".to_owned());
        let check = |from: &str, to: &str, expected: &[&str]| {
            assert!(plain.contains(from));
            let mut lines = vec![ok.clone()];
            lines.extend(expected.iter().map(|&text| (Verdict::Warn, text.to_owned())));
            assert_eq!(said(&plain.replace(from, to)), lines);
        };
        check("15.1", "15.1", &[]);
        let superuser = "role `ro` is a superuser: it can do anything, also outside the database";
        check("\"superuser\":false", "\"superuser\":true", &[superuser]);
        let createrole = "role `ro` has CREATEROLE: it can make itself other roles";
        check("\"createrole\":false", "\"createrole\":true", &[createrole]);
        check(
            "[]",
            "[\"owner\",\"pg_read_server_files\"]",
            &[
                "role `ro` is a member of pg_read_server_files: it reaches beyond the database",
                "role `ro` is a member of owner: with SET ROLE it becomes them",
            ],
        );
        let other = said(&plain.replace("\"ro\"", "\"owner\""));
        assert_eq!(other, [(Verdict::Fail, "role `ro` logs in and is `owner`".to_owned())]);
    }
}
