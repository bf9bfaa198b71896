//! Text of others: what in it does something else than stand there to be read.
//!
//! Promises: one answer for the whole product. A name with such a character is refused (`identity`); in what is shown on a
//! terminal it is spelled out or replaced.
//! Deliberately not here: how it is shown, and what is harmless but looks like another letter. A CSV cell keeps all but what
//! commands a terminal: a table must have the text as it came.

/// Whether a character is invisible, moves a cursor or reorders text: never part of a name that people compare by eye, and never
/// shown as it is.
///
/// These are the controls (General_Category Cc), what a program may ignore when it shows text (Unicode's
/// Default_Ignorable_Code_Point: joiners, fillers, directions, tags, variation selectors), the separators of lines, and the
/// blanks that Unicode counts among letters or symbols. Spaces are none: they are seen, as long as something follows.
#[must_use]
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{17b4}' | '\u{17b5}' | '\u{feff}')
        || matches!(c, '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{fff0}'..='\u{fffb}')
        // Letters, by their class, that fonts show as nothing: the fillers of Hangul, and the blank of Braille.
        || matches!(c, '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' | '\u{2800}')
        // The same of Egyptian writing and of music.
        || matches!(c, '\u{13441}' | '\u{13442}' | '\u{1d159}')
        // Marks of shorthand, of music, and tags.
        || matches!(c, '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// The text on one line, with what is hidden spelled out: `\n`, `\u{1b}`.
#[must_use]
pub fn spelled_out(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if is_hidden(c) {
            plain.extend(c.escape_default());
        } else {
            plain.push(c);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_characters_are_known() {
        let hidden = [
            '\0',
            '\n',
            '\t',
            '\u{1b}',
            '\u{7f}',
            '\u{9b}',
            '\u{ad}',
            '\u{34f}',
            '\u{61c}',
            '\u{115f}',
            '\u{17b5}',
            '\u{180b}',
            '\u{180e}',
            '\u{180f}',
            '\u{200b}',
            '\u{2028}',
            '\u{202e}',
            '\u{2066}',
            '\u{2800}',
            '\u{3164}',
            '\u{fe0f}',
            '\u{feff}',
            '\u{ffa0}',
            '\u{fff0}',
            '\u{fffb}',
            '\u{13441}',
            '\u{13442}',
            '\u{1bca0}',
            '\u{1d159}',
            '\u{1d173}',
            '\u{e0001}',
            '\u{e01ef}',
        ];
        for c in hidden {
            assert!(is_hidden(c), "{c:?}");
        }
        for c in ['a', '@', 'é', '日', ' ', '\u{a0}', '\u{3000}', '😀', '\u{fffd}', '\u{2801}'] {
            assert!(!is_hidden(c), "{c:?}");
        }
    }
}
