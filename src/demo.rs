//! The first run: everything on loopback, real traffic, a table of what happened.
//!
//! The gateway is `haetae serve` in a process of its own, prepared with the commands that an operator would use; so the
//! demo shows the program, not a copy of its parts.
//!
//! *Invariant:* the only stand-ins are the GPU sites and the identity provider.

pub mod client;
pub mod door;
pub mod fleet;
pub mod gateway;
pub mod issuer;
pub mod pki;
mod ports;
pub mod scenario;
pub mod site;
mod story;
mod table;
mod words;
pub mod world;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use jsonwebtoken::Algorithm;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::clock::Clock;
use issuer::Mint;
use world::{Plot, World};

/// The arguments of `haetae demo`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Send the traffic once, check every expectation, stop, and say by the exit code whether all held.
    #[arg(long)]
    once: bool,
    /// Where keys, configuration and the database go; emptied at the start of each demo.
    #[arg(long, default_value = "demo-data")]
    dir: PathBuf,
    /// Ports of the gateway, the console, the log, the issuer, then the sites; one that is taken, 0 or missing: any free one.
    #[arg(long, value_delimiter = ',', default_values_t = [8443, 8444, 8445])]
    ports: Vec<u16>,
}

/// Runs the demo until Ctrl-C, or once. Success means that every expectation held.
pub async fn run(args: Args) -> Result<ExitCode> {
    let colour = table::wants_colour();
    println!("Haetae demo: everything runs on this machine, on loopback addresses only.\n");
    let program = std::env::current_exe().context("this program does not know its own path")?;
    let plot =
        Plot { dir: args.dir, ports: args.ports, program, clock: Clock::system(), token_ms: None };
    let mut world = World::build(plot, &|step| println!("  ready  {step}")).await?;
    let failed = tell(&mut world, colour).await?;
    let verified = verify(&world).await;
    let code = conclude(&failed, &verified);
    if !args.once {
        stay(&world).await?;
    }
    world.stop().await?;
    Ok(code)
}

/// Plays the story and prints it line by line; gives the titles of what went otherwise than expected.
async fn tell(world: &mut World, colour: bool) -> Result<Vec<&'static str>> {
    print!("\n{}", table::head(colour));
    let mut failed = Vec::new();
    for (index, scenario) in scenario::STORY.iter().enumerate() {
        let row = story::play(world, scenario).await.with_context(|| scenario.title)?;
        print!("{}", table::row(index + 1, &row, colour));
        if !row.as_expected {
            failed.push(scenario.title);
        }
    }
    Ok(failed)
}

/// The sites' own word that nothing else arrived, and the log's own proof that it is whole.
async fn verify(world: &World) -> Result<()> {
    println!("\nWhat the sites say they have seen:");
    let mut surprises = Vec::new();
    for (site, report) in world.fleet.reports().await? {
        let seen = report.seen.len();
        println!(
            "  {site}: {seen} {}, {} that should not have come",
            if seen == 1 { "request" } else { "requests" },
            report.unexpected.len()
        );
        surprises.extend(report.unexpected);
    }
    anyhow::ensure!(
        surprises.is_empty(),
        "sites saw what they should not: {}",
        surprises.join("; ")
    );
    println!("\nhaetae log verify --config haetae.toml");
    let output = world.program.run(&["log", "verify", "--config", "haetae.toml"]).await?;
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        println!("  {line}");
    }
    reconcile(world).await
}

/// What the guards say they let in against what the log allowed.
async fn reconcile(world: &World) -> Result<()> {
    let until = (OffsetDateTime::from_unix_timestamp(world.clock.unix_s())?
        + time::Duration::seconds(1))
    .format(&Rfc3339)?;
    for (site, _) in world.fleet.addresses() {
        let journal = format!("guard-{site}.jsonl");
        let line = ["log", "reconcile", "--config", "haetae.toml", "--until", &until, &journal];
        println!("\nhaetae {}", line.join(" "));
        let output = world.program.run(&line).await?;
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            println!("  {line}");
        }
    }
    Ok(())
}

fn conclude(failed: &[&str], verified: &Result<()>) -> ExitCode {
    println!();
    for title in failed {
        println!("not as expected: {title}");
    }
    if let Err(error) = verified {
        println!("not verified: {error:#}");
    }
    if failed.is_empty() && verified.is_ok() {
        println!("Everything went as expected, and the log is whole.");
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Says where everything is, and waits for Ctrl-C.
async fn stay(world: &World) -> Result<()> {
    let token = world.token("kr-retailer", Mint::Right(Algorithm::EdDSA))?;
    pki::write_private(&world.dir.join("token"), &token)?;
    let places = words::Places {
        gateway_port: world.data.port(),
        console: format!("http://{}", world.console),
        log: format!("https://127.0.0.1:{}", world.tiles.port()),
        dir: &world.dir,
        database: world.cluster.url(),
        program: &world.program.path,
    };
    println!("{}", places.text());
    tokio::signal::ctrl_c().await.context("cannot wait for Ctrl-C")?;
    println!("\nstopping");
    Ok(())
}
