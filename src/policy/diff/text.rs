//! A diff as plain text.

use std::fmt;

use verdict::Rulebook;
use verdict::stamp::Stamp;

use super::{Change, Diff, Interval, Told};
use crate::policy::rulebook::word;
use crate::policy::table::count;

impl fmt::Display for Diff<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        named(out, "before", self.before)?;
        named(out, "after ", self.after)?;
        for interval in &self.intervals {
            write!(out, "\n{interval}")?;
        }
        writeln!(out, "\n== what is written otherwise: {}", self.written.len())?;
        for line in &self.written {
            writeln!(out, "{line}")?;
        }
        Ok(())
    }
}

fn named(out: &mut fmt::Formatter<'_>, which: &str, rulebook: &Rulebook) -> fmt::Result {
    let book = rulebook.book();
    writeln!(out, "{which} {} {} {}", book.name, book.version, rulebook.digest())
}

impl fmt::Display for Interval {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stamp = |at| Stamp::at(at).map_or_else(|_| at.to_string(), |it| it.to_string());
        let until = self.until.map_or_else(|| "on".into(), |it| format!("to before {}", stamp(it)));
        write!(out, "== from {} {until}: ", stamp(self.from))?;
        match self.changes.len() {
            0 => return writeln!(out, "no outcome changes"),
            1 => writeln!(out, "outcomes change in 1 way")?,
            many => writeln!(out, "outcomes change in {many} ways")?,
        }
        self.changes.iter().try_for_each(|change| write!(out, "{change}"))
    }
}

impl fmt::Display for Change {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "{} -> {}: {} combinations",
            word(&self.before.outcome),
            word(&self.after.outcome),
            count(self.combinations)
        )?;
        writeln!(out, "    before  {}", self.before)?;
        writeln!(out, "    after   {}", self.after)?;
        for cells in &self.cells {
            for scope in &cells.scopes {
                writeln!(out, "    in      {} {}", cells.regime, scope.words(&cells.destinations))?;
            }
        }
        let example = if self.example.is_empty() {
            "whatever the facts".to_owned()
        } else {
            self.example.join(" and ")
        };
        writeln!(out, "    e.g.    {example}")
    }
}

impl fmt::Display for Told {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.rule.as_deref().unwrap_or("-"), self.code.code())?;
        if !self.obligations.is_empty() {
            let obligations: Vec<&str> = self.obligations.iter().map(String::as_str).collect();
            write!(out, ", obligations {}", obligations.join(" "))?;
        }
        Ok(())
    }
}
