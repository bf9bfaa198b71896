//! `target_session_attrs`: whether a server is of the kind that is wanted.
//!
//! Promises: decided by what the server reports (PostgreSQL 14 and later), else by asking it; libpq's rules.
//! Deliberately not here: going to the next host.

use super::conninfo::Target;
use super::error::Error;
use super::session::Session;

/// How a server fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    /// It is what is wanted.
    Wanted,
    /// It will do if there is no better one.
    Spare,
}

/// Finds out, and refuses a server that will not do.
pub(super) async fn fit(session: &mut Session, target: Target, may_ask: bool) -> Result<Fit, Error> {
    let wanted = match target {
        Target::Any => return Ok(Fit::Wanted),
        Target::ReadWrite => "read-write",
        Target::ReadOnly => "read-only",
        Target::Primary => "a primary",
        Target::Standby | Target::PreferStandby => "a standby",
    };
    let fits = match target {
        Target::Any => true,
        Target::ReadWrite => !is_read_only(session, may_ask).await?,
        Target::ReadOnly => is_read_only(session, may_ask).await?,
        Target::Primary => !is_standby(session, may_ask).await?,
        Target::Standby | Target::PreferStandby => is_standby(session, may_ask).await?,
    };
    match (fits, target) {
        (true, _) => Ok(Fit::Wanted),
        (false, Target::PreferStandby) => Ok(Fit::Spare),
        (false, _) => Err(Error::NotWanted { wanted }),
    }
}

async fn is_standby(session: &mut Session, may_ask: bool) -> Result<bool, Error> {
    match session.parameter("in_hot_standby") {
        Some(value) => Ok(value == "on"),
        None if may_ask => {
            let question = "SELECT pg_catalog.pg_is_in_recovery() /* safe-boundary: target_session_attrs */";
            Ok(session.ask(question, "whether the server is a standby").await? == "t")
        }
        None => Err(Error::NotWanted { wanted: "one that reports `in_hot_standby`" }),
    }
}

async fn is_read_only(session: &mut Session, may_ask: bool) -> Result<bool, Error> {
    let reported = (session.parameter("default_transaction_read_only"), session.parameter("in_hot_standby"));
    match reported {
        (Some(read_only), Some(standby)) => Ok(read_only == "on" || standby == "on"),
        _ if may_ask => {
            let question = "SHOW transaction_read_only /* safe-boundary: target_session_attrs */";
            Ok(session.ask(question, "whether the server is read-only").await? == "on")
        }
        _ => Err(Error::NotWanted { wanted: "one that reports `default_transaction_read_only`" }),
    }
}
