//! Before the caller is known: the strict first layer, the limits, the credential.

use std::sync::Arc;

use axum::body::Body;
use http::{Response, request::Parts};

use super::limits::{NoPlace, Slot};
use super::{Gate, Known, answer, strict};
use crate::audit::Stranger;
use crate::caller::{self, Caller, CallerError, Connection, CredentialKind};

pub struct Admitted {
    pub caller: Arc<Caller>,
    pub slot: Slot,
}

/// Why somebody is turned away before being known. Aggregated by the minute, never one record each.
#[derive(Debug)]
pub enum TurnedAway {
    Strict(strict::StrictError),
    Unknown(CallerError),
    NoPlace(NoPlace),
}

impl Gate {
    /// Steps 1 to 3. Everything here is bounded and cheap: a stranger can cost little.
    pub(super) async fn admit(
        &self,
        connection: &Connection,
        head: &Parts,
    ) -> Result<Admitted, TurnedAway> {
        strict::check(head, &self.authorities).map_err(TurnedAway::Strict)?;
        let place = self.limits.enter().map_err(TurnedAway::NoPlace)?;
        if self.audit.is_overloaded() {
            return Err(TurnedAway::NoPlace(NoPlace::Full));
        }
        let caller =
            self.callers.identify(connection, &head.headers).await.map_err(TurnedAway::Unknown)?;
        let slot = self.limits.share(&caller.org, place).map_err(TurnedAway::NoPlace)?;
        Ok(Admitted { caller, slot })
    }

    pub(super) fn answer_stranger(
        &self,
        connection: &Connection,
        turned_away: &TurnedAway,
    ) -> Response<Body> {
        self.turn_away(caller::network(connection.remote.ip()), turned_away)
    }

    /// The answer to a request whose credential ended while its body came or its decision waited: the one that it would have
    /// got had it come now. The leeway that a token is given is in `expires_at`, so one that was taken within it has some left.
    pub(super) fn authority_ended(&self, known: &Known) -> Option<Response<Body>> {
        if known.caller.expires_at > self.clock.unix_s() {
            return None;
        }
        let error = match known.caller.credential.kind {
            CredentialKind::Certificate => CallerError::Certificate,
            CredentialKind::Token | CredentialKind::TokenAndCertificate => CallerError::Expired,
        };
        Some(self.turn_away(known.network.clone(), &TurnedAway::Unknown(error)))
    }

    fn turn_away(&self, network: String, turned_away: &TurnedAway) -> Response<Body> {
        self.metrics.turned_away(turned_away.code());
        if !matches!(turned_away, TurnedAway::NoPlace(_)) {
            self.audit.stranger(Stranger { issuer: None, reason: turned_away.code(), network });
        }
        answer::turned_away(turned_away)
    }
}

impl TurnedAway {
    /// The published code for aggregates and metrics.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Strict(error) => error.rule,
            Self::Unknown(error) => error.code(),
            Self::NoPlace(NoPlace::Draining) => "draining",
            Self::NoPlace(NoPlace::Full) => "overloaded",
            Self::NoPlace(NoPlace::ShareFull) => "organisation_share_full",
        }
    }
}
