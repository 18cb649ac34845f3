//! The registry in Postgres: present entries, all their versions, and the changes that made them.
//!
//! Every change is one transaction under one lock: entries, `fact_head` and the notification commit together, so no
//! replica ever sees a version whose entries it cannot read.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;
use sha2::{Digest, Sha256};
use sqlx::{PgExecutor, PgPool, PgTransaction, Row};

use super::{
    InForce, RegistryError, Snapshot, Sort,
    access::{self, OwnAccess},
    orders,
    snapshot::MadeBy,
    tree::{Entry, Tree},
};

/// Where a change of facts is announced; the payload is the new version.
pub const CHANNEL: &str = "haetae_facts";

/// What a change did. `version` is the version in force afterwards.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Applied {
    pub version: i64,
    pub added: Vec<(Sort, String)>,
    pub changed: Vec<(Sort, String)>,
    pub removed: Vec<(Sort, String)>,
}

impl Applied {
    /// True when the registry was already so: no version was taken.
    #[must_use]
    pub const fn is_nothing(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty()
    }
}

/// One version of one entry.
#[derive(Debug, Clone, PartialEq)]
pub struct Version {
    pub sort: Sort,
    pub id: String,
    pub from: i64,
    /// The first version in which it is no longer so.
    pub until: Option<i64>,
    pub applied_by: String,
    /// Unix seconds.
    pub applied_at: i64,
    /// `apply`, `put`, `suspend`.
    pub how: String,
    pub document: Json,
}

/// Makes the registry say what the tree says. What was put by a single change and is not in the tree stays; what the
/// tree contradicts is an error, so an old directory lifts no suspension and no order.
///
/// Entries that were changed past the registry become the directory's: nobody else can say what they were.
pub async fn apply(pool: &PgPool, tree: &Tree, who: &str) -> Result<Applied, RegistryError> {
    let mut transaction = begin(pool).await?;
    let present = found(&mut transaction).await?;
    let mut change = Change::new("apply");
    match unaltered(&mut transaction, &present).await {
        // What it neither has nor may take out would stay, and nobody vouches for that.
        Err(RegistryError::Altered { .. }) if is_all_of(tree, &present) => change.anew = true,
        unaltered => unaltered?,
    }
    for (key, document) in &tree.documents {
        match present.get(key) {
            None => change.put(key.clone(), document.clone(), false),
            Some(entry) if entry.how == "apply" && entry.document == *document => {}
            // An order that was entered by itself stays so: no directory ends it.
            Some(entry) if key.0 == Sort::Order && entry.document == *document => {}
            Some(entry) if entry.how != "apply" && entry.document != *document => {
                return Err(overtaken(key, entry));
            }
            // Also what was put by a single change and now stands in the directory: it is the directory's again.
            Some(_) => change.put(key.clone(), document.clone(), true),
        }
    }
    let gone = |entry: &Present| entry.how == "apply";
    for (key, _) in
        present.iter().filter(|(key, entry)| gone(entry) && !tree.documents.contains_key(*key))
    {
        change.applied.removed.push(key.clone());
    }
    let applied = write(&mut transaction, change, &present, who).await?;
    orders::store::tell_applied(&mut transaction, &applied, (tree, &present), who).await?;
    // If we stop here, then nothing happened.
    transaction.commit().await?;
    Ok(applied)
}

/// Whether nothing but what this directory says is left once it is applied.
fn is_all_of(tree: &Tree, present: &Presents) -> bool {
    let says = |key, entry: &Present| tree.documents.get(key) == Some(&entry.document);
    present.iter().all(|(key, entry)| entry.how == "apply" || says(key, entry))
}

/// Registers or replaces one ground. What it names must be registered.
pub async fn put_ground(pool: &PgPool, entry: &Entry, who: &str) -> Result<Applied, RegistryError> {
    put(pool, entry, who).await
}

/// Registers or replaces one authority and its keys. Orders that it signed before stay signed.
pub async fn put_authority(
    pool: &PgPool,
    entry: &Entry,
    who: &str,
) -> Result<Applied, RegistryError> {
    put(pool, entry, who).await
}

/// Suspends a ground: from the commit on, no record is committed that rests on it.
pub async fn suspend_ground(pool: &PgPool, id: &str, who: &str) -> Result<Applied, RegistryError> {
    let mut transaction = begin(pool).await?;
    let present = present(&mut transaction).await?;
    let key = (Sort::Ground, id.to_owned());
    let Some(mut document) = present.get(&key).map(|entry| entry.document.clone()) else {
        return Err(RegistryError::NotFound { sort: Sort::Ground, id: id.to_owned() });
    };
    if let Some(ground) = document.as_object_mut() {
        ground.insert("suspended".into(), true.into());
    }
    let mut change = Change::new("suspend");
    change.put_if_new(key, document, &present);
    commit(transaction, change, &present, who).await
}

/// `fact_head`'s version.
pub async fn head(pool: &PgPool) -> Result<i64, RegistryError> {
    Ok(sqlx::query_scalar(HEAD).fetch_one(pool).await?)
}

/// The same in a transaction of [`begin`], where nobody else raises it.
pub async fn head_in(transaction: &mut PgTransaction<'_>) -> Result<i64, RegistryError> {
    Ok(sqlx::query_scalar(HEAD).fetch_one(&mut **transaction).await?)
}

/// `fact_head`'s version and the newest change that is on record.
pub(super) async fn state(
    database: impl PgExecutor<'_>,
) -> Result<(i64, Option<MadeBy>), RegistryError> {
    let select = "SELECT h.version, (extract(epoch FROM v.applied_at) * 1000000)::bigint, v.digest
         FROM fact_head h LEFT JOIN (
             SELECT applied_at, digest FROM registry_version ORDER BY version DESC LIMIT 1
         ) v ON true
         WHERE h.id = 1";
    let (version, at_us, digest): (i64, Option<i64>, Option<Vec<u8>>) =
        sqlx::query_as(select).fetch_one(database).await?;
    let made_by = at_us.zip(digest).map(|(at_us, digest)| MadeBy { at_us, digest });
    Ok((version, made_by))
}

/// No change bears this number, or a lower one, from here on.
pub(super) async fn burn(pool: &PgPool, version: i64) -> Result<(), RegistryError> {
    let raise = "UPDATE fact_head SET version = $1 + 1 WHERE id = 1 AND version <= $1";
    sqlx::query(raise).bind(version).execute(pool).await?;
    Ok(())
}

/// Everything present, from one state of the database, as it is at `at` (unix seconds).
pub async fn snapshot(pool: &PgPool, at: i64) -> Result<Snapshot, RegistryError> {
    let mut transaction =
        pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let (version, made_by) = state(&mut *transaction).await?;
    let present = present(&mut transaction).await?;
    let in_force = in_force(&mut transaction).await?;
    transaction.commit().await?;
    let snapshot = Snapshot::build(
        version,
        at,
        present.iter().map(|((sort, id), entry)| (*sort, id.as_str(), &entry.document)),
    )?;
    Ok(snapshot.with_bundle(in_force, at).with_made_by(made_by))
}

/// Whether the entries are those that the newest change left: [`RegistryError::Altered`] if not.
pub async fn check(pool: &PgPool) -> Result<(), RegistryError> {
    let mut transaction =
        pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    present(&mut transaction).await?;
    Ok(transaction.commit().await?)
}

/// [`snapshot`] without an entry, for as long as that says that they were altered: it refuses everything.
pub(super) async fn without_facts(pool: &PgPool, at: i64) -> Result<Snapshot, RegistryError> {
    let mut transaction =
        pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let (version, made_by) = state(&mut *transaction).await?;
    let in_force = in_force(&mut transaction).await?;
    transaction.commit().await?;
    Ok(Snapshot::without_facts(version).with_bundle(in_force, at).with_made_by(made_by))
}

/// The bundle in force in the state that this transaction sees.
pub async fn in_force(
    transaction: &mut PgTransaction<'_>,
) -> Result<Option<InForce>, RegistryError> {
    let row = sqlx::query(
        "SELECT bundle, version, until_s FROM policy_enacted ORDER BY version DESC LIMIT 1",
    )
    .fetch_optional(&mut **transaction)
    .await?;
    let read = |row: sqlx::postgres::PgRow| {
        let digest: String = row.try_get("bundle")?;
        let (since, until) = (row.try_get("version")?, row.try_get("until_s")?);
        Ok::<_, sqlx::Error>(InForce { digest: digest.into(), since, until })
    };
    Ok(row.map(read).transpose()?)
}

/// The present entries of one sort, or of all.
pub async fn show(pool: &PgPool, sort: Option<Sort>) -> Result<Vec<Version>, RegistryError> {
    versions(pool, None, sort).await
}

/// Every version of the entries with this id, oldest first.
pub async fn history(pool: &PgPool, id: &str) -> Result<Vec<Version>, RegistryError> {
    versions(pool, Some(id), None).await
}

/// The versions of one id, or the present ones of one sort or of all.
async fn versions(
    pool: &PgPool,
    id: Option<&str>,
    sort: Option<Sort>,
) -> Result<Vec<Version>, RegistryError> {
    let rows = sqlx::query(
        "SELECT e.sort, e.id, e.version_from, e.version_until, e.how, e.document, v.applied_by,
                floor(extract(epoch FROM v.applied_at))::bigint AS applied_at
         FROM registry_entry e JOIN registry_version v ON v.version = e.version_from
         WHERE CASE WHEN $1::text IS NULL THEN e.version_until IS NULL ELSE e.id = $1 END
           AND ($2::text IS NULL OR e.sort = $2)
         ORDER BY e.sort, e.id, e.version_from",
    )
    .bind(id)
    .bind(sort.map(Sort::name))
    .fetch_all(pool)
    .await?;
    rows.iter().map(version_of).collect()
}

async fn put(pool: &PgPool, entry: &Entry, who: &str) -> Result<Applied, RegistryError> {
    let mut transaction = begin(pool).await?;
    let present = present(&mut transaction).await?;
    entry.needs_only(|key| present.contains_key(key))?;
    let mut change = Change::new("put");
    change.put_if_new((entry.sort, entry.id.clone()), entry.document.clone(), &present);
    commit(transaction, change, &present, who).await
}

/// Takes the next version of the facts for a change that is no entry of the registry (another bundle), and announces it.
/// The caller commits, and writes in the same transaction (of [`begin`]) what changed.
pub async fn raise(
    transaction: &mut PgTransaction<'_>,
    how: &str,
    who: &str,
) -> Result<i64, RegistryError> {
    let version: i64 = sqlx::query_scalar(RAISE).fetch_one(&mut **transaction).await?;
    // The entries are those of before, and so is the digest over them.
    sqlx::query(
        "INSERT INTO registry_version (version, applied_by, how, digest)
         SELECT $1, $2, $3,
                coalesce((SELECT digest FROM registry_version ORDER BY version DESC LIMIT 1), sha256(''))",
    )
    .bind(version)
    .bind(who)
    .bind(how)
    .execute(&mut **transaction)
    .await?;
    announce(transaction, version).await?;
    Ok(version)
}

async fn announce(transaction: &mut PgTransaction<'_>, version: i64) -> Result<(), sqlx::Error> {
    let notify = sqlx::query("SELECT pg_notify($1, $2)").bind(CHANNEL).bind(version.to_string());
    notify.execute(&mut **transaction).await.map(drop)
}

/// Writers come one after the other. The lock is not `fact_head`'s row: commits of records share that one, and wait
/// only while a change is written, not while it is computed.
pub async fn begin(pool: &PgPool) -> Result<PgTransaction<'static>, RegistryError> {
    let mut transaction = pool.begin().await?;
    sqlx::query("SET LOCAL lock_timeout = '5s'").execute(&mut *transaction).await?;
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('haetae_registry', 0))")
        .execute(&mut *transaction)
        .await?;
    Ok(transaction)
}

pub(super) type Presents = BTreeMap<(Sort, String), Present>;

pub(super) struct Present {
    pub document: Json,
    pub how: String,
    version: i64,
    by: String,
}

/// What is present; an error when it is not what the registry's last change left.
pub(super) async fn present(
    transaction: &mut PgTransaction<'_>,
) -> Result<Presents, RegistryError> {
    let present = found(transaction).await?;
    unaltered(transaction, &present).await?;
    Ok(present)
}

/// Holds entries against the digest that the newest change wrote. Not every version has one of its own: what a failover lost is
/// passed over, and leaves the entries as they were.
async fn unaltered(
    transaction: &mut PgTransaction<'_>,
    present: &Presents,
) -> Result<(), RegistryError> {
    let select = "SELECT v.version, v.digest FROM registry_version v JOIN fact_head h ON v.version <= h.version
         WHERE h.id = 1 ORDER BY v.version DESC LIMIT 1";
    let newest: Option<(i64, Vec<u8>)> =
        sqlx::query_as(select).fetch_optional(&mut **transaction).await?;
    let (version, stated) = newest.unwrap_or_else(|| (0, Sha256::digest("").to_vec()));
    let now = digest(present.iter().map(|(key, entry)| (key, &entry.document)));
    if stated == now { Ok(()) } else { Err(RegistryError::Altered { version }) }
}

async fn found(transaction: &mut PgTransaction<'_>) -> Result<Presents, RegistryError> {
    let rows = sqlx::query(
        "SELECT e.sort, e.id, e.document, e.how, e.version_from, v.applied_by
         FROM registry_entry e JOIN registry_version v ON v.version = e.version_from
         WHERE e.version_until IS NULL",
    )
    .fetch_all(&mut **transaction)
    .await?;
    rows.iter()
        .map(|row| {
            let entry = Present {
                document: row.try_get("document")?,
                how: row.try_get("how")?,
                version: row.try_get("version_from")?,
                by: row.try_get("applied_by")?,
            };
            Ok(((sort_of(row)?, row.try_get("id")?), entry))
        })
        .collect()
}

pub(super) struct Change {
    how: &'static str,
    /// A version is taken even where nothing changes: the digest of what is there is written anew.
    anew: bool,
    documents: Vec<((Sort, String), Json)>,
    pub applied: Applied,
}

impl Change {
    pub fn new(how: &'static str) -> Self {
        Self { how, anew: false, documents: Vec::new(), applied: Applied::default() }
    }

    pub fn put(&mut self, key: (Sort, String), document: Json, replaces: bool) {
        let list = if replaces { &mut self.applied.changed } else { &mut self.applied.added };
        list.push(key.clone());
        self.documents.push((key, document));
    }

    pub(super) fn put_if_new(&mut self, key: (Sort, String), document: Json, present: &Presents) {
        let old = present.get(&key);
        if old.is_none_or(|old| old.document != document) {
            self.put(key, document, old.is_some());
        }
    }
}

pub(super) async fn commit(
    mut transaction: PgTransaction<'_>,
    change: Change,
    present: &Presents,
    who: &str,
) -> Result<Applied, RegistryError> {
    let applied = write(&mut transaction, change, present, who).await?;
    // If we stop here, then nothing happened: entries, version and notification commit together or not at all.
    transaction.commit().await?;
    Ok(applied)
}

/// Writes a change and takes the next version for it, if it is one. The caller commits.
pub(super) async fn write(
    transaction: &mut PgTransaction<'_>,
    mut change: Change,
    present: &Presents,
    who: &str,
) -> Result<Applied, RegistryError> {
    if change.applied.is_nothing() && !change.anew {
        change.applied.version = sqlx::query_scalar(HEAD).fetch_one(&mut **transaction).await?;
        return Ok(change.applied);
    }
    sound_access(&change, present)?;
    let version: i64 = sqlx::query_scalar(RAISE).fetch_one(&mut **transaction).await?;
    sqlx::query(
        "INSERT INTO registry_version (version, applied_by, how, digest) VALUES ($1, $2, $3, $4)",
    )
    .bind(version)
    .bind(who)
    .bind(change.how)
    .bind(digest(after(&change, present)).to_vec())
    .execute(&mut **transaction)
    .await?;
    end_old(transaction, &change.applied, version).await?;
    write_new(transaction, &change, version).await?;
    announce(transaction, version).await?;
    change.applied.version = version;
    Ok(change.applied)
}

/// No change, by a directory or alone, leaves an organisation with entries that cannot be judged with: it would be refused
/// everything.
fn sound_access(change: &Change, present: &Presents) -> Result<(), RegistryError> {
    let touched = change.documents.iter().filter(|((sort, _), _)| sort.is_access());
    let orgs: BTreeSet<&str> = touched.map(|((_, id), _)| access::owner(id)).collect();
    if orgs.is_empty() {
        return Ok(());
    }
    let after = after(change, present);
    for org in orgs {
        let own = OwnAccess::of(org, after.iter().map(|(key, document)| (*key, *document)));
        if let Some(fault) = own.fault() {
            return Err(RegistryError::Access { org: org.to_owned(), fault });
        }
    }
    Ok(())
}

async fn end_old(
    transaction: &mut PgTransaction<'_>,
    applied: &Applied,
    version: i64,
) -> Result<(), RegistryError> {
    let over = || applied.changed.iter().chain(&applied.removed);
    let sorts: Vec<&str> = over().map(|(sort, _)| sort.name()).collect();
    let ids: Vec<&str> = over().map(|(_, id)| id.as_str()).collect();
    sqlx::query(
        "UPDATE registry_entry e SET version_until = $3
         FROM unnest($1::text[], $2::text[]) AS over (sort, id)
         WHERE e.sort = over.sort AND e.id = over.id AND e.version_until IS NULL",
    )
    .bind(sorts)
    .bind(ids)
    .bind(version)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

async fn write_new(
    transaction: &mut PgTransaction<'_>,
    change: &Change,
    version: i64,
) -> Result<(), RegistryError> {
    let sorts: Vec<&str> = change.documents.iter().map(|((sort, _), _)| sort.name()).collect();
    let ids: Vec<&str> = change.documents.iter().map(|((_, id), _)| id.as_str()).collect();
    let documents: Vec<&Json> = change.documents.iter().map(|(_, document)| document).collect();
    sqlx::query(
        "INSERT INTO registry_entry (sort, id, version_from, how, document)
         SELECT sort, id, $4, $5, document
         FROM unnest($1::text[], $2::text[], $3::jsonb[]) AS new (sort, id, document)",
    )
    .bind(sorts)
    .bind(ids)
    .bind(documents)
    .bind(version)
    .bind(change.how)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// Everything present after the change.
fn after<'a>(change: &'a Change, present: &'a Presents) -> BTreeMap<&'a (Sort, String), &'a Json> {
    let mut after: BTreeMap<&(Sort, String), &Json> =
        present.iter().map(|(key, entry)| (key, &entry.document)).collect();
    for key in &change.applied.removed {
        after.remove(key);
    }
    after.extend(change.documents.iter().map(|(key, document)| (key, document)));
    after
}

/// SHA-256 over entries in order (of sorts: that of [`Sort`], so a new one goes to its end): sort, id and canonical document,
/// each followed by a line feed (none of them contains one).
fn digest<'a>(entries: impl IntoIterator<Item = (&'a (Sort, String), &'a Json)>) -> [u8; 32] {
    let mut hash = Sha256::new();
    for ((sort, id), document) in entries {
        for part in [sort.name(), id, &document.to_string()] {
            hash.update(part);
            hash.update("\n");
        }
    }
    hash.finalize().into()
}

fn overtaken((sort, id): &(Sort, String), entry: &Present) -> RegistryError {
    RegistryError::Overtaken {
        sort: *sort,
        id: id.clone(),
        by: entry.by.clone(),
        version: entry.version,
    }
}

fn version_of(row: &sqlx::postgres::PgRow) -> Result<Version, RegistryError> {
    Ok(Version {
        sort: sort_of(row)?,
        id: row.try_get("id")?,
        from: row.try_get("version_from")?,
        until: row.try_get("version_until")?,
        applied_by: row.try_get("applied_by")?,
        applied_at: row.try_get("applied_at")?,
        how: row.try_get("how")?,
        document: row.try_get("document")?,
    })
}

fn sort_of(row: &sqlx::postgres::PgRow) -> Result<Sort, RegistryError> {
    let name: String = row.try_get("sort")?;
    Sort::named(&name).ok_or(RegistryError::UnknownSort(name))
}

/// Leaves an act for the log, in the transaction of the act itself: a lane writes it within a second (docs/record.md, "Acts").
/// People become salted digests there. The row is the database's contract with `audit`, which this room is below.
pub async fn tell<P: AsRef<str>>(
    transaction: &mut PgTransaction<'_>,
    kind: &str,
    people: &[P],
    body: Json,
) -> Result<(), sqlx::Error> {
    let people: Vec<&str> = people.iter().map(AsRef::as_ref).collect();
    let insert =
        "INSERT INTO log_outbox (event, kind, people, body) VALUES (gen_random_uuid(), $1, $2, $3)";
    let query = sqlx::query(insert).bind(kind).bind(people).bind(body);
    let told = query.execute(&mut **transaction).await?.rows_affected();
    if told == 1 { Ok(()) } else { Err(sqlx::Error::Protocol(NOT_TOLD.to_owned())) }
}

/// The database took the row and kept none: a trigger drops it, or a rule.
const NOT_TOLD: &str =
    "`log_outbox` did not keep the row of this act: without its record it is not done";
const HEAD: &str = "SELECT version FROM fact_head WHERE id = 1";
const RAISE: &str = "UPDATE fact_head SET version = version + 1 WHERE id = 1 RETURNING version";
