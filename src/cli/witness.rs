//! `haetae witness`: the regulator's own process, and its key.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use tlog::key::Kind;
use tlog::tile::check_origin;
use tlog::{Signer as _, SigningKey};

use super::aside::{self, Ends};
use super::secret;
use crate::witness::Config;
use crate::{app, telemetry};

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Cosign checkpoints of logs that only grew; keep those that contradict.
    Serve {
        /// The configuration file; the example `witness.toml` explains every key.
        #[arg(long, short, default_value = "witness.toml")]
        config: PathBuf,
    },
    /// Make the key that cosigns, and print its public key (C2SP vkey).
    Keygen {
        /// The witness's name, a host name and path without scheme, e.g. `witness.regulator.example/1`.
        #[arg(long)]
        name: String,
        /// Where the secret key goes; made with mode 0600, never overwritten.
        #[arg(long)]
        out: PathBuf,
    },
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Keygen { name, out } => keygen(&name, &out),
        Command::Serve { config } => serve(&config).await,
    }
}

fn keygen(name: &str, out: &Path) -> anyhow::Result<ExitCode> {
    check_origin(name).with_context(|| format!("`{name}` cannot name a witness"))?;
    let key = SigningKey::from_seed(name, Kind::Cosignature, &secret::seed()?)
        .with_context(|| format!("`{name}` cannot name a key"))?;
    secret::write(out, &format!("{}\n", key.to_skey()))?;
    println!("{}", key.verifier());
    eprintln!(
        "the secret key is in `{}`; give the line above to everyone who is to trust this witness: it stands in their trust \
         files as `witness NAME LINE`",
        out.display()
    );
    Ok(ExitCode::SUCCESS)
}

async fn serve(config: &Path) -> anyhow::Result<ExitCode> {
    let config: Config = aside::read(config, |config: &mut Config, resolve| {
        config.paths_mut().for_each(resolve);
    })?;
    telemetry::start(&config.telemetry)?;
    let ends = Ends::new()?;
    let running = app::witness::start(config).await?;
    tracing::info!(address = %running.address(), "the witness is ready to cosign");
    ends.serve(&running).await;
    Ok(ExitCode::SUCCESS)
}

const AFTER_HELP: &str = "\
For example, at the regulator:
  haetae witness keygen --name witness.regulator.example/1 --out witness.key > witness.vkey
  haetae witness serve --config witness.toml
It speaks C2SP tlog-witness, so it may witness other people's logs, and other people's witnesses may cosign ours. What was
cosigned last of each log lies in `state`: a witness that has lost it must take a new key and a new, empty state, because
it could cosign two trees that contradict each other. `<key>.cosigned` beside the key says when it was lost, and
`<key>.signed` what its own log said last: keep both with the key.
`GET /status` says how each log stands; a signed checkpoint that does not extend the last one is kept as evidence.";
