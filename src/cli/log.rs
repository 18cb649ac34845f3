//! `haetae log`: what was recorded, verified in the database, proven to others, written into a file, or signed for the world.

mod case;
mod verify;

use std::fmt;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, anyhow, bail};
use clap::Subcommand;
use sqlx::PgPool;
use uuid::Uuid;

use super::out;
use super::record::Named;
use crate::audit::{self, Exported, Range};
use crate::clock::Clock;
use crate::config::{Config, Database};
use crate::disk;

/// Verify the log, export it, print its checkpoints.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The database, as a user who may read the log: a member of `haetae_reader` is enough.
    #[arg(long, env = "HAETAE_READER_URL", hide_env_values = true, global = true)]
    database: Option<String>,
    /// The configuration file that names the database, when `--database` does not.
    #[arg(long, short, env = "HAETAE_CONFIG", default_value = "haetae.toml", global = true)]
    config: PathBuf,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Hold the log against itself: leaves, tree, tiles, checkpoints, texts, rows. Exit code 1 when anything differs, and another one
    /// when it could not be looked at.
    Verify(verify::Args),
    /// Prove one record to others: a C2SP tlog-proof that carries the record, for `haetae-verify` or docs/verify.py.
    Prove {
        #[command(flatten)]
        record: Named,
        /// Where the proof goes, instead of standard output.
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Write the log into one file for `haetae-verify`, which needs neither this program nor the database.
    Export {
        /// The file to write; it is replaced only when the export is complete. With `--case` a directory, made anew.
        #[arg(long)]
        out: PathBuf,
        /// Only these decisions, as a bundle of evidence that explains itself: records, proofs, facts, rules, a README.
        #[arg(long = "case", conflicts_with_all = ["lane", "from", "to"])]
        cases: Vec<Uuid>,
        /// Only this lane.
        #[arg(long)]
        lane: Option<u16>,
        /// First record, by its index in the lane.
        #[arg(long, requires = "lane")]
        from: Option<u64>,
        /// Index after the last record; the export goes on to the next signed checkpoint, or the next cosigned one when that
        /// follows soon. To who kept a newer checkpoint of the lane it is cut short.
        #[arg(long, requires = "lane")]
        to: Option<u64>,
    },
    /// Print the newest signed checkpoint of each lane, with its cosignatures: the newest cosigned one when it is seconds old.
    Checkpoint,
    /// Hold the journals of a site's guard against the log. Exit code 1 when somebody was let in who was not allowed, or was
    /// sent and not let in.
    Reconcile(super::reconcile::Args),
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let verifies = matches!(args.what, What::Verify(_));
    let done = run_any(args).await.and_then(out::written);
    if verifies { done.map_err(|cause| NotVerified(format!("{cause:#}")).into()) } else { done }
}

async fn run_any(args: Args) -> anyhow::Result<ExitCode> {
    let database = match args.database {
        Some(url) => Database::at(url),
        None => Config::read(&args.config)?.database,
    };
    let pool = database.reader_pool().await?;
    match args.what {
        What::Verify(args) => verify::run(&pool, &args).await,
        What::Prove { record, out } => prove(&pool, &record, out.as_deref()).await,
        What::Export { out, cases, .. } if !cases.is_empty() => {
            case::write(&pool, &cases, &out).await
        }
        What::Export { out, lane, from, to, .. } => {
            let part = |lane| Range::Lane { lane, from: from.unwrap_or(0), to };
            export(&pool, &out, lane.map_or(Range::All, part)).await
        }
        What::Reconcile(args) => super::reconcile::run(&pool, &args, &Clock::system()).await,
        What::Checkpoint => {
            for note in audit::checkpoints(&pool).await? {
                println!("{note}");
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn prove(pool: &PgPool, record: &Named, out: Option<&Path>) -> anyhow::Result<ExitCode> {
    out.map_or(Ok(()), replaceable)?;
    let text = record.prove(pool).await?.self_contained().context(UNCOVERED)?;
    match out {
        Some(path) => disk::replace(path, text.as_bytes())
            .with_context(|| format!("cannot write `{}`", path.display()))?,
        None => print!("{text}"),
    }
    Ok(ExitCode::SUCCESS)
}

/// A file is put in the place of what is there: never in that of a device, or of a link to one, as `/dev/stdout` is.
fn replaceable(out: &Path) -> anyhow::Result<()> {
    match std::fs::symlink_metadata(out) {
        Ok(found) if !found.is_file() => {
            bail!("`{}` is there already, and is no plain file: name one", out.display())
        }
        _ => Ok(()),
    }
}

async fn export(pool: &PgPool, out: &Path, range: Range) -> anyhow::Result<ExitCode> {
    replaceable(out)?;
    // Of chance: two exports under one name do not write into each other's file, nor over anything of that name.
    let part = disk::beside(out)?;
    let written = tokio::select! {
        done = write(pool, range, &part) => done,
        // Its part is removed below: nobody comes back to it.
        _ = tokio::signal::ctrl_c() => Err(anyhow!("interrupted")),
    };
    let named = written.and_then(|done| {
        // If we stop here, the part file is left and no older export is touched.
        disk::rename(&part, out)?;
        Ok(done)
    });
    let done = match named {
        Ok(done) => done,
        Err(cause) => {
            let _gone = std::fs::remove_file(&part);
            return Err(cause.context(format!("cannot write `{}`", out.display())));
        }
    };
    println!(
        "{} records, {} texts, {} checkpoints and {} rows are in `{}`",
        done.leaves,
        done.texts,
        done.checkpoints,
        done.rows,
        out.display()
    );
    if done.uncovered > 0 {
        eprintln!(
            "{} records are newer than the checkpoint at the file's end and are not in it",
            done.uncovered
        );
    }
    if let Some((lane, size)) = done.cosigned {
        eprintln!(
            "no witness cosigned the checkpoint at the end of lane {lane}: for a trust file with a quorum, `--lane {lane} --to {size}` ends \
             at the newest that one did"
        );
    }
    Ok(ExitCode::SUCCESS)
}

async fn write(pool: &PgPool, range: Range, part: &Path) -> anyhow::Result<Exported> {
    let mut file = BufWriter::new(File::create_new(part)?);
    let done = audit::export(pool, range, Clock::system().unix_ns(), &mut file).await?;
    if done.leaves == 0
        && let Range::Lane { lane, .. } = range
    {
        bail!(
            "of lane {lane} there is no such record under a signed checkpoint: nothing was written"
        );
    }
    file.flush()?;
    file.get_ref().sync_all()?;
    Ok(done)
}

/// Nothing was found: the log, or what it was to be held against, could not be read. Exit code 2, as that of `haetae-verify`, so that
/// nobody takes it for a difference.
#[derive(Debug)]
pub struct NotVerified(String);

impl fmt::Display for NotVerified {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Some of it are words of the database: no line of them passes for one of ours.
        let mut lines = self.0.lines();
        write!(out, "not verified: {}", audit::Plain(lines.next().unwrap_or_default()))?;
        lines.try_for_each(|line| write!(out, "\n    {}", audit::Plain(line)))
    }
}

impl std::error::Error for NotVerified {}

pub(super) const UNCOVERED: &str =
    "no published checkpoint covers the record yet: one follows within a second, try again";

const AFTER_HELP: &str = "\
For example:
  haetae log verify                        exit code 0: whole; 1: what differs, and where; others: could not be looked at
  haetae log export --out log.export       then, anywhere and offline: haetae-verify log.export
  haetae log prove ID > ID.tlog-proof      then, for whoever has the lane's key: haetae-verify --key LINE ID.tlog-proof
  haetae log export --case ID --out DIR    one decision with its proofs, facts and rules, and how to check them by hand
  haetae log checkpoint                    keep one: whoever has it finds any later change of what came before

With keys of your own (`haetae keygen` printed them) nothing is believed that the database says of them:
  haetae log verify --vkey LINE --vkey LINE
With a trust file (C2SP tlog-policy) that names witnesses also what they cosigned is checked, and what a quorum of them vouches for:
  haetae log verify --trust FILE";
