//! Who may destroy what is kept of people: two logins together, by functions that tell it; nobody alone, with psql or anything.

use haetae::audit::{
    Confirmed, EraseError, Forgot, Subject, ask_erasure, ask_forget, confirm_erasure,
    confirm_forget, rewrap, verify,
};
use haetae::privacy::Privacy;
use sqlx::PgPool;
use uuid::Uuid;
use verdict::decision::Outcome;
use zeroize::Zeroizing;

use super::lab::{Lab, disclose, draft, eventually, leaves, privacy, shown};
use super::psql::Psql;
use crate::support::fresh_database;

const KIM: Subject<'_> =
    Subject { name: "min-jun.kim@kr-retailer.example", org: Some("kr-retailer") };
const PARK: &str = "so-yeon.park@kr-retailer.example";

/// Everything that destroys or changes, forges who asked, or tells an erasure that was none.
const FORBIDDEN: [&str; 25] = [
    "delete from audit_key_former",
    "update audit_key_former set wrapped = ''",
    "delete from former_forgetting",
    "update former_forgetting set asked_login = 'other'",
    "insert into log_outbox (event, kind, body) values (gen_random_uuid(), 'key_event', '{\"act\": \"former_forgotten\"}')",
    "delete from audit_key",
    "delete from audit_private",
    "truncate audit_key",
    "truncate audit_private",
    "update audit_key set wrapped = decode(repeat('00', 92), 'hex')",
    "update audit_key set subject = decode(repeat('00', 32), 'hex')",
    "update audit_key set master = 'none'",
    "update audit_private set sealed = decode(repeat('00', 60), 'hex')",
    "update audit_private set key = gen_random_uuid()",
    "update fact_head set erasures = erasures + 1",
    "insert into erasure (id, subject, subjects, named, master, reason, asked_salt, asked, asked_login, asked_at_s)
     select gen_random_uuid(), sha256(''), '{}', sha256(''), 'lab', 'r', decode(repeat('00', 16), 'hex'), sha256(''), 'other', 1",
    "update erasure set asked_login = 'other'",
    "update erasure set subject = sha256('')",
    "delete from erasure",
    "update hold set asked = sha256('')",
    "update hold_vote set person = sha256('')",
    "insert into log_outbox (event, kind, body) values (gen_random_uuid(), 'erase', '{\"act\": \"done\"}')",
    "insert into log_outbox (event, kind, body) values (gen_random_uuid(), 'key_event', '{\"act\": \"rewrapped\"}')",
    "insert into log_outbox (event, kind, people) values (gen_random_uuid(), 'read', array[null])",
    "select privacy_tell('erase', 'kim', '{}')",
];

/// Keys of before (those of who asks and confirms come while a test goes on), and values, that are still there.
async fn left(pool: &PgPool, keys: &[Uuid]) -> (i64, i64) {
    let count = "select (select count(*) from audit_key where id = any ($1)),
                        (select count(*) from audit_private where key = any ($1))";
    sqlx::query_as(count).bind(keys).fetch_one(pool).await.unwrap()
}

async fn keys(pool: &PgPool) -> Vec<Uuid> {
    sqlx::query_scalar("select id from audit_key").fetch_all(pool).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_login_of_any_group_destroys_what_is_kept_alone() {
    let lab = Lab::start(&fresh_database().await.pool, 1).await;
    lab.proven(&lab.deny().await.unwrap());
    let select = "select md5(array_agg(k order by id)::text || (select array_agg(p order by digest) from audit_private p)::text)
                  from audit_key k";
    let before: String = sqlx::query_scalar(select).fetch_one(&lab.pool).await.unwrap();
    for group in ["privacy", "gateway", "registrar", "reader", "reviewer"] {
        let login = Psql::member(&lab.pool, group, &format!("haetae_{group}")).await;
        for statement in FORBIDDEN {
            let refused = login.ask(statement).expect_err(statement);
            assert!(
                refused.contains("permission denied")
                    || refused.contains("this act is told by what does it")
                    || refused.contains("log_outbox_people_are_named"),
                "{group}: {statement}: {refused}"
            );
        }
        if group != "privacy" {
            let ask = "select erasure_ask(null, 'x', sha256(''), '{}', '{lab}', 'r', 'kim')";
            assert!(login.ask(ask).unwrap_err().contains("permission denied for function"));
        }
    }
    let after: String = sqlx::query_scalar(select).fetch_one(&lab.pool).await.unwrap();
    assert_eq!(before, after);
    lab.stop().await;
}

/// What the function is told by somebody with psql, in place of what the command would say.
fn confirm(erasure: &str, subjects: &str, person: &str) -> String {
    let Subject { name, org } = KIM;
    format!(
        "select keys, vals from erasure_confirm('{erasure}', '{}', {name}, '{{}}', {subjects}, array['lab'], {person})",
        org.unwrap(),
        name = if person == "null" { "null".to_owned() } else { format!("'{name}'") }
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_wants_a_second_login_and_destroys_what_both_named() {
    let lab = Lab::start(&fresh_database().await.pool, 1).await;
    let kim = lab.proven(&lab.deny().await.unwrap());
    let mut other = draft(Outcome::Deny, 0);
    other.actor = PARK.into();
    lab.audit.record(other).await.unwrap();
    let kept = keys(&lab.pool).await;
    let (one, two) = (
        Psql::member(&lab.pool, "one", "haetae_privacy").await,
        Psql::member(&lab.pool, "two", "haetae_privacy").await,
    );
    let (first, second) = (one.pool().await, two.pool().await);
    let id = ask_erasure(&first, &privacy(), KIM, "kim", "r").await.unwrap().unwrap();
    let id_text = id.to_string();
    let every = "(select array_agg(subject) from audit_key)";

    // The same login under another name, in another role, with no name at all.
    for how in ["", "set role haetae_privacy; ", "reset session authorization; "] {
        let refused = one.ask(&format!("{how}{}", confirm(&id_text, every, "'lee'"))).unwrap_err();
        assert!(refused.contains("another login must confirm it"), "{refused}");
    }
    assert!(one.ask("set session authorization postgres").is_err());
    assert!(two.ask(&confirm(&id_text, every, "'kim'")).unwrap_err().contains("cannot confirm it"));
    assert!(two.ask(&confirm(&id_text, every, "null")).is_err());
    assert_eq!(left(&lab.pool, &kept).await, (2, 2), "nothing was destroyed");

    // The second cannot bring in keys that the first did not name: there are keys left of who he names.
    let refused = two.ask(&confirm(&id_text, every, "'lee'")).unwrap_err();
    assert!(refused.contains("were made under another name"), "{refused}");
    // Nor hide one behind a null, nor close the request with fewer than the first named.
    let nulled = format!("({every} || array[null::bytea])");
    let refused = two.ask(&confirm(&id_text, &nulled, "'lee'")).unwrap_err();
    assert!(refused.contains("is not said"), "{refused}");
    for fewer in ["'{}'", "array[sha256('')]"] {
        let refused = two.ask(&confirm(&id_text, fewer, "'lee'")).unwrap_err();
        assert!(refused.contains("keys that are not named for this person"), "{refused}");
    }
    // Nor the first those that the second does not name.
    let Subject { name, org } = KIM;
    let ask = format!(
        "select erasure_ask('{}', '{name}', sha256(''), {every}, '{{lab}}', 'r', 'kim')",
        org.unwrap()
    );
    let wide = one.ask(&ask).unwrap().parse().unwrap();
    let refused = confirm_erasure(&second, &privacy(), wide, KIM, "lee").await;
    assert!(matches!(refused, Err(EraseError::Fewer)), "{refused:?}");
    assert_eq!(left(&lab.pool, &kept).await, (2, 2), "nothing was destroyed");

    let done = confirm_erasure(&second, &privacy(), id, KIM, "lee").await.unwrap();
    assert!(matches!(done, Confirmed::Erased(erased) if (erased.keys, erased.values) == (1, 1)));
    assert_eq!(left(&lab.pool, &kept).await, (1, 1), "the other person's are there");
    // Once done it is done; a second request finds nothing more.
    let again = confirm_erasure(&second, &privacy(), id, KIM, "lee").await.unwrap();
    assert!(matches!(again, Confirmed::Already(_)));
    let named: i64 = sqlx::query_scalar(
        "select count(*) from erasure where num_nonnulls(subject, subjects, named) > 0",
    )
    .fetch_one(&lab.pool)
    .await
    .unwrap();
    assert_eq!(named, 0, "what is done names nobody, nor does what was asked for besides");
    eventually("each act is recorded", async || {
        leaves(&lab.pool).await.iter().filter(|leaf| leaf["kind"] == "erase").count() == 3
    })
    .await;
    let place = (0, kim["index"].as_u64().unwrap());
    assert!(disclose(&lab.pool, &privacy(), place, "actor").await.is_err());
    lab.projected().await;
    assert_eq!(verify(&lab.pool).await.unwrap().findings, []);
    lab.stop().await;
}

/// A person who comes to an organisation, or under a master key, after the request is not erased half.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_made_since_the_request_want_a_new_one() {
    let lab = Lab::start(&fresh_database().await.pool, 1).await;
    let leaf = lab.proven(&lab.deny().await.unwrap());
    let (one, two) = (
        Psql::member(&lab.pool, "one", "haetae_privacy").await.pool().await,
        Psql::member(&lab.pool, "two", "haetae_privacy").await.pool().await,
    );
    let whom = Subject { name: KIM.name, org: None };
    let id = ask_erasure(&one, &privacy(), whom, "kim", "r").await.unwrap().unwrap();
    let mut elsewhere = draft(Outcome::Deny, 0);
    elsewhere.org = "kr-hospital".into();
    lab.audit.record(elsewhere).await.unwrap();
    let kept = keys(&lab.pool).await;
    let before = left(&lab.pool, &kept).await;
    let more = confirm_erasure(&two, &privacy(), id, whom, "lee").await;
    assert!(matches!(more, Err(EraseError::More)), "{more:?}");
    let stranger = Privacy::of(&[("other".to_owned(), Zeroizing::new([9; 32]))]).unwrap().unwrap();
    let blind = confirm_erasure(&two, &stranger, id, whom, "lee").await;
    assert!(matches!(blind, Err(EraseError::Master(name)) if name == "lab"));
    assert_eq!(left(&lab.pool, &kept).await, before, "all or nothing");
    assert_eq!(shown(&lab.pool, &leaf, "actor").await.values[0].1.value, KIM.name);
    let id = ask_erasure(&one, &privacy(), whom, "kim", "r").await.unwrap().unwrap();
    let done = confirm_erasure(&two, &privacy(), id, whom, "lee").await.unwrap();
    assert!(matches!(done, Confirmed::Erased(erased) if erased.keys == 2), "{done:?}");
    lab.stop().await;
}

/// One login makes a key another person's, so that the erasure of that person destroys it, or that of its own person misses it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_was_made_somebody_elses_stops_the_erasure_of_both() {
    let lab = Lab::start(&fresh_database().await.pool, 1).await;
    lab.deny().await.unwrap();
    let mut other = draft(Outcome::Deny, 0);
    other.actor = PARK.into();
    lab.audit.record(other).await.unwrap();
    let kept = keys(&lab.pool).await;
    let before = left(&lab.pool, &kept).await;
    let (one, two) = (
        Psql::member(&lab.pool, "one", "haetae_privacy").await,
        Psql::member(&lab.pool, "two", "haetae_privacy").await,
    );
    // The index of the first person is put to all keys, by way of a master key that does not exist.
    for (master, subject) in
        [("away", "subject"), ("lab", "(select subject from audit_key order by subject limit 1)")]
    {
        let swap = format!(
            "select privacy_rewrap('{master}', array_agg(id), array_agg({subject}), array_agg(wrapped), 'kim') from audit_key"
        );
        one.ask(&swap).unwrap();
    }
    let (first, second) = (one.pool().await, two.pool().await);
    for name in [KIM.name, PARK] {
        let whom = Subject { name, org: KIM.org };
        let id = ask_erasure(&first, &privacy(), whom, "kim", "r").await.unwrap().unwrap();
        let done = confirm_erasure(&second, &privacy(), id, whom, "lee").await;
        assert!(matches!(done, Err(EraseError::Swapped)), "{name}: {done:?}");
    }
    // Nor when who confirms says that no other master key than his own was ever asked for.
    let asked = ask_erasure(&first, &privacy(), KIM, "kim", "r").await.unwrap().unwrap();
    let to_kim = format!("(select subjects[1] from erasure where id = '{asked}')");
    let swap = format!(
        "select privacy_rewrap('evil', array_agg(id), array_agg({to_kim}), array_agg(wrapped), 'x') from audit_key"
    );
    two.ask(&swap).unwrap();
    let confirm = format!(
        "select keys from erasure_confirm('{asked}', '{}', '{}', '{{}}', array[{to_kim}], '{{evil}}', 'lee')",
        KIM.org.unwrap(),
        KIM.name
    );
    let refused = two.ask(&confirm).unwrap_err();
    assert!(refused.contains("wrapped anew as somebody else's"), "{refused}");
    assert_eq!(left(&lab.pool, &kept).await, before, "nobody's key is destroyed");
    lab.stop().await;
}

/// What one login may do alone is undone from what is kept beside it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rubbish_in_place_of_a_key_destroys_nothing() {
    let lab = Lab::start(&fresh_database().await.pool, 1).await;
    let leaf = lab.proven(&lab.deny().await.unwrap());
    let place = (0, leaf["index"].as_u64().unwrap());
    let one = Psql::member(&lab.pool, "one", "haetae_privacy").await;
    for n in [1, 2] {
        let rubbish = format!(
            "select privacy_rewrap('rubbish{n}', array_agg(id), array_agg(sha256('')), \
             array_agg(decode(repeat('0{n}', 92), 'hex')), 'kim') from audit_key"
        );
        one.ask(&rubbish).unwrap();
    }
    assert!(disclose(&lab.pool, &privacy(), place, "actor").await.is_err());
    eventually("it is recorded, with who did it", async || {
        let told = leaves(&lab.pool).await;
        let rewrapped = told.iter().filter(|leaf| leaf["act"] == "rewrapped");
        rewrapped.filter(|leaf| leaf["people"].as_array().unwrap().len() == 2).count() == 2
    })
    .await;
    let back = "update audit_key k set subject = f.subject, master = f.master, wrapped = f.wrapped
                from audit_key_former f where f.key = k.id and f.master = 'lab'";
    sqlx::query(back).execute(&lab.pool).await.unwrap();
    assert_eq!(shown(&lab.pool, &leaf, "actor").await.values[0].1.value, KIM.name);
    lab.stop().await;
}

fn masters(names: &[(&str, u8)]) -> Privacy {
    let key = |(name, byte): &(&str, u8)| ((*name).to_owned(), Zeroizing::new([*byte; 32]));
    Privacy::of(&names.iter().map(key).collect::<Vec<_>>()).unwrap().unwrap()
}

/// Rubbish in place of a key, and a good key that is another one.
async fn forgets_nothing_while_a_key_does_not_open(
    pool: &PgPool,
    confirm: impl AsyncFn() -> Result<Forgot, EraseError>,
) {
    for bytes in [
        "decode(repeat('00', 92), 'hex')",
        "(select wrapped from audit_key where id <> k.id limit 1)",
    ] {
        let edit = format!(
            "create table before as select * from audit_key;
             update audit_key k set wrapped = {bytes} where id = (select min(id::text)::uuid from audit_key)"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(edit)).execute(pool).await.unwrap();
        let wrong = confirm().await;
        assert!(matches!(wrong, Err(EraseError::Unopened(1))), "{bytes}: {wrong:?}");
        let back = "update audit_key k set wrapped = b.wrapped from before b where b.id = k.id; drop table before";
        sqlx::raw_sql(back).execute(pool).await.unwrap();
    }
}

/// Against a former master key that leaked: two logins forget what keys were, and only what is not needed any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_keys_were_is_forgotten_by_two_logins_once_each_opens_as_it_is() {
    let lab = Lab::start(&fresh_database().await.pool, 1).await;
    let leaf = lab.proven(&lab.deny().await.unwrap());
    let one = Psql::member(&lab.pool, "one", "haetae_privacy").await;
    let two = Psql::member(&lab.pool, "two", "haetae_privacy").await;
    let (first, second) = (one.pool().await, two.pool().await);
    let both = masters(&[("new", 8), ("lab", 7)]);
    let asked = async || ask_forget(&first, &both, "lab", "kim", "leaked").await.unwrap();
    assert_eq!(asked().await, None, "nothing is kept");
    assert!(rewrap(&first, &both, "kim").await.unwrap().keys > 0);

    let id = asked().await.unwrap();
    for (pool, name, wanted) in [(&first, "lee", "this same login"), (&second, "kim", "who asked")]
    {
        let refused = confirm_forget(pool, &both, id, "lab", name).await.unwrap_err().to_string();
        assert!(refused.contains(wanted), "{refused}");
    }
    let other = confirm_forget(&second, &both, id, "new", "lee").await;
    assert!(matches!(other, Err(EraseError::OtherMaster)), "{other:?}");
    let nobody = confirm_forget(&second, &both, Uuid::nil(), "lab", "lee").await;
    assert!(matches!(nobody, Err(EraseError::NotFound(_))), "{nobody:?}");
    // The lab wraps with the former key still: somebody new came.
    let mut late = draft(Outcome::Deny, 0);
    late.actor = PARK.into();
    lab.audit.record(late).await.unwrap();
    let in_use = confirm_forget(&second, &both, id, "lab", "lee").await;
    assert!(matches!(in_use, Err(EraseError::InUse)), "{in_use:?}");
    let count = async |what: &'static str| -> i64 {
        sqlx::query_scalar(what).fetch_one(&lab.pool).await.unwrap()
    };
    eventually("who acted has been recorded", async || {
        count("select count(*) from log_outbox where not written").await == 0
    })
    .await;
    rewrap(&first, &both, "kim").await.unwrap();
    let kept = count("select count(*) from audit_key_former where master = 'lab'").await;
    assert!(kept >= 2, "two persons' keys: {kept}");

    let confirm = async || confirm_forget(&second, &both, id, "lab", "lee").await;
    forgets_nothing_while_a_key_does_not_open(&lab.pool, confirm).await;
    // Nor while its master key is not here.
    let blind = confirm_forget(&second, &masters(&[("lab", 7)]), id, "lab", "lee").await;
    assert!(matches!(blind, Err(EraseError::Unopened(_))), "{blind:?}");

    // What was replaced after it was asked for is asked for again.
    let done = confirm_forget(&second, &masters(&[("new", 8)]), id, "lab", "lee").await.unwrap();
    assert!(
        matches!(done, Forgot::Keys { keys, left } if keys + left == kept && left > 0),
        "{done:?}"
    );
    let again = confirm_forget(&second, &both, id, "lab", "lee").await.unwrap();
    assert!(matches!(again, Forgot::Already(_)), "{again:?}");
    let id = asked().await.unwrap();
    let done = confirm_forget(&second, &masters(&[("new", 8)]), id, "lab", "lee").await.unwrap();
    assert!(matches!(done, Forgot::Keys { keys, left: 0 } if keys > 0), "{done:?}");
    assert_eq!(asked().await, None, "nothing is left");
    let found = "select count(*) from former_forgetting where asked = sha256(asked_salt || convert_to('kim', 'UTF8'))";
    assert_eq!(count(found).await, 0, "who asked is not found by who has the name");
    let place = (0, leaf["index"].as_u64().unwrap());
    let shown = disclose(&lab.pool, &masters(&[("new", 8)]), place, "actor").await.unwrap();
    assert_eq!(shown.values[0].1.value, KIM.name);
    eventually("both acts are recorded, each with name and login", async || {
        let told = leaves(&lab.pool).await;
        let acts =
            |act: &str| told.iter().filter(|leaf| leaf["act"] == act).cloned().collect::<Vec<_>>();
        let (asked, forgotten) = (acts("former_asked"), acts("former_forgotten"));
        asked.len() == 2
            && forgotten.len() == 2
            && forgotten[0]["people"].as_array().unwrap().len() == 2
    })
    .await;
    lab.projected().await;
    assert_eq!(verify(&lab.pool).await.unwrap().findings, []);
    lab.stop().await;
}
