//! `haetae access`: who may do what, and why; rows and roles of one organisation granted and revoked by the operator.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::{Map, Value as Json, json};
use sqlx::PgPool;

use super::registrar::Registrar;
use crate::access::{Bench, By, Wish, change};
use crate::clock::Clock;
use crate::policy::{Asker, Bundle, Leave};
use crate::registry::access::{actor_node, drawn_id};
use crate::registry::store::{self, Version};
use crate::registry::tree::entry_of;
use crate::registry::{RegistryError, Sort};

/// Roles and rows of an organisation: list, grant, revoke, explain.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    #[command(flatten)]
    registrar: Registrar,
    /// The policy bundle whose floor and shared roles hold; by default that of the configuration file.
    #[arg(long, global = true)]
    bundle: Option<PathBuf>,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List the entries of one organisation, or of all.
    List { org: Option<String> },
    /// Let a role do something, or give a role to another role or to somebody.
    Grant(Box<Grant>),
    /// Take an entry back. In force when this returns.
    Revoke {
        /// `organisation/name`, as `list` shows it.
        id: String,
        /// Also when nobody could administer access by the organisation's entries afterwards.
        #[arg(long)]
        force: bool,
    },
    /// Say whether somebody may do something, by which rows, and who could give it.
    Explain {
        org: String,
        #[arg(long = "role")]
        roles: Vec<String>,
        /// The person or service, as its issuer calls it.
        #[arg(long, requires = "issuer")]
        actor: Option<String>,
        /// The token's issuer, or `certificate`.
        #[arg(long)]
        issuer: Option<String>,
        #[arg(long)]
        service: String,
        #[arg(long)]
        operation: String,
    },
}

#[derive(Debug, clap::Args)]
struct Grant {
    org: String,
    /// The role that is let do something, or that is given.
    #[arg(long)]
    role: String,
    /// A service of the organisation, or one of the gateway's own: `haetae:access`. May be repeated.
    #[arg(long = "service")]
    services: Vec<String>,
    /// Every service that runs models.
    #[arg(long, conflicts_with = "services")]
    every_service: bool,
    /// `submit`, `upload`, `read_derived`, `cancel`, `metadata`, `admin`. May be repeated.
    #[arg(long = "operation")]
    operations: Vec<String>,
    /// Forbid instead.
    #[arg(long, conflicts_with = "delegable")]
    deny: bool,
    /// Whoever has it may give it to others of the organisation.
    #[arg(long)]
    delegable: bool,
    /// Give the role to this one.
    #[arg(long, conflicts_with_all = ["services", "every_service", "operations", "deny", "delegable"])]
    to_role: Option<String>,
    /// Give the role to this person or service.
    #[arg(long, requires = "issuer", conflicts_with_all = ["to_role", "services", "every_service", "operations", "deny", "delegable"])]
    to_actor: Option<String>,
    /// The issuer of that person's or service's tokens, or `certificate`.
    #[arg(long)]
    issuer: Option<String>,
    /// The entry's name after `organisation/`, which stays in the log in clear: name no person in it. By default a drawn one.
    #[arg(long)]
    name: Option<String>,
    /// A date or instant until which it holds.
    #[arg(long)]
    until: Option<String>,
    #[arg(long)]
    note: Option<String>,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let clock = Clock::system();
    // What is wrong with an entry is said before anything is asked of the database.
    let wish = wish(&args.what)?;
    let pool = args.registrar.pool().await?;
    let at = clock.unix_s();
    match (&args.what, wish) {
        (What::List { org }, _) => list(&pool, org.as_deref()).await?,
        (What::Explain { .. }, _) => return explain(&args, &pool, at).await,
        (what, Some(wish)) => {
            let wish = match wish {
                Wish::Revoke { id, .. } => Wish::Revoke { sort: sort_of(&pool, &id).await?, id },
                grant => grant,
            };
            let bundle = args.bundle(at).await?;
            let bench = Bench { pool: &pool, bundle: &bundle, at };
            let who = args.registrar.who();
            let force = matches!(what, What::Revoke { force: true, .. });
            super::registry::print_applied(&change(bench, wish, By::Operator, who, force).await?);
        }
        (_, None) => {}
    }
    Ok(ExitCode::SUCCESS)
}

impl Args {
    async fn bundle(&self, at: i64) -> anyhow::Result<Bundle> {
        let dir = match &self.bundle {
            Some(dir) => dir.clone(),
            None => {
                self.registrar.config().context(WHICH_BUNDLE)?.policy.dir.context(WHICH_BUNDLE)?
            }
        };
        let read = Bundle::read(&dir, at).await;
        read.with_context(|| format!("the policy bundle `{}` cannot be used", dir.display()))
    }
}

fn wish(what: &What) -> anyhow::Result<Option<Wish>> {
    Ok(match what {
        What::Grant(grant) => {
            let (sort, document) = grant.document()?;
            let entry = Box::new(entry_of(sort, &document)?);
            Some(if grant.name.is_some() { Wish::Grant(entry) } else { Wish::GrantOnce(entry) })
        }
        What::Revoke { id, .. } => Some(Wish::Revoke { sort: Sort::AccessRow, id: id.clone() }),
        What::List { .. } | What::Explain { .. } => None,
    })
}

impl Grant {
    fn document(&self) -> anyhow::Result<(Sort, Json)> {
        let texts = [
            ("org", Some(&self.org)),
            ("role", Some(&self.role)),
            ("valid_until", self.until.as_ref()),
            ("note", self.note.as_ref()),
            ("member", self.to_role.as_ref()),
            ("actor", self.to_actor.as_ref()),
            ("issuer", self.issuer.as_ref()),
        ];
        let texts =
            texts.into_iter().filter_map(|(key, text)| Some((key.to_owned(), json!(text?))));
        let mut document: Map<String, Json> = texts.collect();
        let sort = if self.to_role.is_some() || self.to_actor.is_some() {
            Sort::RoleGrant
        } else {
            let out = if self.deny { "deny" } else { "allow" };
            document.extend([
                ("out".to_owned(), json!(out)),
                ("services".to_owned(), json!(self.services)),
                ("operations".to_owned(), json!(self.operations)),
            ]);
            let flags = [("every_service", self.every_service), ("delegable", self.delegable)];
            let set = flags.into_iter().filter(|(_, set)| *set);
            document.extend(set.map(|(key, _)| (key.to_owned(), json!(true))));
            Sort::AccessRow
        };
        let id = match &self.name {
            Some(name) => format!("{}/{name}", self.org),
            None => drawn_id(sort, &self.org).context(NO_CHANCE)?,
        };
        document.insert("id".into(), json!(id));
        Ok((sort, Json::Object(document)))
    }
}

/// Rows and grants share one list, so that an id says which it is.
async fn sort_of(pool: &PgPool, id: &str) -> anyhow::Result<Sort> {
    let versions = store::history(pool, id).await?;
    let present = versions.iter().find(|one| one.until.is_none() && one.sort.is_access());
    match present {
        Some(version) => Ok(version.sort),
        None => Err(RegistryError::NotFound { sort: Sort::AccessRow, id: id.to_owned() }.into()),
    }
}

async fn list(pool: &PgPool, org: Option<&str>) -> anyhow::Result<()> {
    for sort in [Sort::RoleGrant, Sort::AccessRow] {
        for version in store::show(pool, Some(sort)).await? {
            let owner = version.document.get("org").and_then(Json::as_str).unwrap_or_default();
            if org.is_none_or(|org| org == owner) {
                println!("{}", line(&version));
            }
        }
    }
    Ok(())
}

/// `kr-bank/r-1  allow  teller  submit  on llama-3.3-70b`.
fn line(version: &Version) -> String {
    let of = |key: &str| version.document.get(key).and_then(Json::as_str).unwrap_or_default();
    let is = |key: &str| version.document.get(key) == Some(&Json::Bool(true));
    let all = |key: &str| {
        let list = version.document.get(key).and_then(Json::as_array).into_iter().flatten();
        list.filter_map(Json::as_str).collect::<Vec<_>>().join(" ")
    };
    let mut text = if version.sort == Sort::RoleGrant {
        let member = match of("member") {
            "" => format!("{} of {}", of("actor"), of("issuer")),
            role => format!("role {role}"),
        };
        format!("{:<28} {member} has role {}", version.id, of("role"))
    } else {
        let services = if is("every_service") { "every model".into() } else { all("services") };
        let (out, role) = (of("out"), of("role"));
        format!("{:<28} {out} role {role}: {} on {services}", version.id, all("operations"))
    };
    for (key, words) in [("delegable", "may pass it on"), ("revoked", "REVOKED")] {
        if is(key) {
            text = format!("{text}; {words}");
        }
    }
    match of("valid_until") {
        "" => text,
        until => format!("{text}; until {until}"),
    }
}

async fn explain(args: &Args, pool: &PgPool, at: i64) -> anyhow::Result<ExitCode> {
    let What::Explain { org, roles, actor, issuer, service, operation } = &args.what else {
        return Ok(ExitCode::FAILURE);
    };
    let (snapshot, bundle) = (store::snapshot(pool, at).await?, args.bundle(at).await?);
    let roles: Vec<Arc<str>> = roles.iter().map(|role| role.as_str().into()).collect();
    let node = actor.as_ref().map(|actor| actor_node(issuer.as_deref().unwrap_or_default(), actor));
    let own = snapshot.own_access(org);
    let asker = Asker { org, roles: &roles, actor: node.as_deref(), own };
    if let Some(fault) = own.and_then(crate::registry::access::OwnAccess::fault) {
        println!("no: every request of `{org}` is refused, because {fault}");
        return Ok(ExitCode::FAILURE);
    }
    let leave = bundle.explain_access(&asker, service, operation);
    print!("{}", said(&leave, operation, service));
    Ok(if leave.allowed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn said(leave: &Leave, operation: &str, service: &str) -> String {
    let what = format!("`{operation}` on `{service}`");
    let mut lines = vec![match (leave.allowed, leave.because.is_empty()) {
        (true, _) => format!("yes: {what} is allowed by"),
        (false, false) => format!("no: {what} is refused by"),
        (false, true) => format!("no: no row lets these do {what}"),
    }];
    for told in &leave.because {
        let whose = if told.own { "the organisation's row" } else { "the bundle's row" };
        let line = format!("  {whose} {} ({} {})", told.row, told.out, told.role);
        let through = (told.through != told.role).then(|| format!(" through {}", told.through));
        lines.push(format!("{line}{}", through.unwrap_or_default()));
    }
    if !leave.may_give.is_empty() {
        lines.push(format!("may give it: {}", leave.may_give.join(", ")));
    }
    lines.join("\n") + "\n"
}

const NO_CHANCE: &str = "the operating system gives no random bytes";
const WHICH_BUNDLE: &str = "say which policy bundle: `--bundle DIR`, or `--config FILE`";

const AFTER_HELP: &str = "\
Roles come with a caller's token or certificate (`identity` in haetae.toml). The bundle gives shared roles some rights
(policies/access); an organisation's entries add to them, under the floor, which no entry can lift.
  haetae access --by kim grant kr-bank --role teller --service llama-3.3-70b --operation submit
  haetae access --by kim grant kr-bank --role teller --to-role intern
  haetae access --by kim grant kr-bank --role administrator --to-actor person:lee --issuer https://login.example.kr
  haetae access explain kr-bank --role intern --service llama-3.3-70b --operation submit
  haetae access --by kim revoke kr-bank/r-3f9a1c07d2e85b46
This command is the operator's. An organisation's own administrators use /v1/access of the gateway, and can give only
what they have and may pass on (`--delegable`). `explain` exits 1 for no.";
