//! What sqlx does through the proxy; prints one JSON object with what it saw. The tests run it.

use std::error::Error as StdError;

use clients::{Access, BYTES, FOREIGN, Saw, TEXT, megabyte, rows, tell_refusal};
use futures_util::TryStreamExt as _;
use serde_json::{Map, Value, json};
use sqlx::encode::IsNull;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgValueRef, Postgres};
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions, PgRow, PgSslMode, PgTypeInfo};
use sqlx::{AssertSqlSafe, Connection as _, Decode, Encode, Error, PgConnection, Row as _, Type, ValueRef as _};

type Boxed = Box<dyn StdError + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let access = Access::from_environment();
    let mut options = PgConnectOptions::new_without_pgpass()
        .host(&access.host)
        .port(access.port)
        .database(&access.database)
        .username(&access.login)
        .ssl_mode(PgSslMode::VerifyFull)
        .ssl_root_cert(&access.ca);
    if let Some(program) = &access.program {
        options = options.application_name(program);
    }
    match PgConnection::connect_with(&options).await {
        Ok(mut db) => {
            let saw = checks(&mut db, &options, &access).await.expect("every check is answered");
            db.close().await.expect("the connection ends");
            saw.tell();
        }
        Err(error) => match error.as_database_error() {
            Some(refused) => tell_refusal(refused.message(), refused.code().as_deref()),
            None => panic!("{error:?}"),
        },
    }
}

async fn checks(db: &mut PgConnection, options: &PgConnectOptions, access: &Access) -> Result<Saw, Error> {
    let mut saw = Saw::default();
    saw.add("who", one::<String>(db, "select current_user::text").await?);
    saw.add("simple", simple(db).await?);
    saw.add("prepared", prepared(db).await?);
    saw.add("types", types(db).await?);
    saw.add("transaction", transaction(db).await?);
    saw.add("savepoint", savepoint(db).await?);
    saw.add("copy_text", copy_text(db).await?);
    saw.add("copy_binary", copy_binary(db).await?);
    copy_fail(db).await?;
    saw.add("large_result", large_result(db).await?);
    saw.add("large_parameter", large_parameter(db, access.large).await?);
    saw.add("notify", notify(options, access.channel()).await?);
    saw.add("large_object", large_object(db).await?);
    saw.add("cursor", cursor(db).await?);
    saw.add("discard_all", discard_all(db).await?);
    Ok(saw)
}

async fn one<T>(db: &mut PgConnection, sql: &'static str) -> Result<T, Error>
where
    T: for<'r> Decode<'r, Postgres> + Type<Postgres> + Send + Unpin,
{
    sqlx::query_scalar(sql).fetch_one(db).await
}

/// Statements by the simple protocol.
async fn run(db: &mut PgConnection, sql: &'static str) -> Result<(), Error> {
    sqlx::raw_sql(sql).execute(db).await.map(drop)
}

async fn simple(db: &mut PgConnection) -> Result<i64, Error> {
    run(db, "create temporary table two (n int); insert into two values (20), (22)").await?;
    one(db, "select sum(n) from two").await
}

async fn prepared(db: &mut PgConnection) -> Result<Vec<i32>, Error> {
    let mut seen = Vec::new();
    for n in [1, 2, 3] {
        seen.push(sqlx::query_scalar("select $1::int * 2").bind(n).fetch_one(&mut *db).await?);
    }
    Ok(seen)
}

/// A value in binary form, of the type that is named.
struct Raw(&'static str, Vec<u8>);

impl Encode<'_, Postgres> for Raw {
    fn encode_by_ref(&self, out: &mut PgArgumentBuffer) -> Result<IsNull, Boxed> {
        out.extend_from_slice(&self.1);
        Ok(IsNull::No)
    }
    fn produces(&self) -> Option<PgTypeInfo> {
        Some(PgTypeInfo::with_name(self.0))
    }
}

impl Type<Postgres> for Raw {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("unknown")
    }
}

async fn types(db: &mut PgConnection) -> Result<Map<String, Value>, Error> {
    let mut seen = Map::new();
    seen.insert("bool".to_owned(), there_and_back(db, "bool", true).await?);
    seen.insert("int2".to_owned(), there_and_back(db, "int2", i16::MIN).await?);
    seen.insert("int4".to_owned(), there_and_back(db, "int4", i32::MAX).await?);
    seen.insert("int8".to_owned(), there_and_back(db, "int8", i64::MIN).await?);
    seen.insert("float4".to_owned(), there_and_back(db, "float4", 1.5_f32).await?);
    seen.insert("float8".to_owned(), there_and_back(db, "float8", 0.1_f64).await?);
    seen.insert("text".to_owned(), there_and_back(db, "text", TEXT.to_owned()).await?);
    seen.insert("bytea".to_owned(), there_and_back(db, "bytea", BYTES.to_vec()).await?);
    seen.insert("null".to_owned(), there_and_back(db, "text", None::<String>).await?);
    for (name, value) in FOREIGN {
        let sql = format!("select $1::text::{name}");
        let row = sqlx::query(AssertSqlSafe(sql)).bind(value).fetch_one(&mut *db).await?;
        let sql = format!("select $1::{name}::text");
        let row = sqlx::query(AssertSqlSafe(sql)).bind(Raw(name, raw(&row)?)).fetch_one(&mut *db).await?;
        seen.insert(name.to_owned(), row.get::<Option<String>, _>(0).into());
    }
    Ok(seen)
}

fn raw(row: &PgRow) -> Result<Vec<u8>, Error> {
    let value: PgValueRef<'_> = row.try_get_raw(0)?;
    if value.is_null() { Ok(Vec::new()) } else { value.as_bytes().map(<[u8]>::to_owned).map_err(Error::Decode) }
}

async fn there_and_back<T>(db: &mut PgConnection, name: &str, value: T) -> Result<Value, Error>
where
    T: for<'r> Decode<'r, Postgres> + for<'q> Encode<'q, Postgres> + Type<Postgres> + Send + Unpin + 'static,
{
    let sql = AssertSqlSafe(format!("select $1::{name}"));
    let back: T = sqlx::query_scalar(sql).bind(value).fetch_one(&mut *db).await?;
    let sql = AssertSqlSafe(format!("select $1::{name}::text"));
    Ok(sqlx::query_scalar::<_, Option<String>>(sql).bind(back).fetch_one(db).await?.into())
}

async fn transaction(db: &mut PgConnection) -> Result<Value, Error> {
    let mut transaction = db.begin().await?;
    let failures = [
        sqlstate(one::<i32>(&mut transaction, "select 1 / 0").await),
        sqlstate(one::<i32>(&mut transaction, "select 1").await),
    ];
    transaction.rollback().await?;
    Ok(json!([failures[0], failures[1], one::<String>(db, "select 'alive'").await?]))
}

fn sqlstate<T>(result: Result<T, Error>) -> Option<String> {
    result.err()?.as_database_error()?.code().map(|code| code.into_owned())
}

async fn savepoint(db: &mut PgConnection) -> Result<Vec<i32>, Error> {
    run(db, "create temporary table kept (n int)").await?;
    let mut transaction = db.begin().await?;
    sqlx::query("insert into kept values (1)").execute(&mut *transaction).await?;
    let mut inner = transaction.begin().await?;
    sqlx::query("insert into kept values (2)").execute(&mut *inner).await?;
    inner.rollback().await?;
    sqlx::query("insert into kept values (3)").execute(&mut *transaction).await?;
    transaction.commit().await?;
    sqlx::query_scalar("select n from kept order by n").fetch_all(db).await
}

async fn copy_text(db: &mut PgConnection) -> Result<Value, Error> {
    run(db, "create temporary table copied (n int, t text)").await?;
    copy_in(db, "copy copied from stdin", rows().as_bytes()).await?;
    let seen = copy_out(db, "copy (select * from copied order by n) to stdout").await?;
    let rows: i64 = one(db, "select count(*) from copied").await?;
    Ok(json!({ "rows": rows, "md5": md5(db, &seen).await? }))
}

async fn copy_binary(db: &mut PgConnection) -> Result<Value, Error> {
    run(db, "create temporary table copied_binary (n int, t text)").await?;
    let source = copy_out(db, "copy (select * from copied order by n) to stdout (format binary)").await?;
    copy_in(db, "copy copied_binary from stdin (format binary)", &source).await?;
    let seen = copy_out(db, "copy (select * from copied_binary order by n) to stdout (format binary)").await?;
    let rows: i64 = one(db, "select count(*) from copied_binary").await?;
    Ok(json!({ "rows": rows, "md5": md5(db, &seen).await? }))
}

async fn copy_in(db: &mut PgConnection, sql: &str, bytes: &[u8]) -> Result<u64, Error> {
    let mut copying = db.copy_in_raw(sql).await?;
    copying.send(bytes).await?;
    copying.finish().await
}

async fn copy_out(db: &mut PgConnection, sql: &str) -> Result<Vec<u8>, Error> {
    let parts: Vec<_> = db.copy_out_raw(sql).await?.try_collect().await?;
    Ok(parts.concat())
}

/// The server's, so that there is one library less.
async fn md5(db: &mut PgConnection, bytes: &[u8]) -> Result<String, Error> {
    sqlx::query_scalar("select md5($1::bytea)").bind(bytes).fetch_one(db).await
}

/// The library expects the failure that it asked for, and does not tell it; that nothing of it stays is seen.
async fn copy_fail(db: &mut PgConnection) -> Result<(), Error> {
    run(db, "create temporary table given_up (n int)").await?;
    let mut copying = db.copy_in_raw("copy given_up from stdin").await?;
    copying.send(b"1\n".as_slice()).await?;
    copying.abort("gives up").await?;
    assert_eq!(one::<i64>(db, "select count(*) from given_up").await?, 0);
    Ok(())
}

async fn large_result(db: &mut PgConnection) -> Result<usize, Error> {
    let rows = sqlx::query("select repeat('x', 10000) from generate_series(1, 2000)").fetch_all(db).await?;
    Ok(rows.iter().map(|row| row.get::<&str, _>(0).len()).sum())
}

async fn large_parameter(db: &mut PgConnection, length: usize) -> Result<i32, Error> {
    sqlx::query_scalar("select length($1::text)").bind("x".repeat(length)).fetch_one(db).await
}

/// Listening has a connection of its own.
async fn notify(options: &PgConnectOptions, channel: &str) -> Result<Value, Error> {
    let pool = PgPoolOptions::new().max_connections(1).connect_with(options.clone()).await?;
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.listen(channel).await?;
    let own: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut listener).await?;
    let notify = format!("notify \"{channel}\", 'hello'");
    sqlx::query(AssertSqlSafe(notify)).execute(&mut listener).await?;
    let heard = listener.recv().await?;
    Ok(json!([heard.payload(), i64::from(heard.process_id()) == i64::from(own)]))
}

async fn large_object(db: &mut PgConnection) -> Result<Value, Error> {
    let mut transaction = db.begin().await?;
    let oid: Oid = one(&mut transaction, "select lo_create(0)").await?;
    let open = sqlx::query_scalar("select lo_open($1, 393216)").bind(oid);
    let file: i32 = open.fetch_one(&mut *transaction).await?;
    sqlx::query("select lowrite($1, $2)").bind(file).bind(megabyte()).execute(&mut *transaction).await?;
    sqlx::query("select lo_lseek($1, 0, 0)").bind(file).execute(&mut *transaction).await?;
    let read = sqlx::query_scalar("select loread($1, 2097152)").bind(file);
    let whole: Vec<u8> = read.fetch_one(&mut *transaction).await?;
    sqlx::query("select lo_lseek($1, 524288, 0)").bind(file).execute(&mut *transaction).await?;
    let read = sqlx::query_scalar("select encode(loread($1, 4), 'hex')").bind(file);
    let at: String = read.fetch_one(&mut *transaction).await?;
    sqlx::query("select lo_unlink($1)").bind(oid).execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(json!({ "bytes": whole.len(), "md5": md5(db, &whole).await?, "at": at }))
}

async fn cursor(db: &mut PgConnection) -> Result<i32, Error> {
    let mut transaction = db.begin().await?;
    run(&mut transaction, "declare far cursor for select generate_series(1, 25)").await?;
    let mut sum = 0;
    loop {
        let rows: Vec<i32> = sqlx::query_scalar("fetch 10 from far").fetch_all(&mut *transaction).await?;
        if rows.is_empty() {
            transaction.commit().await?;
            return Ok(sum);
        }
        sum += rows.iter().sum::<i32>();
    }
}

async fn discard_all(db: &mut PgConnection) -> Result<Vec<String>, Error> {
    run(db, "set work_mem = '8MB'").await?;
    let mut seen = vec![shown(db, "show work_mem").await?];
    run(db, "discard all").await?;
    seen.push(shown(db, "show work_mem").await?);
    seen.push(shown(db, "select current_setting('safe_boundary.login')").await?);
    Ok(seen)
}

/// By the simple protocol: the library goes on using the names of statements that DISCARD ALL took away.
async fn shown(db: &mut PgConnection, sql: &'static str) -> Result<String, Error> {
    Ok(sqlx::raw_sql(sql).fetch_one(db).await?.get(0))
}
