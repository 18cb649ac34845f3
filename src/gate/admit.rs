//! Before the caller is known: the strict first layer, the limits, the credential.

use std::sync::Arc;

use axum::body::Body;
use http::{Response, request::Parts};

use super::limits::{NoPlace, Slot};
use super::{Gate, answer, strict};
use crate::audit::Stranger;
use crate::caller::{self, Caller, CallerError, Connection};

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
        self.metrics.turned_away(turned_away.code());
        if !matches!(turned_away, TurnedAway::NoPlace(_)) {
            self.audit.stranger(Stranger {
                issuer: None,
                reason: turned_away.code(),
                network: caller::network(connection.remote.ip()),
            });
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
