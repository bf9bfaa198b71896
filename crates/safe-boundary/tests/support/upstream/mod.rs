//! What the tests of the upstream connection run against: real PostgreSQL, real PgBouncer, certificates of our own, and
//! a server that lies.
//!
//! Promises: everything started here has ended when its value is dropped; ports come from the system.
//! Deliberately not here: what is asserted.

pub(crate) mod bouncer;
pub(crate) mod certificates;
pub(crate) mod liar;
pub(crate) mod postgres;

use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use pgproto::backend::BackendTag;
use pgproto::frame;
use pgproto::frontend::encode;
use safe_boundary::config::SecretSource;
use safe_boundary::proxy::upstream::conninfo::Conninfo;
use safe_boundary::proxy::upstream::{Error, Request, Upstream, connect};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Runs as the account that PostgreSQL accepts.
pub(crate) fn as_postgres(program: &str) -> Command {
    if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        return Command::new(program);
    }
    let mut command = Command::new("runuser");
    command.args(["-u", "postgres", "--", program]);
    command
}

/// A connection as `role`, whose password is in `PASSWORDS`.
pub(crate) async fn open(conninfo: &str, role: &str) -> Result<Upstream, Error> {
    open_with(conninfo, role, Some("secret"), &[]).await
}

/// The same with everything said. The password goes through a command, as the quickest of the sources.
pub(crate) async fn open_with(
    conninfo: &str,
    role: &str,
    password: Option<&str>,
    parameters: &[(&str, &str)],
) -> Result<Upstream, Error> {
    let conninfo = Conninfo::parse(conninfo, std::path::Path::new("/")).unwrap();
    let source = password.map(|password| SecretSource::Command(vec!["echo".to_owned(), password.to_owned()]));
    let parameters: Vec<_> = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let database = conninfo.dbname().unwrap_or("shop").to_owned();
    let request = Request {
        role,
        password: source.as_ref(),
        database: &database,
        parameters: &parameters,
        replication: parameters.iter().any(|(name, _)| name == "replication"),
    };
    connect(&conninfo, &request).await
}

/// Sends a statement without waiting for its end.
pub(crate) async fn send(upstream: &mut Upstream, statement: &str) {
    let mut out = Vec::new();
    encode::query(&mut out, statement.as_bytes()).unwrap();
    upstream.stream.write_all(&out).await.unwrap();
    upstream.stream.flush().await.unwrap();
}

/// Reads until ReadyForQuery: the first column of each row, or the SQLSTATE of the error.
pub(crate) async fn receive(upstream: &mut Upstream) -> Result<Vec<String>, String> {
    let mut rows = Vec::new();
    let mut failed = None;
    loop {
        let Some((tag, header)) = frame::backend_header(&upstream.leftover).unwrap() else {
            assert_ne!(upstream.stream.read_buf(&mut upstream.leftover).await.unwrap(), 0, "the server closed");
            continue;
        };
        if upstream.leftover.len() < header.frame_bytes() {
            assert_ne!(upstream.stream.read_buf(&mut upstream.leftover).await.unwrap(), 0, "the server closed");
            continue;
        }
        let message: Vec<u8> = upstream.leftover.drain(..header.frame_bytes()).collect();
        let body = &message[frame::HEADER_BYTES..];
        match tag {
            BackendTag::DataRow => {
                let length = i32::from_be_bytes(body[2..6].try_into().unwrap());
                rows.push(String::from_utf8(body[6..6 + usize::try_from(length).unwrap()].to_vec()).unwrap());
            }
            BackendTag::ErrorResponse => {
                let fields = pgproto::notice::Fields::parse(body).unwrap();
                failed = Some(fields.sqlstate().unwrap().to_string());
            }
            BackendTag::ReadyForQuery => return failed.map_or(Ok(rows), Err),
            _ => {}
        }
    }
}

/// One value.
pub(crate) async fn value(upstream: &mut Upstream, statement: &str) -> String {
    send(upstream, statement).await;
    receive(upstream).await.unwrap().remove(0)
}
