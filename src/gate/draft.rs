//! Puts together what one record keeps.

use std::sync::Arc;
use std::time::Instant;

use verdict::question::ActorKind;

use super::Known;
use super::prepare::Prepared;
use crate::audit::{Draft, Ended, How, Keeps, Target, Withdrawn};
use crate::caller::CredentialKind;
use crate::forward::{Failure, Sent};
use crate::workload::{Claims, Protocol};

pub fn build(
    known: &Known,
    claims: Option<&Claims>,
    prepared: &Prepared,
    target: Option<Target>,
    keeps: Keeps,
) -> Draft {
    let caller = &known.caller;
    let first = prepared.judgement.decision.reasons.first();
    Draft {
        org: Arc::clone(&caller.org),
        actor: Arc::clone(&caller.actor),
        actor_kind: match caller.actor_kind {
            ActorKind::Human => "human",
            ActorKind::Service => "service",
        },
        actor_place: caller.place.clone(),
        credential: match caller.credential.kind {
            CredentialKind::Token => "token",
            CredentialKind::Certificate => "certificate",
            CredentialKind::TokenAndCertificate => "token+certificate",
        },
        issuer: caller.credential.issuer.clone(),
        token_digest: caller.credential.token_digest.clone(),
        certificate_id: caller.credential.certificate_id.clone(),
        network: known.network.clone(),
        protocol: match known.protocol() {
            Protocol::OpenAi => "openai",
            Protocol::Haetae => "haetae",
        },
        operation: known.route.as_ref().map_or("unknown", |route| route.name),
        service: claims.map_or_else(|| Arc::from(""), |claims| Arc::clone(&claims.model)),
        datasets: claims.map(|claims| claims.datasets.clone()).unwrap_or_default(),
        purpose: claims.and_then(|claims| claims.purpose.clone()),
        trace_id: known.trace.id.clone(),
        body_digest: known.body_digest.clone(),
        body_bytes: known.body_bytes,
        outcome: prepared.judgement.outcome,
        // Only an allow has no reason: a floor regime on which no rule speaks.
        reason: first.map_or(verdict::reason::Reason::AllowedByRule, |why| why.code),
        rule: first.and_then(|why| why.rule.as_deref()).map(Arc::from),
        site: target,
        detail: Arc::clone(&prepared.detail),
        facts: Arc::clone(&prepared.facts),
        bundle: Arc::clone(&prepared.bundle),
        judged_at: prepared.judged_at,
        fact_version: prepared.version,
        valid_until: prepared.valid_until,
        retries: None,
        judges_again: None,
        keeps,
        retention: prepared.retention,
        preflight: false,
        witnessed: prepared.judgement.wants_witnesses(),
    }
}

pub fn ended(
    id: Arc<str>,
    sent: &Sent,
    began: Instant,
    withdrawn: Option<Arc<Withdrawn>>,
) -> Ended {
    let cut = sent.why == Some(Failure::NoLongerAllowed.code());
    Ended {
        id,
        how: match (sent.reached, sent.whole) {
            (false, _) => How::NotForwarded,
            (true, true) => How::Forwarded,
            (true, false) => How::Partial,
        },
        status: sent.status,
        bytes_out: sent.bytes_out,
        bytes_back: sent.bytes_back,
        duration_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        why: sent.why,
        withdrawn: withdrawn.filter(|_| cut),
    }
}
