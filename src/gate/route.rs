//! Which permitted site takes the request; and what the gate answers itself.

use std::sync::Arc;

use axum::body::Body;
use http::{Response, StatusCode};
use verdict::reason::Reason;

use super::prepare::Prepared;
use super::standing::no_bundle;
use super::{Gate, Known, answer};
use crate::audit::Target;
use crate::workload::{Claims, NotUnderstood};

impl Gate {
    /// The site for an allowed decision, `None` for a refusal.
    pub(super) fn choose(
        &self,
        prepared: &Prepared,
        known: &Known,
    ) -> Result<Option<Target>, answer::Unavailable> {
        if prepared.permitted.is_empty() {
            return Ok(None);
        }
        let Some(site) = self.forward.choose(&prepared.permitted) else {
            return Err(answer::Unavailable::site());
        };
        let snapshot = self.registry.current();
        let entry = snapshot.site(&site).ok_or_else(answer::Unavailable::site)?;
        let route = known.route.as_ref().ok_or_else(answer::Unavailable::site)?;
        Ok(Some(Target {
            site,
            identity: Arc::clone(&entry.identity),
            method: "POST",
            authority: Arc::clone(&entry.authority),
            path: route.upstream_path,
            content_type: Some("application/json"),
        }))
    }

    /// The list of models that this caller may use, from the registry: no site is asked.
    ///
    /// # Errors
    /// 404 for a model that is not there or not for this caller: the two look alike.
    pub(super) fn metadata(
        &self,
        known: &Known,
        claims: &Claims,
    ) -> Result<Response<Body>, NotUnderstood> {
        let snapshot = self.registry.current();
        let services: Vec<Arc<str>> = snapshot.services(&known.caller.org).collect();
        let listed = self.preparer.may_list(&known.caller, services, self.clock.unix_s());
        let services = listed.map_err(|unready| no_bundle(&unready))?;
        if claims.model.is_empty() {
            return Ok(answer::models(&services));
        }
        if services.contains(&claims.model) {
            return Ok(answer::model(&claims.model));
        }
        Err(NotUnderstood {
            status: StatusCode::NOT_FOUND.as_u16(),
            reason: Reason::UnknownOrganisation,
            message: "no such model for this caller: `GET /v1/models` lists those there are".into(),
            param: Some("model"),
        })
    }
}
