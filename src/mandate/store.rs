//! Bundles, approvals and the history of what was in force, in Postgres.
//!
//! Every act is one transaction under the lock of the registry's writers: the act, the next version of the facts, the
//! notification and the row for the log commit together or not at all.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use sqlx::postgres::PgRow;
use sqlx::{PgPool, PgTransaction, Row as _};

use super::note::Act;
use super::{Approver, Chain, Enacted, How, MandateError, Role, Stored};
use crate::policy::Folder;
use crate::registry;
use crate::registry::store::tell;

/// What is asked for: everything of a row but what the history says.
#[derive(Debug, Clone)]
pub struct Wish {
    pub how: How,
    pub bundle: Stored,
    /// Of a break-glass: how many seconds.
    pub lasts_s: Option<i64>,
    pub reason: String,
    pub by: String,
    /// Unix seconds.
    pub at_s: i64,
}

/// Keeps a bundle under the digest of its files; false when it is kept already. `retires`: canaries of the bundle in force that it
/// does not keep, and why.
pub async fn propose(
    pool: &PgPool,
    folder: &Folder,
    stored: &Stored,
    retires: &[String],
) -> Result<bool, MandateError> {
    let mut transaction = pool.begin().await?;
    let written = sqlx::query(
        "insert into policy_bundle (digest, files, rulebook, access, title, purpose, proposed_by, proposed_at_s)
         values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict (digest) do nothing",
    )
    .bind(&*stored.digest)
    .bind(folder.bytes())
    .bind(&*stored.rulebook)
    .bind(&*stored.access)
    .bind(&stored.title)
    .bind(&stored.purpose)
    .bind(&stored.proposed_by)
    .bind(stored.proposed_at_s)
    .execute(&mut *transaction)
    .await?;
    let new = written.rows_affected() == 1;
    if new {
        let mut body = json!({ "act": "propose", "title": stored.title, "reason": stored.purpose });
        if !retires.is_empty() {
            body = merged(body, json!({ "retires": retires }));
        }
        tell(&mut transaction, POLICY_CHANGE, &[&stored.proposed_by], about(stored, body)).await?;
    }
    // If we stop here, then nothing was proposed.
    transaction.commit().await?;
    Ok(new)
}

/// The one bundle whose digest is or begins with `digest`, `sha256:` left out or not.
pub async fn find(pool: &PgPool, digest: &str) -> Result<Stored, MandateError> {
    let hex = digest.strip_prefix("sha256:").unwrap_or(digest);
    if hex.len() < PREFIX_MIN || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let what = format!("`{digest}` is no digest: give its first {PREFIX_MIN} digits or more");
        return Err(MandateError::Refused(what));
    }
    let like = "select digest, rulebook, access, title, purpose, proposed_by, proposed_at_s from policy_bundle
                where digest like 'sha256:' || $1 || '%' limit 2";
    let rows = sqlx::query(like).bind(hex).fetch_all(pool).await?;
    match rows.as_slice() {
        [row] => Ok(stored_of(row)?),
        [] => Err(MandateError::NotStored(digest.to_owned())),
        _ => {
            Err(MandateError::Refused(format!("`{digest}` is the beginning of several: give more")))
        }
    }
}

/// All bundles, the newest first.
pub async fn bundles(pool: &PgPool) -> Result<Vec<Stored>, MandateError> {
    let select = "select digest, rulebook, access, title, purpose, proposed_by, proposed_at_s
                  from policy_bundle order by number desc";
    let rows = sqlx::query(select).fetch_all(pool).await?;
    Ok(rows.iter().map(stored_of).collect::<Result<_, _>>()?)
}

/// The files of a bundle as they are kept.
pub async fn files(pool: &PgPool, digest: &str) -> Result<Vec<u8>, MandateError> {
    let select = "select files from policy_bundle where digest = $1";
    let files = sqlx::query_scalar(select).bind(digest).fetch_optional(pool).await?;
    files.ok_or_else(|| MandateError::NotStored(digest.to_owned()))
}

/// Rows of the history after a version, the oldest first.
pub async fn history(
    connection: impl sqlx::PgExecutor<'_>,
    after: i64,
) -> Result<Vec<Enacted>, MandateError> {
    let rows = sqlx::query(
        "select e.version, e.bundle, e.how, e.previous, e.until_s, e.falls_back_to, e.reason, e.notes, e.enacted_by,
                e.enacted_at_s, b.rulebook, b.access
         from policy_enacted e join policy_bundle b on b.digest = e.bundle
         where e.version > $1 order by e.version",
    )
    .bind(after)
    .fetch_all(connection)
    .await?;
    rows.iter().map(enacted_of).collect()
}

/// Everybody whose signature counts or did.
pub async fn approvers(
    connection: impl sqlx::PgExecutor<'_>,
) -> Result<Vec<Approver>, MandateError> {
    let select = "select vkey, role, added_in, removed_in from policy_approver order by name";
    let rows = sqlx::query(select).fetch_all(connection).await?;
    rows.iter().map(approver_of).collect()
}

/// The name of this deployment, as signatures bear it.
pub async fn deployment(connection: impl sqlx::PgExecutor<'_>) -> Result<Arc<str>, MandateError> {
    let select = "select name::text from policy_deployment";
    let name: String = sqlx::query_scalar(select).fetch_one(connection).await?;
    Ok(name.into())
}

/// The history followed to its end. What is wrong with a row of the past is no matter here: nothing can follow from it.
pub async fn chain(pool: &PgPool, now: i64) -> Result<Chain, MandateError> {
    let mut connection = pool.begin().await?;
    Ok(followed(&mut connection, now).await?.0)
}

/// What approvers sign when this is wished.
pub async fn act(pool: &PgPool, wish: &Wish) -> Result<Act, MandateError> {
    let chain = chain(pool, wish.at_s).await?;
    let deployment = deployment(pool).await?;
    let row = drawn(wish, &chain, 0, Vec::new())?;
    Ok(Act::of(&row, &deployment, chain.version()))
}

/// Keeps a signature for the activation of a bundle until the others are there. The same person's earlier one is kept.
pub async fn approve(
    pool: &PgPool,
    wish: &Wish,
    approver: &str,
    note: &str,
) -> Result<(), MandateError> {
    let mut transaction = registry::store::begin(pool).await?;
    let (chain, _) = followed(&mut transaction, wish.at_s).await?;
    sqlx::query(
        "insert into policy_approval (bundle, since, approver, note, at_s) values ($1, $2, $3, $4, $5)
         on conflict (bundle, since, approver) do nothing",
    )
    .bind(&*wish.bundle.digest)
    .bind(chain.version())
    .bind(approver)
    .bind(note)
    .bind(wish.at_s)
    .execute(&mut *transaction)
    .await?;
    let body = json!({ "act": "approve", "since": chain.version(), "reason": wish.reason });
    tell(&mut transaction, POLICY_CHANGE, &[approver], about(&wish.bundle, body)).await?;
    transaction.commit().await?;
    Ok(())
}

/// The signatures that wait for a bundle in place of what is in force since `since`: who, and the note.
pub async fn approvals(
    pool: &PgPool,
    bundle: &str,
    since: i64,
) -> Result<Vec<(String, String)>, MandateError> {
    let select = "select approver, note from policy_approval where bundle = $1 and since = $2 order by approver";
    Ok(sqlx::query_as(select).bind(bundle).bind(since).fetch_all(pool).await?)
}

/// Brings a bundle into force. Once this returns no decision is committed on the one of before.
///
/// # Errors
/// When it does not follow from what is in force, or those did not sign who must: nothing is changed then.
pub async fn enact(
    pool: &PgPool,
    wish: &Wish,
    notes: Vec<String>,
) -> Result<Enacted, MandateError> {
    let mut transaction = registry::store::begin(pool).await?;
    let (mut chain, approvers) = followed(&mut transaction, wish.at_s).await?;
    // Nobody else takes a version while we hold the lock.
    let next = registry::store::head_in(&mut transaction).await? + 1;
    let row = drawn(wish, &chain, next, notes)?;
    chain.follow(&row, &approvers, wish.at_s).map_err(MandateError::Refused)?;
    let version = registry::store::raise(&mut transaction, row.how.name(), &row.by).await?;
    if version != next {
        let what = "the facts changed meanwhile: try again".to_owned();
        return Err(MandateError::Refused(what));
    }
    write(&mut transaction, &row).await?;
    let replaces = row.previous.as_deref().unwrap_or("none");
    let mut body = json!({
        "act": row.how.name(), "replaces": replaces, "version": version, "reason": row.reason,
        "approvals": row.notes.len(),
    });
    if let (Some(until), Some(then)) = (row.until_s, &row.falls_back_to) {
        body = merged(body, json!({ "until": until, "then": then }));
    }
    let kind = if row.how == How::BreakGlass { OVERRIDE } else { POLICY_CHANGE };
    let people = super::note::signer_names(&row.notes);
    let mut people: Vec<&str> = people.iter().map(String::as_str).collect();
    people.push(&row.by);
    people.sort_unstable();
    people.dedup();
    tell(&mut transaction, kind, &people, about(&wish.bundle, body)).await?;
    // If we stop here, then nothing happened: the row, the version, the notification and the record commit together.
    transaction.commit().await?;
    Ok(row)
}

/// Ends a break-glass that is over at `now` (unix seconds), as another version; `None` when somebody else did.
pub async fn fall_back(pool: &PgPool, since: i64, now: i64) -> Result<Option<i64>, MandateError> {
    let call = "select policy_fall_back($1, $2)";
    Ok(sqlx::query_scalar(call).bind(since).bind(now).fetch_one(pool).await?)
}

/// Registers an approver. With the rights of the schema's owner.
pub async fn add_approver(
    pool: &PgPool,
    vkey: &tlog::VerifierKey,
    role: Role,
    by: &str,
    at_s: i64,
) -> Result<i64, MandateError> {
    let mut transaction = registry::store::begin(pool).await?;
    let version = registry::store::head_in(&mut transaction).await?;
    let written = sqlx::query(
        "insert into policy_approver (name, vkey, role, added_in, added_by, added_at_s) values ($1, $2, $3, $4, $5, $6)
         on conflict do nothing",
    )
    .bind(vkey.name())
    .bind(vkey.to_string())
    .bind(role.name())
    .bind(version)
    .bind(by)
    .bind(at_s)
    .execute(&mut *transaction)
    .await?;
    if written.rows_affected() == 0 {
        let what =
            format!("`{}` is or was an approver: a name and a key are used once", vkey.name());
        return Err(MandateError::Refused(what));
    }
    let body = json!({ "act": "approver_added", "role": role.name(), "version": version });
    tell(&mut transaction, KEY_EVENT, &[vkey.name(), by], body).await?;
    transaction.commit().await?;
    Ok(version)
}

/// Ends what an approver may sign: nothing that comes into force from now on. With the rights of the schema's owner.
pub async fn remove_approver(pool: &PgPool, name: &str, by: &str) -> Result<i64, MandateError> {
    let mut transaction = registry::store::begin(pool).await?;
    let version = registry::store::head_in(&mut transaction).await?;
    let update =
        "update policy_approver set removed_in = $2 where name = $1 and removed_in is null";
    let ended = sqlx::query(update).bind(name).bind(version).execute(&mut *transaction).await?;
    if ended.rows_affected() == 0 {
        return Err(MandateError::Refused(format!("`{name}` is no approver")));
    }
    let body = json!({ "act": "approver_removed", "version": version });
    tell(&mut transaction, KEY_EVENT, &[name, by], body).await?;
    transaction.commit().await?;
    Ok(version)
}

/// The row as it would be written after this history.
fn drawn(
    wish: &Wish,
    chain: &Chain,
    version: i64,
    notes: Vec<String>,
) -> Result<Enacted, MandateError> {
    super::note::check_reason(&wish.reason)?;
    let falls_back_to = match wish.how {
        How::BreakGlass => Some(chain.approved().map_err(MandateError::Refused)?),
        _ => None,
    };
    Ok(Enacted {
        version,
        bundle: Arc::clone(&wish.bundle.digest),
        how: wish.how,
        previous: chain.bundle().cloned(),
        until_s: wish.lasts_s.map(|lasts| wish.at_s.saturating_add(lasts)),
        falls_back_to,
        reason: wish.reason.clone(),
        notes,
        by: wish.by.clone(),
        at_s: wish.at_s,
        rulebook: Arc::clone(&wish.bundle.rulebook),
        access: Arc::clone(&wish.bundle.access),
    })
}

async fn followed(
    transaction: &mut PgTransaction<'_>,
    now: i64,
) -> Result<(Chain, Vec<Approver>), MandateError> {
    let deployment = deployment(&mut **transaction).await?;
    let approvers = approvers(&mut **transaction).await?;
    let rows = history(&mut **transaction, 0).await?;
    let (mut chain, rest) = Chain::starting(deployment, &rows);
    for row in rest {
        let _ = chain.follow(row, &approvers, now);
    }
    Ok((chain, approvers))
}

async fn write(transaction: &mut PgTransaction<'_>, row: &Enacted) -> Result<(), MandateError> {
    sqlx::query(
        "insert into policy_enacted
            (version, bundle, how, previous, until_s, falls_back_to, reason, notes, enacted_by, enacted_at_s)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(row.version)
    .bind(&*row.bundle)
    .bind(row.how.name())
    .bind(row.previous.as_deref())
    .bind(row.until_s)
    .bind(row.falls_back_to.as_deref())
    .bind(&row.reason)
    .bind(&row.notes)
    .bind(&row.by)
    .bind(row.at_s)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// What was done, with the digests that name the bundle: `bundle` as decisions have it.
#[must_use]
pub fn about(stored: &Stored, body: Value) -> Value {
    let rulebook = stored.rulebook.strip_prefix("sha256:").unwrap_or_default();
    let rulebook = STANDARD.encode(hex::decode(rulebook).unwrap_or_default());
    let names = json!({ "bundle": rulebook, "files": stored.digest, "access": stored.access });
    merged(body, names)
}

fn merged(mut body: Value, more: Value) -> Value {
    if let (Value::Object(all), Value::Object(more)) = (&mut body, more) {
        all.extend(more);
    }
    body
}

fn stored_of(row: &PgRow) -> Result<Stored, sqlx::Error> {
    Ok(Stored {
        digest: text(row, "digest")?,
        rulebook: text(row, "rulebook")?,
        access: text(row, "access")?,
        title: row.try_get("title")?,
        purpose: row.try_get("purpose")?,
        proposed_by: row.try_get("proposed_by")?,
        proposed_at_s: row.try_get("proposed_at_s")?,
    })
}

fn enacted_of(row: &PgRow) -> Result<Enacted, MandateError> {
    let how: String = row.try_get("how")?;
    let maybe =
        |key: &str| Ok::<_, sqlx::Error>(row.try_get::<Option<String>, _>(key)?.map(Arc::from));
    Ok(Enacted {
        version: row.try_get("version")?,
        bundle: text(row, "bundle")?,
        how: How::named(&how).ok_or(MandateError::Unknown(how))?,
        previous: maybe("previous")?,
        until_s: row.try_get("until_s")?,
        falls_back_to: maybe("falls_back_to")?,
        reason: row.try_get("reason")?,
        notes: row.try_get("notes")?,
        by: row.try_get("enacted_by")?,
        at_s: row.try_get("enacted_at_s")?,
        rulebook: text(row, "rulebook")?,
        access: text(row, "access")?,
    })
}

fn approver_of(row: &PgRow) -> Result<Approver, MandateError> {
    let (vkey, role): (String, String) = (row.try_get("vkey")?, row.try_get("role")?);
    Ok(Approver {
        key: vkey.parse().map_err(|_| MandateError::Unknown(vkey))?,
        role: Role::named(&role).ok_or(MandateError::Unknown(role))?,
        added_in: row.try_get("added_in")?,
        removed_in: row.try_get("removed_in")?,
    })
}

fn text(row: &PgRow, key: &str) -> Result<Arc<str>, sqlx::Error> {
    row.try_get::<String, _>(key).map(Arc::from)
}

const POLICY_CHANGE: &str = "policy_change";
const OVERRIDE: &str = "override";
const KEY_EVENT: &str = "key_event";
/// 2^32 digests before a beginning of this length is likely to be two.
const PREFIX_MIN: usize = 8;
