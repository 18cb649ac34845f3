//! A table as comma-separated values, one row for each line: for a spreadsheet or a program.

use super::text::places;
use super::{Page, Table};
use crate::policy::rulebook::word;

impl Table<'_> {
    /// The whole table as CSV (RFC 4180) with a heading.
    ///
    /// # Errors
    /// None in practice: writing goes to memory.
    pub fn csv(&self) -> Result<String, csv::Error> {
        let mut sheet = csv::Writer::from_writer(Vec::new());
        sheet.write_record(COLUMNS)?;
        for page in &self.pages {
            for (number, line) in page.lines.iter().enumerate() {
                sheet.write_record([
                    self.rulebook().digest(),
                    &page.regime,
                    &(number + 1).to_string(),
                    &word(&line.outcome),
                    line.code.code(),
                    line.rule.as_deref().unwrap_or(""),
                    &line.scope.profiles(),
                    &line.scope.flows(),
                    &ends(page, &line.scope.destinations),
                    &line.when.to_string(),
                    &line.obligations.join(" "),
                    &line.combinations.to_string(),
                ])?;
            }
        }
        let bytes = sheet.into_inner().map_err(|error| csv::Error::from(error.into_error()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// The labels with their places: a sheet has no legend.
fn ends(page: &Page, numbers: &std::collections::BTreeSet<usize>) -> String {
    let named = numbers.iter().filter_map(|number| page.destinations.get(*number));
    let named = named.map(|it| format!("{} ({})", it.label, places(&it.places)));
    named.collect::<Vec<_>>().join("; ")
}

const COLUMNS: [&str; 12] = [
    "bundle",
    "regime",
    "line",
    "outcome",
    "reason",
    "rule",
    "profiles",
    "flows",
    "destinations",
    "when",
    "obligations",
    "combinations",
];
