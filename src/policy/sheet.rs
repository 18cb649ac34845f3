//! Strict reading of rule sheets: text in, rows of symbols out, before casbin sees anything.
//!
//! casbin keeps an inline comment as part of a cell, ignores a row of a section it does not know, and fails at the first
//! decision when a row is short. Each of these is a fault here.
//!
//! *Invariant:* no quoting, no escapes, no empty cell, no number: a cell is one symbol or a list of symbols.

use std::collections::BTreeMap;

use super::fault::Faults;

/// One kind of row: its first cell and the columns that follow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Section {
    pub name: &'static str,
    pub columns: &'static [&'static str],
}

/// A row as written, its cells in the order of its section's columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SheetRow {
    pub line: usize,
    pub section: &'static str,
    pub cells: Vec<String>,
}

impl SheetRow {
    /// The cell of a column; empty only if the column does not exist.
    pub(crate) fn cell(&self, index: usize) -> &str {
        self.cells.get(index).map_or("", String::as_str)
    }
}

/// Reads a sheet. The first row of each section must repeat the names of its columns; rows with a fault are left out.
pub(crate) fn read(text: &str, sections: &[Section], faults: &mut Faults<'_>) -> Vec<SheetRow> {
    let mut rows = Vec::new();
    let mut headers: Vec<&str> = Vec::new();
    let mut seen = BTreeMap::new();
    for (index, raw) in text.lines().enumerate() {
        let line = index + 1;
        let raw = raw.trim();
        if raw.is_empty() || raw.starts_with('#') {
            continue;
        }
        let Some(row) = read_line(raw, line, sections, faults) else { continue };
        if !headers.contains(&row.section) {
            headers.push(row.section);
            header(&row, sections, faults);
            continue;
        }
        if !cells_are_sound(&row, sections, faults) {
            continue;
        }
        if let Some(first) = seen.insert(row.cells.clone(), line) {
            faults.add(line, format!("this row repeats line {first}"), "remove one of the two");
            continue;
        }
        rows.push(row);
    }
    if rows.is_empty() {
        faults.add(
            0,
            "the sheet has no rows",
            "write at least one row, or remove the file: an empty policy can allow",
        );
    }
    rows
}

fn read_line(
    raw: &str,
    line: usize,
    sections: &[Section],
    faults: &mut Faults<'_>,
) -> Option<SheetRow> {
    if raw.contains('#') {
        faults.add(
            line,
            "a `#` inside a row would be read as part of the cell, not as a comment",
            "put the comment on a line of its own",
        );
        return None;
    }
    if !raw.contains(',') {
        faults.add(line, "a row without a comma", "separate the cells of a row with commas");
        return None;
    }
    let mut cells = raw.split(',').map(|cell| cell.trim().to_owned());
    let name = cells.next().unwrap_or_default();
    let Some(section) = sections.iter().find(|section| section.name == name) else {
        let known = sections.iter().map(|section| section.name);
        let mend = format!(
            "begin the row with {}: a row of another section would vanish",
            listed(known.clone())
        );
        faults.unknown(line, "section", &name, known, mend);
        return None;
    };
    let cells: Vec<String> = cells.collect();
    if cells.len() != section.columns.len() {
        let (have, need) = (cells.len(), section.columns.len());
        faults.add(
            line,
            format!("a row of `{name}` with {have} cells instead of {need}"),
            format!("give one cell for each of {}", section.columns.join(", ")),
        );
        return None;
    }
    Some(SheetRow { line, section: section.name, cells })
}

fn header(row: &SheetRow, sections: &[Section], faults: &mut Faults<'_>) {
    let Some(section) = sections.iter().find(|section| section.name == row.section) else { return };
    if row.cells != section.columns {
        faults.add(
            row.line,
            format!("`{}` is not the header of section `{}`", row.cells.join(","), row.section),
            format!("begin the section with `{},{}`", section.name, section.columns.join(",")),
        );
    }
}

fn cells_are_sound(row: &SheetRow, sections: &[Section], faults: &mut Faults<'_>) -> bool {
    let columns =
        sections.iter().find(|section| section.name == row.section).map_or(&[][..], |s| s.columns);
    let before = faults.found.len();
    for (column, cell) in columns.iter().zip(&row.cells) {
        if let Some((found, mend)) = complaint(column, cell) {
            faults.add(row.line, found, mend);
        }
    }
    faults.found.len() == before
}

/// What is wrong with a cell, and how to mend it.
fn complaint(column: &str, cell: &str) -> Option<(String, &'static str)> {
    if cell.is_empty() {
        let mend = "write `-` for nothing, `*` for any";
        return Some((format!("column `{column}` is empty"), mend));
    }
    if cell.parse::<f64>().is_ok() {
        let mend = "write a symbol of the vocabulary: the engine does not compare numbers, facts are made symbols before";
        return Some((format!("column `{column}` holds the number `{cell}`"), mend));
    }
    let odd = cell.chars().find(|char| !is_symbol_char(*char))?;
    let mend = "use ASCII letters, digits and `: . _ - + * ! > = / ( )`, lists separated by spaces, no quotes";
    Some((format!("column `{column}` holds `{}`", shown(odd)), mend))
}

/// As a reader can see it.
fn shown(odd: char) -> String {
    if odd.is_alphanumeric() || odd.is_ascii_graphic() {
        odd.to_string()
    } else {
        odd.escape_default().collect()
    }
}

const fn is_symbol_char(char: char) -> bool {
    char.is_ascii_alphanumeric()
        || matches!(
            char,
            ':' | '.' | '_' | '-' | '+' | '*' | '!' | '>' | '=' | '/' | '(' | ')' | ' '
        )
}

/// `a`, `b` or `c`, for a message.
pub(crate) fn listed<'w>(words: impl Iterator<Item = &'w str>) -> String {
    let words: Vec<String> = words.map(|word| format!("`{word}`")).collect();
    match words.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}
