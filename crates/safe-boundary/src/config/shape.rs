//! Holds a file against the schema: unknown keys, keys of a later version, missing keys, wrong types.
//!
//! Promises: all of them are found at once, each with its place; a secret that stands in the file is never repeated.
//! Deliberately not here: what a string means.

use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::later;
use super::raw::Raw;
use super::source::{At, Source};

/// The JSON Schema of the file.
pub(super) fn schema() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<Raw>();
    RecursiveTransform(without_null).transform(&mut schema);
    schema.insert("title".to_owned(), Value::from("safe-boundary.toml"));
    schema.to_value()
}

/// TOML has no null: an optional key is left out.
fn without_null(schema: &mut Schema) {
    let Some(object) = schema.as_object_mut() else { return };
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            object.insert("type".to_owned(), only);
        }
    }
    if object.get("default").is_some_and(Value::is_null) {
        object.remove("default");
    }
    let Some(Value::Array(branches)) = object.get_mut("anyOf") else { return };
    let before = branches.len();
    branches.retain(|branch| branch.get("type").is_none_or(|name| name != "null"));
    if let (true, [Value::Object(only)]) = (branches.len() < before, branches.as_slice()) {
        let only = only.clone();
        object.remove("anyOf");
        for (name, value) in only {
            // The words at the key say more than those at its type.
            object.entry(name).or_insert(value);
        }
    }
}

/// Notes in `source` all that does not fit the schema.
pub(super) fn check(source: &mut Source<'_>) {
    let schema = schema();
    let table = source.table().get_ref().clone();
    let mut walk = Walk { source };
    walk.table(&At::default(), &table, &schema);
}

struct Walk<'s, 'i> {
    source: &'s mut Source<'i>,
}

impl Walk<'_, '_> {
    fn table(&mut self, at: &At, table: &DeTable<'_>, schema: &Value) {
        let empty = Map::new();
        let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&empty);
        for (key, value) in table {
            let below = at.key(key.get_ref());
            if later::is_key(&below.name()) {
                self.later(&below, key.span().start, value);
            } else if let Some(property) = properties.get(key.get_ref().as_ref()) {
                self.value(&below, value, property);
            } else if let Some(any @ Value::Object(_)) = schema.get("additionalProperties") {
                self.value(&below, value, any);
            } else {
                let message = unknown(at, key.get_ref(), properties);
                self.source.wrong_at(key.span().start, message);
            }
        }
        for key in strings(schema.get("required")) {
            if !table.contains_key(key) {
                let message = missing(at, key, properties.get(key).unwrap_or(&Value::Null));
                self.source.wrong(&at.key(key), message);
            }
        }
    }

    /// A key that this version cannot obey; of a table, the keys in it.
    fn later(&mut self, at: &At, offset: usize, value: &Spanned<DeValue<'_>>) {
        match value.get_ref().as_table() {
            Some(table) if !table.is_empty() && !self.source.is_inline(value) => {
                for (key, value) in table {
                    self.later(&at.key(key.get_ref()), key.span().start, value);
                }
            }
            _ => {
                let message =
                    format!("`{}` is not supported by this version: remove it, it would have no effect", at.name());
                self.source.wrong_at(offset, message);
            }
        }
    }

    fn value(&mut self, at: &At, value: &Spanned<DeValue<'_>>, schema: &Value) {
        if schema.get("title").is_some_and(|title| title == "secret") {
            return self.secret(at, value, schema);
        }
        if let Some(branches) = schema.get("anyOf").and_then(Value::as_array) {
            let fits = branches.iter().find(|branch| is_type(value.get_ref(), type_name(branch)));
            return match fits {
                Some(branch) => self.value(at, value, branch),
                None => self.mismatch(at, &title(schema), value.get_ref()),
            };
        }
        let expected = type_name(schema);
        if !is_type(value.get_ref(), expected) {
            return self.mismatch(at, &title(schema), value.get_ref());
        }
        match value.get_ref() {
            DeValue::Table(table) => self.table(at, table, schema),
            DeValue::Array(array) => self.array(at, array, schema),
            DeValue::String(text) => self.choice(at, text, schema),
            DeValue::Integer(number) => self.number(at, number.as_str(), number.radix(), schema),
            _ => {}
        }
    }

    fn array(&mut self, at: &At, array: &[Spanned<DeValue<'_>>], schema: &Value) {
        if array.is_empty() && schema.get("minItems").is_some() {
            self.source.wrong(at, format!("expected at least one value for `{}`, found an empty list", at.name()));
        }
        let Some(items) = schema.get("items") else { return };
        for (index, value) in array.iter().enumerate() {
            self.value(&at.index(index), value, items);
        }
    }

    fn choice(&mut self, at: &At, text: &str, schema: &Value) {
        let choices = strings(schema.get("enum"));
        if choices.is_empty() || choices.contains(&text) {
            return;
        }
        let name = at.name();
        let message = if later::is_value(&name, text) {
            format!("`{name} = \"{text}\"` is not supported by this version: remove it")
        } else {
            let hint = near(text, choices.iter().copied()).map(|near| format!(": did you mean `{near}`?"));
            format!("expected {} for `{name}`, found `{text}`{}", list(&choices, "or"), hint.unwrap_or_default())
        };
        self.source.wrong(at, message);
    }

    fn number(&mut self, at: &At, digits: &str, radix: u32, schema: &Value) {
        let minimum = schema.get("minimum").and_then(Value::as_i64).unwrap_or_default();
        let maximum = schema.get("maximum").and_then(Value::as_i64).unwrap_or(i64::from(u32::MAX));
        let number = i64::from_str_radix(digits, radix);
        if !number.is_ok_and(|number| (minimum..=maximum).contains(&number)) {
            let name = at.name();
            self.source
                .wrong(at, format!("expected a number from {minimum} to {maximum} for `{name}`, found `{digits}`"));
        }
    }

    /// A secret is a reference. What stands in its place may be the secret itself, so it is not shown.
    fn secret(&mut self, at: &At, value: &Spanned<DeValue<'_>>, schema: &Value) {
        const FORMS: &str = "`{ env = \"NAME\" }`, `{ file = \"PATH\" }` or `{ command = [\"PROGRAM\"] }`";
        let name = at.name();
        let found = match value.get_ref() {
            DeValue::Table(table) => {
                let branches = schema.get("oneOf").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
                let only = table.iter().next().filter(|_| table.len() == 1);
                let branch = only.and_then(|(key, inner)| {
                    let property =
                        branches.iter().find_map(|branch| branch.get("properties")?.get(key.get_ref().as_ref()))?;
                    Some((key, inner, property))
                });
                if let Some((key, inner, property)) = branch {
                    return self.value(&at.key(key.get_ref()), inner, property);
                }
                "a table with other keys"
            }
            DeValue::String(_) => "a string: a secret never stands in this file",
            other => kind(other),
        };
        self.source.wrong(at, format!("expected {FORMS} for `{name}`, found {found}"));
    }

    fn mismatch(&mut self, at: &At, expected: &str, found: &DeValue<'_>) {
        let message = format!("expected {} for `{}`, found {}", with_article(expected), at.name(), kind(found));
        self.source.wrong(at, message);
    }
}

fn unknown(at: &At, key: &str, properties: &Map<String, Value>) -> String {
    let names: Vec<&str> = properties.keys().map(String::as_str).collect();
    let hint = match near(key, names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("there are {}", list(&names, "and")),
    };
    format!("expected a key of {}, found `{key}`: {hint}", place(at))
}

fn missing(at: &At, key: &str, schema: &Value) -> String {
    let name = at.key(key).name();
    let remedy = match (type_name(schema), schema.get("examples").and_then(|examples| examples.get(0))) {
        ("object", _) => format!("add `[{name}]`"),
        (_, Some(example)) => format!("add one such as `{key} = {example}`"),
        ("array", None) => format!("add `[[{name}]]`"),
        _ => format!("add `{key}`"),
    };
    format!("expected the key `{key}` in {}, found none: {remedy}", place(at))
}

fn place(at: &At) -> String {
    let name = at.name();
    match name.as_str() {
        "" => "the file".to_owned(),
        "database" | "database.role" => format!("`[[{name}]]`"),
        _ => format!("`[{name}]`"),
    }
}

fn type_name(schema: &Value) -> &str {
    schema.get("type").and_then(Value::as_str).unwrap_or("object")
}

/// What people call the type of a key: `duration`, `path`, `list of strings`.
pub(super) fn title(schema: &Value) -> String {
    if let Some(title) = schema.get("title").and_then(Value::as_str) {
        return title.to_owned();
    }
    match type_name(schema) {
        "array" => format!("list of {}s", schema.get("items").map_or_else(|| "value".to_owned(), title)),
        "object" => "table".to_owned(),
        "integer" => "number".to_owned(),
        other => other.to_owned(),
    }
}

fn is_type(value: &DeValue<'_>, expected: &str) -> bool {
    match value {
        DeValue::String(_) => expected == "string",
        DeValue::Integer(_) => expected == "integer",
        DeValue::Boolean(_) => expected == "boolean",
        DeValue::Array(_) => expected == "array",
        DeValue::Table(_) => expected == "object",
        DeValue::Float(_) | DeValue::Datetime(_) => false,
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a number without quotes",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "`true` or `false`",
        DeValue::Datetime(_) => "a date or time without quotes",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn with_article(noun: &str) -> String {
    let article = if noun.starts_with(['a', 'e', 'i', 'o']) { "an" } else { "a" };
    format!("{article} {noun}")
}

fn strings(value: Option<&Value>) -> Vec<&str> {
    value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

/// "`a`, `b` or `c`".
fn list(names: &[&str], conjunction: &str) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} {conjunction} {last}", rest.join(", ")),
        None => "none".to_owned(),
    }
}

/// The name that was probably meant: at most a third of its letters away.
fn near<'n>(word: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let word = word.to_ascii_lowercase().replace('-', "_");
    names
        .map(|name| (distance(&word, name), name))
        .filter(|&(distance, name)| distance <= name.len().div_ceil(3))
        .min()
        .map(|(_, name)| name)
}

/// How many letters must be added, removed or replaced to make one word of the other (Levenshtein).
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, l) in left.chars().enumerate() {
        let mut next = Vec::with_capacity(row.len());
        next.push(index + 1);
        for ((above, diagonal), r) in row.iter().skip(1).zip(&row).zip(&right) {
            let replace = diagonal + usize::from(l != *r);
            let beside = next.last().map_or(usize::MAX, |cost| cost + 1);
            next.push(replace.min(above + 1).min(beside));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}
