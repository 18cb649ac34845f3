//! Orders in Postgres: entry, signature, version of the facts and the act for the log commit together.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};
use sqlx::{PgPool, PgTransaction, Row as _};
use verdict::stamp::Stamp;

use super::{OrderError, SignatureError, Signed, end_text, text, verify};
use crate::registry::store::{self, Applied, Change, Present, Presents, begin, present, write};
use crate::registry::{
    RegistryError, Sort,
    tree::{Entry, Tree},
};

/// What is brought along with an order or its end.
#[derive(Debug, Clone, Copy)]
pub struct Brought<'a> {
    /// A signed note, as it was handed over.
    pub note: Option<&'a str>,
    /// Who types it.
    pub who: &'a str,
    /// Unix seconds.
    pub now: i64,
}

/// A version of an order, and what was signed for it.
#[derive(Debug, Clone, PartialEq)]
pub struct OnFile {
    pub id: String,
    pub document: Json,
    pub version: i64,
    /// The first version in which it is no longer so.
    pub until_version: Option<i64>,
    pub entered_by: String,
    /// Unix seconds.
    pub entered_at: i64,
    /// The signature of the order itself, checked against the keys that its authority had when it was entered.
    pub signed: Option<Result<Signed, SignatureError>>,
    /// The note that ended it, if one did.
    pub ended_by: Option<String>,
}

/// Enters an order. From its commit on no record is committed that it forbids. Entering it again changes nothing.
///
/// # Errors
/// When it is on file with another content, is over already, names what is not registered, or its signature is bad.
pub async fn add(
    pool: &PgPool,
    entry: &Entry,
    brought: Brought<'_>,
) -> Result<(Applied, Option<Signed>), OrderError> {
    let mut transaction = begin(pool).await?;
    let present = present(&mut transaction).await?;
    entry.needs_only(|key| present.contains_key(key))?;
    let key = (Sort::Order, entry.id.clone());
    let on_file = present.get(&key);
    if on_file.is_some_and(|old| old.document != entry.document) {
        return Err(OrderError::OnFile { id: entry.id.clone() });
    }
    if let Some(until) = until(&entry.document).filter(|until| until.ends() <= brought.now) {
        let (id, until) = (entry.id.clone(), until.to_string());
        return Err(OrderError::Over { id, until });
    }
    let signed = signature(&text(&entry.document), &entry.document, &present, &brought)?;
    let mut change = Change::new("order");
    // A signature that comes later is kept with a version of its own.
    if on_file.is_none() || (signed.is_some() && !is_signed(&mut transaction, &entry.id).await?) {
        change.put(key, entry.document.clone(), on_file.is_some());
    }
    let applied = write(&mut transaction, change, &present, brought.who).await?;
    if !applied.is_nothing() {
        keep(&mut transaction, &entry.id, applied.version, "add", signed.as_ref()).await?;
        let mut people = texts(&entry.document, "entered_by");
        people.push(brought.who);
        let (version, signed) = (applied.version, signed.as_ref());
        let act = Act { what: "added", order: &entry.document, version, signed, people };
        tell(&mut transaction, act).await?;
    }
    // If we stop here, then nothing happened: order, signature, version and act commit together or not at all.
    transaction.commit().await.map_err(RegistryError::from)?;
    Ok((applied, signed))
}

/// Ends an order at an instant, now or later. `with` is the second person.
///
/// # Errors
/// When it is not on file, has ended, or was signed and its end is not.
pub async fn end(
    pool: &PgPool,
    id: &str,
    at: &Stamp,
    with: &str,
    brought: Brought<'_>,
) -> Result<(Applied, Option<Signed>), OrderError> {
    let mut transaction = begin(pool).await?;
    let present = present(&mut transaction).await?;
    let key = (Sort::Order, id.to_owned());
    let order = found(&present, &key)?.document.clone();
    if with == brought.who {
        return Err(OrderError::OnePerson);
    }
    if at.starts() < brought.now {
        return Err(OrderError::PastEnd { at: at.to_string() });
    }
    if let Some(until) = until(&order).filter(|until| until.ends() <= at.starts()) {
        return Err(OrderError::EndsEarlier { id: id.to_owned(), until: until.to_string() });
    }
    let signed = signature(&end_text(&order, at), &order, &present, &brought)?;
    if signed.is_none() && is_signed(&mut transaction, id).await? {
        return Err(OrderError::EndNotSigned { id: id.to_owned(), authority: authority(&order) });
    }
    let mut document = order.clone();
    if let Some(document) = document.as_object_mut() {
        document.insert("until".into(), at.as_str().into());
    }
    let mut change = Change::new("end");
    change.put(key, document.clone(), true);
    let applied = write(&mut transaction, change, &present, brought.who).await?;
    keep(&mut transaction, id, applied.version, "end", signed.as_ref()).await?;
    let people = vec![with, brought.who];
    let (version, signed_by) = (applied.version, signed.as_ref());
    let act = Act { what: "ended", order: &document, version, signed: signed_by, people };
    tell(&mut transaction, act).await?;
    // If we stop here, then nothing happened.
    transaction.commit().await.map_err(RegistryError::from)?;
    Ok((applied, signed))
}

/// The present orders, or every version of one, oldest first.
///
/// # Errors
/// When the database does not answer.
pub async fn list(pool: &PgPool, id: Option<&str>) -> Result<Vec<OnFile>, RegistryError> {
    let rows = sqlx::query(LIST).bind(id).fetch_all(pool).await?;
    rows.iter().map(on_file).collect()
}

fn on_file(row: &sqlx::postgres::PgRow) -> Result<OnFile, RegistryError> {
    let document: Json = row.try_get("document")?;
    let entered_at: i64 = row.try_get("entered_at")?;
    let (note, keys): (Option<String>, Option<Json>) =
        (row.try_get("note")?, row.try_get("authority")?);
    // What the authority signed is the order as it was entered: an end changes `until` alone.
    let first: Option<Json> = row.try_get("first")?;
    let wanted = text(first.as_ref().unwrap_or(&document));
    let signed = note.map(|note| {
        verify(
            &note,
            &wanted,
            &authority(&document),
            keys.as_ref(),
            row.try_get("signed_at").unwrap_or(entered_at),
        )
    });
    Ok(OnFile {
        id: row.try_get("id")?,
        version: row.try_get("version_from")?,
        until_version: row.try_get("version_until")?,
        entered_by: row.try_get("applied_by")?,
        entered_at,
        signed,
        ended_by: row.try_get("end_note")?,
        document,
    })
}

fn found<'p>(present: &'p Presents, key: &(Sort, String)) -> Result<&'p Present, RegistryError> {
    let missing = || RegistryError::NotFound { sort: key.0, id: key.1.clone() };
    present.get(key).ok_or_else(missing)
}

/// What was signed, if a note was brought: one that is bad is an error, never an order without signature.
fn signature(
    wanted: &str,
    order: &Json,
    present: &Presents,
    brought: &Brought<'_>,
) -> Result<Option<Signed>, SignatureError> {
    let name = authority(order);
    let document = present.get(&(Sort::Authority, name.clone())).map(|entry| &entry.document);
    brought.note.map(|note| verify(note, wanted, &name, document, brought.now)).transpose()
}

/// Whether the authority signed this order, at whatever version.
async fn is_signed(transaction: &mut PgTransaction<'_>, id: &str) -> Result<bool, RegistryError> {
    let select = "SELECT EXISTS (SELECT FROM order_signature WHERE id = $1 AND act = 'add')";
    Ok(sqlx::query_scalar(select).bind(id).fetch_one(&mut **transaction).await?)
}

async fn keep(
    transaction: &mut PgTransaction<'_>,
    id: &str,
    version: i64,
    act: &str,
    signed: Option<&Signed>,
) -> Result<(), RegistryError> {
    let Some(signed) = signed else { return Ok(()) };
    sqlx::query(
        "INSERT INTO order_signature (id, version, act, authority, key, note) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(id)
    .bind(version)
    .bind(act)
    .bind(&signed.authority)
    .bind(&signed.key)
    .bind(&signed.note)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// What was done to an order, for the log.
struct Act<'a> {
    /// `added`, `changed`, `ended`, `removed`.
    what: &'static str,
    order: &'a Json,
    version: i64,
    signed: Option<&'a Signed>,
    people: Vec<&'a str>,
}

/// The same for the orders of a directory.
pub(in crate::registry) async fn tell_applied(
    transaction: &mut PgTransaction<'_>,
    applied: &Applied,
    (tree, before): (&Tree, &Presents),
    who: &str,
) -> Result<(), RegistryError> {
    let now = |key: &(Sort, String)| tree.documents.get(key);
    let was = |key: &(Sort, String)| before.get(key).map(|entry| &entry.document);
    let added = applied.added.iter().map(|key| ("added", key, now(key)));
    let changed = applied.changed.iter().map(|key| ("changed", key, now(key)));
    let removed = applied.removed.iter().map(|key| ("removed", key, was(key)));
    for (what, (sort, _), order) in added.chain(changed).chain(removed) {
        if let Some(order) = order.filter(|_| *sort == Sort::Order) {
            let (version, people) = (applied.version, vec![who]);
            tell(transaction, Act { what, order, version, signed: None, people }).await?;
        }
    }
    Ok(())
}

async fn tell(
    transaction: &mut PgTransaction<'_>,
    Act { what, order, version, signed, mut people }: Act<'_>,
) -> Result<(), RegistryError> {
    let value = |key: &str| order.get(key).and_then(Json::as_str).unwrap_or_default();
    let mut body = json!({
        "act": what, "order": value("id"), "authority": value("authority"), "order_kind": value("kind"),
        "legal_basis": value("legal_basis"), "effective_from": value("effective_from"),
        "fact_version": version, "digest": STANDARD.encode(Sha256::digest(text(order))),
        // False is left out of a record: which it is stands there in either case.
        "signed": signed.is_some(), "unsigned": signed.is_none(),
    });
    let scope = [
        ("organisation", "org"),
        ("regimes", "regimes"),
        ("categories", "categories"),
        ("to", "to"),
    ];
    let scope = scope.map(|(name, key)| (name, order.pointer(&format!("/match/{key}")).cloned()));
    let until = order.get("until").filter(|until| !until.is_null()).cloned();
    let signed_by = signed.map(|signed| Json::from(signed.key.as_str()));
    let further = scope.into_iter().chain([("until", until), ("signed_by", signed_by)]);
    if let Some(body) = body.as_object_mut() {
        body.extend(further.filter_map(|(key, value)| Some((key.to_owned(), value?))));
    }
    people.sort_unstable();
    people.dedup();
    people.truncate(PEOPLE_MAX);
    Ok(store::tell(transaction, "order", &people, body).await?)
}

fn texts<'a>(order: &'a Json, key: &str) -> Vec<&'a str> {
    let list = order.get(key).and_then(Json::as_array).into_iter().flatten();
    list.filter_map(Json::as_str).collect()
}

fn authority(order: &Json) -> String {
    order.get("authority").and_then(Json::as_str).unwrap_or_default().to_owned()
}

/// None for one without end.
fn until(order: &Json) -> Option<Stamp> {
    Stamp::parse(order.get("until")?.as_str()?).ok()
}

/// What one act may name.
const PEOPLE_MAX: usize = 16;
/// The signature's keys are those that the authority had when the order was entered: a key that is replaced later does
/// not undo what it signed.
const LIST: &str = "
    SELECT e.id, e.document, e.version_from, e.version_until, v.applied_by,
           floor(extract(epoch FROM v.applied_at))::bigint AS entered_at,
           s.note, f.document AS first, a.document AS authority,
           (SELECT floor(extract(epoch FROM w.applied_at))::bigint FROM registry_version w WHERE w.version = s.version)
               AS signed_at,
           (SELECT n.note FROM order_signature n WHERE n.id = e.id AND n.act = 'end' AND n.version <= e.version_from
            ORDER BY n.version DESC LIMIT 1) AS end_note
    FROM registry_entry e
    JOIN registry_version v ON v.version = e.version_from
    LEFT JOIN order_signature s ON s.id = e.id AND s.act = 'add' AND s.version <= e.version_from
    LEFT JOIN registry_entry f ON f.sort = 'order' AND f.id = s.id AND f.version_from = s.version
    LEFT JOIN registry_entry a ON a.sort = 'authority' AND a.id = s.authority AND a.version_from <= s.version
         AND (a.version_until IS NULL OR a.version_until > s.version)
    WHERE e.sort = 'order'
      AND CASE WHEN $1::text IS NULL THEN e.version_until IS NULL ELSE e.id = $1 END
    ORDER BY e.id, e.version_from";
