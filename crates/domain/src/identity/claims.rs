//! What a token says, read with suspicion: strict JSON, claim paths, groups.
//!
//! Promises: no duplicate keys, bounded size and depth, numbers that are numbers. Groups are a set of names, or an
//! error that denies; "the token cannot say" never becomes "no groups".
//! Deliberately not here: whether the claims are true; `verify` checks the signature before it reads them.

use std::fmt;

use jiff::Timestamp;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// The longest JSON text that is read, in bytes: ten thousand groups by object id, with room.
pub const JSON_BYTES_MAX: usize = 1024 * 1024;

/// How deep objects and lists may nest: the deepest claim that providers send (`resource_access.client.roles`) has 4.
const DEPTH_MAX: usize = 16;

/// How many groups one person may have.
const GROUPS_MAX: usize = 20_000;

/// The longest name of a group, in bytes.
const GROUP_BYTES_MAX: usize = 1024;

/// The last second that a time stamp has, in December 9999: later times are mistakes.
const SECONDS_MAX: f64 = 253_402_207_200.0;

/// The members of one JSON object, as an identity provider sent them.
#[derive(Clone, Debug, PartialEq)]
pub struct Claims(Map<String, Value>);

/// What is wrong with a JSON object or a claim in it.
#[derive(Debug, thiserror::Error)]
pub enum ClaimsError {
    /// It is too long.
    #[error("expected at most {JSON_BYTES_MAX} bytes of JSON, got {0}")]
    TooLarge(usize),
    /// It is not JSON, names a key twice, nests too deep, or has a number out of range.
    #[error("expected strict JSON")]
    NotJson(#[source] serde_json::Error),
    /// It is JSON, but not an object.
    #[error("expected a JSON object")]
    NotAnObject,
    /// A claim that must be there is not.
    #[error("expected the claim `{0}`, which is absent")]
    Absent(String),
    /// A claim has another type than it must have.
    #[error("expected the claim `{claim}` to be {expected}")]
    WrongType {
        /// Its path.
        claim: String,
        /// What it must be.
        expected: &'static str,
    },
    /// The provider left the groups out because there are too many.
    #[error("the claim `{0}` was left out because the person has too many groups (overage)")]
    Overage(String),
}

impl Claims {
    /// Reads one JSON object, refusing what two readers could understand differently.
    ///
    /// # Errors
    /// [`ClaimsError`] for everything but a strict, bounded JSON object.
    pub fn parse(raw: &[u8]) -> Result<Self, ClaimsError> {
        if raw.len() > JSON_BYTES_MAX {
            return Err(ClaimsError::TooLarge(raw.len()));
        }
        let mut reader = serde_json::Deserializer::from_slice(raw);
        let value = Strict { depth: 0 }.deserialize(&mut reader).map_err(ClaimsError::NotJson)?;
        reader.end().map_err(ClaimsError::NotJson)?;
        match value {
            Value::Object(members) => Ok(Self(members)),
            _ => Err(ClaimsError::NotAnObject),
        }
    }

    /// The claim at a path: the whole path as one key first (`https://acme.example/groups`), then split at its dots
    /// (`realm_access.login`), the longest first key first.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<&Value> {
        find(&self.0, path)
    }

    /// The text at a path, if there is anything.
    ///
    /// # Errors
    /// [`ClaimsError::WrongType`] when it is no text.
    pub fn text_if_any(&self, path: &str) -> Result<Option<&str>, ClaimsError> {
        match self.find(path) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(ClaimsError::WrongType { claim: path.to_owned(), expected: "a string" }),
        }
    }

    /// The text at a path.
    ///
    /// # Errors
    /// [`ClaimsError`] when it is absent or no text.
    pub fn text(&self, path: &str) -> Result<&str, ClaimsError> {
        self.text_if_any(path)?.ok_or_else(|| ClaimsError::Absent(path.to_owned()))
    }

    /// Takes the text of a top-level member out, so that a secret lives in one place only.
    ///
    /// # Errors
    /// [`ClaimsError::WrongType`] when it is no text.
    pub fn take_text(&mut self, key: &str) -> Result<Option<String>, ClaimsError> {
        match self.0.remove(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(ClaimsError::WrongType { claim: key.to_owned(), expected: "a string" }),
        }
    }

    /// The point in time (RFC 7519 `NumericDate`) at a key, if there is anything.
    ///
    /// # Errors
    /// [`ClaimsError::WrongType`] when it is no number of seconds between 1970 and 9999.
    pub fn time_if_any(&self, key: &str) -> Result<Option<Timestamp>, ClaimsError> {
        let wrong = || ClaimsError::WrongType { claim: key.to_owned(), expected: "a time in seconds" };
        let number = match self.0.get(key) {
            None => return Ok(None),
            Some(Value::Number(number)) => number,
            Some(_) => return Err(wrong()),
        };
        let seconds = match (number.as_i64(), number.as_f64()) {
            (Some(seconds), _) => seconds,
            (None, Some(seconds)) => whole_seconds(seconds).ok_or_else(wrong)?,
            (None, None) => return Err(wrong()),
        };
        match Timestamp::from_second(seconds) {
            Ok(time) if seconds >= 0 => Ok(Some(time)),
            _ => Err(wrong()),
        }
    }

    /// The point in time at a key.
    ///
    /// # Errors
    /// [`ClaimsError`] when it is absent or no time.
    pub fn time(&self, key: &str) -> Result<Timestamp, ClaimsError> {
        self.time_if_any(key)?.ok_or_else(|| ClaimsError::Absent(key.to_owned()))
    }

    /// Whether there is a top-level member of this name.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// The groups at a path, sorted, each once. `None` when the claim is absent: that is no group at all.
    ///
    /// # Errors
    /// [`ClaimsError`] when it is neither a text nor a list of texts, or was left out as too long (Entra's overage).
    pub fn groups(&self, path: &str) -> Result<Option<Vec<String>>, ClaimsError> {
        if self.leaves_out(path) {
            return Err(ClaimsError::Overage(path.to_owned()));
        }
        let wrong = || ClaimsError::WrongType { claim: path.to_owned(), expected: "a list of group names" };
        let names = match self.find(path) {
            None => return Ok(None),
            Some(Value::String(name)) => vec![name.clone()],
            Some(Value::Array(values)) if values.len() <= GROUPS_MAX => {
                let names = values.iter().map(|value| value.as_str().map(str::to_owned));
                names.collect::<Option<Vec<_>>>().ok_or_else(wrong)?
            }
            Some(_) => return Err(wrong()),
        };
        let mut groups: Vec<_> = names.into_iter().filter(|name| !name.is_empty()).collect();
        if groups.iter().any(|name| name.len() > GROUP_BYTES_MAX || name.chars().any(char::is_control)) {
            return Err(wrong());
        }
        groups.sort_unstable();
        groups.dedup();
        Ok(Some(groups))
    }

    /// Whether the provider says that the claim exists elsewhere (OIDC Core §5.6.2; Entra's groups overage).
    fn leaves_out(&self, path: &str) -> bool {
        let first = path.split('.').next().unwrap_or(path);
        let named = |names: &Value| names.get(path).is_some() || names.get(first).is_some();
        let flagged = path == "groups" && self.0.get("hasgroups").is_some_and(|flag| flag != &Value::Bool(false));
        flagged || self.0.get("_claim_names").is_some_and(named)
    }

    /// The members as JSON text, for people to look at.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(&self.0).unwrap_or_default()
    }
}

fn find<'a>(members: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    if let Some(value) = members.get(path) {
        return Some(value);
    }
    path.rmatch_indices('.').find_map(|(at, _)| {
        let (key, rest) = (path.get(..at)?, path.get(at + 1..)?);
        find(members.get(key)?.as_object()?, rest)
    })
}

fn whole_seconds(seconds: f64) -> Option<i64> {
    if !(0.0..=SECONDS_MAX).contains(&seconds) {
        return None;
    }
    // Through text, because a cast would hide what it loses; this is the odd case of a fractional time.
    format!("{:.0}", seconds.floor()).parse().ok()
}

/// Builds a [`Value`] and refuses duplicate keys and deep nesting on the way.
#[derive(Clone, Copy)]
struct Strict {
    depth: usize,
}

impl Strict {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth >= DEPTH_MAX {
            return Err(E::custom(format_args!("nested deeper than {DEPTH_MAX}")));
        }
        Ok(Self { depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<Value, D::Error> {
        input.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut input: A) -> Result<Value, A::Error> {
        let seed = self.deeper()?;
        let mut values = Vec::new();
        while let Some(value) = input.next_element_seed(seed)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut input: A) -> Result<Value, A::Error> {
        let seed = self.deeper()?;
        let mut members = Map::new();
        while let Some(key) = input.next_key::<String>()? {
            if members.contains_key(&key) {
                return Err(A::Error::custom("a key stands twice"));
            }
            members.insert(key, input.next_value_seed(seed)?);
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(json: &str) -> Claims {
        Claims::parse(json.as_bytes()).unwrap()
    }

    #[test]
    fn only_strict_json_objects_are_read() {
        let deep = |levels: usize| format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
        for json in ["{}", r#"{"a":[{"b":null}]}"#, &deep(16), r#"{"a":{"x":1},"b":{"x":1}}"#] {
            assert!(Claims::parse(json.as_bytes()).is_ok(), "{json}");
        }
        let hostile = "[".repeat(100_000);
        for json in [
            "",
            "[]",
            "1",
            "null",
            "<html>",
            "{",
            r#"{"a":1"#,
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"b":{"a":1,"a":1}}"#,
            r#"{"a":1e400}"#,
            r#"{"a":NaN}"#,
            r#"{"a":1} x"#,
            r#"{"a":1}{}"#,
            &deep(17),
            &hostile,
        ] {
            assert!(Claims::parse(json.as_bytes()).is_err(), "{}", json.get(..20).unwrap_or(json));
        }
        let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(JSON_BYTES_MAX));
        assert!(matches!(Claims::parse(long.as_bytes()), Err(ClaimsError::TooLarge(_))));
        assert!(Claims::parse(b"{\"a\":\"\xff\"}").is_err());
    }

    #[test]
    fn a_path_is_a_whole_key_first_and_then_a_way_down() {
        let claims = claims(
            r#"{"email":"e","https://acme.example/groups":"url","realm_access":{"login":"nested","a.b":"dotted"},
                "x.y":"whole","x":{"y":"split"},"resource.one":{"roles":"r"},"n":null}"#,
        );
        let check = |path: &str, expected: Option<&str>| {
            assert_eq!(claims.find(path).and_then(Value::as_str), expected, "{path}");
        };
        check("email", Some("e"));
        check("https://acme.example/groups", Some("url"));
        check("realm_access.login", Some("nested"));
        check("realm_access.a.b", Some("dotted"));
        check("x.y", Some("whole"));
        check("resource.one.roles", Some("r"));
        check("realm_access.none", None);
        check("email.login", None);
        check("", None);
        check(".", None);
        check("n.x", None);
    }

    #[test]
    fn times_are_whole_sane_numbers() {
        let check = |json: &str, expected: Option<i64>| {
            let claims = claims(&format!(r#"{{"exp":{json}}}"#));
            assert_eq!(claims.time("exp").ok().map(Timestamp::as_second), expected, "{json}");
        };
        check("0", Some(0));
        check("1790000000", Some(1_790_000_000));
        check("1790000000.9", Some(1_790_000_000));
        check("1.79e9", Some(1_790_000_000));
        for json in
            ["-1", "-0.5", "1e300", "99999999999999999999", "253402300800", "\"1790000000\"", "null", "true", "[]"]
        {
            check(json, None);
        }
    }

    #[test]
    fn groups_are_names_or_none_or_an_error() {
        let check = |json: &str, path: &str, expected: Result<Option<&[&str]>, ()>| {
            let found = claims(json).groups(path).map_err(|_| ());
            let expected = expected.map(|groups| groups.map(|names| names.iter().map(|&n| n.to_owned()).collect()));
            assert_eq!(found, expected, "{json}");
        };
        check("{}", "groups", Ok(None));
        check(r#"{"groups":[]}"#, "groups", Ok(Some(&[])));
        check(r#"{"groups":"a"}"#, "groups", Ok(Some(&["a"])));
        check(r#"{"groups":["b","a","b",""]}"#, "groups", Ok(Some(&["a", "b"])));
        check(r#"{"r":{"roles":["x"]}}"#, "r.roles", Ok(Some(&["x"])));
        check(r#"{"hasgroups":false,"groups":["a"]}"#, "groups", Ok(Some(&["a"])));
        check(r#"{"roles":["x"],"_claim_names":{"groups":"src1"}}"#, "roles", Ok(Some(&["x"])));
        for json in [
            r#"{"groups":null}"#,
            r#"{"groups":1}"#,
            r#"{"groups":true}"#,
            r#"{"groups":{"a":1}}"#,
            r#"{"groups":["a",1]}"#,
            r#"{"groups":[["a"]]}"#,
            r#"{"groups":["a\n"]}"#,
            r#"{"hasgroups":true}"#,
            r#"{"hasgroups":"true"}"#,
            r#"{"_claim_names":{"groups":"src1"}}"#,
            r#"{"_claim_names":{"groups":"src1"},"groups":["a"]}"#,
        ] {
            check(json, "groups", Err(()));
        }
        let many: Vec<_> = (0..10_000).map(|n| format!("{n:036}")).collect();
        let json = serde_json::json!({ "groups": many }).to_string();
        assert_eq!(claims(&json).groups("groups").unwrap().unwrap().len(), 10_000);
    }
}
