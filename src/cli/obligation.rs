//! `haetae obligation`: what decisions asked for after they allowed, and who says that it was done.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Subcommand;
use sha2::{Digest as _, Sha256};
use verdict::told::Language;

use super::Lang;
use super::registrar::Registrar;
use crate::clock::Clock;
use crate::obligation::{Done, Obligation, close, list};

/// What decisions asked for after they allowed: list, close.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    #[command(flatten)]
    registrar: Registrar,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List them, the most pressing first; exit code 1 while one calls for somebody
    List {
        /// Only this organisation's
        #[arg(long)]
        org: Option<String>,
        /// Also those that are met or closed
        #[arg(long)]
        all: bool,
        /// The language of the sentences
        #[arg(long, value_enum, default_value_t = Lang::En)]
        lang: Lang,
    },
    /// Say that one was fulfilled, for its period, and show by what
    Close {
        /// As `list` prints it
        id: String,
        /// What was done
        #[arg(long)]
        reason: String,
        /// The document that shows it: its SHA-256 goes into the log, the document stays where it is
        #[arg(long, value_name = "FILE")]
        evidence: PathBuf,
    },
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let now = Clock::system().unix_s();
    let pool = args.registrar.pool().await?;
    match args.what {
        What::List { org, all, lang } => {
            let every = list(&pool, org.as_deref(), now).await?;
            for one in every.iter().filter(|one| all || one.state.calls_for_somebody()) {
                print(one, lang.into());
            }
            let calls = every.iter().filter(|one| one.state.calls_for_somebody()).count();
            println!("{} obligations, {calls} call for somebody", every.len());
            Ok(if calls == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        What::Close { id, reason, evidence } => {
            let (person, evidence) = (args.registrar.person()?, digest(&evidence)?);
            let done = Done { person, reason: &reason, evidence, now };
            print(&close(&pool, None, &id, &done).await?, Language::English);
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn print(one: &Obligation, language: Language) {
    let Obligation { id, org, service, site, code, period, decisions, .. } = one;
    println!("{id}  {:<7}  {code} ({period})", one.state.name());
    println!(
        "    {org}: {service} at {site}, {decisions} decisions since {}",
        super::instant(one.first)
    );
    println!("    {}", one.told(language).sentence(language));
    if let Some(closed) = &one.closed {
        println!("    closed {} by {}", super::instant(closed.at), closed.evidence);
    }
}

fn digest(path: &Path) -> anyhow::Result<[u8; 32]> {
    let cannot = || format!("cannot read the evidence `{}`", path.display());
    let mut file = std::fs::File::open(path).with_context(cannot)?;
    let (mut hash, mut piece) = (Sha256::new(), vec![0; 64 << 10]);
    loop {
        let read = file.read(&mut piece).with_context(cannot)?;
        let Some(read) = piece.get(..read).filter(|read| !read.is_empty()) else { break };
        hash.update(read);
    }
    Ok(hash.finalize().into())
}

const AFTER_HELP: &str = "\
For example:
  haetae obligation list --org kr-bank --lang ko
  haetae obligation --by lee close ID --reason 'reported, receipt 2026-114' --evidence receipt.pdf

One stands for all decisions of its period that asked for it (docs/obligations.md). Closing it is a record of the log, with the
person as a salted digest and the digest of the evidence. Over the API: `GET /v1/obligations`, `POST /v1/obligations/ID/close`.";
