//! `haetae obligation`: what decisions asked for after they allowed, and who says that it was done.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Subcommand;
use sha2::{Digest as _, Sha256};
use sqlx::PgPool;
use verdict::told::Language;

use super::Lang;
use super::reconcile;
use super::registrar::Registrar;
use crate::audit::Plain;
use crate::clock::Clock;
use crate::guard::Report;
use crate::obligation::{Checked, Done, Evidence, Journals, Obligation, State, check, close, list};

/// What decisions asked for after they allowed: list, close, check.
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
    /// Hold a provider's log of its people's access against what the log allowed; exit code 1 while something is unexplained
    Check {
        /// As `list` prints it
        id: String,
        /// What the provider delivered (docs/obligations.md has the form); it stays where it is
        #[arg(long, value_name = "FILE")]
        provider_log: PathBuf,
        /// `sha256:` and hex, as the provider gave it with the file
        #[arg(long)]
        digest: String,
        /// Journals of the site's guard, oldest first: held against the log as `haetae log reconcile` does
        #[arg(long = "journal", value_name = "FILE")]
        journals: Vec<PathBuf>,
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
        What::Check { id, provider_log, digest, journals } => {
            let file = std::fs::read(&provider_log)
                .with_context(|| format!("cannot read `{}`", provider_log.display()))?;
            let held = held(&pool, &id, &journals, now).await?;
            let evidence = Evidence {
                file: &file,
                digest: named(&digest)?,
                journals: held.as_ref().map(|(journals, _)| *journals),
                person: args.registrar.person()?,
                now,
            };
            let one = check(&pool, &id, &evidence).await?;
            for mismatch in held.iter().flat_map(|(_, report)| &report.mismatches) {
                println!("journal: {}", Plain(&mismatch.to_string()));
            }
            print(&one, Language::English);
            let met = one.state == State::Met;
            Ok(if met { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        What::Close { id, reason, evidence } => {
            let (person, evidence) = (args.registrar.person()?, digest(&evidence)?);
            let done = Done { person, reason: &reason, evidence, now };
            print(&close(&pool, None, &id, &done).await?, Language::English);
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn named(digest: &str) -> anyhow::Result<[u8; 32]> {
    let bytes = digest.strip_prefix("sha256:").and_then(|digits| hex::decode(digits).ok());
    let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
    bytes.context(
        "`--digest` is `sha256:` and the 64 hex digits that the provider gave with its file",
    )
}

/// The journals of the obligation's site in its period, or none. What is compared is what is read here, once, and its digest.
async fn held(
    pool: &PgPool,
    id: &str,
    journals: &[PathBuf],
    now: i64,
) -> anyhow::Result<Option<(Journals, Report)>> {
    let all = list(pool, None, now).await?;
    let Some(one) = all.iter().find(|one| one.id == id).filter(|_| !journals.is_empty()) else {
        return Ok(None);
    };
    let ns = |seconds: i64| seconds.saturating_mul(1_000_000_000);
    let (from, until) = one.span().map(|(from, until)| (ns(from), ns(until))).unzip();
    let until = until.unwrap_or(i64::MAX).min(reconcile::settled(&Clock::system()));
    let read = reconcile::Reading::of(journals)?;
    anyhow::ensure!(
        read.site == one.site,
        "the journals are of site `{}`, the obligation of `{}`",
        read.site,
        one.site
    );
    let seconds = |ns: i64| ns.div_euclid(1_000_000_000);
    anyhow::ensure!(
        seconds(read.first) <= one.first,
        "the journals begin after the first decision of the period: give the older ones too"
    );
    let report = read.held(pool, (from, until)).await?;
    let mismatches = u64::try_from(report.mismatches.len()).unwrap_or(u64::MAX);
    let (until, last) = (seconds(until), seconds(read.last));
    Ok(Some((Journals { digest: read.digest()?, mismatches, until, last }, report)))
}

fn print(one: &Obligation, language: Language) {
    let Obligation { id, org, service, site, code, period, decisions, .. } = one;
    println!("{id}  {:<7}  {code} ({period})", one.state.name());
    println!(
        "    {org}: {service} at {site}, {decisions} decisions since {}",
        super::instant(one.first)
    );
    println!("    {}", one.told(language).sentence(language));
    if let Some(checked) = &one.checked {
        print_checked(checked);
    }
    if let Some(closed) = &one.closed {
        println!("    closed {} by {}", super::instant(closed.at), closed.evidence);
    }
}

fn print_checked(checked: &Checked) {
    let Checked { evidence, entries, unexplained, .. } = checked;
    println!(
        "    looked at {}: {evidence}, {entries} entries, {unexplained} unexplained",
        super::instant(checked.at)
    );
    if let Some(mismatches) = checked.mismatches {
        println!("      the guard's journals: {mismatches} mismatches");
    }
    if !checked.whole {
        println!(
            "      the period is not over (with journals: for a minute), or the file does not cover all of it"
        );
    }
    for one in &checked.findings {
        println!("      line {} ({}): {}", one.line, super::instant(one.at), one.why);
    }
}

fn digest(path: &Path) -> anyhow::Result<[u8; 32]> {
    let cannot = || format!("cannot read `{}`", path.display());
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
  haetae obligation --by lee check ID --provider-log 2026-11.jsonl --digest sha256:... --journal guard.journal

One stands for all decisions of its period that asked for it (docs/obligations.md). Closing it is a record of the log, with the
person as a salted digest and the digest of the evidence. Over the API: `GET /v1/obligations`, `POST /v1/obligations/ID/close`.";
