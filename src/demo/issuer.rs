//! An identity provider on loopback: publishes its keys and mints tokens, the right ones and the wrong ones.

use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use bytes::Bytes;
use hyper::{Method, Response, StatusCode};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{KeyPair, PublicKeyData, RsaKeySize};
use serde_json::{Value, json};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::door::{self, Answer};

/// Answers a request by its method and path.
pub type Answers = Arc<dyn Fn(&Method, &str) -> Answer + Send + Sync>;

/// The keys of one issuer, and what it says of itself.
pub struct Issuer {
    pub url: String,
    audience: String,
    keys: Vec<Key>,
    /// A key that is not published, under the id of the published Ed25519 key.
    forger: Key,
}

struct Key {
    algorithm: Algorithm,
    id: &'static str,
    pair: KeyPair,
}

/// What is right or wrong with a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mint {
    Right(Algorithm),
    /// Signed with a key that the issuer does not publish, under the id of one that it does.
    Forged,
    /// Ran out an hour ago.
    Expired,
    /// Meant for another service.
    WrongAudience,
}

/// Whom a token speaks of.
#[derive(Debug, Clone, Copy)]
pub struct Bearer<'a> {
    pub org: &'a str,
    pub subject: &'a str,
    pub roles: &'a [&'a str],
}

impl Issuer {
    /// Makes one key for each algorithm that the demo shows.
    pub fn create(url: &str, audience: &str) -> Result<Self> {
        let rsa = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048)?;
        let ec = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let ed = || KeyPair::generate_for(&rcgen::PKCS_ED25519);
        let key = |algorithm, id, pair| Key { algorithm, id, pair };
        Ok(Self {
            url: url.to_owned(),
            audience: audience.to_owned(),
            keys: vec![
                key(Algorithm::EdDSA, "demo-ed25519", ed()?),
                key(Algorithm::ES256, "demo-p256", ec),
                key(Algorithm::RS256, "demo-rsa", rsa),
            ],
            forger: key(Algorithm::EdDSA, "demo-ed25519", ed()?),
        })
    }

    /// A signed token for `bearer` (RFC 7519), good for an hour from `now` (unix seconds) if it is good at all.
    pub fn mint(&self, mint: Mint, bearer: Bearer<'_>, now: i64) -> Result<String> {
        let key = match mint {
            Mint::Right(algorithm) => self.key(algorithm)?,
            Mint::Forged => &self.forger,
            Mint::Expired | Mint::WrongAudience => self.key(Algorithm::EdDSA)?,
        };
        let issued = if mint == Mint::Expired { now - 2 * HOUR_S } else { now };
        let audience = if mint == Mint::WrongAudience { "somebody-else" } else { &self.audience };
        let claims = json!({
            "iss": self.url, "aud": audience, "sub": bearer.subject, "iat": issued, "nbf": issued,
            "exp": issued + HOUR_S, "jti": format!("{}-{issued}", bearer.subject),
            "org": bearer.org, "roles": bearer.roles, "actor_kind": "service",
        });
        let header = Header { kid: Some(key.id.to_owned()), ..Header::new(key.algorithm) };
        Ok(jsonwebtoken::encode(&header, &claims, &key.signer()?)?)
    }

    /// The published keys (RFC 7517).
    pub fn jwks(&self) -> Result<Value> {
        let keys = self.keys.iter().map(Key::published).collect::<Result<Vec<_>>>()?;
        Ok(json!({ "keys": keys }))
    }

    /// What the issuer answers to a GET of its key set; nothing else is there.
    pub fn answers(&self) -> Result<Answers> {
        let jwks = Bytes::from(serde_json::to_vec(&self.jwks()?)?);
        Ok(Arc::new(move |method, path| {
            if method == Method::GET && path == JWKS_PATH {
                return door::json(StatusCode::OK, jwks.clone());
            }
            let mut nothing = Response::new(door::empty());
            *nothing.status_mut() = StatusCode::NOT_FOUND;
            nothing
        }))
    }

    fn key(&self, algorithm: Algorithm) -> Result<&Key> {
        let found = self.keys.iter().find(|key| key.algorithm == algorithm);
        found.with_context(|| format!("the issuer has no key for {algorithm:?}"))
    }
}

impl Key {
    fn signer(&self) -> Result<EncodingKey> {
        let pem = self.pair.serialize_pem();
        Ok(match self.algorithm {
            Algorithm::RS256 => EncodingKey::from_rsa_pem(pem.as_bytes())?,
            Algorithm::ES256 => EncodingKey::from_ec_pem(pem.as_bytes())?,
            _ => EncodingKey::from_ed_pem(pem.as_bytes())?,
        })
    }

    /// RFC 7518, 6.2 and 6.3; RFC 8037, 2.
    fn published(&self) -> Result<Value> {
        let raw = self.pair.public_key_raw();
        let shape = match self.algorithm {
            Algorithm::RS256 => {
                let spki = self.pair.subject_public_key_info();
                let (n, e) = rsa_numbers(&spki)?;
                json!({ "kty": "RSA", "n": BASE64URL.encode(n), "e": BASE64URL.encode(e) })
            }
            Algorithm::ES256 => {
                // SEC 1, 2.3.3: 0x04, then x and y of 32 bytes each
                let (x, y) = raw.get(1..65).context("not a P-256 point")?.split_at(32);
                json!({ "kty": "EC", "crv": "P-256", "x": BASE64URL.encode(x), "y": BASE64URL.encode(y) })
            }
            _ => json!({ "kty": "OKP", "crv": "Ed25519", "x": BASE64URL.encode(raw) }),
        };
        let mut jwk = shape;
        for (name, value) in
            [("kid", self.id), ("use", "sig"), ("alg", algorithm_name(self.algorithm))]
        {
            if let Some(object) = jwk.as_object_mut() {
                object.insert(name.to_owned(), value.into());
            }
        }
        Ok(jwk)
    }
}

const fn algorithm_name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::RS256 => "RS256",
        Algorithm::ES256 => "ES256",
        _ => "EdDSA",
    }
}

/// Modulus and exponent without leading zeros.
fn rsa_numbers(spki: &[u8]) -> Result<(Vec<u8>, Vec<u8>)> {
    let (_, parsed) = SubjectPublicKeyInfo::from_der(spki)?;
    let PublicKey::RSA(key) = parsed.parsed()? else { return Err(anyhow!("not an RSA key")) };
    let bare = |number: &[u8]| number.iter().copied().skip_while(|byte| *byte == 0).collect();
    Ok((bare(key.modulus), bare(key.exponent)))
}

/// Where an issuer of this demo publishes its keys.
pub const JWKS_PATH: &str = "/.well-known/jwks.json";

const HOUR_S: i64 = 3_600;
