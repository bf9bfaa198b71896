//! Signing in: who gets in as what, and what everyone else is told.

use std::collections::BTreeMap;

use super::support::proxy::Settings;
use super::support::psql::Answer;
use super::support::wire::Wire;
use super::support::{ALICE, BOB, MALLORY, Stage};

const WHO: &str = "select current_user || ' ' || session_user || ' ' || current_database()";

#[test]
fn groups_decide_the_role() {
    let stage = Stage::start();
    for (login, role) in [(ALICE, "payments_rw"), (BOB, "payments_ro"), ("Alice@Example.COM", "payments_rw")] {
        let spoken = stage.psql(login).answered(Answer::As(&login.to_ascii_lowercase())).run(&[WHO]);
        assert_eq!(spoken.lines(), [format!("{role} {role} payments")], "{login}");
    }
}

#[test]
fn the_person_stands_in_the_database_s_own_views() {
    let stage = Stage::start();
    let names = "select current_setting('application_name'), current_setting('safe_boundary.login')";
    let spoken = stage.psql(ALICE).run(&[names]);
    let line = spoken.lines()[0];
    assert!(line.starts_with(ALICE) && line.ends_with(&format!("|{ALICE}")), "{line}");
}

#[test]
fn postgresql_refuses_what_the_role_may_not() {
    let stage = Stage::start();
    let spoken = stage.psql(BOB).run(&["delete from refunds"]);
    assert!(spoken.err.contains("ERROR:  42501: permission denied for table refunds"), "{spoken:?}");
}

/// A person whom a provider's word lets in can ask for another of her roles, and for none of others'.
#[test]
fn a_role_may_be_asked_for() {
    let stage = Stage::start();
    let asked = |login, role: &str| {
        let mut wire = Wire::tls(&stage);
        let options = format!("-c safe_boundary.role={role}");
        wire.start(&[("user", login), ("database", "payments"), ("application_name", "psql"), ("options", &options)]);
        let code = wire.prompted();
        stage.idp.approve(&code, login);
        wire
    };
    let mut alice = asked(ALICE, "payments_ro");
    alice.ready();
    assert_eq!(super::support::wire::values(&alice.query("select current_user")), ["payments_ro"]);
    let (error, _) = asked(BOB, "payments_rw").refused();
    assert_eq!(error[&'C'], "42501", "{error:?}");
}

#[test]
fn without_a_group_the_missing_one_is_named() {
    let stage = Stage::start();
    let mut wire = Wire::tls(&stage);
    wire.start(&[("user", MALLORY), ("database", "payments"), ("application_name", "psql")]);
    let code = wire.prompted();
    stage.idp.approve(&code, MALLORY);
    let (error, before) = wire.refused();
    assert_eq!(error[&'S'], "FATAL");
    assert_eq!(error[&'C'], "42501");
    assert!(
        error[&'M'].starts_with(r#"access to database "payments" is denied for "mallory@example.com""#),
        "{error:?}"
    );
    let all = format!("{error:?}");
    assert!(all.contains("on-call") && all.contains("engineering"), "{all}");
    assert!(!before.contains('K') && !before.contains('Z'), "no session before a decision: {before}");
    assert_eq!(stage.postgres.connections(), 0);
    let forbidden = stage.wait_for_record(|record| record.kind() == "connect");
    assert_eq!(forbidden.effect(), "forbid");
    let request = forbidden.0["request"].as_str().expect("a request id on record");
    assert!(all.contains(request), "the request id {request} is not in {all}");
}

/// What the terminal shows when the sign-in does not go as it should.
#[test]
fn a_sign_in_that_fails_says_why() {
    let cases: [(Answer<'_>, u32, &str); 3] = [
        (Answer::As(BOB), 600, r#"signed in as "bob@example.com", not "alice@example.com""#),
        (Answer::Refuse(ALICE), 600, "sign-in was refused"),
        (Answer::Nothing, 2, "sign-in expired"),
    ];
    let stage = Stage::start();
    for (answer, lifetime, message) in cases {
        stage.idp.set_code_lifetime(lifetime);
        let spoken = stage.psql(ALICE).answered(answer).run(&["select 1"]);
        assert_eq!(spoken.status, 2, "{spoken:?}");
        assert!(spoken.err.contains(&format!("FATAL:  {message}")), "{spoken:?}");
    }
    assert_eq!(stage.postgres.connections(), 0);
}

/// Refused before anybody is asked who she is: nothing is said to the provider or to the database.
#[test]
fn some_start_ups_make_no_code() {
    let stage = Stage::start();
    let me = r#"this program cannot show a sign-in prompt: make a key for it at https://boundary.example.com/me and connect as "alice@example.com/NAME""#;
    let cases: [(&[(&str, &str)], &str, &str); 5] = [
        (&[("user", "alice")], "28000", "connect as you@example.com"),
        (&[("user", ALICE), ("application_name", "DBeaver")], "28000", me),
        (&[("user", ALICE), ("application_name", "")], "28000", me),
        (&[("user", ALICE), ("application_name", "psql"), ("role", "postgres")], "", ""),
        (&[("user", ALICE), ("application_name", "psql"), ("options", "-c role=postgres")], "", ""),
    ];
    for (parameters, sqlstate, message) in cases {
        let mut wire = Wire::tls(&stage);
        let mut parameters = parameters.to_vec();
        parameters.push(("database", "payments"));
        wire.start(&parameters);
        let (error, before) = wire.refused();
        assert_eq!(error[&'S'], "FATAL", "{parameters:?}");
        assert!(sqlstate.is_empty() || error[&'C'] == sqlstate, "{parameters:?}: {error:?}");
        assert!(error[&'M'].starts_with(message), "{parameters:?}: {error:?}");
        assert_eq!(before, "R", "{parameters:?}: AuthenticationOk alone comes before a refusal on TLS");
        assert!(wire.try_message().is_none(), "{parameters:?}: the connection ends");
    }
    assert_eq!(stage.idp.codes_made(), 0);
    assert_eq!(stage.postgres.connections(), 0);
}

#[test]
fn replication_is_refused_where_it_is_not_served() {
    let stage = Stage::start();
    let mut wire = Wire::tls(&stage);
    let parameters =
        [("user", ALICE), ("database", "payments"), ("application_name", "psql"), ("replication", "database")];
    wire.start(&parameters);
    let code = wire.prompted();
    stage.idp.approve(&code, ALICE);
    let (error, _) = wire.refused();
    assert!(error[&'M'].contains("replication"), "{error:?}");
    assert_eq!(stage.postgres.connections(), 0);
}

#[test]
fn plaintext_is_refused_before_anything() {
    let stage = Stage::start();
    let mut wire = Wire::plain(stage.proxy.address);
    wire.start(&[("user", ALICE), ("database", "payments"), ("application_name", "psql")]);
    let (error, before) = wire.refused();
    assert_eq!(error[&'C'], "28000");
    assert!(error[&'M'].starts_with("TLS is required: add sslmode=require"), "{error:?}");
    assert_eq!(before, "", "on plaintext no AuthenticationOk comes before a refusal");
    assert_eq!(stage.idp.codes_made(), 0);
}

#[test]
fn an_unknown_database_is_told_after_the_sign_in_only() {
    let stage = Stage::start();
    let mut wire = Wire::tls(&stage);
    wire.start(&[("user", ALICE), ("database", "salaries"), ("application_name", "psql")]);
    let code = wire.prompted();
    stage.idp.approve(&code, ALICE);
    let (error, _) = wire.refused();
    assert_eq!(error[&'C'], "3D000", "{error:?}");
    assert!(error[&'M'].starts_with(r#"database "salaries" is not served here"#), "{error:?}");
}

/// Tools make a database when they hear 3D000.
#[test]
fn a_database_that_the_server_does_not_have_is_told_with_its_code() {
    let stage = Stage::with(&Settings { database: "databases = \"*\"\n", ..Settings::default() });
    let mut wire = Wire::tls(&stage);
    wire.start(&[("user", ALICE), ("database", "salaries"), ("application_name", "psql")]);
    let code = wire.prompted();
    stage.idp.approve(&code, ALICE);
    let (error, _) = wire.refused();
    assert_eq!(error[&'C'], "3D000", "{error:?}");
    assert_eq!(error[&'D'], "the server does not have this database");
}

#[test]
fn a_client_that_goes_away_ends_its_polling() {
    let stage = Stage::start();
    let mut left = stage.psql(ALICE).start();
    let code = left.code().unwrap().replace('-', "");
    left.process.kill();
    stage.wait_for_record(|record| record.kind() == "login" && record.effect() == "abandoned");
    let before = stage.idp.polls().get(&code).copied();
    // A whole other sign-in takes longer than the interval between two polls.
    stage.psql(BOB).run(&["select 1"]).lines();
    stage.psql(BOB).run(&["select 1"]).lines();
    assert_eq!(stage.idp.polls().get(&code).copied(), before);
}

/// Two connections in one name may be two people: each is let in by its own code alone.
#[test]
fn bare_connections_share_nothing() {
    let stage = Stage::start();
    let parked = stage.psql(ALICE).answered(Answer::Nothing).argument("-c").argument("select 'parked'").start();
    let parked_code = parked.code().unwrap();
    let own = stage.psql(ALICE).run(&["select 'own'"]);
    assert_eq!(own.lines(), ["own"]);
    assert_eq!(stage.postgres.connections(), 1, "the parked one is still outside");
    assert!(parked.out.all().is_empty());
    stage.idp.approve(&parked_code, ALICE);
    assert_eq!(parked.finish().lines(), ["parked"]);
    assert_eq!(stage.idp.codes_made(), 2);
}

#[test]
fn a_record_says_what_served_another_name() {
    let stage = Stage::with(&Settings { database: "databases = \"*\"\n", ..Settings::default() });
    for asked in ["payments", "postgres"] {
        let mut wire = Wire::tls(&stage);
        wire.start(&[("user", ALICE), ("database", asked), ("application_name", "psql")]);
        let code = wire.prompted();
        stage.idp.approve(&code, ALICE);
        wire.ready();
        wire.query(&format!("select '{asked}'"));
        let text = format!("select '{asked}'");
        let record = stage.wait_for_record(|record| record.0["statement"]["text"] == text.as_str());
        assert_eq!(record.0["database"], asked);
        assert_eq!(record.0["served"].as_str(), (asked != "payments").then_some("payments"));
    }
    let found = stage.proxy.audit(&["search", "--database", "payments", "--kind", "statement"]);
    let found = String::from_utf8_lossy(&found.stdout).into_owned();
    assert!(["payments", "postgres"].iter().all(|asked| found.contains(&format!("select '{asked}'"))), "{found}");
}

#[test]
fn a_provider_that_is_down_lets_nobody_in() {
    let mut stage = Stage::start();
    stage.idp.stop();
    let mut wire = Wire::tls(&stage);
    wire.start(&[("user", ALICE), ("database", "payments"), ("application_name", "psql")]);
    let (error, _) = wire.refused();
    assert_eq!(error[&'C'], "08006", "{error:?}");
    assert!(error[&'M'].starts_with("the identity provider cannot be reached"), "{error:?}");
    assert_eq!(stage.postgres.connections(), 0);
}

#[test]
fn a_default_domain_completes_a_name() {
    let stage = Stage::with(&Settings { server: r#"default_domain = "example.com""#, ..Settings::default() });
    assert_eq!(stage.psql("bob").answered(Answer::As(BOB)).run(&["select current_user"]).lines(), ["payments_ro"]);
    // Who asks for somebody's sign-ins finds also those that came to nothing, by whichever name.
    let mut wire = Wire::tls(&stage);
    wire.start(&[("user", "bob/laptop"), ("database", "payments"), ("application_name", "psql")]);
    wire.refused();
    let refused = stage.wait_for_record(|record| record.0["client"]["login"] == "bob@example.com/laptop");
    let search = |arguments: &[&str]| {
        let found = stage.proxy.audit(&[&["search", "--kind", "login"], arguments].concat());
        String::from_utf8_lossy(&found.stdout).into_owned()
    };
    let found = search(&["--person", BOB]);
    let effects: Vec<_> =
        ["prompted,", "approved,", "refused,"].into_iter().filter(|effect| found.contains(effect)).collect();
    assert_eq!(effects.len(), 3, "{found}");
    let found = search(&["--session", refused.0["session"].as_str().unwrap()]);
    assert!(found.lines().count() == 2 && found.contains("bob@example.com/laptop"), "{found}");
}

#[test]
fn tokens_signed_with_an_elliptic_curve_are_believed() {
    let stage = Stage::with(&Settings { client: "safe-boundary-es256", ..Settings::default() });
    assert_eq!(stage.psql(ALICE).run(&["select current_user"]).lines(), ["payments_rw"]);
}

#[test]
fn new_signing_keys_are_found() {
    let stage = Stage::start();
    for _ in 0..2 {
        stage.psql(ALICE).run(&["select 1"]).lines();
        stage.idp.rotate_keys();
    }
}

/// What was granted at one sign-in is not remembered for the next.
#[test]
fn a_lost_group_counts_at_the_next_sign_in() {
    let stage = Stage::start();
    let roles: Vec<String> = [vec!["engineering", "on-call"], vec!["engineering"]]
        .into_iter()
        .map(|groups| {
            stage.idp.set_groups(ALICE, &groups);
            stage.psql(ALICE).run(&["select current_user"]).lines().join("")
        })
        .collect();
    assert_eq!(roles, ["payments_rw", "payments_ro"]);
    stage.idp.set_groups(ALICE, &[]);
    let spoken = stage.psql(ALICE).run(&["select 1"]);
    assert!(spoken.err.contains(r#"access to database "payments" is denied for "alice@example.com""#), "{spoken:?}");
}

/// Each sign-in is a story of records, in order, with the person in it as soon as she is known.
#[test]
fn a_sign_in_is_on_record() {
    let stage = Stage::start();
    stage.psql(ALICE).run(&["select 'hers'"]).lines();
    stage.wait_for_record(|record| record.kind() == "end");
    let mut sessions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for record in stage.trail().iter().filter(|record| !record.session().is_empty()) {
        let step = [record.kind(), record.effect()].join(" ").trim().to_owned();
        sessions.entry(record.session().to_owned()).or_default().push(step);
    }
    let steps: Vec<_> = sessions.into_values().collect();
    let story = ["login prompted", "login approved", "connect permit", "statement", "outcome", "end"];
    assert_eq!(steps, [story.map(str::to_owned).to_vec()]);
    let statement = stage.wait_for_record(|record| record.kind() == "statement");
    assert_eq!(statement.login(), ALICE);
    assert_eq!(statement.0["role"], "payments_rw");
    assert_eq!(statement.0["subject"]["sub"], "00u-alice");
}
