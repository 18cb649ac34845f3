//! `haetae policy keygen|approver|sign|verify`: whose signature counts, and signatures over a bundle that lies in a
//! directory.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use sqlx::PgPool;
use tlog::{Note, SigningKey, VerifierKey};

use super::life::{Key, now};
use crate::cli::registrar::{Registrar, WHICH_DATABASE};
use crate::cli::secret;
use crate::config::{Config, Database};
use crate::mandate::store;
use crate::mandate::{Approver, Chain, How, Role, note, signers};
use crate::policy::Bundle;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Make an approver's key: the private one into a file, the public one to standard output
    Keygen {
        /// The person, e.g. kim@agency.example: the name of the key
        #[arg(long)]
        name: String,
        /// Where the private key goes; made with mode 0600, never overwritten
        #[arg(long)]
        out: PathBuf,
    },
    /// Register, remove or list approvers. Takes the rights of the schema's owner
    #[command(subcommand)]
    Approver(Who),
    /// Sign the digests of a bundle in a directory, as its author: a C2SP signed note on standard output
    Sign {
        dir: PathBuf,
        #[command(flatten)]
        key: Key,
    },
    /// Check such a note against the directory and a public key
    Verify {
        dir: PathBuf,
        #[arg(long, value_name = "FILE")]
        note: PathBuf,
        /// The author's public key, which you got elsewhere
        #[arg(long)]
        vkey: String,
    },
}

#[derive(Debug, clap::Subcommand)]
pub enum Who {
    /// Register a public key; what comes into force from now on may bear its signature
    Add {
        /// As `keygen` printed it: name+id+key
        vkey: String,
        /// `platform_administrator`, `data_protection`, `legal`, `security` or `organisation`
        #[arg(long)]
        role: String,
        #[command(flatten)]
        place: OwnerPlace,
    },
    /// End it: nothing that comes into force from now on may bear its signature
    Remove {
        name: String,
        #[command(flatten)]
        place: OwnerPlace,
    },
    /// Who they are, with what role
    List {
        #[command(flatten)]
        registrar: Registrar,
    },
}

/// The database as its owner, and who acts.
#[derive(Debug, clap::Args)]
pub struct OwnerPlace {
    /// The database, as the owner of the schema
    #[arg(long, env = "HAETAE_OWNER_URL", hide_env_values = true)]
    database: Option<String>,
    /// The configuration file whose `database.owner_url` is taken when `--database` is not given
    #[arg(long, short, env = "HAETAE_CONFIG", default_value = "haetae.toml")]
    config: PathBuf,
    /// Who acts; kept with it, and in the log as a salted digest
    #[arg(long, env = "USER")]
    by: Option<String>,
}

pub async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Keygen { name, out } => keygen(&name, &out)?,
        Command::Approver(Who::Add { vkey, role, place }) => add(&vkey, &role, &place).await?,
        Command::Approver(Who::Remove { name, place }) => {
            let version = store::remove_approver(&place.pool().await?, &name, &place.by()).await?;
            println!("{name} signs nothing that comes into force after version {version}");
        }
        Command::Approver(Who::List { registrar }) => list(&registrar.pool().await?).await?,
        Command::Sign { dir, key } => {
            let text = digests(&Bundle::load(&dir, now()).await?);
            print!(
                "{}",
                Note::sign(text, &key.read()?).map_err(|cause| anyhow::anyhow!("{cause}"))?
            );
        }
        Command::Verify { dir, note, vkey } => verify(&dir, &note, &vkey).await?,
    }
    Ok(ExitCode::SUCCESS)
}

impl OwnerPlace {
    async fn pool(&self) -> anyhow::Result<PgPool> {
        let database = match &self.database {
            Some(url) => Database::at(url.clone()),
            None => Config::read(&self.config).context(WHICH_DATABASE)?.database,
        };
        database.owner_pool().await
    }

    fn by(&self) -> String {
        self.by.clone().unwrap_or_else(|| "unknown".to_owned())
    }
}

fn keygen(name: &str, out: &Path) -> anyhow::Result<()> {
    let (private, public) = note::new_key(name, &secret::seed()?)?;
    secret::write(out, &format!("{private}\n"))?;
    println!("{public}");
    eprintln!("the private key is in `{}`: it is {name}'s alone", out.display());
    Ok(())
}

async fn add(vkey: &str, role: &str, place: &OwnerPlace) -> anyhow::Result<()> {
    let key: VerifierKey =
        vkey.parse().map_err(|cause| anyhow::anyhow!("`{vkey}` is no public key: {cause}"))?;
    let Some(role) = Role::named(role) else {
        let roles: Vec<&str> = Role::ALL.iter().map(|role| role.name()).collect();
        bail!("`{role}` is no role: write one of {}", roles.join(", "));
    };
    let version = store::add_approver(&place.pool().await?, &key, role, &place.by(), now()).await?;
    println!("{} ({role}) may sign what comes into force after version {version}", key.name());
    Ok(())
}

async fn list(pool: &PgPool) -> anyhow::Result<()> {
    for one in store::approvers(pool).await? {
        let until = one.removed_in.map_or(String::new(), |at| format!(", until version {at}"));
        println!("{} {}, from version {}{until}", one.key, one.role, one.added_in);
    }
    Ok(())
}

async fn verify(dir: &Path, file: &Path, vkey: &str) -> anyhow::Result<()> {
    let key: VerifierKey =
        vkey.parse().map_err(|cause| anyhow::anyhow!("`{vkey}` is no public key: {cause}"))?;
    let text = std::fs::read_to_string(file).with_context(|| format!("`{}`", file.display()))?;
    let note: Note =
        text.parse().map_err(|cause| anyhow::anyhow!("`{}`: {cause}", file.display()))?;
    note.verify([&key]).map_err(|cause| anyhow::anyhow!("`{}`: {cause}", file.display()))?;
    let bundle = Bundle::load(dir, now()).await?;
    anyhow::ensure!(
        note.text() == digests(&bundle),
        "{} signed another bundle: `{}` is {}",
        key.name(),
        dir.display(),
        bundle.content_digest()
    );
    println!("{} signed this bundle, {}", key.name(), bundle.content_digest());
    Ok(())
}

/// What the author of a bundle signs.
fn digests(bundle: &Bundle) -> String {
    format!(
        "haetae policy bundle v1\ntitle {}\nbundle {}\nrulebook {}\naccess {}\n",
        bundle.title(),
        bundle.content_digest(),
        bundle.digest(),
        bundle.access_digest()
    )
}

/// That the key is registered, so that nobody signs in vain.
pub(super) async fn known(pool: &PgPool, key: &SigningKey) -> anyhow::Result<()> {
    let key = tlog::Signer::verifier(key);
    let live = |one: &Approver| one.key == *key && one.removed_in.is_none();
    if store::approvers(pool).await?.iter().any(live) {
        return Ok(());
    }
    bail!("`{}` is no approver: `haetae policy approver add {key} --role ROLE`", key.name())
}

/// The notes of those who are still approvers.
pub(super) async fn counting(
    pool: &PgPool,
    notes: Vec<(String, String)>,
) -> anyhow::Result<Vec<String>> {
    let approvers = store::approvers(pool).await?;
    let counts =
        |name: &str| approvers.iter().any(|one| one.key.name() == name && one.removed_in.is_none());
    Ok(notes.into_iter().filter(|(name, _)| counts(name)).map(|(_, note)| note).collect())
}

/// Whether these signatures suffice, or what is missing.
pub(super) async fn enough(
    pool: &PgPool,
    chain: &Chain,
    how: How,
    waiting: &[(String, String)],
) -> anyhow::Result<Result<(), String>> {
    let approvers = store::approvers(pool).await?;
    let live: Vec<&Approver> = approvers.iter().filter(|one| one.removed_in.is_none()).collect();
    let mut signed = Vec::new();
    for (_, note) in waiting {
        let text = note.parse::<Note>().map(|note| note.text().to_owned()).unwrap_or_default();
        signed.extend(signers(std::slice::from_ref(note), &text, &live).unwrap_or_default());
    }
    Ok(chain.enough(how, &signed))
}
