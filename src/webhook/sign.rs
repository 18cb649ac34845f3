//! Signatures of the Standard Webhooks scheme (standardwebhooks.com, 1.0.0): HMAC-SHA256 over `id.timestamp.body`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::WebhookError;

/// The key that a receiver shares with us. Shown once, when it is made.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// 32 random bytes.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn make() -> Result<Self, WebhookError> {
        let mut bytes = vec![0; 32];
        getrandom::fill(&mut bytes).map_err(|_| WebhookError::Chance)?;
        Ok(Self(bytes))
    }

    pub(super) const fn of(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// `whsec_` and base64, as receivers' libraries take it. For the one time that it is shown.
    #[must_use]
    pub fn shown_once(&self) -> String {
        format!("whsec_{}", STANDARD.encode(&self.0))
    }

    fn sign(&self, id: &str, timestamp: i64, body: &str) -> String {
        // a key of any length is one
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else { return String::new() };
        mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Secret(..)")
    }
}

/// The value of `webhook-signature`: one signature by each secret that is valid now.
pub(super) fn signature(secrets: &[Secret], id: &str, timestamp: i64, body: &str) -> String {
    let all: Vec<String> = secrets.iter().map(|secret| secret.sign(id, timestamp, body)).collect();
    all.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the scheme's own libraries.
    #[test]
    fn the_published_example_is_signed_as_published() {
        let secret = Secret::of(STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap());
        let (id, body) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", r#"{"test": 2432232314}"#);
        let expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(signature(std::slice::from_ref(&secret), id, 1_614_265_330, body), expected);
        let both = signature(&[secret, Secret::of(vec![1; 32])], id, 1_614_265_330, body);
        assert!(both.starts_with(&format!("{expected} v1,")));
    }

    #[test]
    fn a_secret_is_not_printed_by_accident() {
        assert_eq!(format!("{:?}", Secret::of(vec![7; 32])), "Secret(..)");
    }
}
