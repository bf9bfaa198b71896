//! A provider that is down, slow or out of its mind: row b20.

use std::error::Error as _;
use std::time::{Duration, Instant};

use safe_boundary::config::Idp;
use safe_boundary::idp::IdpClient;

use super::client::Client;
use super::stage::{ALICE, BOB, Setting, Stage, eventually};
use super::support::config;
use super::support::liar::Reply;

/// What a provider says that cannot serve anybody now, and whatever else comes out of a broken one.
fn troubles() -> Vec<(&'static str, Reply)> {
    vec![
        ("502", Reply::html("502 Bad Gateway")),
        ("503", Reply::html("503 Unavailable")),
        ("429", Reply::http("429 Too Many", "retry-after: 1\r\n", "{}")),
        ("cut", Reply::truncated()),
        ("closed", Reply::Raw(Vec::new())),
        ("no HTTP", Reply::Raw(b"SSH-2.0-OpenSSH\r\n\r\n".to_vec())),
        ("silent", Reply::Silence),
        ("no error but its name", Reply::error("temporarily_unavailable")),
    ]
}

/// Nobody new gets in, and is told so in time; whoever is in stays in.
#[test]
fn b20_without_a_provider_sessions_go_on_and_nobody_new_gets_in() {
    let stage = Stage::start();
    let mut session = stage.honest(ALICE);
    for (what, reply) in troubles() {
        stage.liar.always("/device", reply);
        let begun = Instant::now();
        let mut client = Client::start(&stage, 1, BOB);
        assert!(session.runs("select 1"), "{what}: the session");
        let refusal = client.refused();
        assert!(begun.elapsed() < Duration::from_secs(5), "{what}: told after {:?}", begun.elapsed());
        assert_eq!((refusal.code.as_str(), refusal.tags.as_str()), ("08006", "E"), "{what}: {refusal:?}");
        assert_eq!(refusal.message, "the identity provider cannot be reached", "{what}");
        assert_eq!(Stage::ended(&stage.trail(), client.address).0, "failed", "{what}");
    }
    assert!(session.runs("select 1"));
    stage.liar.repent("/device");
    drop(stage.honest(BOB));
    assert_eq!(stage.upstream.connects(), 2);
}

/// Trouble while a person is at the provider's page does not end her sign-in.
#[test]
fn b20_trouble_while_a_person_signs_in_is_waited_out() {
    let stage = Stage::start();
    let mut waiting: Vec<_> =
        troubles().into_iter().map(|trouble| (Client::start(&stage, 1, ALICE), trouble)).collect();
    let codes: Vec<_> = waiting.iter_mut().map(|(client, _)| client.code()).collect();
    for (code, (_, (_, reply))) in codes.iter().zip(&waiting) {
        stage.liar.answer(code, reply.clone());
    }
    stage.liar.block_until(|| codes.iter().all(|code| !stage.liar.polls(code).is_empty()));
    for code in &codes {
        stage.liar.approve(code);
    }
    for (client, (what, _)) in &mut waiting {
        client.outcome().unwrap_or_else(|refusal| panic!("{what}: {refusal:?}"));
    }
}

/// A thousand people before a provider that says nothing: each is told in time, nothing piles up, and nothing is left.
#[test]
fn b20_a_thousand_people_at_a_silent_provider_are_told_in_time() {
    // As many as may be under way may come to nothing within a minute: one more than will.
    let stage = Stage::with(&Setting { tables: "[limits]\npending_logins = 1001", ..Setting::default() });
    let mut session = stage.honest(ALICE);
    let (descriptors, memory) = (stage.descriptors(), stage.memory_kib());
    stage.liar.always("/device", Reply::Silence);
    let begun = Instant::now();
    let mut crowd: Vec<_> = (2..12).flat_map(|from| stage.hundred(from)).collect();
    let asked = begun.elapsed();
    assert!(session.runs("select 1"));
    let most = stage.descriptors();
    for client in &mut crowd {
        let refusal = client.refused();
        assert_eq!((refusal.code.as_str(), refusal.tags.as_str()), ("08006", "E"));
    }
    let told = begun.elapsed();
    let grown = stage.memory_kib().saturating_sub(memory);
    println!("1,000 people asked within {asked:?} and were told after {told:?}: {grown} KiB more, {most} descriptors");
    // One alone is told in five seconds; a thousand at once have one machine for all their greetings, too.
    assert!(told < Duration::from_secs(10), "told after {told:?}, asked within {asked:?}");
    assert!(grown < 1000 * 96, "{grown} KiB for 1,000 people");
    drop(crowd);
    eventually("their descriptors are given back", || stage.descriptors() <= descriptors + 8);
    assert!(session.runs("select 1"));
    stage.liar.repent("/device");
    drop(stage.honest(BOB));
}

#[tokio::test]
async fn b20_a_provider_that_is_down_is_unreachable() {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let issuer = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let error = IdpClient::new(&config(&issuer)).unwrap().begin_device().await.err().unwrap();
    assert!(error.is_unreachable() && error.source().is_some(), "{error}");
    let nowhere = Idp { issuer: "https://idp.invalid".to_owned(), ..config(&issuer) };
    let error = IdpClient::new(&nowhere).unwrap().begin_device().await.err().unwrap();
    assert!(error.is_unreachable(), "{error}");
    for issuer in ["http://idp.example.com", "https://169.254.169.254.", "ftp://127.0.0.1", "idp"] {
        let refused = IdpClient::new(&Idp { issuer: issuer.to_owned(), ..config(issuer) });
        let refused = match refused {
            Ok(client) => client.begin_device().await.err(),
            Err(error) => Some(error),
        };
        assert!(refused.is_some(), "{issuer}");
    }
}
