//! An organisation's own access entries are typed, stay within the organisation and under the floor, and nobody gives
//! what they do not have to give; a change is recorded, and no decision is committed on the entries of before.

mod command;
mod delegation;
mod isolation;
mod names;
mod recorded;
mod replicas;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use haetae::access::{AccessError, Bench, By, Wish, change};
use haetae::policy::{Asker, Bundle, ChangeError};
use haetae::registry::access::{OwnAccess, actor_node};
use haetae::registry::store::{self, Applied};
use haetae::registry::tree::{self, Entry, entry_of};
use haetae::registry::{RegistryError, Sort};
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::sync::OnceCell;
use verdict::reason::Reason;

use crate::support::{Fresh, fresh_database};

/// 20 November 2026, 00:00 UTC.
const AT: i64 = 1_795_132_800;
const RETAILER: &str = "kr-retailer";
const MODEL: &str = "llama-3.3-70b";
const ISSUER: &str = "https://login.example.kr";

/// A database with the example registry, and the project's own bundle.
struct Lab {
    fresh: Fresh,
    bundle: Arc<Bundle>,
}

impl Lab {
    async fn new() -> Self {
        let fresh = fresh_database().await;
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/registry-example");
        store::apply(&fresh.pool, &tree::read(&example).unwrap(), "kim").await.unwrap();
        Self { fresh, bundle: bundle().await }
    }

    fn pool(&self) -> &PgPool {
        &self.fresh.pool
    }

    /// As the operator.
    async fn grant(&self, entry: Entry) -> Result<Applied, AccessError> {
        self.wish(Wish::Grant(Box::new(entry)), By::Operator, false).await
    }

    async fn wish(&self, wish: Wish, by: By<'_>, force: bool) -> Result<Applied, AccessError> {
        let bench = Bench { pool: self.pool(), bundle: &self.bundle, at: AT };
        change(bench, wish, by, "kim", force).await
    }

    async fn may(
        &self,
        org: &str,
        who: &Who,
        service: &str,
        operation: &str,
    ) -> Result<(), Reason> {
        let snapshot = store::snapshot(self.pool(), AT).await.unwrap();
        may(&self.bundle, org, snapshot.own_access(org), who, service, operation).await
    }
}

/// Somebody with roles, and by name.
struct Who {
    roles: Vec<Arc<str>>,
    actor: String,
}

impl Who {
    fn new(name: &str, roles: &[&str]) -> Self {
        let roles = roles.iter().map(|role| Arc::from(*role)).collect();
        Self { roles, actor: actor_node(ISSUER, name) }
    }

    fn of<'a>(&'a self, org: &'a str) -> By<'a> {
        By::Administrator { org, roles: &self.roles, actor: &self.actor }
    }
}

/// Asks as the gate does: the engine is built when it is not there.
async fn may(
    bundle: &Bundle,
    org: &str,
    own: Option<&OwnAccess>,
    who: &Who,
    service: &str,
    operation: &str,
) -> Result<(), Reason> {
    if let Some(own) = own {
        bundle.build_access(own).await;
    }
    let asker = Asker { org, roles: &who.roles, actor: Some(&who.actor), own };
    let answer = bundle.may(&asker, service, operation);
    // what people are told is what is done
    if !matches!(&answer, Err(why) if why.code != Reason::AccessDenied) {
        assert_eq!(bundle.explain_access(&asker, service, operation).allowed, answer.is_ok());
    }
    answer.map_err(|why| why.code)
}

async fn bundle() -> Arc<Bundle> {
    static BUNDLE: OnceCell<Arc<Bundle>> = OnceCell::const_new();
    let policies = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let read = || async { Arc::new(Bundle::read(&policies, AT).await.unwrap()) };
    BUNDLE.get_or_init(read).await.clone()
}

/// A row of the retailer's that lets `role` do `operation` on `service`.
fn row(name: &str, role: &str, service: &str, operation: &str) -> Value {
    json!({
        "id": format!("{RETAILER}/{name}"), "org": RETAILER, "out": "allow", "role": role,
        "services": [service], "operations": [operation],
    })
}

fn with(mut document: Value, changes: Value) -> Value {
    let Value::Object(changes) = changes else { panic!("no object") };
    for (key, value) in changes {
        document[key.as_str()] = value;
    }
    document
}

fn to_role(name: &str, member: &str, role: &str) -> Value {
    json!({ "id": format!("{RETAILER}/{name}"), "org": RETAILER, "member": member, "role": role })
}

fn to_actor(name: &str, actor: &str, role: &str) -> Value {
    json!({ "id": format!("{RETAILER}/{name}"), "org": RETAILER, "actor": actor, "issuer": ISSUER, "role": role })
}

fn entry(sort: Sort, document: &Value) -> Entry {
    entry_of(sort, document).unwrap_or_else(|error| panic!("{document}: {error}"))
}

fn a_row(document: &Value) -> Wish {
    Wish::Grant(Box::new(entry(Sort::AccessRow, document)))
}

fn a_role(document: &Value) -> Wish {
    Wish::Grant(Box::new(entry(Sort::RoleGrant, document)))
}

fn revoke(sort: Sort, name: &str) -> Wish {
    Wish::Revoke { sort, id: format!("{RETAILER}/{name}") }
}

fn refused(result: Result<Applied, AccessError>) -> ChangeError {
    match result {
        Err(AccessError::Refused(error)) => error,
        other => panic!("{other:?}"),
    }
}

/// The entries of an organisation, from documents alone.
fn own(org: &str, documents: &[(Sort, Value)]) -> OwnAccess {
    let id = |document: &Value| document["id"].as_str().unwrap().to_owned();
    let all: BTreeMap<(Sort, String), &Value> =
        documents.iter().map(|(sort, document)| ((*sort, id(document)), document)).collect();
    OwnAccess::of(org, all.iter().map(|(key, document)| (key, *document)))
}

fn is_unsound(error: &AccessError) -> bool {
    matches!(error, AccessError::Refused(ChangeError::Unsound(_)))
        || matches!(error, AccessError::Registry(RegistryError::Access { .. }))
}
