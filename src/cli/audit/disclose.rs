//! `haetae audit disclose`: a directory for one reader, with the record's proof and what one of its fields hides.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use sqlx::PgPool;
use uuid::Uuid;

use super::{Desk, event, privacy};
use crate::audit;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The decision, by its id.
    #[arg(required_unless_present = "lane")]
    id: Option<Uuid>,
    /// Any record instead, by its lane and its index there.
    #[arg(long, requires = "index", conflicts_with = "id")]
    lane: Option<u16>,
    #[arg(long, requires = "lane")]
    index: Option<u64>,
    /// `actor`, `certificate` or `people`.
    #[arg(long)]
    field: String,
    /// Who may read it.
    #[arg(long)]
    to: String,
    /// Why, in one line that names no person: it stays in the log.
    #[arg(long)]
    reason: String,
    /// The directory to make, with two files: the record's proof and the disclosure.
    #[arg(long)]
    out: PathBuf,
}

pub(super) async fn run(desk: &Desk, args: Args) -> anyhow::Result<ExitCode> {
    let config = desk.config()?;
    let (privacy, by) = (privacy(&config)?, desk.person()?);
    let reason = super::reason(&args.reason)?;
    ensure!(!args.to.trim().is_empty(), "say to whom: `--to NAME`");
    let pool = desk.pool(&config).await?;
    let shown = audit::disclose(&pool, &privacy, place(&pool, &args).await?, &args.field).await?;
    let proof = shown.proven.self_contained().context(crate::cli::log::UNCOVERED)?;
    let document = shown.document()?;
    // The directory is there before the record, and empty until after it.
    let cannot = || format!("cannot write into `{}`", args.out.display());
    std::fs::create_dir(&args.out)
        .with_context(|| format!("cannot make the directory `{}`", args.out.display()))?;
    let act = shown.act(event()?, by, args.to.trim(), reason);
    let mut transaction = pool.begin().await?;
    act.tell(&mut transaction).await?;
    // If we stop after this, the log says that somebody was shown what they were not: never the other way round.
    transaction.commit().await?;
    std::fs::write(args.out.join("record.tlog-proof"), proof).with_context(cannot)?;
    let name = format!("{}.json", args.field);
    std::fs::write(args.out.join(&name), document).with_context(cannot)?;
    println!(
        "`{}` has what the field `{}` of record {} hides, and the record's proof; the log says that {} was shown it",
        args.out.display(),
        args.field,
        shown.id,
        args.to.trim()
    );
    Ok(ExitCode::SUCCESS)
}

/// Where the record stands.
async fn place(pool: &PgPool, args: &Args) -> anyhow::Result<(u16, u64)> {
    if let Some(place) = args.lane.zip(args.index) {
        return Ok(place);
    }
    let id = args.id.context("say which record")?;
    let proven = audit::prove(pool, id).await?;
    let proven = proven.context("the log has no such decision: rows follow it within a second")?;
    Ok((proven.lane, proven.index))
}
