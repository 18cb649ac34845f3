//! `haetae webhook`: where organisations are told of what runs out and of orders.

use std::process::ExitCode;

use clap::Subcommand;
use sqlx::PgPool;
use uuid::Uuid;

use super::registrar::Registrar;
use crate::clock::Clock;
use crate::registry::{Sort, store as registry};
use crate::webhook::{self, Secret, check_url, store};

/// Webhooks of organisations: add, list, test, rotate, remove.
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
    /// Register an address. Prints the secret that its receiver checks signatures with: once, and never again.
    Add { org: String, url: String },
    /// List webhooks with their notices, and those that were given up or wait after a failure.
    List { org: Option<String> },
    /// Send a notice of type `webhook.test`.
    Test { id: Uuid },
    /// Give a webhook another secret. Notices are signed with both for a day.
    Rotate { id: Uuid },
    /// Send nothing there any more.
    Remove { id: Uuid },
    /// Try a notice again that was given up.
    Retry { notice: Uuid },
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    if let What::Add { url, .. } = &args.what {
        check_url(url).map_err(anyhow::Error::msg)?;
    }
    let pool = args.registrar.pool().await?;
    let by = args.registrar.who();
    let of = |webhook| store::Of { webhook, org: None, by };
    match &args.what {
        What::Add { org, url } => add(&pool, org, url, by).await?,
        What::List { org } => list(&pool, org.as_deref()).await?,
        What::Test { id } => {
            let notice = webhook::test(&pool, None, *id, Clock::system().unix_s()).await?;
            println!("notice {notice} is on its way: `haetae webhook list` says how it went");
        }
        What::Rotate { id } => {
            let secret = Secret::make()?;
            store::rotate(&pool, of(*id), &secret, webhook::BOTH_FOR).await?;
            println!("secret {}", secret.shown_once());
            println!("notices are signed with the old secret too for 24 h");
        }
        What::Remove { id } => {
            store::remove(&pool, of(*id)).await?;
            println!("webhook {id} is removed");
        }
        What::Retry { notice } => {
            anyhow::ensure!(
                store::retry(&pool, *notice).await?,
                "notice `{notice}` is none that waits or was given up"
            );
            println!("notice {notice} is tried again");
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn add(pool: &PgPool, org: &str, url: &str, by: &str) -> anyhow::Result<()> {
    let known = registry::show(pool, Some(Sort::Organisation)).await?;
    anyhow::ensure!(
        known.iter().any(|one| one.id == org),
        "organisation `{org}` is not registered"
    );
    let secret = Secret::make()?;
    let id = store::add(pool, org, url, &secret, by).await?;
    println!("webhook {id}");
    println!("secret {}", secret.shown_once());
    println!("keep the secret: it is not shown again");
    Ok(())
}

async fn list(pool: &PgPool, org: Option<&str>) -> anyhow::Result<()> {
    for one in store::list(pool, org).await? {
        println!(
            "{} {} {}: {} delivered, {} waiting, {} given up",
            one.id, one.org, one.url, one.delivered, one.waiting, one.dead
        );
    }
    for one in store::stuck(pool, org).await? {
        let how = match (one.status, &one.why) {
            (Some(status), _) => format!("answered {status}"),
            (None, Some(why)) => why.clone(),
            (None, None) => "not tried".to_owned(),
        };
        let state = if one.state == "dead" { "given up" } else { "waits" };
        println!(
            "  notice {} {} ({}): {state} after {} attempts: {how}",
            one.id, one.key, one.webhook, one.attempts
        );
    }
    Ok(())
}

const AFTER_HELP: &str = "\
Notices: `ground.expiring` and `certificate.expiring` at 90, 30 and 7 days, `order.touches`; `obligation.due` at the same
days before its time, `obligation.overdue` after it, `obligation.broken`; `webhook.test`. Each is a JSON object
(`type`, `timestamp`, `data`) in a POST with `webhook-id`, `webhook-timestamp` and `webhook-signature` (Standard Webhooks:
HMAC-SHA256; any of its libraries verifies them). An answer of 2xx accepts a notice; else it is sent again, under the same id,
for a day and more. Take an id that you have seen as accepted.
  haetae webhook --by kim add kr-bank https://hooks.bank.example/haetae
  haetae webhook test ID
  haetae webhook list kr-bank
An organisation's own administrators do the same over the API (`/v1/webhooks`: `GET /v1/openapi.json`). Each change is a record.
Addresses must be https and public, unless `webhooks.allow` in haetae.toml names their network.";
