//! What the clients in Rust share: where to connect, the values, and how they tell what they saw.

use std::env;
use std::fmt::Display;

use serde_json::{Map, Value, json};

/// Where to connect and as whom, from the environment.
pub struct Access {
    pub host: String,
    pub port: u16,
    pub database: String,
    pub login: String,
    /// The file with the certificate that signed the server's.
    pub ca: String,
    pub program: Option<String>,
    /// How long what is large is, in bytes.
    pub large: usize,
}

impl Access {
    /// Clients run side by side in one database: each listens to its own name.
    pub fn channel(&self) -> &str {
        self.program.as_deref().unwrap_or("news")
    }

    pub fn from_environment() -> Self {
        let set = |name: &str| env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
        let or = |name: &str, default: &str| env::var(name).unwrap_or_else(|_| default.to_owned());
        Self {
            host: or("SB_HOST", "localhost"),
            port: set("SB_PORT").parse().expect("a port"),
            database: or("SB_DATABASE", "payments"),
            login: set("SB_LOGIN"),
            ca: set("SB_CA"),
            program: env::var("SB_PROGRAM").ok(),
            large: or("SB_LARGE", "1048576").parse().expect("a number of bytes"),
        }
    }
}

/// Types that the libraries know without further dependencies are bound as values; these begin as text and go on as the
/// bytes that the server made of it.
pub const FOREIGN: [(&str, &str); 14] = [
    ("numeric", "12345678901234567890.123456789"),
    ("varchar", "a varchar"),
    ("date", "2026-02-28"),
    ("time", "23:59:59.123456"),
    ("timetz", "12:34:56+02"),
    ("timestamp", "2026-02-28 23:59:59.123456"),
    ("timestamptz", "2026-02-28 23:59:59.123456+00"),
    ("interval", "3 days 04:05:06"),
    ("uuid", "0190f5a5-7e5b-7c3d-8f2e-0123456789ab"),
    ("json", r#"["x"]"#),
    ("jsonb", r#"{"a": [1, null, "x"]}"#),
    ("inet", "192.0.2.1/32"),
    ("text[]", r#"{a,"b c",NULL,"d\"e"}"#),
    ("int4[]", "{1,NULL,-3}"),
];

pub const TEXT: &str = "Grüße,\n\t'世界' \\ \"$1\"";
pub const BYTES: [u8; 4] = [0x00, 0xff, 0x5c, 0x27];

/// Says that it has begun, and then sleeps.
pub const SLOW: &str = "do $$ begin raise notice 'begun'; perform pg_sleep(60); end $$";

/// What is copied, as text.
pub fn rows() -> String {
    (1..=1000).map(|n| format!("{n}\trow {n}\\tof 1000\n")).collect()
}

/// A large object's bytes.
pub fn megabyte() -> Vec<u8> {
    (0..=250_u8).cycle().take(1 << 20).collect()
}

/// What was seen so far, by name of check.
#[derive(Default)]
pub struct Saw(Map<String, Value>);

impl Saw {
    pub fn add(&mut self, check: &str, value: impl Into<Value>) {
        self.0.insert(check.to_owned(), value.into());
    }

    /// Prints it, as the last line.
    pub fn tell(self) {
        println!("{}", Value::Object(self.0));
    }
}

/// Prints that the client was not let in.
pub fn tell_refusal(message: impl Display, sqlstate: Option<&str>) {
    println!("{}", json!({ "refused": message.to_string(), "sqlstate": sqlstate }));
}
