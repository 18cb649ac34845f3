//! `haetae policy replay DIR`: recorded decisions judged again under another bundle.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow, bail};
use sqlx::PgPool;
use tokio::runtime::Handle;
use verdict::Rulebook;

use super::table::{instant, write};
use crate::audit::{AuditError, ExportFile, Key, Records};
use crate::clock::Clock;
use crate::config::{Config, Database};
use crate::policy::{Bundle, Recorded, Report, Span, Ways, replay};

/// Under which bundle, and which decisions.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// Directory of the bundle to judge under, e.g. a proposed one
    dir: PathBuf,
    /// Decisions recorded from then on: `30d`, `12h`, a date or an instant
    #[arg(long, value_name = "TIME", default_value = "30d")]
    since: String,
    /// Decisions recorded before then; now without it
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Read the records from an export file instead of the database
    #[arg(long, value_name = "FILE", conflicts_with = "database")]
    export: Option<PathBuf>,
    /// The database, as a user who may read the log
    #[arg(long, value_name = "URL", env = "HAETAE_READER_URL", hide_env_values = true)]
    database: Option<String>,
    /// The configuration file that names the database, when neither of the two above is given
    #[arg(long, short, env = "HAETAE_CONFIG", default_value = "haetae.toml")]
    config: PathBuf,
    /// Sign the report with this key (`haetae keygen`), as a signed note
    #[arg(long, value_name = "FILE", requires = "name")]
    key: Option<PathBuf>,
    /// The name under which it is signed, e.g. `gateway.example.kr/replay`
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The file to write the report to; standard output without it
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Judges again and reports; 0 when nothing would change, 1 when something would.
///
/// # Errors
/// When the bundle is not usable, or records, key or file cannot be read or written.
pub async fn run(args: Args) -> Result<ExitCode> {
    let clock = Clock::system();
    let now = clock.unix_s();
    let span = Span {
        since: ago(&args.since, now)?,
        until: args.until.as_deref().map_or(Ok(now), |until| ago(until, now))?,
    };
    // before the work, not after it
    let key = args.key.as_deref().map(Key::read).transpose()?;
    let bundle = Bundle::load(&args.dir, now).await?;
    let began = clock.unix_ns();
    let (ways, source) = if let Some(path) = &args.export {
        tokio::task::block_in_place(|| from_file(bundle.rules(), span, path, threads()))?
    } else {
        let database = match args.database {
            Some(url) => Database::at(url),
            None => Config::read(&args.config)?.database,
        };
        let pool = database.reader_pool().await?;
        let records = Records::since(&pool, span.since).await?;
        let replay = || from_database(bundle.rules(), span, pool, records, threads());
        tokio::task::block_in_place(replay)?
    };
    let took_ms = (clock.unix_ns() - began).max(1) / 1_000_000;
    let rate = i64::try_from(ways.decisions).unwrap_or(i64::MAX) * 1_000 / took_ms.max(1);
    eprintln!("{} decisions in {took_ms} ms, {rate} a second", ways.decisions);
    let report = Report { rulebook: bundle.rules(), source: &source, span, ways: &ways };
    let mut text = report.to_string();
    if let (Some(key), Some(name)) = (key, args.name) {
        let signer = key.named(&name)?;
        text = tlog::Note::sign(text, &signer).map_err(|error| anyhow!("{error}"))?.to_string();
        eprintln!("signed; check it with {}", tlog::Signer::verifier(&signer));
    }
    write(args.out.as_deref(), &text)?;
    Ok(if ways.changed() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// `30d`, `12h`, or an instant.
fn ago(typed: &str, now: i64) -> Result<i64> {
    let units = [("d", 86_400), ("h", 3_600)];
    for (unit, seconds) in units {
        let number = typed.strip_suffix(unit).and_then(|number| number.parse::<u32>().ok());
        if let Some(number) = number {
            return Ok(now.saturating_sub(i64::from(number).saturating_mul(seconds)));
        }
    }
    instant(Some(typed), now).with_context(|| format!("`{typed}`: write `30d`, `12h` or a date"))
}

/// Replays an export file; with what the file says of itself.
///
/// # Errors
/// When the file is not whole.
pub fn from_file(
    rules: &Rulebook,
    span: Span,
    path: &Path,
    threads: usize,
) -> Result<(Ways, Vec<String>)> {
    let file = ExportFile::open(path).with_context(|| format!("`{}`", path.display()))?;
    let mut progress = Progress::new(file.size());
    let ways = replay(rules, span, &File(&file), threads, |each| {
        let counted = &mut |piece: Vec<u8>| {
            progress.add(piece.len());
            each(piece)
        };
        file.pieces(counted).map_err(text)
    });
    progress.end();
    let ways = ways.map_err(|error| anyhow!("`{}`: {error}", path.display()))?;
    Ok((ways, file.about))
}

/// Replays what is in the database; with what is read. Must not run on a thread that a runtime needs.
///
/// # Errors
/// When the database cannot be read.
pub fn from_database(
    rules: &Rulebook,
    span: Span,
    pool: PgPool,
    mut records: Records,
    threads: usize,
) -> Result<(Ways, Vec<String>)> {
    let handle = Handle::current();
    let base = Base { pool, handle: handle.clone() };
    let mut progress = Progress::new(0);
    let ways = replay(rules, span, &base, threads, |each| {
        while let Some(piece) = handle.block_on(records.next()).map_err(text)? {
            progress.add(piece.len());
            if !each(piece) {
                break;
            }
        }
        Ok(())
    });
    progress.end();
    match ways {
        Ok(ways) => Ok((ways, records.about)),
        Err(error) => bail!("the database: {error}"),
    }
}

struct File<'a>(&'a ExportFile);

impl Recorded for File<'_> {
    fn facts(&self, digest: &[u8; 32]) -> Result<Option<Vec<u8>>, String> {
        self.0.facts(digest).map_err(text)
    }

    fn leaves(&self, piece: &[u8], each: &mut dyn FnMut(&[u8])) -> Result<(), String> {
        ExportFile::leaves(piece, each).map_err(text)
    }
}

struct Base {
    pool: PgPool,
    handle: Handle,
}

impl Recorded for Base {
    fn facts(&self, digest: &[u8; 32]) -> Result<Option<Vec<u8>>, String> {
        self.handle.block_on(Records::facts(&self.pool, digest)).map_err(text)
    }

    fn leaves(&self, piece: &[u8], each: &mut dyn FnMut(&[u8])) -> Result<(), String> {
        Records::leaves(piece, each).map_err(text)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "as `map_err` gives it")]
fn text(error: AuditError) -> String {
    error.to_string()
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// How far it is, on a terminal.
struct Progress {
    shown: bool,
    bytes: u64,
    /// 0: not known.
    of: u64,
}

impl Progress {
    fn new(of: u64) -> Self {
        Self { shown: std::io::stderr().is_terminal(), bytes: 0, of }
    }

    fn add(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        if self.shown {
            let percent = (self.bytes * 100).checked_div(self.of);
            let percent = percent.map(|percent| format!(" of {} MB ({percent} %)", self.of >> 20));
            let read = self.bytes >> 20;
            let _ = write!(std::io::stderr(), "\r{read} MB read{}", percent.unwrap_or_default());
        }
    }

    fn end(&self) {
        if self.shown && self.bytes > 0 {
            eprintln!();
        }
    }
}

const AFTER_HELP: &str = "\
Each recorded decision is judged again with the facts recorded with it, for the instant for which it was judged; only the rules
are others. A file is read as it stands: let `haetae-verify` check it first.
Exit codes: 0 nothing would change; 1 something would (or it failed: then there is no report); 2 the command line was wrong.
  haetae policy replay proposed --since 30d
  haetae policy replay proposed --export log.export --key secrets/replay.key --name gateway.example.kr/replay --out replay.note";
