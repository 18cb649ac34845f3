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
        known: impl Iterator<Item = &'w str>,
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

/// Edit distance in characters, where two neighbours exchanged count as one slip (optimal string alignment).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    let mut previous = None;
    for (i, a) in one.chars().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in other.iter().enumerate() {
            let at =
                |row: &[usize], index: usize| row.get(index).copied().unwrap_or(usize::MAX - 1);
            let changed = at(&last, j) + usize::from(a != *b);
            let mut best = changed.min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            let exchanged = j > 0 && previous == Some(*b) && other.get(j - 1) == Some(&a);
            if exchanged {
                best = best.min(at(&before_last, j - 1) + 1);
            }
            row.push(best);
        }
        previous = Some(a);
        before_last = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
}
