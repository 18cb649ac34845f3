//! A token and a certificate on one request must be of one party.

use std::sync::Arc;

use super::certificate::Rules;
use super::memo::Known;
use super::token::Proven;
use super::{Caller, CallerError, Credential, CredentialKind, PeerCertificate};

/// The caller of a proven token, held against the connection's certificate.
///
/// They agree when the issuer bound the token to this certificate (RFC 8705), or when both are of one organisation and
/// the token's subject is the certificate's own id or one that its rule lets it carry. A certificate that no rule names
/// serves only for a binding.
pub(super) fn join(
    proven: Proven,
    certificate: Option<&PeerCertificate>,
    rules: &Rules,
    leeway_s: i64,
) -> Result<Known, CallerError> {
    let bound = match (proven.binding, certificate) {
        (Some(digest), Some(certificate)) if digest == certificate.digest => true,
        (Some(_), _) => return Err(CallerError::Binding),
        (None, _) => false,
    };
    if let Some(certificate) = certificate {
        match rules.find(certificate) {
            Err(_) if bound => {}
            Err(error) => return Err(error),
            Ok(rule) => {
                let carried = bound || rule.may_carry(&proven.said.actor, certificate);
                if *rule.organisation != *proven.said.org || !carried {
                    return Err(CallerError::Disagreement);
                }
            }
        }
    }
    let until = certificate.map_or(i64::MAX, |certificate| certificate.not_after);
    let caller = Caller {
        org: proven.said.org,
        actor: proven.said.actor,
        actor_kind: proven.said.actor_kind,
        // the token's alone: what the workload may do is not what the person may do through it
        roles: proven.said.roles,
        credential: Credential {
            kind: if certificate.is_some() {
                CredentialKind::TokenAndCertificate
            } else {
                CredentialKind::Token
            },
            issuer: Some(proven.issuer),
            token_digest: Some(proven.digest),
            certificate_id: certificate.and_then(PeerCertificate::id).map(Into::into),
            certificate_digest: certificate.map(|certificate| certificate.sha256.as_str().into()),
        },
        place: proven.said.place,
        expires_at: until.min(proven.exp.saturating_add(leeway_s)),
    };
    Ok(Known { caller: Arc::new(caller), until: until.min(proven.exp), key: Some(proven.key) })
}
