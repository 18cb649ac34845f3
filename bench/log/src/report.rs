//! The section of docs/bench.md.

use std::path::Path;
use std::process::Command;

use anyhow::Context as _;

pub fn median(mut all: Vec<f64>) -> f64 {
    all.sort_unstable_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
}

pub const fn met(is: bool) -> &'static str {
    if is { " (met)" } else { " (**missed**)" }
}

/// Of 1, 5 and 15 minutes.
pub fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

pub fn section(before: &str, tables: &str) -> String {
    let said = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let date = said("date", &["-u", "+%F"]).unwrap_or_default();
    let commit = said("git", &["rev-parse", "--short=7", "HEAD"]).unwrap_or_default();
    let edited =
        said("git", &["status", "--porcelain", "--", "src", "crates", "bench/log", "Cargo.lock"]);
    let edited = if edited.is_some_and(|files| !files.is_empty()) { " and edits" } else { "" };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "## {date}, commit {commit}{edited}, {cores} cores\n\n\
         Load average before: {before}; at the end: {} (the bench alone makes about 3).\n\n{tables}",
        load_average()
    )
}

/// Puts it in front of the older sections of its chapter.
pub fn into(file: &Path, section: &str) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| format!("`{}`", file.display()))?;
    let chapter =
        text.find(CHAPTER).with_context(|| format!("`{}` has no `{CHAPTER}`", file.display()))?;
    let rest = &text[chapter..];
    // The first section of the chapter, or its end.
    let end = rest[1..].find("\n# ").map_or(rest.len(), |at| at + 2);
    let place = rest[..end].find("\n## ").map_or(end, |at| at + 1);
    let (head, tail) = text.split_at(chapter + place);
    std::fs::write(file, format!("{head}{section}\n{tail}"))?;
    Ok(())
}

const CHAPTER: &str = "# The log and the guard alone";
