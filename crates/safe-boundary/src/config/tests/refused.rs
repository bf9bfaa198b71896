//! Files that are refused, and what is said of them.

use super::*;

/// Replaces one text of the smallest file, which must be there, and compares what is said about the outcome.
fn check(from: &str, to: &str, expected: &[&str]) {
    assert!(MINIMAL.contains(from), "{from}");
    let dir = folder();
    let said = load(dir.path(), &MINIMAL.replacen(from, to, 1)).err().unwrap_or_default();
    let said: Vec<&str> = said.lines().collect();
    assert_eq!(said, expected, "{from} -> {to}");
}

#[test]
fn what_is_no_toml() {
    check("[idp]", "[idp", &["boundary.toml:5:5: expected TOML, found a mistake: unclosed table, expected `]`"]);
    check(
        "client_id = \"0oa\"",
        "issuer = \"x\"",
        &["boundary.toml:7:1: expected TOML, found a mistake: duplicate key"],
    );
    check("\"0oa\"", "0oa", &["boundary.toml:7:15: expected TOML, found a mistake: invalid octal number"]);
    let dir = folder();
    let said = Config::load(&dir.path().join("missing.toml")).unwrap_err().to_string();
    assert!(said.ends_with(
        "missing.toml: expected a configuration file, and it cannot be read: No such file or directory (os error 2)"
    ));
}

#[test]
fn unknown_keys() {
    check(
        "[idp]",
        "[idp]\nscope = [\"openid\"]",
        &["boundary.toml:6:1: expected a key of `[idp]`, found `scope`: did you mean `scopes`?"],
    );
    check(
        "[audit]",
        "[audit]\nretention = \"1y\"",
        &[
            "boundary.toml:10:1: expected a key of `[audit]`, found `retention`: there are `dir`, `parameters` and `segment`",
        ],
    );
    check(
        "[[database]]",
        "[sesion]\nmax_age = \"1h\"\n\n[[database]]",
        &["boundary.toml:12:2: expected a key of the file, found `sesion`: did you mean `session`?"],
    );
    check(
        "role = \"payments_ro\"",
        "role = \"payments_ro\"\nGroup = [\"x\"]",
        &["boundary.toml:19:1: expected a key of `[[database.role]]`, found `Group`: did you mean `groups`?"],
    );
}

#[test]
fn keys_of_a_later_version_are_refused() {
    let refused = |at: &str, key: &str| {
        format!("boundary.toml:{at}: `{key}` is not supported by this version: remove it, it would have no effect")
    };
    check(
        "[[database]]",
        "[policy]\ndir = \"policies\"\ntimezone = \"UTC\"\n\n[[database]]",
        &[&refused("13:1", "policy.dir"), &refused("14:1", "policy.timezone")],
    );
    check(
        "[idp]",
        "state_key = { file = \"state.key\" }\n[idp.web]\nclient_id = \"x\"\n[idp]",
        &[&refused("5:1", "server.state_key"), &refused("7:1", "idp.web.client_id")],
    );
    check(
        "[idp]",
        "[idp]\nflow = \"browser\"",
        &["boundary.toml:6:8: `idp.flow = \"browser\"` is not supported by this version: remove it"],
    );
    // Every one of them, wherever it stands.
    for key in later::keys() {
        let (table, name) = key.rsplit_once('.').unwrap_or(("", key));
        let text = match table {
            "" => format!("{name} = 1\n{MINIMAL}"),
            "session" => format!("{MINIMAL}\n[session]\n{name} = 1\n"),
            "database" | "database.role" => {
                let header = format!("[[{table}]]\n");
                MINIMAL.replacen(&header, &format!("{header}{name} = 1\n"), 1)
            }
            _ => MINIMAL.replacen(&format!("[{table}]\n"), &format!("[{table}]\n{name} = 1\n"), 1),
        };
        let said = load(folder().path(), &text).unwrap_err();
        assert!(said.ends_with(refused("", key).trim_start_matches("boundary.toml:")), "{key}: {said}");
        assert_eq!(said.lines().count(), 1, "{key}: {said}");
    }
}

#[test]
fn missing_keys() {
    check(
        "issuer = \"https://example.okta.com\"\n",
        "",
        &["boundary.toml:5:1: expected the key `issuer` in `[idp]`, found none: add one such as `issuer = \
           \"https://example.okta.com\"`"],
    );
    check(
        "[audit]\ndir = \"audit\"\n",
        "",
        &["boundary.toml:1:1: expected the key `audit` in the file, found none: add `[audit]`"],
    );
    check(
        "[[database.role]]\nrole = \"payments_ro\"\ngroups = [\"engineering\"]\n",
        "",
        &["boundary.toml:12:1: expected the key `role` in `[[database]]`, found none: add `[[database.role]]`"],
    );
}

#[test]
fn wrong_types() {
    check(
        "dir = \"audit\"",
        "dir = 1",
        &["boundary.toml:10:7: expected a path for `audit.dir`, found a number without quotes"],
    );
    check(
        "[[database]]",
        "[session]\nmax_age = 30\n[[database]]",
        &["boundary.toml:13:11: expected a duration for `session.max_age`, found a number without quotes"],
    );
    check(
        "groups = [\"engineering\"]",
        "groups = \"engineering\"",
        &["boundary.toml:19:10: expected a list of strings for `database.role.groups`, found a string"],
    );
    check(
        "groups = [\"engineering\"]",
        "groups = []",
        &["boundary.toml:19:10: expected at least one value for `database.role.groups`, found an empty list"],
    );
    check(
        "[[database]]",
        "[database]",
        &["boundary.toml:12:1: expected a list of tables for `database`, found a table"],
    );
    check(
        "[idp]",
        "[idp]\npreset = \"octa\"\nsubject_claim = 1",
        &[
            "boundary.toml:6:10: expected `okta`, `entra`, `google`, `auth0`, `keycloak` or `generic` for `idp.preset`, \
             found `octa`: did you mean `okta`?",
            "boundary.toml:7:17: expected a string or list of strings for `idp.subject_claim`, found a number without quotes",
        ],
    );
    check(
        "[[database]]",
        "[limits]\ntotal = 0\nper_person = -5\nper_address = 1.5\n[[database]]",
        &[
            "boundary.toml:13:9: expected a number from 1 to 4294967295 for `limits.total`, found `0`",
            "boundary.toml:14:14: expected a number from 1 to 4294967295 for `limits.per_person`, found `-5`",
            "boundary.toml:15:15: expected a number for `limits.per_address`, found a number with a point",
        ],
    );
}

#[test]
fn secrets_do_not_stand_in_the_file() {
    const FORMS: &str =
        "expected `{ env = \"NAME\" }`, `{ file = \"PATH\" }` or `{ command = [\"PROGRAM\"] }` for `idp.client_secret`";
    let secret = |value: &str, place: &str, found: &str| {
        check(
            "client_id = \"0oa\"",
            &format!("client_id = \"0oa\"\nclient_secret = {value}"),
            &[&format!("boundary.toml:8:{place}: {found}")],
        );
    };
    secret("\"hunter2\"", "17", &format!("{FORMS}, found a string: a secret never stands in this file"));
    secret("{ value = \"hunter2\" }", "17", &format!("{FORMS}, found a table with other keys"));
    secret("{ env = \"A\", file = \"b\" }", "17", &format!("{FORMS}, found a table with other keys"));
    secret("{}", "17", &format!("{FORMS}, found a table with other keys"));
    secret("{ env = 1 }", "25", "expected a string for `idp.client_secret.env`, found a number without quotes");
    secret("{ env = \"\" }", "25", "expected a text for `idp.client_secret.env`, found an empty one");
    secret(
        "{ command = [] }",
        "29",
        "expected at least one value for `idp.client_secret.command`, found an empty list",
    );
    secret(
        "{ file = \"missing\" }",
        "26",
        "expected a readable file for `idp.client_secret.file`, and `missing` cannot be opened: No such file or directory (os \
         error 2)",
    );
    check(
        "sslmode=verify-full",
        "password=hunter2",
        &[
            "boundary.toml:15:12: expected a connection string for `database.upstream`: `password` does not belong here: \
           role and password come from `[[database.role]]`",
        ],
    );
}

#[test]
fn values_that_mean_nothing() {
    check(
        "[idp]",
        "drain = \"30\"\n[idp]\nlogin_timeout = \"0s\"",
        &[
            "boundary.toml:5:9: expected a duration such as `30s`, `5m`, `12h` or `90d` for `server.drain`, found `30`",
            "boundary.toml:7:17: expected a duration above zero for `idp.login_timeout`, found `0s`",
        ],
    );
    check(
        "[[database]]",
        "segment = \"16MB\"\n\n[[database]]",
        &["boundary.toml:12:11: expected a size from `64KiB` to `1GiB` for `audit.segment`, found `16MB`"],
    );
    check(
        "[idp]",
        "allow_plaintext = [\"10.0.0.0/8\",\n \"10.0.0.1/8\", \"localhost\"]\n[idp]",
        &[
            "boundary.toml:6:2: expected a network for `server.allow_plaintext`, found an address in one, `10.0.0.1/8`: did you \
             mean `10.0.0.0/8`?",
            "boundary.toml:6:16: expected a network such as `10.0.0.0/8` for `server.allow_plaintext`, found `localhost`",
        ],
    );
    check(
        "server.key\"",
        "server.kay\"",
        &[
            "boundary.toml:3:11: expected a readable file for `server.tls_key`, and `server.kay` cannot be opened: No such file \
           or directory (os error 2)",
        ],
    );
    check(
        "\"0.0.0.0:6432\"",
        "\"localhost\"",
        &[
            "boundary.toml:14:10: expected an address and port such as `0.0.0.0:6432` for `database.listen`, found `localhost`: \
           add a port",
        ],
    );
    check(
        "[idp]",
        "[idp]\nscopes = [\"email\"]",
        &["boundary.toml:6:10: expected `openid` among `idp.scopes`, found none: without it the IdP gives no ID token"],
    );
}

/// Values that read well, and with which nobody could sign in, or something would never match.
#[test]
fn values_that_would_fail_later() {
    let subject = |claim: &str, found: &str| {
        check(
            "[idp]",
            &format!("[idp]\nsubject_claim = {claim}"),
            &[&format!(
                "boundary.toml:6:17: expected claims that stay a person's own for `idp.subject_claim`, such as `sub`, found \
                 `{found}`: a name may become somebody else's"
            )],
        );
    };
    subject("\"email\"", "email");
    subject("[\"tid\", \"preferred_username\"]", "preferred_username");
    subject("\"employee\"\nlogin_claim = \"employee\"", "employee");
    check("[idp]", "[idp]\nsubject_claim = \"sub\"\nlogin_claim = \"sub\"", &[]);
    check(
        "[idp]",
        "[idp]\nsubject_claim = []",
        &["boundary.toml:6:17: expected a claim for `idp.subject_claim`, found an empty list: nobody could sign in"],
    );
    for (claims, found) in [("\"tid\"", "tid"), ("[\"hd\"]", "hd"), ("[\"tid\", \"iss\"]", "tid`, `iss")] {
        check(
            "[idp]",
            &format!("[idp]\nsubject_claim = {claims}"),
            &[&format!(
                "boundary.toml:6:17: expected a claim of each person's own in `idp.subject_claim`, such as `sub`, found only \
                 `{found}`: all would be one person"
            )],
        );
    }
    check("[idp]", "[idp]\nsubject_claim = [\"tid\", \"oid\"]", &[]);
    check(
        "[idp]",
        "[idp]\nhosted_domain = \"\"",
        &["boundary.toml:6:17: expected a host or domain name for `idp.hosted_domain`, found ``"],
    );
    check(
        "[[database]]",
        "[session]\nprompting_programs = []\n[[database]]",
        &["boundary.toml:13:22: expected at least one value for `session.prompting_programs`, found an empty list"],
    );
    check(
        "[[database]]",
        "[session]\nprompting_programs = [\"psql\", \"\"]\nmax_age = \"18446744073709551615ms\"\n[[database]]",
        &[
            "boundary.toml:13:31: expected a text for `session.prompting_programs`, found an empty one",
            "boundary.toml:14:11: expected a duration such as `30s`, `5m`, `12h` or `90d` for `session.max_age`, found \
             `18446744073709551615ms`",
        ],
    );
    check(
        "[idp]",
        "allow_plaintext = [\"::ffff:10.0.0.0/104\", \"::/0\"]\ntrusted_proxies = [\"::ffff:192.0.2.7/128\"]\n[idp]",
        &[
            "boundary.toml:5:20: expected a network of IPv4 as such for `server.allow_plaintext`, found `::ffff:10.0.0.0/104`: \
             did you mean `10.0.0.0/8`?",
            "boundary.toml:6:20: expected a network of IPv4 as such for `server.trusted_proxies`, found \
             `::ffff:192.0.2.7/128`: did you mean `192.0.2.7/32`?",
        ],
    );
}

#[test]
fn issuers() {
    let issuer = |url: &str, expected: &[&str]| {
        check("https://example.okta.com", url, expected);
    };
    issuer("http://localhost:3000", &[]);
    issuer("http://127.0.0.1:3000/realms/x", &[]);
    issuer("http://[::1]:3000", &[]);
    issuer(
        "http://idp.example.com",
        &[
            "boundary.toml:6:10: expected an `https` URL for `idp.issuer`, found `http://idp.example.com`: `http` is for loopback \
           addresses only",
        ],
    );
    issuer(
        "http://localhost.example.com",
        &[
            "boundary.toml:6:10: expected an `https` URL for `idp.issuer`, found `http://localhost.example.com`: `http` is for \
           loopback addresses only",
        ],
    );
    issuer(
        "https://user:hunter2@example.com",
        &["boundary.toml:6:10: expected a URL without user and password for `idp.issuer`, found one with them"],
    );
    issuer(
        "https://example.com/?tenant=1",
        &[
            "boundary.toml:6:10: expected a URL without `?` and `#` for `idp.issuer`, found `https://example.com/?tenant=1`",
        ],
    );
    issuer(
        "example.okta.com",
        &[
            "boundary.toml:6:10: expected a URL such as `https://example.com` for `idp.issuer`, found `example.okta.com`",
        ],
    );
    check(
        "issuer = \"https://example.okta.com\"",
        "preset = \"entra\"\nissuer = \"https://login.microsoftonline.com/common/v2.0\"",
        &["boundary.toml:7:10: expected the issuer of one tenant for `idp.issuer`, found \
           `https://login.microsoftonline.com/common/v2.0`: write the tenant's id in place of `common`"],
    );
}

#[test]
fn databases_on_one_address() {
    let second = |keys: &str, expected: &[&str]| {
        let dir = folder();
        let text = format!(
            "{}\n[[database]]\nlisten = \"0.0.0.0:6432\"\nupstream = \"host=b\"\n{keys}\n[[database.role]]\nrole = \"r\"\ngroups = \
             [\"g\"]\n",
            MINIMAL.replace("name = \"payments\"", "name = \"payments\"\nhostname = \"payments.example.com\"")
        );
        let said = load(dir.path(), &text).err().unwrap_or_default();
        assert_eq!(said.lines().collect::<Vec<_>>(), expected, "{keys}");
    };
    let either = |name: &str| {
        format!(
            "boundary.toml:23:10: expected `{name}` and `payments` to differ in `listen`, in `hostname` or in all of `databases`, \
             found `0.0.0.0:6432` for both: a connection could mean either"
        )
    };
    second("name = \"orders\"", &[]);
    second("name = \"orders\"\nhostname = \"orders.example.com\"\ndatabases = [\"reports\"]", &[]);
    second("name = \"orders\"\ndatabases = [\"reports\"]", &[&either("orders")]);
    second("name = \"orders\"\ndatabases = \"*\"", &[&either("orders")]);
    second("name = \"orders\"\nhostname = \"PAYMENTS.example.com\"\ndatabases = [\"*\"]", &[&either("orders")]);
    second(
        "name = \"orders\"\ndatabases = [\"*\", \"x\"]",
        &[
            &either("orders"),
            "boundary.toml:26:13: expected either `\"*\"` or names for `database.databases`, found both",
        ],
    );
    second(
        "name = \"payments\"\nhostname = \"b.example.com\"",
        &["boundary.toml:25:8: expected a name of its own for each `[[database]]`, found `payments` again"],
    );
    second(
        "name = \"orders\"\nhostname = \"https://b\"",
        &["boundary.toml:26:12: expected a host or domain name for `database.hostname`, found `https://b`"],
    );
    second(
        "name = \"orders\"\nhostname = \"10.0.0.2\"",
        &[
            "boundary.toml:26:12: expected a host name for `database.hostname`, found the address `10.0.0.2`: clients that \
             connect by an address send no name",
        ],
    );
    second(
        "name = \"orders\"\n[[database.role]]\nrole = \"r\"\ngroups = [\"h\"]",
        &[
            "boundary.toml:30:8: expected each role once in a `[[database]]`, found `r` again: put all its groups in one list",
        ],
    );
}

/// The system gives an address and port to one listener only, and all addresses are any of them.
#[test]
fn addresses_that_only_one_listener_can_have() {
    let check = |listen: &str, second: &str, metrics: &str, expected: &[&str]| {
        let text = format!(
            "{}\n[[database]]\nname = \"orders\"\nlisten = \"{second}\"\nupstream = \"host=b\"\n[[database.role]]\nrole = \
             \"r\"\ngroups = [\"g\"]\n",
            MINIMAL
                .replace("\"0.0.0.0:6432\"", &format!("\"{listen}\""))
                .replace("[server]", &format!("[server]\nmetrics = \"{metrics}\""))
        );
        let said = load(folder().path(), &text).err().unwrap_or_default();
        assert_eq!(said.lines().collect::<Vec<_>>(), expected, "{listen} {second} {metrics}");
    };
    for (first, second) in [
        ("0.0.0.0:6432", "127.0.0.1:6432"),
        ("127.0.0.1:6432", "0.0.0.0:6432"),
        ("[::]:6432", "0.0.0.0:6432"),
        ("[::]:6432", "10.0.0.1:6432"),
        ("[::1]:6432", "[::]:6432"),
        ("[::ffff:10.0.0.1]:6432", "10.0.0.1:6432"),
    ] {
        let both = format!(
            "boundary.toml:24:10: expected `orders` and `payments` to share an address for `database.listen` or to have one each, \
             found `{second}` and `{first}`: the system gives only one of them"
        );
        check(first, second, "127.0.0.1:9090", &[&both]);
        let metrics = format!(
            "boundary.toml:2:11: expected an address of its own for `server.metrics`, found `{second}`, where `payments` listens"
        );
        check(first, "127.0.0.1:1", second, &[&metrics]);
    }
    for (first, second) in [
        ("0.0.0.0:6432", "127.0.0.1:6433"),
        ("0.0.0.0:6432", "[::1]:6432"),
        ("127.0.0.1:6432", "127.0.0.2:6432"),
        ("0.0.0.0:0", "127.0.0.1:0"),
        ("127.0.0.1:0", "127.0.0.1:0"),
    ] {
        check(first, second, "127.0.0.1:9090", &[]);
        check(first, "127.0.0.1:1", second, &[]);
    }
}
