//! What tokio-postgres does through the proxy; prints one JSON object with what it saw. The tests run it.

use std::error::Error as StdError;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use clients::{Access, BYTES, FOREIGN, SLOW, Saw, TEXT, megabyte, rows, tell_refusal};
use futures_util::{SinkExt as _, TryStreamExt as _};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tokio_postgres::config::SslMode;
use tokio_postgres::types::{Format, FromSql, FromSqlOwned, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{AsyncMessage, Client, Config, Error, Row, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;

type Boxed = Box<dyn StdError + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let access = Access::from_environment();
    match connect(&access).await {
        Ok(mut session) => checks(&mut session, &access).await.expect("every check is answered").tell(),
        Err(error) => match error.as_db_error() {
            Some(refused) => tell_refusal(refused.message(), Some(refused.code().code())),
            None => panic!("{error:?}"),
        },
    }
}

/// A connection, and what the server says on it beside answers.
struct Session {
    client: Client,
    said: mpsc::UnboundedReceiver<AsyncMessage>,
    tls: MakeRustlsConnect,
}

async fn connect(access: &Access) -> Result<Session, Error> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(&access.ca).expect("a file of certificates") {
        roots.add(certificate.expect("a certificate")).expect("a root");
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let tls = versions.expect("TLS 1.2 and 1.3").with_root_certificates(roots).with_no_client_auth();
    let tls = MakeRustlsConnect::new(tls);
    let mut config = Config::new();
    config.host(&access.host).port(access.port).dbname(&access.database).user(&access.login);
    config.ssl_mode(SslMode::Require);
    if let Some(program) = &access.program {
        config.application_name(program);
    }
    let (client, mut connection) = config.connect(tls.clone()).await?;
    let (tell, said) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
            tell.send(message).ok();
        }
    });
    Ok(Session { client, said, tls })
}

async fn checks(session: &mut Session, access: &Access) -> Result<Saw, Error> {
    let mut saw = Saw::default();
    saw.add("who", one::<String>(&session.client, "select current_user::text").await?);
    saw.add("simple", simple(&session.client).await?);
    saw.add("prepared", prepared(&session.client).await?);
    saw.add("types", types(&session.client).await?);
    saw.add("transaction", transaction(&session.client).await?);
    saw.add("savepoint", savepoint(&mut session.client).await?);
    saw.add("copy_text", copy_text(&session.client).await?);
    saw.add("copy_binary", copy_binary(&session.client).await?);
    copy_fail(&session.client).await?;
    saw.add("cancel", cancel(session).await?);
    saw.add("large_result", large_result(&session.client).await?);
    saw.add("large_parameter", large_parameter(&session.client, access.large).await?);
    saw.add("notify", notify(session, access.channel()).await?);
    saw.add("pipeline", pipeline(&session.client).await?);
    saw.add("large_object", large_object(&session.client).await?);
    saw.add("cursor", cursor(&mut session.client).await?);
    saw.add("discard_all", discard_all(&session.client).await?);
    Ok(saw)
}

async fn one<T: FromSqlOwned>(client: &Client, sql: &str) -> Result<T, Error> {
    Ok(client.query_one(sql, &[]).await?.get(0))
}

/// The first value of a simple query.
async fn simply(client: &Client, sql: &str) -> Result<String, Error> {
    let messages = client.simple_query(sql).await?;
    let row =
        messages.iter().find_map(|message| if let SimpleQueryMessage::Row(row) = message { Some(row) } else { None });
    Ok(row.and_then(|row| row.get(0)).unwrap_or_default().to_owned())
}

async fn simple(client: &Client) -> Result<i64, Error> {
    client.batch_execute("create temporary table two (n int); insert into two values (20), (22)").await?;
    one(client, "select sum(n) from two").await
}

async fn prepared(client: &Client) -> Result<Vec<i32>, Error> {
    let twice = client.prepare("select $1::int * 2").await?;
    let mut seen = Vec::new();
    for n in [1, 2, 3] {
        seen.push(client.query_one(&twice, &[&n]).await?.get(0));
    }
    Ok(seen)
}

/// A parameter in text form, of any type.
#[derive(Debug)]
struct Written(&'static str);

impl ToSql for Written {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Boxed> {
        out.extend_from_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }
    fn accepts(_: &Type) -> bool {
        true
    }
    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }
    to_sql_checked!();
}

/// A value in binary form, of any type.
#[derive(Debug)]
struct Raw(Vec<u8>);

impl FromSql<'_> for Raw {
    fn from_sql(_: &Type, raw: &[u8]) -> Result<Self, Boxed> {
        Ok(Self(raw.to_owned()))
    }
    fn accepts(_: &Type) -> bool {
        true
    }
}

impl ToSql for Raw {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Boxed> {
        out.extend_from_slice(&self.0);
        Ok(IsNull::No)
    }
    fn accepts(_: &Type) -> bool {
        true
    }
    to_sql_checked!();
}

async fn types(client: &Client) -> Result<Map<String, Value>, Error> {
    let mut seen = Map::new();
    seen.insert("bool".to_owned(), there_and_back(client, "bool", true).await?);
    seen.insert("int2".to_owned(), there_and_back(client, "int2", i16::MIN).await?);
    seen.insert("int4".to_owned(), there_and_back(client, "int4", i32::MAX).await?);
    seen.insert("int8".to_owned(), there_and_back(client, "int8", i64::MIN).await?);
    seen.insert("float4".to_owned(), there_and_back(client, "float4", 1.5_f32).await?);
    seen.insert("float8".to_owned(), there_and_back(client, "float8", 0.1_f64).await?);
    seen.insert("text".to_owned(), there_and_back(client, "text", TEXT.to_owned()).await?);
    seen.insert("bytea".to_owned(), there_and_back(client, "bytea", BYTES.to_vec()).await?);
    seen.insert("null".to_owned(), there_and_back(client, "text", None::<String>).await?);
    for (name, value) in FOREIGN {
        let back: Raw = client.query_one(&format!("select $1::{name}"), &[&Written(value)]).await?.get(0);
        let row = client.query_one(&format!("select $1::{name}::text"), &[&back]).await?;
        seen.insert(name.to_owned(), text_of(&row));
    }
    Ok(seen)
}

async fn there_and_back<T: ToSql + FromSqlOwned + Sync>(client: &Client, name: &str, value: T) -> Result<Value, Error> {
    let back: T = client.query_one(&format!("select $1::{name}"), &[&value]).await?.get(0);
    Ok(text_of(&client.query_one(&format!("select $1::{name}::text"), &[&back]).await?))
}

fn text_of(row: &Row) -> Value {
    row.get::<_, Option<String>>(0).into()
}

async fn transaction(client: &Client) -> Result<Value, Error> {
    client.batch_execute("begin").await?;
    let failures = [one::<i32>(client, "select 1 / 0").await, one::<i32>(client, "select 1").await].map(sqlstate);
    client.batch_execute("rollback").await?;
    Ok(json!([failures[0], failures[1], one::<String>(client, "select 'alive'").await?]))
}

fn sqlstate<T>(result: Result<T, Error>) -> Option<String> {
    result.err().and_then(|error| error.code().map(|code| code.code().to_owned()))
}

async fn savepoint(client: &mut Client) -> Result<Vec<i32>, Error> {
    client.batch_execute("create temporary table kept (n int)").await?;
    let mut transaction = client.transaction().await?;
    transaction.execute("insert into kept values (1)", &[]).await?;
    let inner = transaction.savepoint("s").await?;
    inner.execute("insert into kept values (2)", &[]).await?;
    inner.rollback().await?;
    transaction.execute("insert into kept values (3)", &[]).await?;
    transaction.commit().await?;
    Ok(client.query("select n from kept order by n", &[]).await?.iter().map(|row| row.get(0)).collect())
}

async fn copy_text(client: &Client) -> Result<Value, Error> {
    client.batch_execute("create temporary table copied (n int, t text)").await?;
    copy_in(client, "copy copied from stdin", rows().into()).await?;
    let seen = copy_out(client, "copy (select * from copied order by n) to stdout").await?;
    copied(client, "copied", &seen).await
}

async fn copy_binary(client: &Client) -> Result<Value, Error> {
    client.batch_execute("create temporary table copied_binary (n int, t text)").await?;
    let source = copy_out(client, "copy (select * from copied order by n) to stdout (format binary)").await?;
    copy_in(client, "copy copied_binary from stdin (format binary)", source.into()).await?;
    let seen = copy_out(client, "copy (select * from copied_binary order by n) to stdout (format binary)").await?;
    copied(client, "copied_binary", &seen).await
}

async fn copy_in(client: &Client, sql: &str, bytes: Bytes) -> Result<u64, Error> {
    let mut copying = pin!(client.copy_in(sql).await?);
    copying.send(bytes).await?;
    copying.finish().await
}

async fn copy_out(client: &Client, sql: &str) -> Result<Vec<u8>, Error> {
    let parts: Vec<Bytes> = client.copy_out(sql).await?.try_collect().await?;
    Ok(parts.concat())
}

async fn copied(client: &Client, table: &str, seen: &[u8]) -> Result<Value, Error> {
    let rows: i64 = one(client, &format!("select count(*) from {table}")).await?;
    Ok(json!({ "rows": rows, "md5": md5(client, seen).await? }))
}

/// The server's, so that there is one library less.
async fn md5(client: &Client, bytes: &[u8]) -> Result<String, Error> {
    Ok(client.query_one("select md5($1::bytea)", &[&bytes]).await?.get(0))
}

/// The library does not tell what the server says to a COPY that is given up; that nothing of it stays is seen.
async fn copy_fail(client: &Client) -> Result<(), Error> {
    client.batch_execute("create temporary table given_up (n int)").await?;
    {
        let mut copying = pin!(client.copy_in("copy given_up from stdin").await?);
        copying.send(Bytes::from_static(b"1\n")).await?;
    }
    assert_eq!(one::<i64>(client, "select count(*) from given_up").await?, 0);
    Ok(())
}

async fn cancel(session: &mut Session) -> Result<Value, Error> {
    let Session { client, said, tls } = session;
    let running = client.batch_execute(SLOW);
    let cancelling = async {
        while !matches!(said.recv().await, Some(AsyncMessage::Notice(notice)) if notice.message() == "begun") {}
        client.cancel_token().cancel_query(tls.clone()).await
    };
    let (ended, cancelled) = tokio::join!(running, cancelling);
    cancelled?;
    Ok(json!([sqlstate(ended), one::<String>(client, "select 'alive'").await?]))
}

async fn large_result(client: &Client) -> Result<usize, Error> {
    let rows = client.query("select repeat('x', 10000) from generate_series(1, 2000)", &[]).await?;
    Ok(rows.iter().map(|row| row.get::<_, &str>(0).len()).sum())
}

async fn large_parameter(client: &Client, length: usize) -> Result<i32, Error> {
    Ok(client.query_one("select length($1::text)", &[&"x".repeat(length)]).await?.get(0))
}

async fn notify(session: &mut Session, channel: &str) -> Result<Value, Error> {
    let client = &session.client;
    client.batch_execute(&format!("listen \"{channel}\"")).await?;
    client.batch_execute(&format!("notify \"{channel}\", 'hello'")).await?;
    let own: i32 = one(client, "select pg_backend_pid()").await?;
    loop {
        match session.said.recv().await {
            Some(AsyncMessage::Notification(heard)) => return Ok(json!([heard.payload(), heard.process_id() == own])),
            Some(_) => {}
            None => return Ok(Value::Null),
        }
    }
}

/// What is asked for at once goes out as one pipeline.
async fn pipeline(client: &Client) -> Result<Value, Error> {
    let statements = (client.prepare("select 1"), client.prepare("select 1 / 0"), client.prepare("select 3"));
    let (first, second, third) = tokio::try_join!(statements.0, statements.1, statements.2)?;
    let (first, second, third) =
        tokio::join!(client.query_one(&first, &[]), client.query_one(&second, &[]), client.query_one(&third, &[]));
    Ok(json!([first?.get::<_, i32>(0), sqlstate(second), third?.get::<_, i32>(0)]))
}

async fn large_object(client: &Client) -> Result<Value, Error> {
    client.batch_execute("begin").await?;
    let oid: u32 = one(client, "select lo_create(0)").await?;
    let file: i32 = client.query_one("select lo_open($1, 393216)", &[&oid]).await?.get(0);
    client.execute("select lowrite($1, $2)", &[&file, &megabyte()]).await?;
    client.execute("select lo_lseek($1, 0, 0)", &[&file]).await?;
    let whole: Vec<u8> = client.query_one("select loread($1, 2097152)", &[&file]).await?.get(0);
    client.execute("select lo_lseek($1, 524288, 0)", &[&file]).await?;
    let at: String = client.query_one("select encode(loread($1, 4), 'hex')", &[&file]).await?.get(0);
    client.execute("select lo_unlink($1)", &[&oid]).await?;
    client.batch_execute("commit").await?;
    Ok(json!({ "bytes": whole.len(), "md5": md5(client, &whole).await?, "at": at }))
}

async fn cursor(client: &mut Client) -> Result<i32, Error> {
    let transaction = client.transaction().await?;
    let portal = transaction.bind("select generate_series(1, 25)", &[]).await?;
    let mut sum = 0;
    loop {
        let rows = transaction.query_portal(&portal, 10).await?;
        if rows.is_empty() {
            return Ok(sum);
        }
        sum += rows.iter().map(|row| row.get::<_, i32>(0)).sum::<i32>();
    }
}

async fn discard_all(client: &Client) -> Result<Vec<String>, Error> {
    client.batch_execute("set work_mem = '8MB'").await?;
    let before = simply(client, "show work_mem").await?;
    client.batch_execute("discard all").await?;
    let login = simply(client, "select current_setting('safe_boundary.login')").await?;
    Ok(vec![before, simply(client, "show work_mem").await?, login])
}
