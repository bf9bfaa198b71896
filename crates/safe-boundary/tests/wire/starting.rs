//! The start-up packet: versions, parameters, names.

use std::net::TcpListener;

use domain::text::is_hidden;

use super::peer::{Peer, V3_0, V3_2, psql, startup};
use super::support::proxy::{self, Proxy, Settings};
use super::support::psql::code_in;
use super::support::wire::{fields, query, values};
use super::support::{ALICE, BOB, Stage};

/// Version asked for, unknown options, version told (none: nothing to negotiate), length of the secret.
type Negotiation = ([u16; 2], &'static [&'static str], Option<u32>, usize);

#[test]
fn a25_versions_are_negotiated() {
    let stage = Stage::start();
    let mut old = Peer::tls(&stage);
    old.write(&startup([2, 0], &[("user", ALICE)]));
    let (code, message, _) = old.refused();
    assert!(code == "08P01" && message.contains("protocol 3, came 2.0"), "{code} {message}");
    let mut next = Peer::tls(&stage);
    next.write(&startup([4, 0], &[("user", ALICE)]));
    assert!(next.refused().1.contains("came 4.0"));

    let cases: [Negotiation; 5] = [
        ([3, 0], &[], None, 4),
        ([3, 2], &[], None, 32),
        ([3, 2], &["_pq_.later"], Some(2), 32),
        ([3, 9999], &["_pq_.a", "_pq_.b"], Some(2), 32),
        ([3, 0], &["_pq_.a"], Some(0), 4),
    ];
    for (version, unknown, told, secret_bytes) in cases {
        let options: Vec<_> = unknown.iter().map(|name| (*name, "on")).collect();
        let mut peer = Peer::tls(&stage);
        peer.write(&psql(version, ALICE, &options));
        let (tag, body) = peer.message();
        let tag = match told {
            Some(minor) => {
                assert_eq!(tag, 'v', "{version:?}: NegotiateProtocolVersion comes first");
                assert_eq!(body[..4], ((3 << 16) | minor).to_be_bytes(), "{version:?}");
                assert_eq!(body[4..8], u32::try_from(unknown.len()).unwrap().to_be_bytes());
                let names: Vec<_> = body[8..].split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
                assert_eq!(names[..names.len() - 1], *unknown);
                peer.message().0
            }
            None => tag,
        };
        assert_eq!(tag, 'R', "{version:?}: AuthenticationOk after it");
        stage.idp.approve(&peer.prompted(), ALICE);
        assert!(peer.ready().iter().all(|(tag, _)| *tag != 'v'), "told twice");
        assert_eq!(peer.key.len(), 4 + secret_bytes, "{version:?}");
    }
}

/// Each alone and in every spelling of `options`.
#[test]
fn a9_parameters_that_change_who_one_is() {
    let stage = Stage::start();
    let names = [
        "role",
        "ROLE",
        "session_authorization",
        "local_preload_libraries",
        "session_preload_libraries",
        "safe_boundary.login",
    ];
    let mut cases: Vec<(String, String)> =
        names.iter().map(|name| ((*name).to_owned(), "postgres".to_owned())).collect();
    for form in [
        "-c role=x",
        "-crole=x",
        "--role=x",
        "--Session-Authorization=x",
        "-ec role=x",
        "-S 1 -c role=x",
        "-c jit=off -c role=x",
        "-c\x0brole=x",
        "-c ro\\le=x",
        "-c session-authorization=x",
        "-c session_preload_libraries=x",
        "-f s",
        "-r x",
        "role=x",
    ] {
        cases.push(("options".to_owned(), form.to_owned()));
    }
    for (name, value) in &cases {
        let mut peer = Peer::tls(&stage);
        peer.write(&psql(V3_0, ALICE, &[(name, value)]));
        let (code, message, tags) = peer.refused();
        assert_eq!((code.as_str(), tags.as_str()), ("42501", "RE"), "{name}={value}: {message}");
    }
    assert_eq!(stage.idp.codes_made(), 0, "nobody was asked");
    assert_eq!(stage.postgres.connections(), 0, "the server has heard nothing");
    stage.wait_for_record(|record| record.kind() == "login" && record.effect() == "refused");
    let last = cases.len();
    let refused = || stage.trail().iter().filter(|record| record.effect() == "refused").count();
    stage.wait_for_record(|_| refused() >= last);
    assert_eq!(refused(), last, "each is on record");

    let mut peer = Peer::signed_in_with(
        &stage,
        ALICE,
        V3_0,
        &[("search_path", "pg_catalog"), ("statement_timeout", "0"), ("options", "-c lock_timeout=7s --jit=off")],
    );
    peer.write(&query("select concat_ws(' ', current_setting('search_path'), current_setting('statement_timeout'), current_setting('lock_timeout'), current_setting('jit'))"));
    assert_eq!(values(&peer.ready()), ["pg_catalog 0 7s off"]);
    // What only a superuser may set is the server's to refuse, once it is known who asks.
    for more in [("log_statement", "none"), ("options", "-c log_min_duration_statement=-1")] {
        let mut peer = Peer::tls(&stage);
        peer.write(&psql(V3_0, ALICE, &[more]));
        stage.idp.approve(&peer.prompted(), ALICE);
        let messages = peer.last_messages();
        assert_eq!(messages.last().map(|(tag, _)| *tag), Some('E'), "{more:?}");
    }
}

#[test]
fn a9_plaintext_is_refused_without_authentication_ok() {
    let stage = Stage::start();
    let mut peer = Peer::plain(stage.proxy.address);
    peer.write(&psql(V3_0, ALICE, &[]));
    let (code, message, tags) = peer.refused();
    assert_eq!(
        (code.as_str(), message.as_str(), tags.as_str()),
        ("28000", "TLS is required: add sslmode=require", "E")
    );
    let mut peer = Peer::tls(&stage);
    peer.write(&psql(V3_0, ALICE, &[("application_name", "DBeaver")]));
    let (code, _, tags) = peer.refused();
    assert_eq!((code.as_str(), tags.as_str()), ("28000", "RE"));
    assert_eq!(stage.idp.codes_made(), 0);
}

#[test]
fn a9_plaintext_passes_where_it_is_allowed() {
    let stage = Stage::with(&Settings { server: "allow_plaintext = [\"127.0.0.0/8\"]", ..Settings::default() });
    let mut peer = Peer::plain(stage.proxy.address);
    peer.sign_in(&stage, ALICE, V3_2, &[]);
    peer.write(&query("select current_user"));
    assert_eq!(values(&peer.ready()), ["payments_rw"]);
}

/// The name that a program gives itself is a label; the subject comes from the token.
#[test]
fn a11_a_program_s_name_is_nobody() {
    let stage = Stage::with(&Settings { prompting_programs: vec![BOB.to_owned()], ..Settings::default() });
    let mut peer = Peer::tls(&stage);
    peer.write(&startup(V3_0, &[("user", ALICE), ("database", "payments"), ("application_name", BOB)]));
    stage.idp.approve(&peer.prompted(), ALICE);
    peer.ready();
    peer.write(&query("select current_setting('application_name')"));
    assert_eq!(values(&peer.ready()), [format!("{ALICE} {BOB}")]);
    let record = stage.wait_for_record(|record| record.kind() == "statement");
    assert_eq!(record.login(), ALICE);
    assert_eq!(record.0["client"]["program"], BOB);
}

#[test]
fn databases_are_told_only_to_those_who_signed_in() {
    let stage = Stage::start();
    let mut peer = Peer::tls(&stage);
    peer.write(&startup(V3_0, &[("user", ALICE), ("database", "secrets"), ("application_name", "psql")]));
    stage.idp.approve(&peer.prompted(), ALICE);
    let messages = peer.last_messages();
    let error = fields(&messages.last().unwrap().1);
    assert_eq!((error[&'C'].as_str(), error[&'M'].as_str()), ("3D000", "database \"secrets\" is not served here"));
    assert!(error[&'H'].contains("payments"), "{error:?}");
    assert_eq!(stage.postgres.connections(), 0);
}

#[test]
fn b21_a_name_that_is_no_login_makes_no_code() {
    let stage = Stage::start();
    let cases = [
        ("root", "28000"),
        ("", "28000"),
        ("@", "28000"),
        ("alice@example.com\n", "28000"),
        ("a lice@example.com", "28000"),
        ("\u{202e}alice@example.com", "28000"),
        ("admin\u{200b}@example.com", "28000"),
        ("alice@example.com/laptop", "28P01"),
        ("alice@example.com/", "28P01"),
    ];
    for (user, expected) in cases {
        let mut peer = Peer::tls(&stage);
        peer.write(&psql(V3_0, user, &[]));
        let (code, message, _) = peer.refused();
        assert_eq!(code, expected, "{user:?}: {message}");
        assert!(!message.contains('\n') && !message.contains('\u{202e}'), "{message:?}");
    }
    let mut peer = Peer::tls(&stage);
    peer.write(b"\0\0\0\x21\0\x03\0\0user\0alice\xff@example.com\0\0");
    assert_eq!(peer.refused().0, "08P01");
    assert_eq!(stage.idp.codes_made(), 0);
}

/// Two databases of one name on one port: the host name says which, and without one neither is guessed.
#[test]
fn a_database_that_two_hosts_serve_wants_its_host_s_name() {
    const STAGING: &str = r#"
[[database]]
name = "staging"
listen = "127.0.0.1:0"
hostname = "staging.example.com"
databases = ["payments", "trial"]
upstream = "host=localhost port=1 dbname=payments"
[[database.role]]
role = "payments_rw"
groups = ["on-call"]

[[database]]
name = "reports"
listen = "127.0.0.1:0"
databases = ["reports"]
upstream = "host=localhost port=1 dbname=reports"
[[database.role]]
role = "payments_rw"
groups = ["on-call"]
"#;
    let mut stage = Stage::start();
    let settings = Settings { database: "hostname = \"localhost\"", ..Settings::default() };
    let config = proxy::config(&stage.postgres, &stage.idp, &settings);
    stage.proxy.kill();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let listen = format!("listen = \"{free}\"");
    let config = format!("{config}{STAGING}").replace("listen = \"127.0.0.1:0\"", &listen);
    stage.proxy =
        Proxy::start(stage.folder(), &config.replace("[server]", "[server]\nallow_plaintext = [\"127.0.0.0/8\"]"));
    let ask = |mut peer: Peer, database: &str| {
        let parameters = [("user", ALICE), ("database", database), ("application_name", "psql")];
        peer.write(&startup(V3_0, &parameters));
        stage.idp.approve(&peer.prompted(), ALICE);
        peer
    };
    ask(Peer::tls(&stage), "payments").ready();
    let elsewhere = "reports at any other name or address of this proxy";
    for (peer, database, words, nameless) in [
        (
            Peer::plain(stage.proxy.address),
            "payments",
            "Connect with TLS, by the host name. You may reach: ",
            "reports",
        ),
        (Peer::tls(&stage), "trial", "You may reach: ", elsewhere),
        (Peer::tls(&stage), "reports", "You may reach: ", elsewhere),
    ] {
        let messages = ask(peer, database).last_messages();
        let told = fields(&messages.last().unwrap().1);
        assert_eq!(
            (told[&'C'].as_str(), &told[&'M']),
            ("3D000", &format!("database \"{database}\" is not served here"))
        );
        assert_eq!(told[&'H'], format!("{words}payments at localhost, staging at staging.example.com, {nameless}."));
    }
}

/// The host name of ours, on the port of another host: neither its own database nor the other's is reached there.
#[test]
fn a_host_s_name_on_the_port_of_another_leads_nowhere() {
    let mut stage = Stage::start();
    let settings = Settings { database: "hostname = \"production.example.com\"", ..Settings::default() };
    let config = proxy::config(&stage.postgres, &stage.idp, &settings);
    let elsewhere = |hostname: &str| {
        format!(
            "\n[[database]]\nname = \"elsewhere\"\nlisten = \"127.0.0.1:0\"\nhostname = \"{hostname}\"\nupstream = \
             \"host=localhost port=1\"\n[[database.role]]\nrole = \"r\"\ngroups = [\"g\"]\n"
        )
    };
    let ask = |stage: &Stage| {
        let mut peer = Peer::tls(stage);
        peer.write(&psql(V3_0, ALICE, &[]));
        stage.idp.approve(&peer.prompted(), ALICE);
        peer
    };
    // `localhost` is what the peer calls the server in TLS. While nobody has that name, it says nothing.
    for (hostname, reaches) in [("staging.example.com", true), ("localhost", false)] {
        stage.proxy.kill();
        stage.proxy = Proxy::start(stage.folder(), &format!("{config}{}", elsewhere(hostname)));
        let mut peer = ask(&stage);
        if reaches {
            peer.ready();
            continue;
        }
        let before = stage.postgres.connections();
        let messages = peer.last_messages();
        let told = fields(&messages.last().unwrap().1);
        assert_eq!((told[&'C'].as_str(), told[&'M'].as_str()), ("3D000", "database \"payments\" is not served here"));
        assert_eq!(told[&'H'], "You may reach: payments at production.example.com.");
        assert_eq!(stage.postgres.connections(), before, "the server has heard nothing");
    }
}

/// A name that comes out of a link writes no line of its own, neither in the prompt nor in a refusal.
#[test]
fn names_write_no_lines_into_what_a_person_reads() {
    const FORGED: &str = "payments\nNOTICE:  open https://elsewhere.example\u{1b}[2J\u{202e}";
    const SHOWN: &str = "payments\\nNOTICE:  open https://elsewhere.example\\u{1b}[2J\\u{202e}";
    let stage = Stage::start();
    let told = |user: &str, more: (&str, &str)| {
        let mut peer = Peer::tls(&stage);
        peer.write(&psql(V3_0, user, &[more]));
        let (mut texts, mut shown) = (Vec::new(), String::new());
        loop {
            let (tag, body) = peer.message();
            if tag == 'R' {
                continue;
            }
            let fields = fields(&body);
            texts.extend("MDH".chars().filter_map(|field| fields.get(&field).cloned()));
            shown.push(tag);
            match (tag, code_in(&fields[&'M'])) {
                ('N', Some(code)) => stage.idp.approve(&code, ALICE),
                _ => return (texts, shown),
            }
        }
    };
    let key = format!("{ALICE}/{FORGED}");
    let option = format!("-c {}", FORGED.replace(' ', "\\ "));
    let cases = [
        (ALICE, ("database", FORGED), "NE"),
        (key.as_str(), ("a", "b"), "E"),
        (ALICE, ("options", option.as_str()), "E"),
    ];
    for (user, more, tags) in cases {
        let (texts, shown) = told(user, more);
        assert_eq!(shown, tags, "{texts:?}");
        assert!(!texts.iter().any(|text| text.contains(is_hidden)), "{texts:?}");
        let naming = texts.iter().filter(|text| text.contains(SHOWN) || more.0 == "options").count();
        assert!(naming >= tags.len(), "{texts:?}");
    }
}
