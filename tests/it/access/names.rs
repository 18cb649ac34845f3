//! No name can be written that means anything to an engine, or that is another organisation's.

use super::*;
use crate::registry::vouch;

/// What somebody might try to write in the place of a name.
const HOSTILE: [&str; 30] = [
    "*",
    "r*",
    "?",
    "a,b",
    "a, b",
    "\"a\"",
    "'a'",
    "a\nb",
    "a\r\nb",
    "a\tb",
    "a b",
    " a",
    "a ",
    "",
    "a::b",
    "org:de-bank/role:user",
    "role:user",
    "../a",
    "a/../b",
    "p, x, allow, *, *, *, *",
    "g, a, b",
    "a#b",
    "a|b",
    "a;b",
    "a=b",
    "(a)",
    "a\u{0}b",
    "us\u{435}r",
    "аdmin",
    "user\u{200b}",
];

#[test]
fn a_hostile_name_is_no_role() {
    for name in HOSTILE {
        for key in ["role", "member"] {
            let grant = with(to_role("g", "intern", "teller"), json!({ key: name }));
            assert!(entry_of(Sort::RoleGrant, &grant).is_err(), "{key} {name:?}");
        }
        let row = with(row("r", "teller", MODEL, "submit"), json!({ "role": name }));
        assert!(entry_of(Sort::AccessRow, &row).is_err(), "{name:?}");
    }
}

#[test]
fn a_hostile_name_is_no_service_operation_id_organisation_or_outcome() {
    let sound = row("r", "teller", MODEL, "submit");
    entry(Sort::AccessRow, &sound);
    for name in HOSTILE {
        // `role:user` and the like are well-formed names of models: they name only what this organisation registered
        let of_a_model = |text: &str| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/:@+".contains(&byte);
            text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
                && text.bytes().all(plain)
        };
        if !of_a_model(name) {
            let row = with(sound.clone(), json!({ "services": [name] }));
            assert!(entry_of(Sort::AccessRow, &row).is_err(), "service {name:?}");
        }
        for (key, value) in [
            ("operations", json!([name])),
            ("id", json!(name)),
            ("id", json!(format!("{RETAILER}/{name}"))),
            ("out", json!(name)),
            ("org", json!(name)),
        ] {
            let row = with(sound.clone(), json!({ key: value }));
            assert!(entry_of(Sort::AccessRow, &row).is_err(), "{key} {name:?}");
        }
    }
}

#[test]
fn a_hostile_name_is_nobody() {
    let sound = to_actor("g", "person:kim@example.kr", "teller");
    entry(Sort::RoleGrant, &sound);
    let spiffe = json!({ "actor": "spiffe://kr-retailer.example/svc/a", "issuer": "certificate" });
    entry(Sort::RoleGrant, &with(sound.clone(), spiffe));
    for name in HOSTILE
        .iter()
        .filter(|name| !["role:user", "org:de-bank/role:user", "a/../b"].contains(name))
    {
        for key in ["actor", "issuer"] {
            let grant = with(sound.clone(), json!({ key: name }));
            assert!(entry_of(Sort::RoleGrant, &grant).is_err(), "{key} {name:?}");
        }
    }
    let both = with(sound, json!({ "member": "intern" }));
    assert!(entry_of(Sort::RoleGrant, &both).is_err());
    let unknown = with(to_role("g", "intern", "teller"), json!({ "priority": 1 }));
    assert!(entry_of(Sort::RoleGrant, &unknown).unwrap_err().to_string().contains("unknown key"));
}

/// A name that looks like an engine's own word is only a name.
#[tokio::test]
async fn a_person_called_like_a_role_is_not_that_role() {
    let lab = Lab::new().await;
    let rows = row("r", "teller", MODEL, "cancel");
    lab.grant(entry(Sort::AccessRow, &rows)).await.unwrap();
    lab.grant(entry(Sort::RoleGrant, &to_actor("g", "role:teller", "clerk"))).await.unwrap();
    let named = Who::new("role:teller", &[]);
    assert_eq!(lab.may(RETAILER, &named, MODEL, "cancel").await, Err(Reason::AccessDenied));
    let teller = Who::new("somebody", &["teller"]);
    assert_eq!(lab.may(RETAILER, &teller, MODEL, "cancel").await, Ok(()));
}

#[tokio::test]
async fn what_is_another_organisations_cannot_be_named() {
    let theirs = with(row("r", "teller", MODEL, "submit"), json!({ "id": "de-bank/r" }));
    let error = entry_of(Sort::AccessRow, &theirs).unwrap_err().to_string();
    assert!(error.contains("the id `de-bank/r` is not one of `kr-retailer`"), "{error}");
    let lab = Lab::new().await;
    let nobodys =
        with(row("r", "teller", MODEL, "submit"), json!({ "org": "no-such", "id": "no-such/r" }));
    let error = lab.grant(entry(Sort::AccessRow, &nobodys)).await.unwrap_err();
    assert_eq!(error.to_string(), "organisation `no-such` is not registered");
    let not_ours = row("r", "teller", "radiology-vlm", "submit");
    let error = lab.grant(entry(Sort::AccessRow, &not_ours)).await.unwrap_err();
    assert!(error.to_string().starts_with("`radiology-vlm` is no service of `kr-retailer`"));
}

#[tokio::test]
async fn a_circle_of_roles_and_a_chain_of_ten_links_are_refused_and_nine_work() {
    let lab = Lab::new().await;
    lab.grant(entry(Sort::AccessRow, &row("top", "r9", MODEL, "cancel"))).await.unwrap();
    for link in 0..9 {
        let document = to_role(&format!("g{link}"), &format!("r{link}"), &format!("r{}", link + 1));
        lab.grant(entry(Sort::RoleGrant, &document)).await.unwrap();
    }
    let deep = Who::new("somebody", &["r0"]);
    assert_eq!(lab.may(RETAILER, &deep, MODEL, "cancel").await, Ok(()));
    for (member, role) in [("below", "r0"), ("r9", "above"), ("r9", "r0"), ("r4", "r4")] {
        let error =
            lab.grant(entry(Sort::RoleGrant, &to_role("more", member, role))).await.unwrap_err();
        assert!(is_unsound(&error), "{member} in {role}: {error}");
        assert!(error.to_string().contains("comes back to itself or has more than 9 links"));
    }
    // a directory is held to it too
    let text = "id = \"kr-retailer/loop\"\norg = \"kr-retailer\"\nmember = \"r9\"\nrole = \"r0\"\n";
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/registry-example");
    let copy = tempfile::tempdir().unwrap();
    copy_tree(&example, copy.path());
    std::fs::create_dir(copy.path().join("role_grants")).unwrap();
    std::fs::write(copy.path().join("role_grants/loop.toml"), text).unwrap();
    let read = tree::read(copy.path()).unwrap();
    let error = store::apply(lab.pool(), &read, "kim").await.unwrap_err();
    assert!(matches!(error, RegistryError::Access { .. }), "{error}");
}

/// Written past every check, straight into the database.
#[tokio::test]
async fn an_entry_that_is_not_understood_refuses_its_organisation_and_nobody_else() {
    let lab = Lab::new().await;
    lab.grant(entry(Sort::AccessRow, &row("r", "teller", MODEL, "cancel"))).await.unwrap();
    let (teller, user) = (Who::new("a", &["teller"]), Who::new("b", &["user"]));
    assert_eq!(lab.may(RETAILER, &teller, MODEL, "cancel").await, Ok(()));
    for bad in [
        json!({ "role": "*" }),
        json!({ "role": "org:de-bank/role:user" }),
        json!({ "services": ["a,b"] }),
        json!({ "operations": ["*"] }),
        json!({ "org": "de-bank" }),
        json!({ "out": "maybe" }),
    ] {
        sqlx::query(
            "UPDATE registry_entry SET document = document || $1 WHERE id = 'kr-retailer/r'",
        )
        .bind(&bad)
        .execute(lab.pool())
        .await
        .unwrap();
        vouch(lab.pool()).await;
        for who in [&teller, &user] {
            let answer = lab.may(RETAILER, who, MODEL, "submit").await;
            assert_eq!(answer, Err(Reason::EngineError), "{bad}");
        }
        assert_eq!(lab.may("de-bank", &user, MODEL, "submit").await, Ok(()), "{bad}");
        sqlx::query("UPDATE registry_entry SET document = $1 WHERE id = 'kr-retailer/r'")
            .bind(row("r", "teller", MODEL, "cancel"))
            .execute(lab.pool())
            .await
            .unwrap();
        vouch(lab.pool()).await;
    }
    assert_eq!(lab.may(RETAILER, &teller, MODEL, "cancel").await, Ok(()));
}

fn copy_tree(from: &Path, to: &Path) {
    for found in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(found.file_name());
        if found.path().is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy_tree(&found.path(), &target);
        } else {
            std::fs::copy(found.path(), target).unwrap();
        }
    }
}
