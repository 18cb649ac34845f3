//! Access entries of the caller's own organisation: listed, explained, granted and revoked.
//!
//! *Invariant:* whose entry it is comes from the caller, never from the request.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::{Response, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};
use verdict::reason::Reason;

use super::super::prepare::actor_node;
use super::{Gate, Known, NotDone, Unavailable, answer, no_bundle, parameter, refused};
use crate::access::{AccessError, By, Wish};
use crate::policy::{Asker, ChangeError};
use crate::registry::access::{self, drawn_id, store::id_of};
use crate::registry::tree::{Entry, entry_of};
use crate::registry::{RegistryError, Sort};
use crate::workload::NotUnderstood;
use crate::workload::haetae::{Does, Errand, read};
use crate::workload::json as strict;

/// The body of a question.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    #[serde(default)]
    roles: Vec<Arc<str>>,
    #[serde(default)]
    actor: Option<String>,
    #[serde(default)]
    issuer: Option<String>,
    service: String,
    operation: String,
}

impl Gate {
    pub(super) async fn access(
        &self,
        known: &Known,
        errand: &Errand,
        body: &Bytes,
    ) -> Result<Response<Body>, NotDone> {
        match errand.does {
            Does::GrantRow => self.grant(known, Sort::AccessRow, body).await,
            Does::GrantRole => self.grant(known, Sort::RoleGrant, body).await,
            Does::RevokeRow => self.revoke(known, Sort::AccessRow, errand).await,
            Does::RevokeRole => self.revoke(known, Sort::RoleGrant, errand).await,
            Does::ExplainAccess => Ok(self.explain_access(known, body)?),
            _ => Ok(self.list_access(known)),
        }
    }

    fn list_access(&self, known: &Known) -> Response<Body> {
        let snapshot = self.registry.current();
        let own = snapshot.own_access(&known.caller.org);
        let rows: Vec<_> = own.into_iter().flat_map(|own| own.rows.values()).collect();
        let roles: Vec<_> = own.into_iter().flat_map(|own| own.grants.values()).collect();
        answer::managed(&json!({ "rows": rows, "roles": roles }))
    }

    fn explain_access(&self, known: &Known, body: &Bytes) -> Result<Response<Body>, NotUnderstood> {
        object(body)?;
        let question: Question = read(body)?;
        let snapshot = self.registry.current();
        let issuer = question.issuer.as_deref().unwrap_or(access::CERTIFICATE);
        let actor = question.actor.as_deref().map(|actor| access::actor_node(issuer, actor));
        let org = &*known.caller.org;
        let own = snapshot.own_access(org);
        let asker = Asker { org, roles: &question.roles, actor: actor.as_deref(), own };
        let bundle = self.preparer.bundle(self.clock.unix_s()).map_err(|none| no_bundle(&none))?;
        Ok(answer::managed(&bundle.explain_access(&asker, &question.service, &question.operation)))
    }

    async fn grant(
        &self,
        known: &Known,
        sort: Sort,
        body: &Bytes,
    ) -> Result<Response<Body>, NotDone> {
        let mut document = object(body)?;
        let org = &*known.caller.org;
        if let Some(key) =
            ["id", "org", "revoked"].into_iter().find(|key| document.contains_key(*key))
        {
            let text = format!("`{key}` is not yours to say: an entry is of your organisation");
            return Err(unusable(text).into());
        }
        let name = document.remove("name");
        document.insert("org".into(), json!(org));
        let (id, wish): (_, fn(Box<Entry>) -> Wish) = match name {
            None => (drawn_id(sort, org).map_err(|error| unavailable(&error))?, Wish::GrantOnce),
            Some(Json::String(name)) => (format!("{org}/{name}"), Wish::Grant),
            Some(_) => return Err(unusable("`name` must be a text".to_owned()).into()),
        };
        document.insert("id".into(), json!(id));
        let entry = entry_of(sort, &Json::Object(document))
            .map_err(|error| unusable(error.to_string().replace('\n', "; ")))?;
        self.change(known, wish(Box::new(entry)), false).await
    }

    async fn revoke(
        &self,
        known: &Known,
        sort: Sort,
        errand: &Errand,
    ) -> Result<Response<Body>, NotDone> {
        let force = match errand.asked("force") {
            None => false,
            Some("true") => true,
            Some(_) => return Err(parameter("`force` is `true` or left out").into()),
        };
        let name = errand.id.as_deref().unwrap_or_default();
        let id = format!("{}/{name}", known.caller.org);
        self.change(known, Wish::Revoke { sort, id }, force).await
    }

    async fn change(
        &self,
        known: &Known,
        wish: Wish,
        force: bool,
    ) -> Result<Response<Body>, NotDone> {
        let caller = &known.caller;
        let place = self.limits.change(&caller.org, self.clock.unix_ns()).await;
        let _place = place.ok_or_else(|| NotDone::Unavailable(Unavailable::changes()))?;
        let at = self.clock.unix_s();
        let bundle = self.preparer.bundle(at).map_err(|none| no_bundle(&none))?;
        let actor = actor_node(caller);
        let by = By::Administrator { org: &caller.org, roles: &caller.roles, actor: &actor };
        let bench = self.access.bench(&bundle, at);
        let applied = self.access.change(bench, wish.clone(), by, &caller.actor, force);
        let applied = applied.await.map_err(|error| not_done(&error))?;
        let id = id_of(bench.pool, &wish, &applied).await;
        let id = id.map_err(|error| not_done(&error.into()))?;
        let changed = !applied.is_nothing();
        let told = json!({ "id": id, "version": applied.version, "changed": changed });
        Ok(answer::managed(&told))
    }
}

/// A body that is one strict JSON object.
fn object(body: &Bytes) -> Result<Map<String, Json>, NotUnderstood> {
    if let Err(fault) = strict::read(body) {
        let reason =
            if fault.fault.is_ambiguous() { Reason::BodyAmbiguous } else { Reason::BodyInvalid };
        return Err(refused(StatusCode::BAD_REQUEST, reason, format!("the body has {fault}")));
    }
    serde_json::from_slice(body).map_err(|_| unusable("the body must be a JSON object".to_owned()))
}

fn unusable(message: String) -> NotUnderstood {
    refused(StatusCode::BAD_REQUEST, Reason::BodyInvalid, message)
}

fn unavailable(error: &dyn std::error::Error) -> NotDone {
    tracing::warn!(%error, "an errand could not be done");
    NotDone::Unavailable(Unavailable::store())
}

/// No refusal repeats a name that the request gave: it would stand in the log for good.
fn not_done(error: &AccessError) -> NotDone {
    let status = match error {
        AccessError::Busy => return NotDone::Unavailable(Unavailable::overloaded()),
        AccessError::Registry(
            RegistryError::Database(_) | RegistryError::Timeout(_) | RegistryError::Document { .. },
        ) => return unavailable(error),
        AccessError::Registry(RegistryError::NotFound { .. }) => {
            let message =
                "no such entry of this organisation: `GET /v1/access` lists those there are";
            return refused(StatusCode::NOT_FOUND, Reason::NotFound, message.into()).into();
        }
        AccessError::Registry(RegistryError::UnknownService { .. }) => {
            let message =
                "one of `services` is none of this organisation's: name those that it registered";
            return unusable(message.into()).into();
        }
        AccessError::Registry(_) | AccessError::Refused(ChangeError::Unsound(_)) => {
            (StatusCode::BAD_REQUEST, Reason::BodyInvalid)
        }
        AccessError::Refused(ChangeError::LastAdministrator { .. }) => {
            (StatusCode::CONFLICT, Reason::AccessDenied)
        }
        AccessError::Refused(_) => (StatusCode::FORBIDDEN, Reason::AccessDenied),
    };
    NotDone::Refused(refused(status.0, status.1, error.to_string()))
}
