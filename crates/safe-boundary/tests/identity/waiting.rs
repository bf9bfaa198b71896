//! Codes that wait for their person: rows b20b and b21.

use std::time::Duration;

use serde_json::json;

use super::client::Client;
use super::stage::{ALICE, BOB, Setting, Stage, eventually};
use super::support::liar::{DEVICE_CODE, Lie, Reply};

/// An outsider waits as alice, alice approves her own: each code lets in the connection that it was shown on.
#[test]
fn b20b_a_parked_connection_stays_outside() {
    let stage = Stage::start();
    let mut parked: Vec<_> = [3, 2, 2].iter().map(|from| Client::start(&stage, *from, ALICE)).collect();
    let codes: Vec<_> = parked.iter_mut().map(Client::code).collect();
    let mut own = Client::start(&stage, 1, &ALICE.to_uppercase());
    let prompt = own.prompt();
    assert!(prompt.detail.ends_with(" Others wait under the same name: 127.0.0.2, 127.0.0.3."), "{prompt:?}");
    let code = prompt.message.rsplit_once(' ').unwrap().1.to_owned();
    assert!(!codes.contains(&code), "a code for each");
    assert!(prompt.hint.contains(&code), "{prompt:?}");
    stage.liar.approve(&code);
    own.ready();
    let polled = stage.liar.polls(&codes[0]).len();
    stage.liar.block_until(|| stage.liar.polls(&codes[0]).len() > polled + 1);
    for client in &mut parked {
        assert!(client.is_silent_for(Duration::from_millis(10)), "it was told something");
    }
    assert_eq!(stage.upstream.connects(), 1);
    // Nobody else is named to somebody else.
    let mut bob = Client::start(&stage, 1, BOB);
    assert!(bob.prompt().detail.ends_with("Enter it only if you started this yourself."));
    // Each of the others is let in by its own code: that one approval lets in one connection can be wrong, too.
    stage.liar.approve(&codes[1]);
    parked[1].ready();
    assert_eq!(stage.upstream.connects(), 2);
}

/// The provider's pace, and each way in which a code can end.
#[test]
fn b21_codes_end_as_the_provider_says() {
    let stage = Stage::start();
    stage.liar.amend("/device", &json!({ "interval": 2 }));
    let ends: [(Reply, &str, &str); 4] = [
        (Reply::error("expired_token"), "sign-in expired", "expired"),
        (Reply::error("access_denied"), "sign-in was refused", "denied"),
        (Reply::error("invalid_grant"), "the sign-in could not be verified", "failed"),
        (Reply::Json(200, json!({ "access_token": "access-1" })), "the sign-in could not be verified", "failed"),
    ];
    let mut slowed = Client::start(&stage, 1, ALICE);
    let slowed_code = slowed.code();
    stage.liar.answer(&slowed_code, Reply::error("slow_down"));
    let mut waiting: Vec<_> = ends.iter().map(|_| Client::start(&stage, 1, ALICE)).collect();
    let codes: Vec<_> = waiting.iter_mut().map(Client::code).collect();
    stage.liar.block_until(|| stage.liar.polls(&slowed_code).len() == 1);
    stage.liar.block_until(|| codes.iter().all(|code| stage.liar.polls(code).len() > 1));
    for (code, (reply, ..)) in codes.iter().zip(&ends) {
        stage.liar.answer(code, reply.clone());
    }
    let refusals: Vec<_> = waiting.iter_mut().map(Client::refused).collect();
    let trail = stage.trail();
    for ((client, refusal), (_, message, effect)) in waiting.iter().zip(refusals).zip(&ends) {
        assert_eq!((refusal.code.as_str(), refusal.message.as_str()), ("28000", *message));
        assert_eq!(Stage::ended(&trail, client.address).0, *effect, "{message}");
    }
    assert_eq!(stage.upstream.connects(), 0);
    for code in &codes {
        let polls = stage.liar.polls(code);
        assert!(polls.windows(2).all(|pair| pair[1] - pair[0] >= Duration::from_millis(1_900)), "{polls:?}");
    }
    // Two seconds and five more. That this counts until the end is a matter of hours, and of a unit test.
    stage.liar.approve(&slowed_code);
    slowed.ready();
    let polls = stage.liar.polls(&slowed_code);
    assert_eq!(polls.len(), 2, "{polls:?}");
    assert!(polls[1] - polls[0] >= Duration::from_millis(6_900), "{polls:?}");
}

/// Codes of one connection, and what they bring, stand nowhere that anybody keeps; whatever is logged.
#[test]
fn b21_a_device_code_stands_nowhere() {
    let stage = Stage::with(&Setting { log_level: "trace", ..Setting::default() });
    let mut session = stage.honest(ALICE);
    assert!(session.runs("select 1"));
    let answers = [
        Reply::error("access_denied"),
        Reply::error("invalid_client"),
        Reply::html("200 OK"),
        Reply::Json(400, json!({ "error": "x", "error_description": format!("{DEVICE_CODE} is unknown") })),
        Reply::Json(
            200,
            json!({ "id_token": "not.a.token", "access_token": "access-1", "refresh_token": "refresh-1" }),
        ),
        Reply::Json(200, json!({ "id_token": 7, "access_token": "access-1", "refresh_token": "refresh-1" })),
    ];
    let mut waiting: Vec<_> = (0..answers.len() + 1).map(|_| Client::start(&stage, 1, ALICE)).collect();
    let codes: Vec<_> = waiting.iter_mut().map(Client::code).collect();
    for code in &codes {
        stage.liar.answer(code, Reply::truncated());
    }
    stage.liar.block_until(|| codes.iter().all(|code| !stage.liar.polls(code).is_empty()));
    for (code, answer) in codes.iter().zip(answers) {
        stage.liar.answer(code, answer);
    }
    stage.liar.lie(codes.last().unwrap(), &Lie::claim("email", BOB, ""));
    for client in &mut waiting {
        client.refused();
    }
    drop(session);
    eventually("the session's end", || stage.trail().iter().any(|record| record["kind"] == "end"));

    let mut secrets = vec![DEVICE_CODE.to_owned(), "access-1".to_owned(), "refresh-1".to_owned()];
    let forms = stage.liar.requests("/token").into_iter().chain(stage.liar.requests("/device"));
    secrets.extend(forms.filter_map(|request| request.form.get("code_verifier").cloned()));
    assert!(secrets.len() > 8, "{}", secrets.len());
    let log = stage.log();
    assert!(log.contains("session begins") && log.contains("a sign-in was refused"), "it logs");
    let mut kept = vec![("the log".to_owned(), log.into_bytes())];
    let mut folders = vec![stage.audit_dir()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                kept.push((path.display().to_string(), std::fs::read(&path).unwrap()));
            }
        }
    }
    assert!(kept.iter().any(|(_, bytes)| holds(bytes, ALICE)), "the trail is read");
    for (place, bytes) in &kept {
        for secret in &secrets {
            assert!(!holds(bytes, secret), "{secret} stands in {place}");
        }
        // The beginning of every token of ours.
        assert!(!holds(bytes, "eyJhbGciOi"), "a token stands in {place}");
    }
}

fn holds(bytes: &[u8], text: &str) -> bool {
    memchr::memmem::find(bytes, text.as_bytes()).is_some()
}

/// Someone asks as alice, bob approves: he is told who he is not, and is nobody's guest.
#[test]
fn b21_a_code_for_alice_approved_by_bob_lets_nobody_in() {
    let stage = Stage::start();
    let rights: [&[&str]; 3] = [&["on-call"], &["engineering"], &[]];
    for groups in rights {
        let mut client = Client::start(&stage, 1, ALICE);
        let code = client.code();
        stage.liar.answer_with(&code, |draft| {
            (draft.claims["email"], draft.claims["sub"]) = (json!(BOB), json!("00u2"));
            draft.claims["groups"] = json!(groups);
        });
        let refusal = client.refused();
        assert_eq!((refusal.code.as_str(), refusal.tags.as_str()), ("28000", "NE"));
        assert_eq!(refusal.message, "signed in as \"bob@example.com\", not \"alice@example.com\"");
        let trail = stage.trail();
        let (effect, reason) = Stage::ended(&trail, client.address);
        assert_eq!((effect.as_str(), reason.as_str()), ("denied", "signed in as bob@example.com"));
        let subject = &trail.last().unwrap()["subject"];
        assert_eq!((&subject["sub"], &subject["login"]), (&json!("00u2"), &json!(BOB)), "the record names who it was");
    }
    assert_eq!(stage.upstream.connects(), 0);
    // What bob is given is his.
    drop(stage.honest(BOB));
    let start_up = stage.upstream.start_ups().pop().unwrap();
    assert!(start_up.contains("user,payments_ro") && start_up.contains(BOB) && !start_up.contains(ALICE), "{start_up}");
}

/// A client that is gone is asked for no more, one or a thousand of them, and all that they had is given back.
#[test]
fn b21_abandoned_codes_are_let_go() {
    // As many as may be under way may come to nothing within a minute: one more than will.
    let stage = Stage::with(&Setting { tables: "[limits]\npending_logins = 1001", ..Setting::default() });
    drop(stage.honest(ALICE));
    let (descriptors, memory) = (stage.descriptors(), stage.memory_kib());
    let mut crowd = Vec::new();
    for from in 2..12 {
        let mut hundred = stage.hundred(from);
        for client in &mut hundred {
            client.code();
        }
        crowd.append(&mut hundred);
    }
    let mut last = Client::start(&stage, 1, BOB);
    let code = last.code();
    assert_eq!(stage.liar.codes_made(), 1002);
    let refusal = Client::start(&stage, 1, BOB).refused();
    assert_eq!((refusal.code.as_str(), refusal.message.as_str()), ("53300", "too many sign-ins under way"));
    let (most, grown) = (stage.descriptors(), stage.memory_kib().saturating_sub(memory));
    stage.liar.answer_with(&code, |draft| draft.claims["email"] = json!(BOB));
    last.ready();
    drop((crowd, last));
    eventually("their descriptors are given back", || stage.descriptors() <= descriptors + 8);
    let records = stage.trail();
    let count = |effect: &str| records.iter().filter(|record| record["decision"]["effect"] == effect).count();
    assert_eq!((count("prompted"), count("abandoned")), (1002, 1000));
    // Another sign-in takes longer than the pause between two polls.
    let polled = stage.liar.polls_of_all();
    let mut bob = Client::start(&stage, 1, BOB);
    let code = bob.code();
    stage.liar.block_until(|| stage.liar.polls(&code).len() == 2);
    assert_eq!(stage.liar.polls_of_all(), polled + 2, "they are still asked for");
    println!("1,000 pending sign-ins: {grown} KiB more, {most} descriptors; {descriptors} before");
    assert!(most < descriptors + 1200, "{most} descriptors for 1,000 people");
    assert!(grown < 1000 * 64, "{grown} KiB for 1,000 people");
}
