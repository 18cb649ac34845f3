//! `haetae hold`: what a rule held for review, and what persons say of it.

use std::process::ExitCode;

use clap::Subcommand;
use sqlx::PgPool;
use uuid::Uuid;
use verdict::told::{self, Language};

use super::Lang;
use super::registrar::Registrar;
use crate::clock::Clock;
use crate::hold::{Choice, Filter, Hold, Say, Wanted, store, vote};

/// Questions that a rule held for review: list, show, release, refuse.
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
    /// List holds, newest first: those that wait unless said otherwise.
    List {
        /// Only this organisation's.
        #[arg(long)]
        org: Option<String>,
        /// `open`, `released`, `refused` or `all`.
        #[arg(long, default_value = "open", value_parser = ["open", "released", "refused", "all"])]
        state: String,
        /// The last id of the page before.
        #[arg(long)]
        before: Option<Uuid>,
        #[command(flatten)]
        told: Told,
    },
    /// Print one hold with the votes on it.
    Show {
        id: Uuid,
        #[command(flatten)]
        told: Told,
    },
    /// Say that it may pass. It does, once, when as many different persons as it needs have said so.
    Release {
        id: Uuid,
        /// Why.
        #[arg(long)]
        reason: String,
        /// For how many hours, 1 to 168.
        #[arg(long, default_value_t = 24)]
        hours: i64,
    },
    /// Say that it may not pass: the hold ends.
    Refuse {
        id: Uuid,
        /// Why.
        #[arg(long)]
        reason: String,
    },
}

#[derive(Debug, clap::Args)]
struct Told {
    /// The language of what a release will ask for.
    #[arg(long, value_enum, default_value_t = Lang::En)]
    lang: Lang,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let now = Clock::system().unix_s();
    let pool = args.registrar.pool().await?;
    match args.what {
        What::List { org, state, before, told } => {
            let filter = Filter { org, state: Wanted::named(&state), before };
            list(&pool, &filter, now, told.lang.into()).await?;
        }
        What::Show { id, told } => {
            let hold = store::show(&pool, None, id, now).await?;
            let hold = hold.ok_or_else(|| anyhow::anyhow!("there is no hold `{id}`"))?;
            print(&hold, told.lang.into());
        }
        What::Release { id, reason, hours } => {
            let person = args.registrar.person()?;
            let for_s = hours.saturating_mul(3_600);
            let say = Say { person, choice: Choice::Release, reason: &reason, for_s };
            print(&vote(&pool, None, id, &say, now).await?, Language::English);
        }
        What::Refuse { id, reason } => {
            let person = args.registrar.person()?;
            let say = Say { person, choice: Choice::Refuse, reason: &reason, for_s: 1 };
            print(&vote(&pool, None, id, &say, now).await?, Language::English);
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(pool: &PgPool, filter: &Filter, now: i64, language: Language) -> anyhow::Result<()> {
    let holds = store::list(pool, filter, now).await?;
    if holds.is_empty() {
        println!("no holds");
    }
    for hold in &holds {
        let Hold { id, org, service, persons, votes, .. } = hold;
        let (state, rules) = (hold.state.name(), hold.rules.join(" "));
        let said = votes.iter().filter(|vote| vote.choice == Choice::Release).count();
        println!("{id}  {state:<8}  {org:<16}  {service:<20}  {rules:<10}  {said} of {persons}");
        asks_for(hold, language);
    }
    if i64::try_from(holds.len()).is_ok_and(|count| count == store::PAGE)
        && let Some(last) = holds.last()
    {
        println!("there may be more: --before {}", last.id);
    }
    Ok(())
}

fn print(hold: &Hold, language: Language) {
    println!("hold {} of {}: {}", hold.id, hold.org, hold.state.name());
    println!("  asked    {} ({})", super::instant(hold.at), hold.operation);
    println!("  service  {}", hold.service);
    println!("  rules    {}", hold.rules.join(" "));
    println!("  needs    {} different persons, none of them who asked", hold.persons);
    println!("  facts    {}\n  bundle   {}", hold.facts, hold.bundle);
    asks_for(hold, language);
    if let Some(until) = hold.until {
        println!("  until    {}: the same request passes once", super::instant(until));
    }
    for vote in &hold.votes {
        println!("  {:<8} {}  {}", vote.choice.name(), super::instant(vote.at), vote.reason);
    }
}

/// What a release of it will ask for, one a line.
fn asks_for(hold: &Hold, language: Language) {
    let lead = match language {
        Language::English => "asks for",
        Language::Korean => "의무",
    };
    for duty in told::duties(&hold.obligations, &hold.meanings, language) {
        println!("  {lead:<8} {}", duty.sentence(language));
    }
}

const AFTER_HELP: &str = "\
For example:
  haetae hold list --lang ko
  haetae hold show ID
  haetae hold --by kim release ID --reason 'reviewed with counsel, ticket 4711' --hours 8
  haetae hold --by lee refuse ID --reason 'the recipient is not known'

Write `--by` as the identity provider names the person: nobody releases what that person asked, and nobody has two
votes. The name is taken on trust from whoever has the registrar's login; over the API (`POST /v1/holds/ID/release`)
it is proven. Each vote is a record of the log, with the person as a salted digest.";
