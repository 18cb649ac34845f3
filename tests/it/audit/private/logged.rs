//! The name of a person who is erased is not written into the server's own log by the erasure.

use haetae::audit::{Confirmed, EraseError, Subject, ask_erasure, confirm_erasure};
use haetae::postgres::{Cluster, Options, migrate};
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, PgPool};

use crate::audit::lab::{Lab, privacy};
use crate::audit::psql::Psql;
use crate::support::scratch;

const KIM: Subject<'_> =
    Subject { name: "min-jun.kim@kr-retailer.example", org: Some("kr-retailer") };

/// Settings of logins, as a superuser makes them.
async fn set(pool: &PgPool, logins: [&Psql; 2], settings: &[(&str, &str)]) {
    for login in logins {
        let role = &login.role;
        let set = settings.iter().map(|(name, value)| format!("set {name} = {value}"));
        for change in ["reset all".to_owned()].into_iter().chain(set) {
            let alter = AssertSqlSafe(format!("alter role {role} {change}"));
            sqlx::raw_sql(alter).execute(pool).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_name_is_sent_to_a_server_that_would_write_it_into_its_log() {
    let dir = scratch("logged");
    let options = Options { ephemeral: true, ..Options::durable(&dir) };
    let cluster = Cluster::start(options).await.unwrap();
    let pool = PgPoolOptions::new().connect_with(cluster.connect_options()).await.unwrap();
    migrate(&pool).await.unwrap();
    let lab = Lab::start(&pool, 1).await;
    lab.deny().await.unwrap();
    let one = Psql::member(&pool, "one", "haetae_privacy").await;
    let two = Psql::member(&pool, "two", "haetae_privacy").await;
    let logins = [&one, &two];

    for settings in [
        &[("log_statement", "'all'")][..],
        &[("log_min_duration_statement", "1000")],
        &[("log_min_duration_sample", "0"), ("log_statement_sample_rate", "0.5")],
        &[("log_transaction_sample_rate", "1")],
    ] {
        set(&pool, logins, settings).await;
        let refused = ask_erasure(&one.pool().await, &privacy(), KIM, "kim", "r").await;
        let by = |how: &str| how.starts_with(settings[0].0);
        assert!(matches!(&refused, Err(EraseError::Logged(how)) if by(how)), "{refused:?}");
    }

    let all = ("log_min_duration_statement", "0");
    let on_error = ("log_parameter_max_length_on_error", "-1");
    set(&pool, logins, &[all, on_error, ("log_parameter_max_length", "0"), ("log_duration", "on")])
        .await;
    let (first, second) = (one.pool().await, two.pool().await);
    let id = ask_erasure(&first, &privacy(), KIM, "kim", "r").await.unwrap().unwrap();
    let same = confirm_erasure(&first, &privacy(), id, KIM, "lee").await;
    assert!(matches!(same, Err(EraseError::Login)), "{same:?}");
    set(&pool, logins, &[all]).await;
    let refused = confirm_erasure(&two.pool().await, &privacy(), id, KIM, "lee").await;
    assert!(matches!(&refused, Err(EraseError::Logged(_))), "{refused:?}");
    let done = confirm_erasure(&second, &privacy(), id, KIM, "lee").await.unwrap();
    assert!(matches!(done, Confirmed::Erased(erased) if erased.keys == 1), "{done:?}");

    // A login that may takes care of it by itself.
    let owner = ask_erasure(&pool, &privacy(), KIM, "kim", "r").await.unwrap();
    assert_eq!(owner, None);
    let log = std::fs::read_to_string(cluster.log()).unwrap();
    for said in ["erasure_ask($1", "erasure_confirm($1", "another login must confirm it"] {
        assert!(log.contains(said), "the log has `{said}`: {log}");
    }
    assert!(!log.contains(KIM.name), "{log}");
    lab.stop().await;
}
