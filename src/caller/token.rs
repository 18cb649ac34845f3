//! A bearer token (RFC 6750) becomes proven claims (RFC 7519, RFC 8725).
//!
//! *Invariant:* a token chooses nothing: not its algorithm (it must be one the issuer is configured for), not its key's
//! address (`jku`, `x5u`, `jwk`, `x5c` are never read), not its issuer's rules.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::http::{HeaderMap, header};
use jsonwebtoken::errors::ErrorKind;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::CallerError;
use super::claims::{Claims, Said};
use super::config::Algorithm;
use super::issuer::Issuer;
use super::keys::Key;
use crate::clock::Clock;

/// A token that holds, not yet held against the certificate.
pub(super) struct Proven {
    pub said: Said,
    pub issuer: Arc<str>,
    pub digest: Arc<str>,
    pub exp: i64,
    /// SHA-256 of the certificate it is bound to.
    pub binding: Option<[u8; 32]>,
    pub key: Arc<Key>,
}

/// The protected header; what is not named here is not read.
#[derive(Deserialize)]
struct Head {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Issued {
    iss: String,
}

/// The token of `authorization: Bearer <token>`: once, one space, three base64url parts, no more than `bytes_max`.
pub(super) fn bearer(head: &HeaderMap, bytes_max: usize) -> Result<Option<&str>, CallerError> {
    let mut values = head.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() || value.len() > SCHEME.len() + bytes_max {
        return Err(CallerError::Malformed);
    }
    let text = value.to_str().map_err(|_| CallerError::Malformed)?;
    let (scheme, token) = text.split_at_checked(SCHEME.len()).ok_or(CallerError::Malformed)?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let dots = token.bytes().filter(|byte| *byte == b'.').count();
    if scheme.eq_ignore_ascii_case(SCHEME) && dots == 2 && token.bytes().all(plain) {
        Ok(Some(token))
    } else {
        Err(CallerError::Malformed)
    }
}

/// Verifies signature and claims. Waits only for `issuer.key`.
pub(super) async fn verify(
    token: &str,
    issuers: &[Arc<Issuer>],
    leeway_s: i64,
    clock: &Clock,
) -> Result<Proven, CallerError> {
    let mut parts = token.split('.');
    let head: Head = part(parts.next(), CallerError::Malformed)?;
    // unverified: it only selects whose rules are applied
    let unproven: Issued = part(parts.next(), CallerError::Claims)?;
    let issuer = issuers
        .iter()
        .find(|issuer| *issuer.name == *unproven.iss)
        .ok_or(CallerError::UnknownIssuer)?;
    // RFC 7515, section 4.1.11: we understand no extension
    if head.crit.is_some() {
        return Err(CallerError::Malformed);
    }
    if !issuer.typ.is_empty()
        && !head.typ.is_some_and(|typ| issuer.typ.iter().any(|ours| same_typ(ours, &typ)))
    {
        return Err(CallerError::Malformed);
    }
    let algorithm = Algorithm::named(&head.alg).ok_or(CallerError::Algorithm)?;
    let rules = issuer.validation(algorithm).ok_or(CallerError::Algorithm)?;
    let key = issuer.key(head.kid.as_deref(), algorithm).await?;
    let claims: Claims = jsonwebtoken::decode(token, &key.decoding, rules)
        .map_err(|error| error_of(error.kind()))?
        .claims;
    let exp = timely(&claims, leeway_s, clock.unix_s())?;
    // `iss` may be a list for the library; here it is the one text that chose the rules
    if claims.text("iss") != Some(&*issuer.name) {
        return Err(CallerError::Claims);
    }
    Ok(Proven {
        said: issuer.mapping.read(&claims)?,
        issuer: Arc::clone(&issuer.name),
        digest: claims.digest(token),
        exp,
        binding: claims.binding()?,
        key,
    })
}

fn part<T: serde::de::DeserializeOwned>(
    part: Option<&str>,
    error: CallerError,
) -> Result<T, CallerError> {
    let json =
        part.and_then(|part| URL_SAFE_NO_PAD.decode(part).ok()).ok_or(CallerError::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| error)
}

/// `exp`, if the token is in force now.
fn timely(claims: &Claims, leeway_s: i64, now: i64) -> Result<i64, CallerError> {
    let exp = claims.date("exp")?.ok_or(CallerError::Expired)?;
    if now >= exp + leeway_s {
        return Err(CallerError::Expired);
    }
    match claims.date("nbf")? {
        Some(nbf) if nbf > now + leeway_s => Err(CallerError::NotYetValid),
        _ => Ok(exp),
    }
}

/// `application/` may be left out (RFC 7515, section 4.1.9); compared without case (RFC 9068, section 4).
fn same_typ(ours: &str, theirs: &str) -> bool {
    let bare = |typ: &str| {
        let typ = typ.to_ascii_lowercase();
        typ.strip_prefix("application/").map(str::to_owned).unwrap_or(typ)
    };
    bare(ours) == bare(theirs)
}

fn error_of(kind: &ErrorKind) -> CallerError {
    match kind {
        ErrorKind::InvalidSignature => CallerError::Signature,
        ErrorKind::InvalidAudience => CallerError::Audience,
        ErrorKind::InvalidAlgorithm => CallerError::Algorithm,
        // also when it is no number: both have no time that could be checked
        ErrorKind::MissingRequiredClaim(claim) if claim == "exp" => CallerError::Expired,
        ErrorKind::MissingRequiredClaim(_)
        | ErrorKind::InvalidIssuer
        | ErrorKind::InvalidClaimFormat(_)
        | ErrorKind::Json(_) => CallerError::Claims,
        _ => CallerError::Malformed,
    }
}

const SCHEME: &str = "Bearer ";
