//! The text of the file with the places of its keys, and the list of what is wrong with it.
//!
//! Promises: every problem has a line and a column; they come out in the order of the file.
//! Deliberately not here: what is a problem.

use std::ops::Range;
use std::path::PathBuf;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::Problem;

/// One step from a value to a value inside it.
#[derive(Clone, Debug)]
enum Step {
    Key(String),
    Index(usize),
}

/// The way from the top of the file to a value.
#[derive(Clone, Debug, Default)]
pub(super) struct At(Vec<Step>);

impl At {
    /// The way to a key below this table.
    pub(super) fn key(&self, key: &str) -> Self {
        let mut steps = self.0.clone();
        steps.push(Step::Key(key.to_owned()));
        Self(steps)
    }

    /// The way to a member of this list.
    pub(super) fn index(&self, index: usize) -> Self {
        let mut steps = self.0.clone();
        steps.push(Step::Index(index));
        Self(steps)
    }

    /// The path as people write it, without the indexes of lists: `database.role.groups`.
    pub(super) fn name(&self) -> String {
        let keys: Vec<&str> = self
            .0
            .iter()
            .filter_map(|step| match step {
                Step::Key(key) => Some(key.as_str()),
                Step::Index(_) => None,
            })
            .collect();
        keys.join(".")
    }
}

/// A configuration file, taken apart as TOML.
pub(super) struct Source<'i> {
    file: PathBuf,
    text: &'i str,
    table: Spanned<DeTable<'i>>,
    problems: Vec<Problem>,
}

impl<'i> Source<'i> {
    /// Takes the text apart.
    pub(super) fn parse(file: PathBuf, text: &'i str) -> Result<Self, Problem> {
        match DeTable::parse(text) {
            Ok(table) => Ok(Self { file, text, table, problems: Vec::new() }),
            Err(error) => {
                let (line, column) = position(text, error.span().map_or(0, |span| span.start));
                let message = format!("expected TOML, found a mistake: {}", error.message().replace('\n', ", "));
                Err(Problem { file, line, column, message })
            }
        }
    }

    /// The file in the shape of the schema.
    pub(super) fn read<T: serde::de::DeserializeOwned>(&self) -> Result<T, Vec<Problem>> {
        T::deserialize(toml::de::Deserializer::from(self.table.clone())).map_err(|error| {
            // What the schema cannot say. The message is left out: it may quote a secret.
            let (line, column) = position(self.text, error.span().map_or(0, |span| span.start));
            let message = "expected a value of another shape, found this: see `safe-boundary config schema`".to_owned();
            vec![Problem { file: self.file.clone(), line, column, message }]
        })
    }

    /// The top table.
    pub(super) fn table(&self) -> &Spanned<DeTable<'i>> {
        &self.table
    }

    /// Whether a table is written in braces, as one value.
    pub(super) fn is_inline(&self, value: &Spanned<DeValue<'_>>) -> bool {
        self.text.get(value.span()).is_some_and(|text| text.starts_with('{'))
    }

    /// Notes a problem with the value at `at`, or with the table that lacks it.
    pub(super) fn wrong(&mut self, at: &At, message: String) {
        let offset = self.offset(at);
        self.wrong_at(offset, message);
    }

    /// Notes a problem at a place of the text.
    pub(super) fn wrong_at(&mut self, offset: usize, message: String) {
        let (line, column) = position(self.text, offset);
        self.problems.push(Problem { file: self.file.clone(), line, column, message });
    }

    /// Whether nothing is wrong so far.
    pub(super) fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }

    /// What is wrong, in the order of the file.
    pub(super) fn into_problems(mut self) -> Vec<Problem> {
        self.problems.sort_by_key(|problem| (problem.line, problem.column));
        self.problems
    }

    fn offset(&self, at: &At) -> usize {
        let mut offset = self.table.span().start;
        let mut table = Some(self.table.get_ref());
        let mut value: Option<&Spanned<DeValue<'_>>> = None;
        for step in &at.0 {
            let next = match step {
                Step::Key(key) => table.and_then(|table| table.get(key.as_str())),
                Step::Index(index) => value.and_then(|value| value.get_ref().as_array()?.get(*index)),
            };
            let Some(next) = next else { break };
            value = Some(next);
            table = next.get_ref().as_table();
            offset = start(next.span());
        }
        offset
    }
}

const fn start(span: Range<usize>) -> usize {
    span.start
}

/// Line and column of a byte, both counted from 1; the column in characters.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters() {
        let check = |text, offset, expected| assert_eq!(position(text, offset), expected, "{text:?} {offset}");
        check("", 0, (1, 1));
        check("a = 1\nb = 2\n", 6, (2, 1));
        check("a = 1\nb = 2\n", 10, (2, 5));
        check("é = 1", 5, (1, 5));
        check("a", 99, (1, 2));
    }

    #[test]
    fn places_of_values() {
        let text = "[server]\ndrain = '30s'\n\n[[database]]\nname = 'a'\n[[database.role]]\ngroups = ['x',\n 'y']\n";
        let mut source = Source::parse(PathBuf::from("f"), text).unwrap();
        let top = At::default();
        let role = top.key("database").index(0).key("role").index(0);
        source.wrong(&role.key("groups").index(1), role.key("groups").index(1).name());
        source.wrong(&top.key("server").key("drain"), "drain".to_owned());
        source.wrong(&top.key("server").key("missing"), "missing".to_owned());
        source.wrong(&top.key("database").index(0), "database".to_owned());
        let lines: Vec<String> = source.into_problems().iter().map(ToString::to_string).collect();
        assert_eq!(lines, ["f:1:1: missing", "f:2:9: drain", "f:4:1: database", "f:8:2: database.role.groups"]);
    }
}
