//! Text of others on a console: made harmless, then broken into lines.

/// Printable ASCII on one line. What an admin, a cloud or a participant wrote may hold escape sequences, and no console here has
/// a font or a terminal of which more is known.
pub fn harmless(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            ' '..='~' => c,
            '\t' | '\n' | '\u{a0}' => ' ',
            '\u{2018}' | '\u{2019}' => '\'',
            '\u{201c}' | '\u{201d}' => '"',
            '\u{2010}'..='\u{2015}' => '-',
            _ => '?',
        })
        .collect()
}

/// The lines of a text of others, each harmless; empty ones are left out.
pub fn lines(text: &str) -> Vec<String> {
    text.lines().map(|line| harmless(line).trim_end().to_owned()).filter(|line| !line.trim().is_empty()).collect()
}

/// Breaks a line at spaces, and inside a word that is longer than a line. What follows the first line is indented by `hang` more
/// than the line itself is.
pub fn wrap(line: &str, width: usize, hang: usize) -> Vec<String> {
    let own = line.len() - line.trim_start().len();
    let width = width.max(8);
    let (first, later) = (own.min(width / 2), (own + hang).min(width / 2));
    let mut all = vec![" ".repeat(first)];
    let mut is_empty = true;
    for word in line.split_whitespace() {
        let mut word = word;
        loop {
            let current = all.last_mut().expect("begun with one");
            let gap = usize::from(!is_empty);
            if current.len() + gap + word.len() <= width {
                current.push_str(&" ".repeat(gap));
                current.push_str(word);
                is_empty = false;
                break;
            }
            if is_empty {
                let room = width - current.len();
                let (head, tail) = word.split_at(floor(word, room));
                current.push_str(head);
                word = tail;
            }
            all.push(" ".repeat(later));
            is_empty = true;
        }
    }
    all
}

/// The last place at or before `at` where a character begins, and behind the first one.
fn floor(word: &str, at: usize) -> usize {
    (1..=at.min(word.len())).rev().find(|at| word.is_char_boundary(*at)).unwrap_or(word.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_is_left() {
        let nasty = "a\u{1b}[2J\u{9b}31m\u{7}\r\u{8}b\u{202e}\u{0}\u{7f}\u{e9}\u{1f600}\tc";
        let said = harmless(nasty);
        assert!(said.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{said}");
        assert_eq!(said, "a?[2J?31m???b????? c");
        assert_eq!(lines("one\n\n  two\u{1b}c\n"), ["one", "  two?c"]);
        assert_eq!(harmless("\u{201c}it\u{2019}s\u{201d} \u{2013} 3\u{a0}s"), "\"it's\" - 3 s");
    }

    #[test]
    fn lines_are_broken_at_spaces_and_long_words_anywhere() {
        assert_eq!(wrap("  one two three four", 12, 2), ["  one two", "    three", "    four"]);
        assert_eq!(wrap("abcdefghijklmnopqrst", 8, 2), ["abcdefgh", "  ijklmn", "  opqrst"]);
        assert_eq!(wrap("ab abcdefghijklmnopqrst", 8, 0), ["ab", "abcdefgh", "ijklmnop", "qrst"]);
        assert_eq!(wrap("", 8, 2), [""]);
        for width in 0..30 {
            let all = wrap("   a line with averyveryverylongwordinit and more", width, 4);
            assert!(all.iter().all(|line| line.len() <= width.max(8)), "{all:?}");
            assert_eq!(all.concat().replace(' ', ""), "alinewithaveryveryverylongwordinitandmore");
        }
    }
}
