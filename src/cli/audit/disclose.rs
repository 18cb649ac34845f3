//! `haetae audit disclose`: a directory for one reader, with the record's proof and what one of its fields hides.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, ensure};

use super::{Desk, event, privacy};
use crate::audit;
use crate::cli::record::Named;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    record: Named,
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
    let proven = args.record.prove(&pool).await?;
    let shown = audit::disclose(&pool, &privacy, proven, &args.field).await?;
    let proof = shown.proven.self_contained().context(crate::cli::log::UNCOVERED)?;
    let document = shown.document()?;
    // The directory is there before the record, and empty until after it.
    let cannot = || format!("cannot write into `{}`", args.out.display());
    // For one reader: no other login of this machine may look into it.
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(&args.out)
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
        "`{}` has what the field `{}` of record {} hides, and the record's proof; the log says that {} was shown it. Who has other records \
         of the same lane and month knows the same digest in them",
        args.out.display(),
        args.field,
        shown.id,
        args.to.trim()
    );
    Ok(ExitCode::SUCCESS)
}
