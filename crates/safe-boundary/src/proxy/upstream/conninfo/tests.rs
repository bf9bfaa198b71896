//! Connection strings: what is understood, and what is refused in which words.

use super::{ChannelBinding, Conninfo, Place, Roots, SslMode, Target};
use std::path::{Path, PathBuf};
use std::time::Duration;

fn parse(text: &str) -> Conninfo {
    Conninfo::parse(text, Path::new("/etc/sb")).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn hosts_in_both_spellings() {
    for (text, hosts, dbname) in [
        ("host=db.internal", "db.internal:5432", None),
        ("host=db.internal port=5433 dbname=payments", "db.internal:5433", Some("payments")),
        ("  host = db.internal   port= 5433  ", "db.internal:5433", None),
        ("host='db.internal' dbname='two words'", "db.internal:5432", Some("two words")),
        (r"host=a dbname='it\'s \\ here'", "a:5432", Some(r"it's \ here")),
        (r"host=a dbname=two\ words", "a:5432", Some("two words")),
        ("host=a dbname=''", "a:5432", None),
        ("host=a dbname=one dbname=two", "a:5432", Some("two")),
        ("host=a,b,c", "a:5432, b:5432, c:5432", None),
        ("host=a,b port=1,2", "a:1, b:2", None),
        ("host=a,b port=,2", "a:5432, b:2", None),
        ("host=a,b port=7", "a:7, b:7", None),
        ("host=a hostaddr=10.0.0.1", "a (10.0.0.1:5432)", None),
        ("host=::1,10.0.0.2", "[::1]:5432, 10.0.0.2:5432", None),
        ("host=/run/postgresql port=5433 dbname=x", "/run/postgresql/.s.PGSQL.5433", Some("x")),
        ("postgres://db.internal", "db.internal:5432", None),
        ("postgresql://db.internal:5433/payments", "db.internal:5433", Some("payments")),
        ("postgresql://a:1,b:2,[fe80::1]:3,[::1]/x%20y", "a:1, b:2, [fe80::1]:3, [::1]:5432", Some("x y")),
        ("postgresql://%2Frun%2Fpostgresql/x", "/run/postgresql/.s.PGSQL.5432", Some("x")),
        ("postgresql:///x?host=/run/postgresql&port=5433", "/run/postgresql/.s.PGSQL.5433", Some("x")),
        ("postgresql://a/x?dbname=y", "a:5432", Some("y")),
        ("postgresql://a/?ssl=true&gssencmode=disable", "a:5432", None),
        ("postgres://@a/x", "a:5432", Some("x")),
    ] {
        let conninfo = parse(text);
        assert_eq!(conninfo.hosts(), hosts, "{text}");
        assert_eq!(conninfo.dbname(), dbname, "{text}");
    }
}

#[test]
fn defaults_are_the_safe_ones() {
    let conninfo = parse("host=a");
    assert_eq!(conninfo.tls.mode, SslMode::VerifyFull);
    assert_eq!(conninfo.tls.roots, Roots::System);
    assert_eq!(conninfo.channel_binding, ChannelBinding::Prefer);
    assert_eq!(conninfo.target, Target::Any);
    assert_eq!(conninfo.connect_timeout, Duration::from_secs(10));
    assert!(conninfo.tls.sni && conninfo.tls.client.is_none() && conninfo.keepalive.is_some());
    assert_eq!(conninfo.hosts[0].place, Place::Name);
}

#[test]
fn every_keyword_arrives() {
    let conninfo = parse(
        "host=a sslmode=verify-ca sslrootcert=ca.pem sslcert=/abs/client.pem sslkey=client.key sslsni=0 \
         channel_binding=require target_session_attrs=prefer-standby connect_timeout=3 keepalives_idle=1 \
         keepalives_interval=2 keepalives_count=4",
    );
    assert_eq!(conninfo.tls.mode, SslMode::VerifyCa);
    assert_eq!(conninfo.tls.roots, Roots::File(PathBuf::from("/etc/sb/ca.pem")));
    assert!(!conninfo.tls.sni);
    let files: Vec<_> = conninfo.files().map(Path::to_path_buf).collect();
    assert_eq!(files, ["/etc/sb/ca.pem", "/abs/client.pem", "/etc/sb/client.key"].map(PathBuf::from));
    assert_eq!(conninfo.channel_binding, ChannelBinding::Require);
    assert_eq!(conninfo.target, Target::PreferStandby);
    assert_eq!(conninfo.connect_timeout, Duration::from_secs(3));
    let keepalive = conninfo.keepalive.unwrap();
    assert_eq!((keepalive.idle.as_secs(), keepalive.interval.as_secs(), keepalive.count), (1, 2, 4));
    assert!(parse("host=a keepalives=0").keepalive.is_none());
    assert_eq!(parse("host=a sslrootcert=system").tls.roots, Roots::System);
    assert_eq!(parse("host=a sslmode=require").tls.roots, Roots::None);
    assert_eq!(parse("postgres://a/?ssl=true").tls.mode, SslMode::Require);
    assert_eq!(parse("hostaddr=10.0.0.1 sslmode=require").hosts(), "10.0.0.1:5432");
}

#[test]
fn what_is_not_understood_is_named() {
    for (text, error) in [
        ("", "expected `host` or `hostaddr`, with no empty entry"),
        ("dbname=x", "expected `host` or `hostaddr`, with no empty entry"),
        ("host=a,,b", "expected `host` or `hostaddr`, with no empty entry"),
        ("postgres:///x", "expected `host` or `hostaddr`, with no empty entry"),
        ("host", "expected `keyword=value`, found no `=` in part 1 of the connection string"),
        ("host=a hunter2", "expected `keyword=value`, found no `=` in part 2 of the connection string"),
        ("host=a dbname='x", "the quoted value of `dbname` has no end"),
        ("host=a sslmod=require", "unknown keyword `sslmod`"),
        ("postgres://a/x?sslmod=require", "unknown keyword `sslmod`"),
        ("host=a sslcrl=x", "`sslcrl` is a keyword of libpq that is not supported here"),
        ("host=a user=x", "`user` does not belong here: role and password come from `[[database.role]]`"),
        ("host=a password=hunter2", "`password` does not belong here: role and password come from `[[database.role]]`"),
        ("postgres://x@a/y", "`user` does not belong here: role and password come from `[[database.role]]`"),
        ("postgres://:hunter2@a/y", "`password` does not belong here: role and password come from `[[database.role]]`"),
        ("host=a application_name=x", "`application_name` does not belong here: it carries the login of the person"),
        (
            "host=a sslmode=verify_full",
            "`sslmode` is `verify_full`, expected disable, allow, prefer, require, verify-ca or verify-full",
        ),
        ("host=a channel_binding=yes", "`channel_binding` is `yes`, expected disable, prefer or require"),
        ("host=a connect_timeout=0", "`connect_timeout` is `0`, expected a whole number from 1 to 86400"),
        ("host=a connect_timeout=10s", "`connect_timeout` is `10s`, expected a whole number from 1 to 86400"),
        ("host=a keepalives_count=-1", "`keepalives_count` is `-1`, expected a whole number from 1 to 86400"),
        ("host=a port=0", "`port` is `0`, expected 1 to 65535"),
        ("host=a port=65536", "`port` is `65536`, expected 1 to 65535"),
        ("host=a port=1,2", "`port` lists 2 values for 1 hosts"),
        ("host=a,b hostaddr=10.0.0.1", "`hostaddr` lists 1 values for 2 hosts"),
        ("host=a hostaddr=b", "`hostaddr` is `b`, expected an IPv4 or IPv6 address"),
        (
            "hostaddr=10.0.0.1",
            "`sslmode=verify-full` needs `host` beside `hostaddr`: the certificate is checked against it",
        ),
        (
            "host=a sslmode=verify-ca",
            "`sslmode=verify-ca` with the system's roots proves nothing: use `verify-full`, or name your authority by `sslrootcert`",
        ),
        (
            "host=a sslmode=require sslrootcert=system",
            "`sslmode=require` with the system's roots proves nothing: use `verify-full`, or name your authority by `sslrootcert`",
        ),
        ("host=a sslcert=x", "expected `sslcert` and `sslkey` together"),
        (
            "host=a sslmode=disable channel_binding=require",
            "`channel_binding=require` needs TLS, which neither `sslmode=disable` nor a Unix socket has",
        ),
        (
            "host=/run channel_binding=require",
            "`channel_binding=require` needs TLS, which neither `sslmode=disable` nor a Unix socket has",
        ),
        ("postgres://[::1/x", "expected `[address]` or `[address]:port` in the host list"),
        ("postgres://a/%zz", "expected `%` and two hexadecimal digits that make UTF-8 text without NUL"),
        ("postgres://a/%00", "expected `%` and two hexadecimal digits that make UTF-8 text without NUL"),
        ("postgres://a/%ff", "expected `%` and two hexadecimal digits that make UTF-8 text without NUL"),
    ] {
        let found = Conninfo::parse(text, Path::new("/")).map(|c| c.hosts()).unwrap_err().to_string();
        assert_eq!(found, error, "{text}");
        assert!(!found.contains("hunter2"), "{text}: a value that may be a password is shown");
    }
}
