//! `haetae policy propose|fetch|approve|activate|rollback|break-glass|history|status`: how the bundle in force changes.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use sqlx::PgPool;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tlog::SigningKey;

use super::people;
use crate::cli::registrar::Registrar;
use crate::clock::Clock;
use crate::mandate::replica::{Readiness, breaks, readiness, store as replicas};
use crate::mandate::store::{self, Wish};
use crate::mandate::{Enacted, How, Stored, tried};
use crate::policy::{Bundle, BundleError, Folder};

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Keep a bundle in the database under the digest of its files, once all its cases pass. Nothing else changes
    Propose {
        /// Directory of the bundle
        dir: PathBuf,
        /// What it is for, in one line: approvers sign this
        #[arg(long)]
        purpose: String,
        #[command(flatten)]
        registrar: Registrar,
    },
    /// Write the files of a stored bundle into a new directory, to look at what is to be approved
    Fetch {
        /// Its digest, or the first 8 digits or more
        digest: String,
        /// The directory; it must not exist
        #[arg(long)]
        out: PathBuf,
        #[command(flatten)]
        registrar: Registrar,
    },
    /// Sign that a bundle may come into force in place of the one that is
    Approve {
        digest: String,
        #[command(flatten)]
        key: Key,
        #[command(flatten)]
        registrar: Registrar,
    },
    /// Put an approved bundle in force: two different approvers, one of them not a platform administrator
    Activate {
        digest: String,
        #[command(flatten)]
        patience: Patience,
        #[command(flatten)]
        registrar: Registrar,
    },
    /// Go back to the bundle that the last activation replaced: one approver who is not a platform administrator
    Rollback {
        /// Why, in one line
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        key: Key,
        #[command(flatten)]
        patience: Patience,
        #[command(flatten)]
        registrar: Registrar,
    },
    /// In an emergency: one approver puts a bundle in force for a while; then the approved one comes back by itself
    BreakGlass {
        digest: String,
        /// Why, in one line
        #[arg(long)]
        reason: String,
        /// For how long, 1440 at most
        #[arg(long)]
        minutes: u32,
        #[command(flatten)]
        key: Key,
        #[command(flatten)]
        patience: Patience,
        #[command(flatten)]
        registrar: Registrar,
    },
    /// Every bundle that was in force, since when, by whom and why
    History {
        #[command(flatten)]
        registrar: Registrar,
    },
    /// What is in force, what waits for whom, and how the replicas stand
    Status {
        #[command(flatten)]
        registrar: Registrar,
    },
}

#[derive(Debug, clap::Args)]
pub struct Key {
    /// The approver's private key, as `haetae policy keygen` wrote it
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}

#[derive(Debug, clap::Args)]
pub struct Patience {
    /// Seconds to wait for the replicas to have loaded it, and then to judge with it
    #[arg(long, default_value_t = 15, value_name = "SECONDS")]
    wait: u64,
}

pub async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Propose { dir, purpose, registrar } => propose(&dir, purpose, &registrar).await,
        Command::Fetch { digest, out, registrar } => fetch(&digest, &out, &registrar).await,
        Command::Approve { digest, key, registrar } => approve(&digest, &key, &registrar).await,
        Command::Activate { digest, patience, registrar } => {
            activate(&digest, &patience, &registrar).await
        }
        Command::Rollback { reason, key, patience, registrar } => {
            let pool = registrar.pool().await?;
            let back = store::chain(&pool, now()).await?.back().map_err(anyhow::Error::msg)?;
            let bundle = store::find(&pool, &back).await?;
            let wish = wish(&registrar, How::Rollback, bundle, None, reason);
            alone(&pool, &wish, &key, &patience).await
        }
        Command::BreakGlass { digest, reason, minutes, key, patience, registrar } => {
            let pool = registrar.pool().await?;
            let bundle = store::find(&pool, &digest).await?;
            let lasts = Some(i64::from(minutes) * 60);
            let wish = wish(&registrar, How::BreakGlass, bundle, lasts, reason);
            alone(&pool, &wish, &key, &patience).await
        }
        Command::History { registrar } => history(&registrar.pool().await?).await,
        Command::Status { registrar } => status(&registrar.pool().await?).await,
    }
}

fn wish(
    registrar: &Registrar,
    how: How,
    bundle: Stored,
    lasts_s: Option<i64>,
    reason: String,
) -> Wish {
    Wish { how, bundle, lasts_s, reason, by: registrar.who().to_owned(), at_s: now() }
}

async fn propose(dir: &Path, purpose: String, registrar: &Registrar) -> anyhow::Result<ExitCode> {
    let at = now();
    let folder = Folder::read(dir).map_err(|fault| anyhow::anyhow!("{fault}"))?;
    let bundle = match Bundle::of(&folder, at).await.and_then(Bundle::tried) {
        Ok(bundle) => bundle,
        Err(error) => return Ok(super::refused(&error)),
    };
    for warning in bundle.warnings() {
        println!("warning: {warning}");
    }
    let stored = Stored {
        digest: bundle.content_digest().into(),
        rulebook: bundle.digest().into(),
        access: bundle.access_digest().into(),
        title: bundle.title(),
        purpose,
        proposed_by: registrar.who().to_owned(),
        proposed_at_s: at,
    };
    crate::mandate::note::check_reason(&stored.purpose)?;
    let pool = registrar.pool().await?;
    let kept = match keeps(&pool, &bundle, at).await? {
        Ok(kept) => kept,
        Err(error) => return Ok(super::refused(&error)),
    };
    let new = store::propose(&pool, &folder, &stored, &kept).await?;
    if !new {
        println!("it is in the database already, with the purpose it was first proposed for");
    }
    println!("bundle {}", stored.digest);
    println!("rules  {}", stored.rulebook);
    println!("access {}", stored.access);
    println!("next: haetae policy approve {} --key FILE", abbreviated(&stored.digest));
    Ok(ExitCode::SUCCESS)
}

/// What a bundle retires of the canaries of the one in force, printed; inside, those that it should keep and does not.
async fn keeps(
    pool: &PgPool,
    bundle: &Bundle,
    at: i64,
) -> anyhow::Result<Result<Vec<String>, BundleError>> {
    let in_force = store::chain(pool, at).await?.bundle().cloned();
    let Some(digest) = in_force.filter(|digest| **digest != *bundle.content_digest()) else {
        return Ok(Ok(Vec::new()));
    };
    let folder = Folder::from_bytes(&store::files(pool, &digest).await?);
    let before = match folder {
        Ok(folder) => Bundle::of(&folder, at).await,
        Err(fault) => Err(BundleError { faults: vec![fault] }),
    };
    // One that cannot be read any more must be replaced: nothing can be asked of its canaries.
    let Ok(before) = before else {
        println!("warning: bundle {digest} in force cannot be read: its canaries are not kept");
        return Ok(Ok(Vec::new()));
    };
    let kept = match bundle.keeps(&before).whole() {
        Ok(kept) => kept,
        Err(error) => return Ok(Err(error)),
    };
    println!("{} canaries of bundle {} in force pass", kept.passed, abbreviated(&digest));
    let told = kept.told();
    for line in &told {
        println!("RETIRED canary {line}");
    }
    Ok(Ok(told))
}

async fn fetch(digest: &str, out: &Path, registrar: &Registrar) -> anyhow::Result<ExitCode> {
    let pool = registrar.pool().await?;
    let stored = store::find(&pool, digest).await?;
    let folder = Folder::from_bytes(&store::files(&pool, &stored.digest).await?);
    let folder = folder.map_err(|fault| anyhow::anyhow!("{fault}"))?;
    anyhow::ensure!(folder.digest() == *stored.digest, "what is stored is not `{}`", stored.digest);
    std::fs::create_dir(out).with_context(|| format!("cannot make `{}`", out.display()))?;
    for (path, text) in folder.files() {
        let path = out.join(path);
        path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
        std::fs::write(&path, text).with_context(|| format!("`{}`", path.display()))?;
    }
    println!("bundle {} ({}) is in `{}`", stored.digest, stored.title, out.display());
    println!("proposed by {} for: {}", stored.proposed_by, stored.purpose);
    Ok(ExitCode::SUCCESS)
}

async fn approve(digest: &str, key: &Key, registrar: &Registrar) -> anyhow::Result<ExitCode> {
    let (pool, key) = (registrar.pool().await?, key.read()?);
    let bundle = store::find(&pool, digest).await?;
    let reason = bundle.purpose.clone();
    let wish = wish(registrar, How::Activate, bundle, None, reason);
    let act = store::act(&pool, &wish).await?;
    let name = tlog::Signer::verifier(&key).name().to_owned();
    people::known(&pool, &key).await?;
    // What is retired, whoever signs has seen.
    let files = store::files(&pool, &wish.bundle.digest).await?;
    let stored = match tried(&files, &wish.bundle.digest, wish.at_s).await {
        Ok(stored) => stored,
        Err(error) => return Ok(super::refused(&error)),
    };
    if let Err(error) = keeps(&pool, &stored, wish.at_s).await? {
        return Ok(super::refused(&error));
    }
    store::approve(&pool, &wish, &name, &act.sign(&key)?).await?;
    println!("{name} signed:\n\n{}", act.text());
    let chain = store::chain(&pool, wish.at_s).await?;
    let waiting = store::approvals(&pool, &wish.bundle.digest, chain.version()).await?;
    match people::enough(&pool, &chain, How::Activate, &waiting).await? {
        Ok(()) => println!("next: haetae policy activate {}", abbreviated(&wish.bundle.digest)),
        Err(missing) => println!("not yet: {missing}"),
    }
    Ok(ExitCode::SUCCESS)
}

async fn activate(
    digest: &str,
    patience: &Patience,
    registrar: &Registrar,
) -> anyhow::Result<ExitCode> {
    let pool = registrar.pool().await?;
    let bundle = store::find(&pool, digest).await?;
    let since = store::chain(&pool, now()).await?.version();
    let notes = store::approvals(&pool, &bundle.digest, since).await?;
    let reason = bundle.purpose.clone();
    let wish = wish(registrar, How::Activate, bundle, None, reason);
    enact(&pool, &wish, people::counting(&pool, notes).await?, patience).await
}

/// An act that one person signs and does at once.
async fn alone(
    pool: &PgPool,
    wish: &Wish,
    key: &Key,
    patience: &Patience,
) -> anyhow::Result<ExitCode> {
    let key = key.read()?;
    people::known(pool, &key).await?;
    let note = store::act(pool, wish).await?.sign(&key)?;
    enact(pool, wish, vec![note], patience).await
}

async fn enact(
    pool: &PgPool,
    wish: &Wish,
    notes: Vec<String>,
    patience: &Patience,
) -> anyhow::Result<ExitCode> {
    let digest = &wish.bundle.digest;
    let bundle = match tried(&store::files(pool, digest).await?, digest, wish.at_s).await {
        Ok(bundle) => bundle,
        Err(error) => return Ok(super::refused(&error)),
    };
    // Back, and out of an emergency, one must be able to go whatever was promised since.
    if wish.how == How::Activate
        && let Err(error) = keeps(pool, &bundle, wish.at_s).await?
    {
        return Ok(super::refused(&error));
    }
    let ready = until(patience, async || {
        let alive = replicas::alive(pool).await?;
        let broken = breaks(&alive, digest).filter(|_| wish.how == How::Activate);
        match readiness(&alive, digest) {
            Readiness::Bad(why) => bail!("it was not put in force: {why}"),
            Readiness::Ready(count) => match broken {
                Some(why) => bail!("it was not put in force: {why}"),
                None => Ok(Some(count)),
            },
            Readiness::Loading(..) => Ok(None),
        }
    });
    let Some(count) = ready.await? else {
        bail!(
            "it was not put in force: not every replica has loaded it; try again, or see `haetae policy status`"
        )
    };
    let row = store::enact(pool, wish, notes).await?;
    println!(
        "bundle {digest} is in force since version {} of the facts ({})",
        row.version, row.how
    );
    if let (Some(until), Some(then)) = (row.until_s, &row.falls_back_to) {
        println!("until {}; then bundle {then} again", instant(until)?);
    }
    let swapped = until(patience, async || {
        let alive = replicas::alive(pool).await?;
        Ok(alive.iter().all(|one| one.since >= Some(row.version)).then_some(alive.len()))
    });
    match swapped.await? {
        Some(swapped) => println!("{swapped} of {count} replicas judge with it"),
        None => println!("not every replica judges with it yet: see `haetae policy status`"),
    }
    Ok(ExitCode::SUCCESS)
}

/// Asks again until there is an answer or patience ends.
async fn until<T>(
    patience: &Patience,
    ask: impl AsyncFn() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<Option<T>> {
    let asking = async {
        loop {
            if let Some(answer) = ask().await? {
                return Ok(answer);
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(patience.wait), asking).await.ok().transpose()
}

async fn history(pool: &PgPool) -> anyhow::Result<ExitCode> {
    let rows = store::history(pool, 0).await?;
    if rows.is_empty() {
        println!("no bundle of the database was ever in force: gateways judge with `policy.dir`");
    }
    for row in rows {
        print_row(&row)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn print_row(row: &Enacted) -> anyhow::Result<()> {
    let Enacted { version, bundle, how, by, reason, .. } = row;
    println!("version {version}: {how} of {bundle} by {by} at {}", instant(row.at_s)?);
    println!("    reason: {reason}");
    let signed = crate::mandate::note::signer_names(&row.notes);
    if !signed.is_empty() {
        println!("    signed by: {}", signed.join(", "));
    }
    if let (Some(until), Some(then)) = (row.until_s, &row.falls_back_to) {
        println!("    until {}, then {then}", instant(until)?);
    }
    Ok(())
}

async fn status(pool: &PgPool) -> anyhow::Result<ExitCode> {
    let chain = store::chain(pool, now()).await?;
    match store::history(pool, 0).await?.last() {
        Some(row) => print_row(row)?,
        None => println!("none of the database is in force: gateways judge with `policy.dir`"),
    }
    println!("\nbundles, the newest first:");
    for bundle in store::bundles(pool).await?.iter().take(BUNDLES_SHOWN) {
        let approvals = store::approvals(pool, &bundle.digest, chain.version()).await?;
        let who: Vec<&str> = approvals.iter().map(|(who, _)| who.as_str()).collect();
        let who = if who.is_empty() { "nobody".to_owned() } else { who.join(", ") };
        println!(
            "  {} {}: {} (approved by {who})",
            abbreviated(&bundle.digest),
            bundle.title,
            bundle.purpose
        );
    }
    if let Some(line) = super::shadow::line(pool).await? {
        println!("\nshadow: {line}");
    }
    println!("\nreplicas:");
    for one in replicas::alive(pool).await? {
        let judges = one.bundle.as_deref().map_or("policy.dir".to_owned(), abbreviated);
        let since = one.since.unwrap_or(0);
        println!("  {} ({}): judges with {judges} since version {since}", one.instance, one.build);
        for (digest, why) in &one.bad {
            println!("    cannot load {}: {why}", abbreviated(digest));
        }
        for (digest, why) in &one.breaks {
            println!("    cannot activate {}: {why}", abbreviated(digest));
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl Key {
    pub(super) fn read(&self) -> anyhow::Result<SigningKey> {
        let path = self.key.display();
        let text = std::fs::read_to_string(&self.key);
        let text = text.with_context(|| format!("cannot read the key `{path}`"))?;
        SigningKey::from_skey(text.trim())
            .map_err(|cause| anyhow::anyhow!("the key `{path}`: {cause}"))
    }
}

/// As much of a digest as a person compares.
pub(super) fn abbreviated(digest: &str) -> String {
    digest.chars().take("sha256:".len() + 12).collect()
}

pub(super) fn instant(unix_s: i64) -> anyhow::Result<String> {
    Ok(OffsetDateTime::from_unix_timestamp(unix_s)?.format(&Rfc3339)?)
}

pub(super) fn now() -> i64 {
    Clock::system().unix_s()
}

const ASK_AGAIN: Duration = Duration::from_millis(100);
const BUNDLES_SHOWN: usize = 10;
