//! Text of others, made harmless where it is shown.
//!
//! Promises: on a terminal it is one line without control, direction or invisible characters; in a CSV cell it is
//! one cell, no formula, and nothing that commands the terminal on which the table may be shown.
//! Deliberately not here: JSON, which is for programs, and escapes what it must by itself.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Text for a terminal: what could move the cursor, change colours, turn or hide text is spelled out.
pub(super) use domain::text::spelled_out as terminal;

/// How many characters a name has in a column.
const NAME_CHARS: usize = 64;

/// A name for a column of a terminal: one word, and no longer than names are. What a stranger calls itself must not look
/// like the columns beside it.
pub(super) fn name(text: &str) -> String {
    let mut word = String::new();
    for c in terminal(text).chars() {
        if c.is_whitespace() {
            let _ = write!(word, "\\u{{{:x}}}", u32::from(c));
        } else {
            word.push(c);
        }
    }
    shortened(word, Some(NAME_CHARS))
}

/// The beginning of a text, at most this many characters, and a sign when that is not all.
pub(super) fn shortened(text: String, chars_max: Option<usize>) -> String {
    let cut = chars_max.and_then(|max| text.char_indices().nth(max).map(|(at, _)| (max, at)));
    let Some((max, _)) = cut else { return text };
    text.chars().take(max.saturating_sub(1)).chain(['…']).collect()
}

/// How many columns the terminal has on which this is shown; none when it is shown on none.
pub(super) fn terminal_columns() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    (size.ws_col > 0).then_some(usize::from(size.ws_col))
}

/// What further lines of a row begin with.
const INDENT: &str = "    ";

/// A row, broken into lines of so many columns. The further ones are indented, so that none looks like another row, as one could
/// that the terminal breaks by itself. What is not ASCII may be two columns wide.
pub(super) fn in_lines(row: &str, columns: Option<usize>) -> String {
    // Narrower than a time and a name nobody works, and there has to be room behind the indent.
    let columns = columns.map_or(usize::MAX, |columns| columns.max(2 * INDENT.len()));
    let mut lines = String::new();
    let mut used = 0;
    for c in row.chars() {
        let width = if c.is_ascii() { 1 } else { 2 };
        if used + width > columns {
            lines.push('\n');
            lines.push_str(INDENT);
            used = INDENT.len();
        }
        used += width;
        lines.push(c);
    }
    lines
}

/// One CSV cell (RFC 4180 §2). A spreadsheet takes a cell that begins like a formula for one, also behind spaces and
/// inside quotes; an apostrophe before it makes it text.
pub(super) fn csv(cell: &str) -> Cow<'_, str> {
    let commands = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    if cell.contains(commands) {
        let spell = |c: char| if commands(c) { format!("\\u{{{:x}}}", u32::from(c)) } else { c.to_string() };
        let spelled: String = cell.chars().map(spell).collect();
        return Cow::Owned(csv(&spelled).into_owned());
    }
    let begins = cell.trim_start_matches([' ', '\u{feff}']);
    let formula = begins.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '|', '＝', '＋', '－', '＠']);
    if !formula && !cell.contains(['"', ',', '\n', '\r', ';', '\t']) {
        return Cow::Borrowed(cell);
    }
    let apostrophe = if formula { "'" } else { "" };
    Cow::Owned(format!("\"{apostrophe}{}\"", cell.replace('"', "\"\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_line_of_a_row_begins_at_the_margin() {
        for (row, columns, shown) in [
            ("12345678 12345678", None, "12345678 12345678"),
            ("12345678", Some(8), "12345678"),
            ("123456789", Some(8), "12345678\n    9"),
            ("12345678 2026-11-30", Some(8), "12345678\n     202\n    6-11\n    -30"),
            ("日本日本日", Some(9), "日本日本\n    日"),
            ("123456789", Some(1), "12345678\n    9"),
        ] {
            assert_eq!(in_lines(row, columns), shown, "{row} {columns:?}");
        }
    }

    #[test]
    fn a_name_is_one_word_of_its_column() {
        let check = |text: &str, expected: &str| assert_eq!(name(text), expected, "{text:?}");
        check("payments", "payments");
        check("my db\u{3000}x\n", r"my\u{20}db\u{3000}x\n");
        check(&"x".repeat(64), &"x".repeat(64));
        // Whatever is seen as nothing would be room between columns.
        for c in
            ['\u{2800}', '\u{34f}', '\u{180b}', '\u{180f}', '\u{2003}', '\u{a0}', '\u{17b4}', '\u{fff0}', '\u{e0020}']
        {
            check(&format!("a{c}b"), &format!(r"a\u{{{:x}}}b", u32::from(c)));
        }
        let forged = name(&format!("alice payments{}DELETE 9", " ".repeat(200)));
        assert!(forged.starts_with(r"alice\u{20}payments\u{20}") && forged.ends_with('…'), "{forged}");
        assert_eq!(forged.chars().count(), NAME_CHARS);
    }

    #[test]
    fn nothing_commands_a_terminal() {
        let check = |text: &str, expected: &str| assert_eq!(terminal(text), expected, "{text:?}");
        check("select 'ä' -- ok", "select 'ä' -- ok");
        check("a\r\nb\tc", "a\\r\\nb\\tc");
        check("\x1b[31mred", "\\u{1b}[31mred");
        check("\u{9b}31m\u{7f}", "\\u{9b}31m\\u{7f}");
        check("a\u{202e}b\u{200b}c\u{2028}d", "a\\u{202e}b\\u{200b}c\\u{2028}d");
    }

    #[test]
    fn a_long_text_says_that_it_is_cut() {
        let check = |text: &str, max: Option<usize>, expected: &str| {
            assert_eq!(shortened(text.to_owned(), max), expected);
        };
        check("äöü", Some(3), "äöü");
        check("äöüx", Some(3), "äö…");
        check("äöüx", None, "äöüx");
    }

    #[test]
    fn nothing_commands_a_spreadsheet() {
        let check = |cell: &str, expected: &str| assert_eq!(csv(cell), expected, "{cell:?}");
        check("select 1", "select 1");
        check("a \"b\", c", "\"a \"\"b\"\", c\"");
        check("two\nlines", "\"two\nlines\"");
        check("=cmd|' /C calc'!A0", "\"'=cmd|' /C calc'!A0\"");
        check("  +1", "\"'  +1\"");
        check("-- comment", "\"'-- comment\"");
        check("@sum", "\"'@sum\"");
        check("\t=1", "\"'\t=1\"");
    }

    #[test]
    fn a_table_shown_on_a_terminal_does_not_command_it() {
        let check = |cell: &str, expected: &str| assert_eq!(csv(cell), expected, "{cell:?}");
        check("\x1b[31mred", "\\u{1b}[31mred");
        check("\u{9b}31m\0", "\\u{9b}31m\\u{0}");
        check("a\x07,\tb", "\"a\\u{7},\tb\"");
    }
}
