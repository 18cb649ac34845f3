//! One name stands for two master keys: a gateway was given other bytes under it than those who erase. No index of theirs finds what it
//! wrapped, so nothing is said to be erased.

use haetae::audit::{Confirmed, EraseError, Subject, ask_erasure, confirm_erasure, rewrap};
use haetae::privacy::{Privacy, Wrapped};
use sqlx::PgPool;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::audit::lab::{Lab, privacy};
use crate::audit::psql::Psql;
use crate::support::fresh_database;

const KIM: Subject<'_> =
    Subject { name: "min-jun.kim@kr-retailer.example", org: Some("kr-retailer") };

/// Master keys by name, each of one byte over and over; the lab's is 7.
fn masters(names: &[(&str, u8)]) -> Privacy {
    let key = |(name, byte): &(&str, u8)| ((*name).to_owned(), Zeroizing::new([*byte; 32]));
    Privacy::of(&names.iter().map(key).collect::<Vec<_>>()).unwrap().unwrap()
}

/// What a lane that has these master keys keeps for the same person.
async fn wrapped_by(pool: &PgPool, privacy: &Privacy, org: &str, chance: u8) -> Uuid {
    let (_, wrapped) = privacy.new_key(org, KIM.name, &Zeroizing::new([chance; 60])).unwrap();
    let Wrapped { id, org, subject, master, bytes } = wrapped;
    let insert =
        "insert into audit_key (id, org, subject, master, wrapped) values ($1, $2, $3, $4, $5)";
    let query = sqlx::query(insert).bind(id).bind(org).bind(subject).bind(master).bind(bytes);
    query.execute(pool).await.unwrap();
    id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_is_not_erased_while_keys_are_wrapped_under_other_bytes_of_the_same_name() {
    let lab = Lab::start(&fresh_database().await.pool, 1).await;
    lab.deny().await.unwrap();
    let pool = lab.stop().await;
    let login = async |who| Psql::member(&pool, who, "haetae_privacy").await.pool().await;
    let (kim, lee) = (login("kim").await, login("lee").await);
    let asked = ask_erasure(&kim, &privacy(), KIM, "kim", "r").await.unwrap().unwrap();
    let other = masters(&[("lab", 8)]);
    let strange = wrapped_by(&pool, &other, "kr-retailer", 1).await;
    let is_it = |error: &EraseError| matches!(error, EraseError::Strange(1, id) if *id == strange);

    let refused = ask_erasure(&kim, &privacy(), KIM, "kim", "r").await.unwrap_err();
    assert!(is_it(&refused), "{refused}");
    let refused = confirm_erasure(&lee, &privacy(), asked, KIM, "lee").await.unwrap_err();
    assert!(is_it(&refused), "{refused}");
    // Another organisation's is not in the way.
    let elsewhere = Subject { org: Some("kr-med"), ..KIM };
    assert_eq!(ask_erasure(&kim, &privacy(), elsewhere, "kim", "r").await.unwrap(), None);

    // Nor can another master key be put in place of both: which key is in the way is said.
    let new = masters(&[("new", 9), ("lab", 7)]);
    let refused = rewrap(&kim, &new, "kim").await.unwrap_err().to_string();
    assert!(refused.contains(&strange.to_string()), "{refused}");

    // As the refusal says.
    let named = "update audit_key set master = 'lab-2' where id = $1";
    sqlx::query(named).bind(strange).execute(&pool).await.unwrap();
    let both = masters(&[("lab", 7), ("lab-2", 8)]);
    let id = ask_erasure(&kim, &both, KIM, "kim", "r").await.unwrap().unwrap();
    let done = confirm_erasure(&lee, &both, id, KIM, "lee").await.unwrap();
    assert!(matches!(done, Confirmed::Erased(erased) if erased.keys == 2), "{done:?}");
}
