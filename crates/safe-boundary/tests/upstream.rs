//! The upstream connection against real PostgreSQL, real PgBouncer, and servers that lie.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has to stop, also in its support"
)]

#[path = "support/upstream/mod.rs"]
mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use safe_boundary::config::SecretSource;
use safe_boundary::proxy::stream::Stream;
use safe_boundary::proxy::upstream::conninfo::Conninfo;
use safe_boundary::proxy::upstream::{Error, Request, Upstream, connect, tls};
use support::bouncer::Bouncer;
use support::certificates::{Authority, Says, self_signed};
use support::liar::{Does, Liar};
use support::postgres::Postgres;
use support::{open, open_with, receive, send, value};

/// What came of it, in a word.
fn outcome(result: &Result<Upstream, Error>) -> &'static str {
    let error = match result {
        Ok(Upstream { stream: Stream::Tls(_), .. }) => return "tls",
        Ok(Upstream { stream: Stream::Plain(_), .. }) => return "plain",
        Ok(Upstream { stream: Stream::Unix(_), .. }) => return "unix",
        Err(error) => error,
    };
    match error.cause() {
        Error::Tls(tls::Error::UnknownIssuer) => "unknown issuer",
        Error::Tls(tls::Error::WrongName) => "wrong name",
        Error::Tls(tls::Error::Expired) => "expired",
        Error::Tls(tls::Error::NotYetValid) => "not yet valid",
        Error::Tls(tls::Error::NotOffered) => "not offered",
        Error::Tls(tls::Error::Injected) => "injected",
        Error::Tls(tls::Error::Answer { .. }) => "odd answer",
        Error::Tls(tls::Error::File { .. } | tls::Error::Empty { .. }) => "no file",
        Error::Tls(tls::Error::Certificate(_)) => "certificate",
        Error::Tls(_) => "other tls",
        Error::Lost(_) => "lost",
        Error::Timeout(_) => "timeout",
        Error::Connect(_) => "connect",
        Error::Resolve(_) => "resolve",
        Error::Protocol(_) => "protocol",
        Error::LoginRefused(_) => "login refused",
        Error::NoPassword => "no password",
        Error::WeakAuthentication { .. } => "weak",
        Error::ChannelBinding { .. } => "channel binding",
        Error::ServerUnproven(_) => "unproven",
        Error::NoDatabase(_) => "no database",
        Error::TooManyConnections(_) => "too many",
        Error::NotWanted { .. } => "not wanted",
        Error::TransactionPooler => "transaction pooler",
        Error::PoolerUnknown(_) => "pooler unknown",
        Error::StartupParameter(_) => "startup parameter",
        Error::Parameter { .. } => "parameter",
        Error::Refused(_) => "refused",
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn sslmodes_against_postgresql() {
    let (ours, theirs) = (Authority::new("ours", false), Authority::new("theirs", false));
    let server = Postgres::start(Some(&ours));
    let folder = tempfile::tempdir().unwrap();
    let our_root = format!("sslrootcert={}", ours.write(folder.path(), "ours.crt").display());
    let their_root = format!("sslrootcert={}", theirs.write(folder.path(), "theirs.crt").display());
    let address = format!("hostaddr=127.0.0.1 port={} dbname=shop", server.port);
    let none = String::new();
    for (name, mode, root, role, expected) in [
        ("db.test", "verify-full", &our_root, "app", "tls"),
        ("other.test", "verify-full", &our_root, "app", "wrong name"),
        ("127.0.0.1", "verify-full", &our_root, "app", "wrong name"),
        ("db.test", "verify-full", &their_root, "app", "unknown issuer"),
        ("db.test", "verify-full", &none, "app", "unknown issuer"),
        ("db.test", "verify-full", &"sslrootcert=/nowhere".to_owned(), "app", "no file"),
        ("other.test", "verify-ca", &our_root, "app", "tls"),
        ("db.test", "verify-ca", &their_root, "app", "unknown issuer"),
        ("other.test", "require", &none, "app", "tls"),
        ("other.test", "require", &our_root, "app", "tls"),
        ("db.test", "require", &their_root, "app", "unknown issuer"),
        ("db.test", "require channel_binding=require", &none, "app", "tls"),
        ("db.test", "require channel_binding=disable", &none, "app", "tls"),
        ("db.test", "require sslsni=0", &none, "app", "tls"),
        ("db.test", "prefer", &none, "app", "tls"),
        ("db.test", "prefer", &their_root, "app", "plain"),
        ("db.test", "prefer", &none, "plainonly", "plain"),
        ("db.test", "prefer channel_binding=require", &their_root, "app", "channel binding"),
        ("db.test", "allow", &none, "app", "plain"),
        ("db.test", "allow", &none, "tlsonly", "tls"),
        ("db.test", "disable", &none, "app", "plain"),
        ("db.test", "disable", &none, "tlsonly", "login refused"),
        ("db.test", "require", &none, "plainonly", "login refused"),
        ("db.test", "require", &none, "trusted", "tls"),
        ("db.test", "require channel_binding=require", &none, "trusted", "channel binding"),
        ("db.test", "require", &none, "md5", "weak"),
        ("db.test", "require", &none, "cleartext", "weak"),
        ("db.test", "require", &none, "crowded", "too many"),
        ("db.test", "require", &none, "nobody", "login refused"),
        ("db.test", "require dbname=nowhere", &none, "app", "no database"),
    ] {
        let conninfo = format!("host={name} {address} sslmode={mode} {root}");
        let mut result = open(&conninfo, role).await;
        assert_eq!(outcome(&result), expected, "{name} {mode} {role}: {:?}", result.as_ref().err());
        if let Ok(upstream) = &mut result {
            let ssl = "SELECT ssl::text FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
            assert_eq!(value(upstream, ssl).await, (expected == "tls").to_string(), "the server sees it so too");
            assert_eq!(value(upstream, "SELECT session_user").await, role);
        }
    }
    let socket = format!("host={} port={} dbname=shop", server.sockets().display(), server.port);
    assert_eq!(outcome(&open_with(&socket, "app", None, &[]).await), "unix");
}

#[tokio::test]
async fn sslmodes_against_certificates_of_all_kinds() {
    let ours = Authority::new("ours", false);
    let folder = tempfile::tempdir().unwrap();
    let root = format!("sslrootcert={}", ours.write(folder.path(), "ours.crt").display());
    let good = Says { alternative_names: &["db.test"], ..Says::default() };
    let named = Says { common_name: "db.test", ..Says::default() };
    let pinned = self_signed(named, true);
    let pinned_root = format!("sslrootcert={}", pinned.write(folder.path(), "pinned").0.display());
    let stale = self_signed(Says { expired: true, ..named }, true);
    let stale_root = format!("sslrootcert={}", stale.write(folder.path(), "stale").0.display());
    let plain = self_signed(named, false);
    let plain_root = format!("sslrootcert={}", plain.write(folder.path(), "plain").0.display());
    // "lost": the certificate was accepted, and the server hung up as it was told to.
    for (what, pair, mode, root, expected) in [
        ("good", &ours.issue(good), "verify-full", &root, "lost"),
        ("expired", &ours.issue(Says { expired: true, ..good }), "verify-full", &root, "expired"),
        ("expired", &ours.issue(Says { expired: true, ..good }), "verify-ca", &root, "expired"),
        ("expired", &ours.issue(Says { expired: true, ..good }), "require", &String::new(), "lost"),
        ("future", &ours.issue(Says { from_the_future: true, ..good }), "verify-full", &root, "not yet valid"),
        ("common name", &ours.issue(named), "verify-full", &root, "lost"),
        (
            "common name beside another alternative name",
            &ours.issue(Says { alternative_names: &["x.test"], ..named }),
            "verify-full",
            &root,
            "wrong name",
        ),
        ("other common name", &ours.issue(Says { common_name: "x.test", ..named }), "verify-full", &root, "wrong name"),
        (
            "wildcard",
            &ours.issue(Says { alternative_names: &["*.corp.test"], ..good }),
            "verify-full host=db.corp.test",
            &root,
            "lost",
        ),
        ("self-signed, named as root", &pinned, "verify-full", &pinned_root, "lost"),
        ("self-signed, another is named", &self_signed(named, true), "verify-full", &pinned_root, "certificate"),
        ("self-signed, no authority", &self_signed(named, false), "verify-full", &root, "certificate"),
        ("self-signed, no authority, named as root", &plain, "verify-full", &plain_root, "lost"),
        ("issued by who is no authority", &plain.issue(named, good), "verify-full", &plain_root, "unknown issuer"),
        ("issued by who is no authority", &plain.issue(named, good), "verify-ca", &plain_root, "unknown issuer"),
        ("issued by who is one, and is named", &pinned.issue(named, good), "verify-full", &pinned_root, "lost"),
        ("self-signed, stale", &stale, "verify-full", &stale_root, "expired"),
        ("Ed25519", &ours.issue(Says { ed25519: true, ..good }), "verify-full", &root, "lost"),
    ] {
        let liar = Liar::start(support::liar::tls(pair)).await;
        let result = open(&liar.conninfo(&format!("sslmode={mode} {root}")), "app").await;
        assert_eq!(outcome(&result), expected, "{what} {mode}: {:?}", result.err());
    }
    // Roots are read at each connect.
    let liar = Liar::start(support::liar::tls(&ours.issue(good))).await;
    let conninfo = Conninfo::parse(&liar.conninfo("sslrootcert=roots.crt"), folder.path()).unwrap();
    let request = Request { role: "app", password: None, database: "shop", parameters: &[], replication: false };
    for (authority, expected) in [(&Authority::new("theirs", false), "unknown issuer"), (&ours, "lost")] {
        authority.write(folder.path(), "roots.crt");
        assert_eq!(outcome(&connect(&conninfo, &request).await), expected);
    }
}

/// Connects to a server that does this, and compares what comes of it.
async fn check_liar(does: Does, mode: &str, expected: &str) {
    let liar = Liar::start(does).await;
    let result = open(&liar.conninfo(&format!("sslmode={mode}")), "app").await;
    assert_eq!(outcome(&result), expected, "{mode}: {:?}", result.err());
}

/// What stands behind the answer to SSLRequest was not sent inside TLS, and is nobody's.
#[tokio::test]
async fn a1_bytes_of_a_server_before_tls_are_refused() {
    let error = b"E\0\0\0\x12C28000\0Mno\0\0";
    for (behind, mode) in [
        (&b"S\x16"[..], "verify-full"),
        (b"S\x16\x03\x03\0\x7a\x02", "require"),
        (&[b"S", &error[..]].concat(), "verify-full"),
        (b"NR", "prefer"),
        (b"NR\0\0\0\x08\0\0\0\0", "prefer"),
    ] {
        check_liar(Does::Answers(behind.to_vec()), mode, "injected").await;
    }
}

/// A password is never given in the clear or as MD5, and SCRAM ends with the server's own proof.
#[tokio::test]
async fn a24_a_server_cannot_talk_a_password_out_of_us() {
    for (asks, expected) in [
        (&b"R\0\0\0\x08\0\0\0\x03"[..], "weak"),
        (b"R\0\0\0\x0c\0\0\0\x05salt", "weak"),
        // SCRAM that is over before it began
        (b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0R\0\0\0\x08\0\0\0\0", "unproven"),
    ] {
        check_liar(Does::RefusesTls(asks.to_vec()), "prefer", expected).await;
    }
}

#[tokio::test]
async fn a24_liars_get_nothing() {
    let huge = [b"R".as_slice(), &0x3fff_ffff_i32.to_be_bytes()].concat();
    let notice = b"N\0\0\0\x0cMhello\0\0".to_vec();
    let clear = |then: &[u8]| Does::RefusesTls(then.to_vec());
    for (does, mode, expected) in [
        (Does::Answers(b"E".to_vec()), "prefer", "odd answer"),
        (Does::Answers(b"HTTP/1.1 400".to_vec()), "require", "odd answer"),
        (Does::Answers(Vec::new()), "require", "other tls"),
        (clear(b""), "require", "not offered"),
        (clear(b""), "verify-full", "not offered"),
        (clear(b""), "prefer", "lost"),
        // ReadyForQuery, a setting, or a key without a login
        (clear(b"Z\0\0\0\x05I"), "prefer", "protocol"),
        (clear(b"S\0\0\0\x08a\0b\0"), "prefer", "protocol"),
        (clear(b"K\0\0\0\x0c\0\0\0\x01abcd"), "prefer", "protocol"),
        // a login without a key; a key whose length is a lie; a row out of nowhere
        (clear(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I"), "prefer", "protocol"),
        (clear(b"R\0\0\0\x08\0\0\0\0K\0\0\0\x09\0\0\0\x01a"), "prefer", "protocol"),
        (clear(b"R\0\0\0\x08\0\0\0\0D\0\0\0\x06\0\0"), "prefer", "protocol"),
        // version 3.2, which was not asked for; the length of a message that never comes
        (clear(b"v\0\0\0\x0c\0\x03\0\x02\0\0\0\0"), "prefer", "protocol"),
        (clear(&huge), "prefer", "protocol"),
        (clear(b"R\0\0\0\x03"), "prefer", "protocol"),
        (clear(b"\xff\0\0\0\x08"), "prefer", "protocol"),
        (Does::AnswersForEver(notice), "disable", "protocol"),
    ] {
        check_liar(does, mode, expected).await;
    }
}

#[tokio::test]
async fn a24_what_a_server_says_writes_on_no_terminal() {
    let refusal = b"E\0\0\0\x24C57P03\0Mstarting \x1b[31m up\n now\0\0".to_vec();
    let liar = Liar::start(Does::RefusesTls(refusal)).await;
    let Err(error) = open(&liar.conninfo("sslmode=prefer"), "app").await else { panic!("let in") };
    assert_eq!(error.refusal().unwrap().message, "starting  [31m up  now", "no terminal escapes");
}

#[tokio::test]
async fn a_silent_server_has_its_time_and_no_more() {
    for (first, mode) in [
        (&b""[..], "verify-full"),
        (b"S", "verify-full"),
        (b"", "disable"),
        (b"R\0\0\0\x08\0\0\0\0", "disable"),
        (b"R\0\0\0\x08\0\0\0\0K\0\0\0\x0c\0\0\0\x01abcdZ\0\0\0\x05I", "disable"),
    ] {
        let liar = Liar::start(Does::FallsSilent(first.to_vec())).await;
        let begun = Instant::now();
        let result = open(&liar.conninfo(&format!("sslmode={mode} connect_timeout=1")), "app").await;
        assert_eq!(outcome(&result), "timeout", "{mode} {first:?}");
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn passwords_are_read_at_each_connect() {
    let server = Postgres::start(None);
    let file = server.sockets().join("password");
    let conninfo = Conninfo::parse(&server.conninfo("sslmode=disable"), Path::new("/")).unwrap();
    let source = SecretSource::File(file.clone());
    let request =
        Request { role: "app", password: Some(&source), database: "shop", parameters: &[], replication: false };
    std::fs::write(&file, "secret\n").unwrap();
    assert_eq!(outcome(&connect(&conninfo, &request).await), "plain");
    server.admin("postgres", "ALTER ROLE app PASSWORD 'rotated'");
    let refused = connect(&conninfo, &request).await;
    assert_eq!(outcome(&refused), "login refused");
    let error = refused.err().unwrap();
    assert_eq!(error.refusal().unwrap().sqlstate.unwrap().as_str(), "28P01");
    assert!(error.to_string().contains("db.test") && !error.client_reason().contains("db.test"), "{error}");
    std::fs::write(&file, "rotated\n").unwrap();
    assert_eq!(outcome(&connect(&conninfo, &request).await), "plain");
    assert_eq!(outcome(&open_with(&server.conninfo("sslmode=disable"), "app", None, &[]).await), "no password");
}

#[tokio::test]
async fn labels_arrive_and_nobody_else_is_named() {
    let server = Postgres::start(None);
    let conninfo = server.conninfo("sslmode=disable");
    let parameters = [
        ("application_name", "alice@example.com psql"),
        ("safe_boundary.login", "alice@example.com"),
        ("options", "-c search_path=other"),
    ];
    let mut upstream = open_with(&conninfo, "app", Some("secret"), &parameters).await.unwrap();
    assert_eq!(value(&mut upstream, "SHOW application_name").await, "alice@example.com psql");
    assert_eq!(value(&mut upstream, "SHOW safe_boundary.login").await, "alice@example.com");
    assert_eq!(value(&mut upstream, "SHOW search_path").await, "other");
    assert_eq!(value(&mut upstream, "SELECT pg_backend_pid()").await, upstream.pid_shown.to_string());
    assert_eq!(upstream.key.pid, upstream.pid_shown);
    assert!(upstream.parameters.iter().any(|(name, value)| name == "server_version" && value.starts_with("15")));
    assert!(upstream.leftover.is_empty());
    let Stream::Plain(socket) = &upstream.stream else { panic!("sslmode=disable") };
    let options = socket2::SockRef::from(socket);
    assert!(options.keepalive().unwrap() && options.tcp_nodelay().unwrap());
    assert_eq!(options.tcp_keepalive_time().unwrap(), Duration::from_secs(60));
    for parameters in [[("user", "postgres")], [("USER", "postgres")], [("database", "postgres")]] {
        let result = open_with(&conninfo, "app", Some("secret"), &parameters).await;
        assert_eq!(outcome(&result), "parameter", "{parameters:?}");
    }
    let result = open_with(&conninfo, "app", Some("secret"), &[("DateStyle", "nonsense")]).await;
    assert_eq!(outcome(&result), "refused");
    let mut walsender =
        open_with(&server.conninfo("sslmode=disable"), "copier", Some("secret"), &[("replication", "true")])
            .await
            .unwrap();
    assert_eq!(value(&mut walsender, "IDENTIFY_SYSTEM").await.parse::<u64>().map(|id| id > 0), Ok(true));
}

#[tokio::test]
async fn client_certificates_are_shown() {
    let ours = Authority::new("ours", false);
    let server = Postgres::start(Some(&ours));
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = ours.issue(Says { common_name: "certified", ..Says::default() }).write(folder.path(), "client");
    let with = format!("sslmode=require sslcert={} sslkey={}", cert.display(), key.display());
    assert_eq!(outcome(&open_with(&server.conninfo(&with), "certified", None, &[]).await), "tls");
    assert_eq!(outcome(&open_with(&server.conninfo("sslmode=require"), "certified", None, &[]).await), "login refused");
    std::fs::write(&key, "no key").unwrap();
    assert_eq!(outcome(&open_with(&server.conninfo(&with), "certified", None, &[]).await), "no file");
}

#[tokio::test]
async fn a_running_statement_is_cancelled() {
    let ours = Authority::new("ours", false);
    let server = Postgres::start(Some(&ours));
    let root = format!("sslmode=verify-full sslrootcert={}", server.data().join("ca.crt").display());
    for (conninfo, role) in [
        (server.conninfo(&root), "app"),
        (server.conninfo("sslmode=disable"), "app"),
        (format!("host={} port={} dbname=shop", server.sockets().display(), server.port), "trusted"),
    ] {
        let mut upstream = open(&conninfo, role).await.unwrap();
        send(&mut upstream, "SELECT pg_sleep(600)").await;
        let cancel = upstream.cancel.clone();
        let (result, cancelled) = tokio::join!(receive(&mut upstream), async {
            let running =
                "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)' AND state = 'active'";
            while server.admin("postgres", running) == "0" {}
            cancel.cancel().await
        });
        cancelled.unwrap();
        assert_eq!(result.unwrap_err(), "57014", "{conninfo}");
        assert_eq!(value(&mut upstream, "SELECT 'still here'").await, "still here");
    }
}

#[tokio::test]
async fn hosts_are_tried_in_order() {
    let primary = Postgres::start(None);
    let standby = primary.standby();
    let silent = Liar::start(Does::FallsSilent(Vec::new())).await;
    let (up, down, replica, closed) = (primary.port, support::free_port(), standby.port, silent.port);
    let local = "127.0.0.1,127.0.0.1";
    let (ok, nothing) = (|port: u16| Ok(port), |word| Err(word));
    for (ports, target, role, expected) in [
        (format!("{down},{up}"), "any", "app", ok(up)),
        (format!("{closed},{up}"), "any", "app", ok(up)),
        (format!("{down},{down}"), "any", "app", nothing("connect")),
        (format!("{replica},{up}"), "any", "app", ok(replica)),
        (format!("{replica},{up}"), "read-write", "app", ok(up)),
        (format!("{replica},{up}"), "primary", "app", ok(up)),
        (format!("{up},{replica}"), "read-only", "app", ok(replica)),
        (format!("{up},{replica}"), "standby", "app", ok(replica)),
        (format!("{up},{replica}"), "prefer-standby", "app", ok(replica)),
        (format!("{up},{down}"), "prefer-standby", "app", ok(up)),
        (format!("{up},{down}"), "standby", "app", nothing("connect")),
        (format!("{down},{up}"), "standby", "app", nothing("not wanted")),
        // The setting default_transaction_read_only of the role counts like a standby, but does not make one.
        (format!("{down},{up}"), "read-write", "reader", nothing("not wanted")),
        (format!("{replica},{up}"), "read-only", "reader", ok(replica)),
        (format!("{down},{up}"), "read-only", "reader", ok(up)),
        (format!("{down},{up}"), "primary", "reader", ok(up)),
        // A server that refuses the login speaks for all.
        (format!("{up},{down}"), "any", "nobody", nothing("login refused")),
    ] {
        let conninfo = format!(
            "host={local} port={ports} dbname=shop sslmode=disable connect_timeout=1 target_session_attrs={target}"
        );
        let result = open(&conninfo, role).await;
        let found = match result {
            Ok(mut upstream) => Ok(value(&mut upstream, "SELECT inet_server_port()").await.parse().unwrap()),
            Err(_) => Err(outcome(&result)),
        };
        assert_eq!(found, expected, "{ports} {target} {role}");
    }
    // A name with several addresses, of which one may be dead.
    let by_name = format!("host=localhost port={up} dbname=shop sslmode=disable");
    assert_eq!(outcome(&open(&by_name, "app").await), "plain");
    assert_eq!(outcome(&open("host=no-such-host.invalid sslmode=disable", "app").await), "resolve");
}

#[tokio::test]
async fn poolers_are_found_out() {
    let server = Postgres::start(None);
    let known = "ignore_startup_parameters = safe_boundary.login,options\n";
    let labels = [("application_name", "alice"), ("safe_boundary.login", "alice")];
    for (mode, more, expected) in [
        ("transaction", known, "transaction pooler"),
        (
            "transaction",
            "ignore_startup_parameters = safe_boundary.login\nserver_round_robin = 1",
            "transaction pooler",
        ),
        ("transaction", "ignore_startup_parameters = safe_boundary.login\ndefault_pool_size = 1", "transaction pooler"),
        ("statement", known, "transaction pooler"),
        ("session", "", "startup parameter"),
        ("session", known, "plain"),
    ] {
        let bouncer = Bouncer::start(&server, mode, more);
        for neighbours in [0, 4] {
            // Idle sessions of others give the pooler servers to choose from.
            let mut idle = Vec::new();
            for _ in 0..neighbours {
                idle.push(raw_session(&bouncer).await);
            }
            let result = open_with(&bouncer.conninfo(), "app", Some("secret"), &labels).await;
            assert_eq!(outcome(&result), expected, "{mode} {more}: {:?}", result.as_ref().err());
            let Ok(mut upstream) = result else { continue };
            assert_eq!(value(&mut upstream, "SELECT pg_backend_pid()").await, upstream.pid_shown.to_string());
            assert_ne!(upstream.key.pid, upstream.pid_shown);
            send(&mut upstream, "SELECT pg_sleep(600)").await;
            let cancel = upstream.cancel.clone();
            let (slept, cancelled) = tokio::join!(receive(&mut upstream), async {
                let running =
                    "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)' AND state = 'active'";
                while server.admin("postgres", running) == "0" {}
                cancel.cancel().await
            });
            cancelled.unwrap();
            assert_eq!(slept.unwrap_err(), "57014", "the pooler's own key cancels");
        }
    }
    // Without a second server the mode cannot be told: no session rather than a doubtful one.
    let bouncer = Bouncer::start(&server, "session", "default_pool_size = 1");
    assert_eq!(outcome(&open(&format!("{} connect_timeout=1", bouncer.conninfo()), "app").await), "pooler unknown");
    let bouncer = Bouncer::start(&server, "session", "");
    for (role, password, database, expected) in [
        ("app", "wrong", "shop", "login refused"),
        ("nobody", "secret", "shop", "login refused"),
        ("app", "secret", "nowhere", "no database"),
    ] {
        let conninfo = format!("{} dbname={database}", bouncer.conninfo());
        let result = open_with(&conninfo, role, Some(password), &[]).await;
        assert_eq!(outcome(&result), expected, "{:?}", result.as_ref().err());
    }
}

/// A session through the pooler that nobody has checked: a replication connection is asked nothing, and this pooler does
/// not look at the parameter.
async fn raw_session(bouncer: &Bouncer) -> Upstream {
    let conninfo = Conninfo::parse(&bouncer.conninfo(), Path::new("/")).unwrap();
    let source = SecretSource::Command(vec!["echo".to_owned(), "secret".to_owned()]);
    let request =
        Request { role: "app", password: Some(&source), database: "shop", parameters: &[], replication: true };
    connect(&conninfo, &request).await.unwrap()
}
