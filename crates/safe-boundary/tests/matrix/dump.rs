//! pg_dump and pg_restore of a database with many tables.
//!
//! Promises: what is restored through the proxy dumps as what was dumped, byte by byte, and so does the original without
//! the proxy; the server's log and the trail tell the same of all of it.
//! Deliberately not here: other versions of these programs.

use std::path::Path;
use std::process::Command;

use super::completeness;
use super::servers::Server;
use super::support::postgres::KEEPER;
use super::support::proxy::Settings;
use super::support::psql::Answer;
use super::support::{ALICE, Stage};

/// `TABLES` tables, each with keys, an index, a default, a comment and rows; views, a function, a
/// sequence, a large object, and values that are awkward to write.
const MAKE: &str = r#"
    create function twice(n int) returns int language sql as $$ select n * 2 $$;
    create sequence numbers increment by 7;
    do $do$
    begin
        for n in 1 .. TABLES loop
            execute format($sql$
                create table "table %1$s" (
                    id int primary key default nextval('numbers'),
                    before int %2$s,
                    t text default 'it''s %1$s',
                    b bytea,
                    j jsonb,
                    a text[],
                    at timestamptz check (at > '2000-01-01')
                );
                comment on table "table %1$s" is 'the number %1$s';
                insert into "table %1$s" (id, before, t, b, j, a, at)
                select i, i, E'tab\t, break\n, back\\ and ' || repeat('é', i %% 7), decode(md5(i::text), 'hex'),
                       jsonb_build_object('i', i, 'null', null), array['a', null, '\N', i::text], '2026-01-01'
                from generate_series(1, 10) as i
            $sql$, n, case when n = 1 then '' else format('references "table %s"', n - 1) end);
            if n % 10 = 0 then
                execute format('create index on "table %1$s" (t, at); create view "view %1$s" as select id, twice(id) as d from "table %1$s"', n);
            end if;
        end loop;
    end $do$;
    select lo_from_bytea(0, decode(repeat('00ff5c27', 100000), 'hex'));
"#;

/// How many tables, rows in the last, and bytes in large objects.
const COUNT: &str = r#"
    select (select count(*) from pg_tables where tablename like 'table %'),
           (select count(*) from "table TABLES"),
           (select sum(length(data)) from pg_largeobject)
"#;

/// Databases come and go in this test, so their names are open, and the role may make them.
const ROLE: &str = r#"
databases = "*"

[[database.role]]
role = "postgres"
groups = ["on-call"]
password = { file = "postgres.password" }
"#;

pub(crate) fn dump_and_restore(tables: usize) {
    let of_tables = |sql: &str| sql.replace("TABLES", &tables.to_string());
    let stage = Stage::with(&Settings {
        prompting_programs: ["psql", "pg_dump", "pg_restore"].map(str::to_owned).into(),
        database: ROLE,
        postgres: Server::V15.programs(),
        ..Settings::default()
    });
    stage.idp.approve_everything(ALICE);
    let psql = |script: &str| stage.psql(ALICE).answered(Answer::Nothing).script(script);
    psql("create database source; create database target;").lines();
    psql(&of_tables(&format!("\\connect source\n{MAKE}"))).lines();
    let archive = stage.folder().join("source.dump");
    run(&stage, "pg_dump", &proxied(&stage, "source"), &["--format=custom", "--file"], &archive);
    run(&stage, "pg_restore", &proxied(&stage, "target"), &["--jobs=2", "--exit-on-error"], &archive);
    let counted = psql(&of_tables(&format!("\\connect target\n{COUNT}")));
    assert_eq!(counted.lines(), [format!("{tables}|10|400000")]);
    let dumped = ["source", "target"].map(|database| text(&stage, &proxied(&stage, database)));
    assert!(dumped[0].len() > tables << 10, "{} bytes were dumped", dumped[0].len());
    assert!(dumped[0] == dumped[1], "what was restored differs from what was dumped");
    assert!(dumped[0] == text(&stage, &direct(&stage, "source")), "it dumps differently without the proxy");
    completeness::compare(&stage, Server::V15);
    stage.verify_trail();
}

/// A dump as text, without what differs each time.
fn text(stage: &Stage, conninfo: &str) -> String {
    let file = stage.folder().join("dump.sql");
    run(stage, "pg_dump", conninfo, &["--file"], &file);
    let text = std::fs::read_to_string(&file).unwrap();
    // The key that keeps psql from running commands in the text is random.
    text.lines()
        .filter(|line| !line.starts_with("\\restrict ") && !line.starts_with("\\unrestrict "))
        .collect::<Vec<_>>()
        .join("\n")
}

fn run(stage: &Stage, program: &str, conninfo: &str, arguments: &[&str], file: &Path) {
    let mut command = Command::new(Server::V15.programs().program(program));
    command.args(["--dbname", conninfo, "--no-password"]).args(arguments).arg(file);
    command.env_remove("PGAPPNAME").env("PGPASSFILE", stage.folder().join("pgpass"));
    let ended = command.output().unwrap();
    assert!(ended.status.success(), "{program}: {}", String::from_utf8_lossy(&ended.stderr));
}

fn proxied(stage: &Stage, database: &str) -> String {
    stage.conninfo(ALICE).replace("dbname=payments", &format!("dbname={database}"))
}

fn direct(stage: &Stage, database: &str) -> String {
    let password = std::fs::read_to_string(stage.folder().join(format!("{KEEPER}.password"))).unwrap();
    format!(
        "host=localhost port={} dbname={database} user={KEEPER} password={} sslmode=require",
        stage.postgres.port,
        password.trim()
    )
}
