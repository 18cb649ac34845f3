//! Reviewers in Postgres: rows that row-level security reads, and the group that gives the rights.

use sqlx::{AssertSqlSafe, PgConnection, PgPool};

use super::Reviewer;

/// Whether a role sees more than a scoped reviewer, or may write itself more, whatever is granted here; `None` when there is no such role.
pub(super) async fn sees_all(
    connection: &mut PgConnection,
    role: &str,
) -> Result<Option<bool>, sqlx::Error> {
    sqlx::query_scalar(
        "select bool_or(
                g.rolsuper or g.rolbypassrls or g.rolreplication or g.rolcreaterole
                or g.rolname in ('haetae_gateway', 'haetae_reader', 'haetae_registrar', 'haetae_privacy', 'pg_read_server_files',
                                 'pg_write_server_files', 'pg_execute_server_program')
                or exists (select from unnest(array['log_batch', 'log_text', 'log_outbox', 'hold', 'hold_vote', 'audit_private',
                                                    'audit_key', 'audit_key_former']) t
                           where has_any_column_privilege(g.oid, t, 'select'))
                or has_any_column_privilege(g.oid, 'reviewer', 'insert, update')
                or exists (select from pg_class c where c.oid = 'row_decision'::regclass and c.relowner = g.oid))
         from pg_roles r
         -- itself, and whatever it may take by `set role`, with or without inheriting its rights
         join pg_roles g on pg_has_role(r.oid, g.oid, 'member')
         where r.rolname = $1 group by r.oid",
    )
    .bind(role)
    .fetch_optional(connection)
    .await
}

pub(super) async fn add(
    connection: &mut PgConnection,
    reviewer: &Reviewer,
) -> Result<(), sqlx::Error> {
    let insert =
        "insert into reviewer (role, authority, regime) select $1::name, $2, unnest($3::text[])
                  on conflict (role, regime) do update set authority = excluded.authority";
    sqlx::query(insert)
        .bind(&reviewer.role)
        .bind(&reviewer.authority)
        .bind(&reviewer.regimes)
        .execute(&mut *connection)
        .await?;
    change(connection, "grant haetae_reviewer to %I", &reviewer.role).await
}

/// Gives the regimes that it had.
pub(super) async fn remove(
    connection: &mut PgConnection,
    role: &str,
) -> Result<Vec<String>, sqlx::Error> {
    let delete = "delete from reviewer where role = $1::name returning regime";
    let mut regimes: Vec<String> =
        sqlx::query_scalar(delete).bind(role).fetch_all(&mut *connection).await?;
    regimes.sort();
    // A login that was dropped has no rights to be taken.
    if sees_all(&mut *connection, role).await?.is_some() {
        change(connection, "revoke haetae_reviewer from %I", role).await?;
    }
    Ok(regimes)
}

pub(super) async fn all(pool: &PgPool) -> Result<Vec<Reviewer>, sqlx::Error> {
    let select = "select role::text, min(authority), array_agg(regime order by regime) from reviewer group by role order by role";
    let rows: Vec<(String, String, Vec<String>)> = sqlx::query_as(select).fetch_all(pool).await?;
    let reviewer = |(role, authority, regimes)| Reviewer { role, authority, regimes };
    Ok(rows.into_iter().map(reviewer).collect())
}

/// A statement about a role, its name quoted by the database.
async fn change(
    connection: &mut PgConnection,
    statement: &str,
    role: &str,
) -> Result<(), sqlx::Error> {
    let written: String = sqlx::query_scalar("select format($1, $2::text)")
        .bind(statement)
        .bind(role)
        .fetch_one(&mut *connection)
        .await?;
    sqlx::query(AssertSqlSafe(written)).execute(connection).await?;
    Ok(())
}
