//! `haetae order`: what authorities ordered, who signed it, and when it ends.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::Value as Json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tlog::Note;
use verdict::stamp::Stamp;

use super::registrar::Registrar;
use crate::audit::Key;
use crate::clock::Clock;
use crate::registry::orders::store::{self, Brought, OnFile};
use crate::registry::orders::{self, Signed};
use crate::registry::store::Applied;
use crate::registry::{Sort, tree};

/// Orders of authorities: enter, end, list, show.
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
    /// Enter the order in a TOML file. In force as soon as this returns, or from its `effective_from`.
    Add {
        file: PathBuf,
        /// The signed note of its authority, over the text that `haetae order text FILE` prints.
        #[arg(long, value_name = "NOTE")]
        signed: Option<PathBuf>,
    },
    /// End an order, now or later. What was decided under it stays decided.
    End {
        id: String,
        /// The second person: one alone cannot end an order.
        #[arg(long, value_name = "NAME", required_unless_present = "print")]
        with: Option<String>,
        /// When it ends, e.g. 2026-12-01T00:00:00+09:00. Now when not given.
        #[arg(long, value_name = "INSTANT", required_if_eq("print", "true"))]
        at: Option<String>,
        /// The signed note of its authority, over the text that `--print` prints. An order that was signed needs it.
        #[arg(long, value_name = "NOTE", requires = "at")]
        signed: Option<PathBuf>,
        /// Only print the text that its authority signs to end it at that instant.
        #[arg(long)]
        print: bool,
    },
    /// List the orders on file: in force, coming, ended; signed or not.
    List,
    /// Print everything that is known of one order: its text, its versions, its signatures.
    Show { id: String },
    /// Print the text of an order in a TOML file: what its authority reads and signs. Needs no database.
    Text { file: PathBuf },
    /// Sign a text with an authority's key and print the note. Needs no database; other C2SP signed-note tools do as well.
    Sign {
        /// What `haetae order text` or `haetae order end --print` printed.
        text: PathBuf,
        /// The private key: Ed25519, PKCS#8 PEM, as `openssl genpkey -algorithm ed25519` makes it.
        #[arg(long)]
        key: PathBuf,
        /// The name under which the authority signs, e.g. `pipc.go.kr`.
        #[arg(long)]
        name: String,
        /// Print the public key for the registry instead: an entry of the authority's `keys`.
        #[arg(long)]
        public: bool,
    },
}

/// Does it, and prints what changed or was found to standard output.
///
/// # Errors
/// What is wrong with the file, the signature or the database. Nothing was changed then.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { registrar, what } = args;
    let now = Clock::system().unix_s();
    match what {
        What::Add { file, signed } => add(&registrar, &file, signed, now).await?,
        What::End { id, at, print: true, .. } => print_end(&registrar, &id, at, now).await?,
        What::End { id, with, at, signed, .. } => {
            let end = End { id, with: with.unwrap_or_default(), at: instant(at, now)?, signed };
            end.run(&registrar, now).await?;
        }
        What::List => return list(&registrar, now).await,
        What::Show { id } => return show(&registrar, &id, now).await,
        What::Text { file } => {
            print!("{}", orders::text(&tree::read_one(Sort::Order, &file)?.document));
        }
        What::Sign { text, key, name, public } => sign(&text, &key, &name, public)?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn add(
    registrar: &Registrar,
    file: &Path,
    note: Option<PathBuf>,
    now: i64,
) -> anyhow::Result<()> {
    // What is wrong with a file is said before anything is asked of the database.
    let entry = tree::read_one(Sort::Order, file)?;
    let note = read(note)?;
    let pool = registrar.pool().await?;
    let brought = Brought { note: note.as_deref(), who: registrar.who(), now };
    let (applied, signed) = store::add(&pool, &entry, brought).await?;
    if applied.is_nothing() {
        println!("nothing changed: order `{}` is on file", entry.id);
        return Ok(());
    }
    println!("order {} is entered, {}", entry.id, state(&entry.document, now));
    said(&applied, signed.as_ref());
    Ok(())
}

/// What `order end` was told.
struct End {
    id: String,
    with: String,
    at: Stamp,
    signed: Option<PathBuf>,
}

impl End {
    async fn run(self, registrar: &Registrar, now: i64) -> anyhow::Result<()> {
        let note = read(self.signed)?;
        let pool = registrar.pool().await?;
        let brought = Brought { note: note.as_deref(), who: registrar.who(), now };
        let (applied, signed) = store::end(&pool, &self.id, &self.at, &self.with, brought).await?;
        println!("order {} ends at {}", self.id, self.at);
        said(&applied, signed.as_ref());
        Ok(())
    }
}

async fn print_end(
    registrar: &Registrar,
    id: &str,
    at: Option<String>,
    now: i64,
) -> anyhow::Result<()> {
    let orders = store::list(&registrar.pool().await?, Some(id)).await?;
    let order = orders.last().with_context(|| format!("order `{id}` is not registered"))?;
    print!("{}", orders::end_text(&order.document, &instant(at, now)?));
    Ok(())
}

async fn list(registrar: &Registrar, now: i64) -> anyhow::Result<ExitCode> {
    let orders = store::list(&registrar.pool().await?, None).await?;
    let count =
        |wanted: &str| orders.iter().filter(|order| state(&order.document, now) == wanted).count();
    println!("{} orders, {} in force", orders.len(), count(IN_FORCE));
    for order in &orders {
        let value = |key| text_of(&order.document, key);
        println!(
            "{}: {} by {}, {}; from {} until {}; {}",
            order.id,
            value("kind"),
            value("authority"),
            state(&order.document, now),
            value("effective_from"),
            until(&order.document),
            signature(order),
        );
    }
    Ok(verdict_on(&orders))
}

async fn show(registrar: &Registrar, id: &str, now: i64) -> anyhow::Result<ExitCode> {
    let versions = store::list(&registrar.pool().await?, Some(id)).await?;
    let last = versions.last().with_context(|| format!("order `{id}` is not registered"))?;
    print!("{}", orders::text(&last.document));
    println!("\n{}; {}", state(&last.document, now), signature(last));
    for version in &versions {
        let at = OffsetDateTime::from_unix_timestamp(version.entered_at)?.format(&Rfc3339)?;
        let (from, by) = (version.version, &version.entered_by);
        println!("version {from}: until {}, entered at {at} by {by}", until(&version.document));
    }
    for people in last.document.get("entered_by").and_then(Json::as_array).into_iter().flatten() {
        println!("entered by: {}", people.as_str().unwrap_or_default());
    }
    if let Some(Ok(signed)) = &last.signed {
        println!("\nthe signed note:\n{}", signed.note);
    }
    if let Some(note) = &last.ended_by {
        println!("\nthe signed note of its end:\n{note}");
    }
    Ok(verdict_on(&versions))
}

fn sign(text: &Path, key: &Path, name: &str, public: bool) -> anyhow::Result<()> {
    let signer = Key::read(key)?.named(name)?;
    if public {
        println!("{}", tlog::Signer::verifier(&signer));
        return Ok(());
    }
    let text = read(Some(text.to_owned()))?.unwrap_or_default();
    let wrong =
        || format!("`{name}` cannot sign this: give the text as `haetae order text` prints it");
    print!("{}", Note::sign(text, &signer).map_err(anyhow::Error::msg).with_context(wrong)?);
    Ok(())
}

fn said(applied: &Applied, signed: Option<&Signed>) {
    match signed {
        Some(signed) => println!("signed by {} with {}", signed.authority, signed.key),
        None => println!("unsigned: on the word of who entered it"),
    }
    println!("facts are now at version {}", applied.version);
}

fn signature(order: &OnFile) -> String {
    match &order.signed {
        None => "unsigned".to_owned(),
        Some(Ok(signed)) => format!("signed by {} with {}", signed.authority, signed.key),
        Some(Err(fault)) => format!("THE SIGNATURE DOES NOT HOLD: {fault}"),
    }
}

/// A signature that no longer holds was changed in the database: that is a finding.
fn verdict_on(orders: &[OnFile]) -> ExitCode {
    let broken = orders.iter().any(|order| matches!(order.signed, Some(Err(_))));
    if broken { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn state(order: &Json, now: i64) -> &'static str {
    let from =
        Stamp::parse(text_of(order, "effective_from")).map_or(i64::MAX, |from| from.starts());
    let until = Stamp::parse(text_of(order, "until")).map_or(i64::MAX, |until| until.ends());
    match () {
        () if until <= now => "ended",
        () if from <= now => IN_FORCE,
        () => "not yet in force",
    }
}

fn until(order: &Json) -> &str {
    order.get("until").and_then(Json::as_str).unwrap_or("further notice")
}

fn text_of<'a>(order: &'a Json, key: &str) -> &'a str {
    order.get(key).and_then(Json::as_str).unwrap_or_default()
}

/// The instant that was typed, else now.
fn instant(at: Option<String>, now: i64) -> anyhow::Result<Stamp> {
    let typed = at.map_or_else(|| Stamp::at(now), |at| Stamp::parse(&at));
    let stamp = typed.map_err(|fault| anyhow::anyhow!("{fault}"))?;
    let is_instant = stamp.as_str().contains(['T', 't']);
    anyhow::ensure!(
        is_instant,
        "`{stamp}` is a day: say the instant, like `{stamp}T09:00:00+09:00`"
    );
    Ok(stamp)
}

fn read(path: Option<PathBuf>) -> anyhow::Result<Option<String>> {
    let read = |path: PathBuf| {
        std::fs::read_to_string(&path).with_context(|| format!("`{}`", path.display()))
    };
    path.map(read).transpose()
}

const IN_FORCE: &str = "in force";

const AFTER_HELP: &str = "\
An order on the word of two registrars:
  haetae order --by kim add deploy/order-example.toml
  haetae order --by kim end kr-pipc-2026-1 --with lee
An order that its authority signed, once it is registered (deploy/registry-example/README.md, `authorities/`):
  haetae order text order.toml > order.txt            what the authority reads
  haetae order sign order.txt --key pipc.pem --name pipc.go.kr > order.note
  haetae order --by kim add order.toml --signed order.note
An order is never rewritten: it is ended, and another one is entered. Ending one that was signed needs a note of the same
authority over what `haetae order end ID --at INSTANT --print` prints.

No decision is committed after an order's commit that it forbids, and answers under way are cut within seconds.
`list` and `show` check signatures again and exit with 1 if one does not hold.";
