//! What the proxy does not offer: replication, a channel binding that it cannot have, a database that is down.

use std::io::Read as _;
use std::net::TcpListener;
use std::process::Stdio;
use std::time::Duration;

use super::peer::{Peer, V3_0, psql};
use super::support::process::{Lines, PATIENCE, Process, mortal};
use super::support::proxy::{self, Proxy, Settings};
use super::support::psql::{Answer, code_in};
use super::support::wire::{fields, query, results, values};
use super::support::{ALICE, Stage};

/// A walsender is no session for statements: nothing that it does could be recorded as one.
#[test]
fn a15_replication_is_refused_and_on_record() {
    let settings = Settings { prompting_programs: vec!["psql".into(), "pg_basebackup".into()], ..Settings::default() };
    let stage = Stage::with(&settings);
    let asked = ["true", "on", "1", "yes", "database", "DATABASE"];
    for value in asked {
        let mut peer = Peer::tls(&stage);
        peer.write(&psql(V3_0, ALICE, &[("replication", value)]));
        stage.idp.approve(&peer.prompted(), ALICE);
        let messages = peer.last_messages();
        let error = fields(&messages.last().unwrap().1);
        assert_eq!(error[&'C'], "42501", "{value}: {error:?}");
        assert!(error[&'M'].starts_with("replication connections to database"), "{error:?}");
    }
    // Inside `options` it is no way either, and no code is made.
    let codes = stage.idp.codes_made();
    for options in ["-c replication=true", "--replication=database"] {
        let mut peer = Peer::tls(&stage);
        peer.write(&psql(V3_0, ALICE, &[("options", options)]));
        assert_eq!(peer.refused().0, "42501", "{options}");
    }
    assert_eq!(stage.idp.codes_made(), codes);
    // The real one.
    let mut command = mortal("pg_basebackup");
    let into = stage.folder().join("stolen");
    command.args(["-w", "-d", &stage.conninfo(ALICE), "-D"]).arg(&into).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut backup = Process::start(&mut command);
    let said = Lines::of(backup.child().stderr.take().unwrap());
    stage.idp.approve(&said.wait_for(code_in), ALICE);
    // It names a database of its own; where that is served, it is told what the others were.
    let said = said.to_end().join("\n");
    assert!(!backup.wait().success() && said.contains("database \"replication\" is not served here"), "{said}");
    assert_eq!(stage.postgres.connections(), 0, "the server has heard of it");
    let forbidden = |record: &&super::support::trail::Record| record.effect() == "forbid";
    assert_eq!(stage.trail().iter().filter(forbidden).count(), asked.len() + 1, "each is on record");
    // In an ordinary session its commands are nothing but wrong SQL.
    let mut peer = Peer::signed_in_with(&stage, ALICE, V3_0, &[("replication", "false")]);
    for command in ["START_REPLICATION 0/0", "IDENTIFY_SYSTEM", "BASE_BACKUP"] {
        peer.write(&query(command));
        assert_eq!(results(&peer.ready()), ["42601"], "{command}");
        stage.wait_for_record(|record| record.0["statement"]["text"] == command);
    }
}

/// A client that insists on channel binding would not be talking to the database by it: it must hear no, and does so from
/// its own library, before anything is let in. Towards the database the proxy binds its own channel.
#[test]
fn a26_channel_binding_ends_at_the_proxy() {
    let mut stage = Stage::start();
    let insisting = format!("{} channel_binding=require", stage.conninfo(ALICE));
    let said = stage.psql(ALICE).to(insisting).answered(Answer::Nothing).run(&["select 1"]);
    assert_eq!(said.status, 2);
    assert!(said.err.contains("channel binding required"), "{}", said.err);
    assert_eq!(stage.postgres.connections(), 0);
    let config = proxy::config(&stage.postgres, &stage.idp, &Settings::default());
    let bound = config.replace("sslrootcert=ca.crt\"", "sslrootcert=ca.crt channel_binding=require\"");
    assert_ne!(bound, config);
    stage.proxy.kill();
    stage.proxy = Proxy::start(stage.folder(), &bound);
    let mut peer = Peer::signed_in(&stage, ALICE);
    peer.write(&query("select current_user"));
    assert_eq!(values(&peer.ready()), ["payments_rw"]);
}

/// A client that goes away while the server is slow to answer: the proxy does not log in for nobody.
#[test]
fn a7_who_goes_away_before_the_session_gets_none() {
    let mut stage = Stage::start();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = proxy::config(&stage.postgres, &stage.idp, &Settings::default());
    let port = silent.local_addr().unwrap().port();
    let elsewhere = config.replace(&format!("port={}", stage.postgres.port), &format!("port={port}"));
    stage.proxy.kill();
    stage.proxy = Proxy::start(stage.folder(), &elsewhere);
    for speaks in [false, true] {
        let mut peer = Peer::tls(&stage);
        peer.write(&psql(V3_0, ALICE, &[]));
        stage.idp.approve(&peer.prompted(), ALICE);
        let (mut upstream, _) = silent.accept().unwrap();
        upstream.set_read_timeout(Some(PATIENCE)).unwrap();
        let begun = std::time::Instant::now();
        let reason = if speaks {
            peer.write(&query("select 'early'"));
            assert_eq!(peer.refused().0, "08P01");
            "the client spoke before its session began"
        } else {
            drop(peer);
            "the client went away"
        };
        upstream.read_to_end(&mut Vec::new()).unwrap();
        assert!(begun.elapsed() < Duration::from_secs(2), "closed after {:?}", begun.elapsed());
        stage.wait_for_record(|record| record.kind() == "end" && record.0["reason"] == reason);
    }
}

/// The server is stopped in the middle of a statement, stays away for a while, and comes back: told in order each time,
/// and nothing that was under way is run again by anybody but the client.
#[test]
fn d4_a_server_that_restarts_is_followed() {
    let mut stage = Stage::start();
    let mut setup = Peer::signed_in(&stage, ALICE);
    setup.write(&query("create table tries (n int)"));
    setup.ready();
    let (mut busy, mut idle, mut open) =
        (Peer::signed_in(&stage, ALICE), Peer::signed_in(&stage, ALICE), Peer::signed_in(&stage, ALICE));
    open.write(&query("begin; insert into tries values (2)"));
    open.ready();
    busy.write(&query("insert into tries values (1); do $$ begin raise notice 'begun'; perform pg_sleep(60); end $$"));
    while busy.message().0 != 'N' {}
    stage.postgres.stop();
    for (peer, what) in [(&mut setup, "setup"), (&mut busy, "busy"), (&mut idle, "idle"), (&mut open, "open")] {
        let (code, message, _) = peer.refused();
        assert_eq!(code, "57P01", "{what}: the server's own words: {message}");
    }
    // Nobody is kept waiting for a server that is not there.
    let mut early = Peer::tls(&stage);
    early.write(&psql(V3_0, ALICE, &[]));
    stage.idp.approve(&early.prompted(), ALICE);
    let begun = std::time::Instant::now();
    let messages = early.last_messages();
    let error = fields(&messages.last().unwrap().1);
    assert_eq!((error[&'C'].as_str(), error[&'M'].as_str()), ("08001", "database \"payments\" cannot be reached"));
    assert!(begun.elapsed() < Duration::from_secs(5).min(PATIENCE), "after {:?}", begun.elapsed());
    stage.restart_postgres();
    let mut after = Peer::signed_in_when_possible(&stage, ALICE);
    after.write(&query("select count(*) from tries"));
    assert_eq!(values(&after.ready()), ["0"], "a statement was run again");
    stage.verify_trail();
    let inserts = stage
        .trail()
        .into_iter()
        .filter(|record| record.0["statement"]["text"].as_str().is_some_and(|text| text.contains("insert into tries")));
    assert_eq!(inserts.count(), 2);
}
