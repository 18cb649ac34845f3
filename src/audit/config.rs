//! The room's part of the configuration, and why it could not start.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::privacy::PrivacyError;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Name of the deployment's log, a URL without scheme; a lane is `<origin>/<number>`. It can never change.
    pub origin: String,
    /// PKCS#8 PEM with the Ed25519 key that signs checkpoints.
    pub key_file: PathBuf,
    /// Keys that sign beside it while the key changes: the next one before the change, the former one after it.
    pub also_sign_with: Vec<PathBuf>,
    /// Where it is remembered, on a disk that is not the database's, how far each lane was. Absent: a database that was
    /// rolled back while no gateway ran is not noticed by the gateway.
    pub high_water_file: Option<PathBuf>,
    /// Lanes of the deployment, 1 to 16. May grow, never shrink.
    pub lanes: u16,
    /// Lanes that this process may hold at once: `lanes` for a single process, a share of them for each replica.
    pub lanes_held_max: u16,
    /// Decisions that may wait for a commit; more are refused.
    pub queue_max: usize,
    /// How long a request waits for its record.
    pub record_ms_max: u64,
    /// How long a commit may take before its connection is given up and its outcome looked up.
    pub commit_ms_max: u64,
    /// How many servers must have a commit before anybody is answered.
    pub durability: Durability,
    /// What a rule means by a witnessed receipt; a decision that needs one is refused when this is absent.
    pub witnessed: Option<WitnessedConfig>,
    /// Role that every session takes; the connecting user must be a member. Empty: stay the connecting user.
    pub role: String,
}

/// What a commit must survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// The end of the server's process, and of its power.
    One,
    /// Also the loss of the server: a standby of `synchronous_standby_names` has it on its disk.
    Quorum,
}

/// Whose cosignatures are enough, and how long they are waited for.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WitnessedConfig {
    /// A C2SP tlog-policy file with the lanes, the witnesses and the quorum.
    pub trust: PathBuf,
    /// How long a request waits for them.
    #[serde(default = "wait_ms_max")]
    pub wait_ms_max: u64,
}

/// Checkpoints are published and cosigned once a second.
const fn wait_ms_max() -> u64 {
    5_000
}

impl Default for Config {
    fn default() -> Self {
        Self {
            origin: "haetae.example/log".to_owned(),
            key_file: PathBuf::from("log.key"),
            also_sign_with: Vec::new(),
            high_water_file: None,
            lanes: 2,
            lanes_held_max: LANES_MAX,
            queue_max: 8_192,
            record_ms_max: 1_800,
            commit_ms_max: 2_000,
            durability: Durability::One,
            witnessed: None,
            role: "haetae_gateway".to_owned(),
        }
    }
}

impl Config {
    /// The files it names, for whoever knows from which directory relative ones are meant.
    pub fn paths_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let keys = std::iter::once(&mut self.key_file).chain(&mut self.also_sign_with);
        let trust = self.witnessed.iter_mut().map(|witnessed| &mut witnessed.trust);
        keys.chain(&mut self.high_water_file).chain(trust)
    }

    pub(super) fn check(&self) -> Result<(), AuditError> {
        let role_ok = self.role.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if self.lanes == 0 || self.lanes > LANES_MAX {
            return Err(AuditError::Config("`lanes` must be between 1 and 16"));
        }
        if self.lanes_held_max == 0 {
            return Err(AuditError::Config("`lanes_held_max` must be at least 1"));
        }
        if self.queue_max == 0 || self.record_ms_max == 0 || self.commit_ms_max == 0 {
            return Err(AuditError::Config(
                "`queue_max`, `record_ms_max` and `commit_ms_max` must not be 0",
            ));
        }
        if self.also_sign_with.len() > ALSO_MAX {
            return Err(AuditError::Config("`also_sign_with` may name one key: old and new"));
        }
        if !role_ok {
            return Err(AuditError::Config("`role` may hold only letters, digits and `_`"));
        }
        Ok(())
    }

    pub(super) const fn record_deadline(&self) -> Duration {
        Duration::from_millis(self.record_ms_max)
    }

    pub(super) const fn commit_deadline(&self) -> Duration {
        Duration::from_millis(self.commit_ms_max)
    }
}

/// Why the room could not start.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    #[error("the audit configuration is not usable: {0}")]
    Config(&'static str),
    #[error(
        "the log's signing key cannot be read from `{path}`: {cause}; make one with `haetae keygen`"
    )]
    Key { path: String, cause: String },
    #[error("`{origin}` cannot name a log: {cause}")]
    Origin { origin: String, cause: tlog::key::KeyError },
    #[error("`audit.witnessed`: the trust file `{path}` cannot be used: {cause}")]
    Witnessed { path: String, cause: String },
    #[error("the operating system gives no random bytes")]
    Chance,
    #[error("what is kept of people: {0}")]
    Privacy(#[from] PrivacyError),
    #[error("the data key {id} cannot be wrapped anew: {cause}")]
    DataKey { id: uuid::Uuid, cause: PrivacyError },
    #[error("the audit database: {0}")]
    Database(#[from] sqlx::Error),
    #[error("the audit database holds what this program does not understand: {0}")]
    Content(String),
    #[error(
        "the high-water file `{path}` cannot be used: {cause}; it remembers how far the log was, so do not delete it \
         before `haetae log verify --trust` has shown with a checkpoint kept elsewhere that nothing is missing"
    )]
    HighWater { path: String, cause: String },
    #[error("the state file `{path}` is not gone on with: {cause}")]
    State { path: String, cause: String },
    #[error("writing: {0}")]
    Write(#[from] std::io::Error),
}

/// A lane is one connection and one head row; measured gains end near 8.
const LANES_MAX: u16 = 16;
/// Each key is a line of some 150 bytes in every receipt, which travels in a request header.
const ALSO_MAX: usize = 1;
