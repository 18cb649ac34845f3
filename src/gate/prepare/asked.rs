//! A claim as the registry and the access model are asked about it: its facts, or that its caller may not make it.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use verdict::decision::Why;
use verdict::facts::{Facts, Gap};
use verdict::reason::Reason;

use crate::caller::Caller;
use crate::policy::{Asker, Bundle};
use crate::registry::access::{self, OwnAccess};
use crate::registry::{Ask, Resolved, Snapshot};
use crate::workload::{Claims, Operation};

/// The facts of a claim, or that the caller may not make it.
pub(super) fn resolve(
    snapshot: &Snapshot,
    bundle: &Bundle,
    caller: &Caller,
    claims: &Claims,
) -> Resolved {
    let mut resolved = snapshot.resolve(&ask(caller, claims));
    let operation = operation(claims.operation);
    let rights = Rights::of(snapshot, caller);
    let asked = bundle.access_about(&rights.asker(), &claims.model, operation);
    let state = bundle.access_snapshot(snapshot.own_access(&caller.org));
    match bundle.may(&rights.asker(), &claims.model, operation) {
        Err(why) => resolved.facts = refused_access(caller, claims, &why, rights.own),
        // without what it was judged by there is no judging it again
        Ok(()) if asked.is_none() => {
            resolved.facts =
                gap(caller, Reason::EngineError, "the access rows are gone: try again".to_owned());
        }
        Ok(()) => {}
    }
    resolved.facts.access =
        asked.map(|asked| verdict::access::Access { state: Some(STANDARD.encode(state)), ..asked });
    resolved
}

/// The caller as entries name people and services.
pub fn actor_node(caller: &Caller) -> String {
    let issuer = caller.credential.issuer.as_deref().unwrap_or(access::CERTIFICATE);
    access::actor_node(issuer, &caller.actor)
}

/// What the access model needs to know of a caller.
pub(super) struct Rights<'a> {
    caller: &'a Caller,
    own: Option<&'a OwnAccess>,
    pub actor: Option<String>,
}

impl<'a> Rights<'a> {
    pub fn of(snapshot: &'a Snapshot, caller: &'a Caller) -> Self {
        let own = snapshot.own_access(&caller.org);
        let actor = own
            .filter(|own| own.names_anybody())
            .map(|own| (own, actor_node(caller)))
            .filter(|(own, node)| own.names(node));
        Self { caller, own, actor: actor.map(|(_, node)| node) }
    }

    pub fn asker(&self) -> Asker<'_> {
        Asker {
            org: &self.caller.org,
            roles: &self.caller.roles,
            actor: self.actor.as_deref(),
            own: self.own,
        }
    }
}

pub(super) fn ask(caller: &Caller, claims: &Claims) -> Ask {
    Ask {
        org: Arc::clone(&caller.org),
        service: Arc::clone(&claims.model),
        actor_kind: caller.actor_kind,
        place: caller.place.clone(),
        workload: claims.workload,
        datasets: claims.datasets.clone(),
        purpose: claims.purpose.clone(),
        no_data: claims.no_data,
        site: claims.site.clone(),
        onward: claims.onward.iter().map(|one| (Arc::clone(&one.what), one.host.clone())).collect(),
    }
}

/// What a caller without access is told: nothing of the catalogue.
fn refused_access(caller: &Caller, claims: &Claims, why: &Why, own: Option<&OwnAccess>) -> Facts {
    if why.code != Reason::AccessDenied {
        let fault = own.and_then(OwnAccess::fault).unwrap_or_else(|| "try again".to_owned());
        return gap(caller, why.code, format!("{}: {fault}", why.text.en));
    }
    let roles: Vec<&str> = caller.roles.iter().map(AsRef::as_ref).collect();
    let what = format!(
        "roles `{}` of `{}` may not do `{}` on `{}`",
        roles.join("`, `"),
        caller.org,
        operation(claims.operation),
        claims.model
    );
    gap(caller, Reason::AccessDenied, what)
}

pub(super) fn gap(caller: &Caller, reason: Reason, what: String) -> Facts {
    let mut facts = Facts::default();
    facts.question.subject.org = Some(caller.org.to_string());
    facts.gaps.push(Gap { reason, what });
    facts
}

pub(super) const fn operation(operation: Operation) -> &'static str {
    match operation {
        Operation::Submit => "submit",
        Operation::Metadata => "metadata",
        Operation::Admin => "admin",
    }
}
