//! What happened, as a table that fits a terminal: 120 columns, colours only for people.

use std::io::IsTerminal;

/// One line of the table, with notes under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What was sent, in plain words.
    pub title: String,
    /// Status and code or rule.
    pub answer: String,
    /// The site that computed the answer; empty when nothing was forwarded.
    pub site: String,
    pub as_expected: bool,
    /// What the answer said, or what was expected instead.
    pub notes: Vec<String>,
}

/// Whether standard output is a terminal whose user did not ask for plain text (no-color.org).
#[must_use]
pub fn wants_colour() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

#[must_use]
pub fn head(colour: bool) -> String {
    let line = cells("", "what was sent", "answer", "computed at", "");
    format!("{}\n{}\n", paint(BOLD, line.trim_end(), colour), "-".repeat(WIDTH))
}

/// The row and its notes, each line at most 120 columns.
#[must_use]
pub fn row(number: usize, row: &Row, colour: bool) -> String {
    let (word, shade) = if row.as_expected { ("ok", GREEN) } else { ("UNEXPECTED", RED) };
    let site = if row.site.is_empty() { "-" } else { &row.site };
    let (first, more) = split(&row.title, TITLE);
    let mut text = cells(&number.to_string(), first, &row.answer, site, "");
    text.push_str(&paint(shade, word, colour));
    text.push('\n');
    if !more.is_empty() {
        text.push_str(&cells("", more, "", "", ""));
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    for note in &row.notes {
        for line in wrap(note, WIDTH - INDENT) {
            text.push_str(&" ".repeat(INDENT));
            text.push_str(&paint(DIM, line, colour));
            text.push('\n');
        }
    }
    text
}

fn cells(number: &str, title: &str, answer: &str, site: &str, last: &str) -> String {
    let (answer, _) = split(answer, ANSWER);
    format!("{number:>2}  {title:TITLE$}  {answer:ANSWER$}  {site:SITE$}  {last}")
}

/// Lines of at most `width` characters, broken at spaces; a longer word is broken where it must be.
fn wrap(text: &str, width: usize) -> Vec<&str> {
    let (mut lines, mut rest) = (Vec::new(), text.trim());
    while !rest.is_empty() {
        let (line, more) = split(rest, width);
        lines.push(line);
        rest = more;
    }
    lines
}

fn split(text: &str, width: usize) -> (&str, &str) {
    let Some((end, _)) = text.char_indices().nth(width) else { return (text, "") };
    let (fits, _) = text.split_at(end);
    let (line, more) = match fits.rfind(' ') {
        Some(space) if !text.split_at(end).1.starts_with(' ') => text.split_at(space),
        _ => text.split_at(end),
    };
    (line.trim_end(), more.trim_start())
}

fn paint(shade: &str, text: &str, colour: bool) -> String {
    if colour { format!("\u{1b}[{shade}m{text}\u{1b}[0m") } else { text.to_owned() }
}

/// 2 + 2 + 58 + 2 + 30 + 2 + 11 + 2 + 10 ("UNEXPECTED") = 119.
const WIDTH: usize = 119;
const TITLE: usize = 58;
const ANSWER: usize = 30;
const SITE: usize = 11;
const INDENT: usize = 6;

const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "31";
const GREEN: &str = "32";

#[cfg(test)]
mod tests {
    //! Whatever is said, no line is wider than a terminal, and nothing of it is lost.
    use super::*;

    fn sample(title: &str, note: &str) -> Row {
        Row {
            title: title.to_owned(),
            answer: "403 data_residency_denied R04".to_owned(),
            site: String::new(),
            as_expected: false,
            notes: vec![note.to_owned()],
        }
    }

    #[test]
    fn every_line_fits_and_every_word_is_there() {
        let words =
            "Korean orders, pinned to Virginia by a caller who insists on the farther site ";
        let text = row(12, &sample(words, &words.repeat(7)), false);
        for line in text.lines() {
            assert!(line.chars().count() <= WIDTH, "{line}");
        }
        assert_eq!(text.matches("insists").count(), 8);
        assert!(text.starts_with(
            "12  Korean orders, pinned to Virginia by a caller who insists   403 data"
        ));
        assert!(text.lines().next().unwrap().ends_with("UNEXPECTED"));
    }

    #[test]
    fn a_word_longer_than_the_line_is_broken_not_lost() {
        let long = "x".repeat(300);
        let lines = wrap(&long, 100);
        assert_eq!(lines.concat(), long);
        assert_eq!(lines.len(), 3);
    }

    #[test]
    fn colours_are_only_added_when_asked_for() {
        let plain = row(1, &sample("a", "b"), false);
        assert!(!plain.contains('\u{1b}'));
        assert!(row(1, &sample("a", "b"), true).contains("\u{1b}[31mUNEXPECTED\u{1b}[0m"));
    }
}
