//! `haetae policy table DIR`: the policy as a regulator reads it, as text, CSV or a page to print.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use verdict::stamp::Stamp;

use crate::clock::Clock;
use crate::policy::{Bundle, Table};

/// What to lay out, and how.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// Directory of the bundle, e.g. `policies`
    dir: PathBuf,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// The file to write; standard output without it
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// As of this date or instant (`2026-11-20`, `2026-11-20T09:00:00+09:00`); now without it
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Text,
    Csv,
    /// One page without scripts, made for printing
    Html,
}

/// Writes the table; 0 when it was written.
///
/// # Errors
/// When the bundle is not usable, its rules cannot be laid out, or the file cannot be written.
pub async fn run(args: Args) -> Result<ExitCode> {
    let now = Clock::system().unix_s();
    let at = instant(args.at.as_deref(), now)?;
    let bundle = Bundle::load(&args.dir, now).await?;
    let table = Table::new(bundle.rules(), at)?;
    let text = match args.format {
        Format::Text => table.text(),
        Format::Csv => table.csv()?,
        Format::Html => table.html(),
    };
    write(args.out.as_deref(), &text)?;
    Ok(ExitCode::SUCCESS)
}

/// The instant that was typed, in Unix seconds, or now.
pub fn instant(typed: Option<&str>, now: i64) -> Result<i64> {
    Ok(match typed {
        Some(text) => Stamp::parse(text).map_err(|error| anyhow::anyhow!("{error}"))?.starts(),
        None => now,
    })
}

/// Into the file, or to standard output.
pub fn write(out: Option<&Path>, text: &str) -> Result<()> {
    match out {
        Some(path) => {
            std::fs::write(path, text).with_context(|| format!("cannot write `{}`", path.display()))
        }
        None => std::io::stdout().lock().write_all(text.as_bytes()).context("cannot write"),
    }
}

const AFTER_HELP: &str = "\
Each page is one regime; the first line that fits decides, and the lines together decide every combination of facts exactly
once: that is proven each time. Two runs between the same two dates give the same bytes.
  haetae policy table policies
  haetae policy table policies --format html --out table.html      then print it
  haetae policy table policies --at 2032-01-01                     once the decision for the United Kingdom has run out";
