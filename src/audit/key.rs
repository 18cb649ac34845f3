//! The log's signing key: one Ed25519 seed for the deployment, one signed-note name for each lane.

use std::path::Path;

use ed25519_dalek::pkcs8::{
    DecodePrivateKey as _, EncodePrivateKey as _, spki::der::pem::LineEnding,
};
use tlog::{SigningKey, key::Kind};

use super::{AuditError, chance};

/// The private key of the log. Never printed; its bytes are erased when it is dropped.
pub struct Key(ed25519_dalek::SigningKey);

impl Key {
    /// A new random key.
    pub fn generate() -> Result<Self, AuditError> {
        chance::bytes().map(|seed| Self(ed25519_dalek::SigningKey::from_bytes(&seed)))
    }

    /// Reads a PKCS#8 PEM file, as `haetae keygen` and `openssl genpkey -algorithm ed25519` write it.
    pub fn read(path: &Path) -> Result<Self, AuditError> {
        let cause = |cause: String| AuditError::Key { path: path.display().to_string(), cause };
        let pem = std::fs::read_to_string(path).map_err(|error| cause(error.to_string()))?;
        let key = ed25519_dalek::SigningKey::from_pkcs8_pem(&pem);
        key.map(Self).map_err(|error| cause(error.to_string()))
    }

    /// PKCS#8 PEM, for the key file alone.
    pub fn to_pem(&self) -> Result<String, AuditError> {
        let cause = |cause: ed25519_dalek::pkcs8::Error| AuditError::Key {
            path: "a new key".to_owned(),
            cause: cause.to_string(),
        };
        self.0.to_pkcs8_pem(LineEnding::LF).map(|pem| pem.to_string()).map_err(cause)
    }

    /// The public key of a lane in the text form of C2SP (`origin/lane+id+base64`): what a reviewer trusts.
    pub fn vkey(&self, origin: &str, lane: u16) -> Result<String, AuditError> {
        let signer = self.signer(origin, lane)?;
        Ok(tlog::Signer::verifier(&signer).to_string())
    }

    pub(super) fn signer(&self, origin: &str, lane: u16) -> Result<SigningKey, AuditError> {
        SigningKey::from_seed(&lane_origin(origin, lane), Kind::Ed25519, self.0.as_bytes())
            .map_err(|cause| AuditError::Origin { origin: origin.to_owned(), cause })
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Key")
    }
}

/// `<deployment origin>/<lane>`: the lane's origin and the name of its key.
pub(super) fn lane_origin(origin: &str, lane: u16) -> String {
    format!("{origin}/{lane}")
}
