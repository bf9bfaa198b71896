//! What `init` writes loads, and what it may not write it leaves alone.

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::config::SecretSource;

fn flags() -> InitArgs {
    let text = |text: &str| Some(text.to_owned());
    InitArgs {
        yes: true,
        preset: Some(PresetName(config::Preset::Okta)),
        issuer: text("https://example.okta.com"),
        client_id: text("0oa"),
        database: text("payments"),
        upstream_host: text("db.internal:5433"),
        role: text("payments_ro"),
        group: text("engineering"),
        self_signed: true,
        ..InitArgs::default()
    }
}

fn run_in(dir: &Path, args: &InitArgs, answers: &str) -> Result<String, String> {
    let path = dir.join("safe-boundary.toml");
    let said = init(args, &path, &mut answers.as_bytes(), &mut io::sink());
    let shown = format!("{}/", dir.display());
    said.map(|text| text.replace(&shown, "")).map_err(|error| error.to_string().replace(&shown, ""))
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn from_flags() {
    let dir = tempfile::tempdir().unwrap();
    let said = run_in(dir.path(), &flags(), "").unwrap();
    let last = said.lines().last().unwrap();
    assert!(last.starts_with("next: safe-boundary check --config "), "{said}");
    let config = Config::load(&dir.path().join("safe-boundary.toml")).unwrap();
    assert_eq!(config.idp.preset, config::Preset::Okta);
    let database = &config.databases[0];
    assert_eq!(database.upstream.hosts(), "db.internal:5433");
    assert_eq!(database.roles[0].password, Some(SecretSource::Env("PAYMENTS_RO_PASSWORD".to_owned())));
    assert_eq!(names(dir.path()), ["audit", "safe-boundary.toml", "server.crt", "server.key"]);
    let mode = |name: &str| std::fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("server.key"), 0o600);
    assert_eq!(mode("audit"), 0o700);
}

#[test]
fn from_answers() {
    let dir = tempfile::tempdir().unwrap();
    let answers = "none such\nkeycloak\nhttps://id.example.com/realms/x\n\nsb\nSB_SECRET\npayments\ndb.internal\n\nro\neng \
                   \"x\"\n\n127.0.0.1:7000\nexample.com\nmaybe\ny\n\n";
    run_in(dir.path(), &InitArgs::default(), answers).unwrap();
    let config = Config::load(&dir.path().join("safe-boundary.toml")).unwrap();
    assert_eq!(config.idp.preset, config::Preset::Keycloak);
    assert_eq!(config.idp.client_id, "sb");
    assert_eq!(config.idp.client_secret, Some(SecretSource::Env("SB_SECRET".to_owned())));
    assert_eq!(config.server.default_domain.as_deref(), Some("example.com"));
    assert_eq!(config.databases[0].listen.port(), 7000);
    assert_eq!(config.databases[0].roles[0].groups, ["eng \"x\""]);
    let ended = run_in(&dir.path().join("other"), &InitArgs::default(), "okta\n");
    assert_eq!(ended.unwrap_err(), "expected an answer, found the end of the input");
    assert!(!dir.path().join("other").exists());
}

/// Who has answered ten questions is not told at the end that the first answer was wrong.
#[test]
fn a_wrong_answer_is_asked_again_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("safe-boundary.toml");
    let answers = "generic\nhttp://foo\nhttps://idp.example.com\nsb\n\npayments\ndb.internal\nno-such-mode\n\nro\neng\n\n\
                   6432\n127.0.0.1:6432\nexample com\n\ny\n\n";
    let mut asked = Vec::new();
    init(&InitArgs::default(), &path, &mut answers.as_bytes(), &mut asked).unwrap();
    let asked = String::from_utf8(asked).unwrap();
    let told: Vec<&str> = asked.lines().filter_map(|line| Some(line.split_once("expected ")?.1)).collect();
    assert_eq!(told.len(), 4, "{asked}");
    assert!(told[0].starts_with("an `https` URL for `idp.issuer`, found `http://foo`"), "{asked}");
    assert!(told[1].starts_with("a connection string for `database.upstream`"), "{asked}");
    assert!(told[2].starts_with("an address and port such as"), "{asked}");
    assert!(told[3].starts_with("a host or domain name for `server.default_domain`"), "{asked}");
    let config = Config::load(&path).unwrap();
    assert_eq!((config.idp.issuer.as_str(), config.server.default_domain), ("https://idp.example.com", None));
    // A flag is not asked again: what is wrong in it ends this.
    let args = InitArgs { issuer: Some("http://foo".into()), force: true, ..InitArgs::default() };
    let told = run_in(dir.path(), &args, "generic\n").unwrap_err();
    assert!(told.contains("expected an `https` URL for `idp.issuer`"), "{told}");
}

/// What stands there as the preset's own is the preset's own.
#[test]
fn the_preset_is_told_as_it_is() {
    for preset in config::Preset::ALL {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("safe-boundary.toml");
        let args = InitArgs { preset: Some(PresetName(preset)), ..flags() };
        run_in(dir.path(), &args, "").unwrap();
        let before = Config::load(&path).unwrap().idp;
        let text = std::fs::read_to_string(&path).unwrap();
        let mut told = text.clone();
        for key in ["scopes", "login_claim", "groups_claim"] {
            told = told.replace(&format!("# {key} = "), &format!("{key} = "));
        }
        assert_ne!(told, text);
        std::fs::write(&path, told).unwrap();
        let after = Config::load(&path).unwrap().idp;
        let keys = |idp: &config::Idp| (idp.scopes.clone(), idp.login_claim.clone(), idp.groups_claim.clone());
        assert_eq!(keys(&before), keys(&after));
    }
}

#[test]
fn an_answer_stays_one_string() {
    let dir = tempfile::tempdir().unwrap();
    for odd in ["a\"\n[server]\nx = \"", "it's", "back\\slash", "tr{i}cky#", "näme"] {
        let args = InitArgs { group: Some(odd.to_owned()), force: true, ..flags() };
        let said = run_in(dir.path(), &args, "");
        if odd.contains('\n') {
            assert!(said.unwrap_err().contains("without control characters"));
        } else {
            said.unwrap();
            let config = Config::load(&dir.path().join("safe-boundary.toml")).unwrap();
            assert_eq!(config.databases[0].roles[0].groups, [odd]);
        }
    }
    let args = InitArgs { database: Some("two words' and \\".to_owned()), force: true, ..flags() };
    run_in(dir.path(), &args, "").unwrap();
    let config = Config::load(&dir.path().join("safe-boundary.toml")).unwrap();
    assert_eq!(config.databases[0].upstream.dbname(), Some("two words' and \\"));
}

#[test]
fn what_is_there_stays() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("safe-boundary.toml");
    std::fs::write(&file, "mine").unwrap();
    let exists = "expected no file at `safe-boundary.toml`, found one: give `--force` to replace it";
    assert_eq!(run_in(dir.path(), &flags(), "").unwrap_err(), exists);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
    assert_eq!(names(dir.path()), ["safe-boundary.toml"]);
    run_in(dir.path(), &InitArgs { force: true, ..flags() }, "").unwrap();
    Config::load(&file).unwrap();

    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("server.key"), "mine").unwrap();
    let exists = "expected no file at `server.key`, found one: give `--force` to replace it";
    assert_eq!(run_in(dir.path(), &flags(), "").unwrap_err(), exists);
    assert_eq!(names(dir.path()), ["server.key"]);
}

#[test]
fn when_something_is_wrong_nothing_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let args = InitArgs { issuer: Some("http://example.com".to_owned()), ..flags() };
    let said = run_in(dir.path(), &args, "").unwrap_err();
    assert!(said.contains("expected an `https` URL for `idp.issuer`, found `http://example.com`"), "{said}");
    assert!(names(dir.path()).is_empty());
    let args = InitArgs { self_signed: false, ..flags() };
    assert_eq!(
        run_in(dir.path(), &args, "").unwrap_err(),
        "expected a file for `--tls-cert` and `--tls-key`, found none at `server.crt`: name yours, or give `--self-signed`"
    );
    assert!(names(dir.path()).is_empty());
    // Nor is anything replaced.
    let there = ["safe-boundary.toml", "server.crt", "server.key"];
    for name in there {
        std::fs::write(dir.path().join(name), format!("my {name}")).unwrap();
    }
    let args = InitArgs { issuer: Some("http://example.com".to_owned()), force: true, ..flags() };
    run_in(dir.path(), &args, "").unwrap_err();
    assert_eq!(names(dir.path()), there);
    for name in there {
        assert_eq!(std::fs::read_to_string(dir.path().join(name)).unwrap(), format!("my {name}"));
    }
    // Two files of one name would be one, and what it replaced is nobody's to lose.
    std::fs::write(dir.path().join("server.key.before-init-1"), "older").unwrap();
    let key = Some("server.key".into());
    let args = InitArgs { tls_cert: key.clone(), tls_key: key, force: true, ..flags() };
    let one = "expected two files for `--tls-cert` and `--tls-key`, found one: `server.key`";
    assert_eq!(run_in(dir.path(), &args, "").unwrap_err(), one);
    assert_eq!(std::fs::read_to_string(dir.path().join("server.key")).unwrap(), "my server.key");
    assert_eq!(std::fs::read_to_string(dir.path().join("server.key.before-init-1")).unwrap(), "older");
    assert_eq!(names(dir.path()).len(), 4);
    let dir = tempfile::tempdir().unwrap();
    let args = InitArgs { issuer: None, role: None, ..flags() };
    assert_eq!(run_in(dir.path(), &args, "").unwrap_err(), "expected `--issuer`, `--role` with `--yes`, found none");
}
