//! The schema of the configuration, and the reference made from it.
//!
//! Promises: one wording: what is printed here is what `raw.rs` says, and the loader checks against the same schema.
//! Deliberately not here: the wording.

use std::fmt::Write;

use serde_json::{Map, Value};

use super::{Preset, later, shape};
use crate::idp::presets;

/// The JSON Schema of `safe-boundary.toml`, as text.
#[must_use]
pub fn json_schema() -> String {
    format!("{:#}\n", shape::schema())
}

/// The reference as Markdown: `docs/configuration.md`.
#[must_use]
pub fn markdown() -> String {
    let schema = shape::schema();
    let mut page = Page { text: String::new() };
    page.line("<!-- Made by: safe-boundary config schema --markdown > docs/configuration.md -->");
    page.line("# Configuration\n");
    page.line(&words(&schema));
    page.line("");
    page.line(
        "Every mistake is reported with file, line and column, and ends the program with exit code 64. Secrets never stand in the \
         file: a `secret` is `{ env = \"NAME\" }` (an environment variable), `{ file = \"PATH\" }` (a file; one final line break is \
         not part of it) or `{ command = [\"PROGRAM\", \"ARGUMENT\"] }` (what a program prints within 10 s, run without a shell). \
         A `duration` is a number and a unit, `500ms`, `30s`, `5m`, `12h`, `90d`, or `0`. A `size` is `64KiB`, `16MiB`, `1GiB`.",
    );
    for (name, property) in properties(&schema) {
        page.section(name, property);
    }
    page.presets();
    page.line("\n## Keys of later versions\n");
    page.line("This version refuses these keys, so that nobody believes to be protected by them:\n");
    let keys: Vec<String> = later::keys().iter().map(|key| format!("`{key}`")).collect();
    page.line(&format!("{}.", keys.join(", ")));
    page.text
}

struct Page {
    text: String,
}

impl Page {
    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn section(&mut self, name: &str, schema: &Value) {
        let (heading, table) = match schema.get("items") {
            Some(item) => (format!("[[{name}]]"), item),
            None => (format!("[{name}]"), schema),
        };
        self.line(&format!("\n## `{heading}`\n"));
        self.line(&words(schema));
        let keys = properties(table);
        if keys.is_empty() {
            return;
        }
        self.line("\n| key | type | default | meaning |\n|---|---|---|---|");
        let required: Vec<&str> =
            table.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        let mut inner = Vec::new();
        for (key, property) in keys {
            if property.pointer("/items/properties").is_some() {
                inner.push((format!("{name}.{key}"), property));
            } else {
                self.row(key, property, required.contains(&key.as_str()));
            }
        }
        for (name, property) in inner {
            self.section(&name, property);
        }
    }

    fn row(&mut self, key: &str, property: &Value, required: bool) {
        let default = match property.get("default") {
            Some(default) => format!("`{}`", toml(default)),
            None if required => "required".to_owned(),
            None => String::new(),
        };
        let mut kind = shape::title(property);
        if let Some(choices) = property.get("enum").and_then(Value::as_array) {
            let choices: Vec<String> = choices.iter().map(|choice| format!("`{}`", toml(choice))).collect();
            kind = choices.join(", ");
        }
        let mut meaning = words(property).replace('\n', " ").replace('|', "\\|");
        if let Some(example) = property.get("examples").and_then(|examples| examples.get(0)) {
            let _ = write!(meaning, " Example: `{}`.", toml(example));
        }
        self.line(&format!("| `{key}` | {kind} | {default} | {meaning} |"));
    }

    fn presets(&mut self) {
        self.line("\n## Presets\n");
        self.line("What `idp.preset` sets, unless the key itself is there:\n");
        self.line(
            "| preset | `scopes` | `login_claim` | `subject_claim` | `groups_claim` | `require_verified_email` |",
        );
        self.line("|---|---|---|---|---|---|");
        for preset in Preset::ALL {
            let (name, defaults) = (preset.name(), presets::defaults(preset));
            let list = |texts: &[&str]| texts.iter().map(|text| format!("`{text}`")).collect::<Vec<_>>().join(" ");
            self.line(&format!(
                "| `{name}` | {} | `{}` | {} | `{}` | `{}` |",
                list(defaults.scopes),
                defaults.login_claim,
                list(defaults.subject_claim),
                defaults.groups_claim,
                defaults.require_verified_email,
            ));
        }
    }
}

fn properties(schema: &Value) -> Vec<(&String, &Value)> {
    schema.get("properties").and_then(Value::as_object).map(Map::iter).into_iter().flatten().collect()
}

fn words(schema: &Value) -> String {
    schema.get("description").and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// A value as it is written in the file.
fn toml(value: &Value) -> String {
    match value {
        Value::Object(table) if table.is_empty() => "{}".to_owned(),
        // Strings, numbers, booleans and lists look alike in JSON and TOML.
        other => other.to_string().replace("\",\"", "\", \""),
    }
}
