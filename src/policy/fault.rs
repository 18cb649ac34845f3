//! What is wrong with a bundle, said so that its author can mend it: file, line, what was found, what was meant, how.

use std::fmt;

/// Everything that keeps a bundle from being used. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct BundleError {
    pub faults: Vec<Fault>,
}

impl fmt::Display for BundleError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.faults.iter().enumerate() {
            if index > 0 {
                writeln!(out)?;
            }
            write!(out, "{fault}")?;
        }
        Ok(())
    }
}

/// One thing that is wrong, at one place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// Path inside the bundle, with `/`.
    pub file: String,
    /// From 1; 0 when the whole file is meant.
    pub line: usize,
    /// What stands there, the author's words in backticks.
    pub found: String,
    /// What was probably meant.
    pub meant: Option<String>,
    /// What to do next.
    pub mend: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.file)?;
        if self.line > 0 {
            write!(out, ":{}", self.line)?;
        }
        write!(out, ": {}", self.found)?;
        if let Some(meant) = &self.meant {
            write!(out, ": did you mean `{meant}`?")?;
        }
        write!(out, ": {}", self.mend)
    }
}

/// The faults of one file as they are found.
#[derive(Debug)]
pub(crate) struct Faults<'a> {
    pub file: &'a str,
    pub found: &'a mut Vec<Fault>,
}

impl Faults<'_> {
    pub(crate) fn add(&mut self, line: usize, found: impl Into<String>, mend: impl Into<String>) {
        self.found.push(Fault {
            file: self.file.to_owned(),
            line,
            found: found.into(),
            meant: None,
            mend: mend.into(),
        });
    }

    /// A word outside a closed list: names the nearest word of the list.
    pub(crate) fn unknown<'w>(
        &mut self,
        line: usize,
        what: &str,
        word: &str,
        known: impl Iterator<Item = &'w str> + Clone,
        mend: impl Into<String>,
    ) {
        self.found.push(Fault {
            file: self.file.to_owned(),
            line,
            found: format!("{what} `{word}` is not known"),
            meant: nearest(word, known).map(str::to_owned),
            mend: mend.into(),
        });
    }
}

/// The word of `known` that is most like `word`, if any is near enough to be a slip of the pen.
pub(crate) fn nearest<'w>(word: &str, known: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    let lower = word.to_lowercase();
    known
        .map(|candidate| (distance(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(apart, candidate)| *apart <= (candidate.chars().count() / 3).max(1))
        .min_by_key(|(apart, _)| *apart)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance in characters.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, b) in row.iter_mut().skip(1).zip(other.chars()) {
            let best = (*cell + 1).min(left + 1).min(diagonal + usize::from(a != b));
            diagonal = *cell;
            *cell = best;
            left = best;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}
