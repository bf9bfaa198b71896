//! Tests: every way to write a switch, and what the server makes of it.

use super::*;

fn set(name: &str, value: &str) -> Opt {
    Opt::Setting { name: name.to_owned(), value: value.as_bytes().to_vec() }
}

fn odd(text: &str) -> Opt {
    Opt::Other(text.to_owned())
}

/// Each of these was tried with PostgreSQL 15 where it says what the server makes of it.
#[test]
fn switches_are_read_as_postgresql_reads_them() {
    for (options, expected) in [
        ("", vec![]),
        (" \t\n\u{b}\u{c}\r ", vec![]),
        ("-c role=bob", vec![set("role", "bob")]),
        ("-crole=bob", vec![set("role", "bob")]),
        ("--role=bob", vec![set("role", "bob")]),
        ("-c\u{b}role=bob", vec![set("role", "bob")]), // taken: a vertical tab is a space
        ("-c Work-Mem=1MB --SEARCH-path=a", vec![set("work_mem", "1MB"), set("search_path", "a")]), // taken
        ("-c a=1  -c a=2", vec![set("a", "1"), set("a", "2")]),
        ("-c search_path=a,\\ b", vec![set("search_path", "a, b")]),
        ("-c a=\\\\ -cb=\\-c", vec![set("a", "\\"), set("b", "-c")]),
        ("-c\\ a=1", vec![set(" a", "1")]),
        ("-c a=1=2", vec![set("a", "1=2")]),
        ("-c a=", vec![set("a", "")]),
        ("-c a=1\\", vec![set("a", "1")]),
        ("-c safe_boundary.role=ro", vec![set("safe_boundary.role", "ro")]),
        ("-ec role=bob", vec![odd("-ec"), odd("role=bob")]), // taken: sets DateStyle and the role
        ("-S -crole=bob", vec![odd("-S"), set("role", "bob")]),
        ("-c", vec![odd("-c")]),
        ("-c work_mem", vec![odd("-c work_mem")]), // refused: requires a value
        ("-c =1", vec![odd("-c =1")]),
        ("--", vec![odd("--")]),
        ("--=1", vec![odd("--=1")]),
        ("foo", vec![odd("foo")]), // refused: invalid argument
        ("\\", vec![odd("")]),     // refused: invalid argument, an empty one
        ("-", vec![odd("-")]),
    ] {
        assert_eq!(parse(options.as_bytes()), expected, "{options:?}");
    }
}

#[test]
fn bytes_of_any_encoding_are_carried() {
    let value = Opt::Setting { name: "a".to_owned(), value: b"\xff\xa0".to_vec() };
    assert_eq!(parse(b"-c a=\xff\xa0"), [value]);
    assert_eq!(parse(b"-c \xff=1"), [odd("-c \u{fffd}=1")]);
}

#[test]
fn a_joined_value_cannot_become_another_switch() {
    let joined = join([("a", &b"1 -c role=bob"[..]), ("b", b"\\")]);
    assert_eq!(joined, b"-c a=1\\ -c\\ role=bob -c b=\\\\");
}
