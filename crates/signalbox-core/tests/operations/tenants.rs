//! Tenants, their limits and figures of use, and API keys.

use std::time::Duration;

use signalbox_core::Rejected;
use signalbox_core::decision::{ApiKey, Scope, Tenant};
use signalbox_core::engine::{
    AddUsage, ChangeTenant, CreateKey, CreateTenant, NoteKeyUses, RevokeKey, RotateKey,
};
use signalbox_core::quota::{Limit, LimitChanges, TenantLimits, UsageDay};
use signalbox_wire::id::{KeyId, TenantId};

use crate::stage::Stage;

fn key(stage: &Stage, id: &str) -> ApiKey {
    ApiKey {
        id: KeyId::parse(id).unwrap(),
        hash: format!("hash of {id}"),
        name: id.to_owned(),
        scope: Scope::Read,
        created_at: stage.now,
        expires_at: None,
        rotated_at: None,
        previous: None,
        last_used_at: None,
    }
}

#[test]
fn a_key_that_is_rotated_keeps_the_secret_before_for_as_long_as_is_said() {
    let mut stage = Stage::new();
    let made = key(&stage, "key_1");
    stage.run(&CreateKey { key: made.clone() }).unwrap();
    let rotate = |hash: &str, previous_until| RotateKey {
        key: made.id.clone(),
        hash: hash.to_owned(),
        previous_until,
        expires_at: None,
    };
    let until = stage.now + Duration::from_secs(3_600);
    let rotated = stage.run(&rotate("second", Some(until))).unwrap();
    let previous = rotated.previous.expect("good for a while");
    assert_eq!((rotated.hash.as_str(), previous.hash, previous.until), ("second", made.hash.clone(), until));
    let rotated = stage.run(&rotate("third", None)).unwrap();
    assert_eq!((rotated.hash.as_str(), rotated.previous), ("third", None));
    let ends = stage.now + Duration::from_secs(1);
    let ending = RotateKey { expires_at: Some(ends), ..rotate("fourth", None) };
    assert_eq!(stage.run(&ending).unwrap().expires_at, Some(ends));
    stage.now = ends;
    assert!(matches!(stage.run(&rotate("fifth", None)), Err(Rejected::KeyExpired { .. })));
    let later = RotateKey { expires_at: Some(ends + Duration::from_secs(1)), ..rotate("fifth", None) };
    assert_eq!(stage.run(&later).unwrap().hash, "fifth");
    stage.run(&RevokeKey { key: made.id.clone() }).unwrap();
    assert!(matches!(stage.run(&RevokeKey { key: made.id.clone() }), Err(Rejected::UnknownKey(_))));
    assert!(matches!(stage.run(&rotate("sixth", None)), Err(Rejected::UnknownKey(_))));
}

#[test]
fn the_last_use_of_a_key_only_goes_on_and_brings_no_key_back() {
    let mut stage = Stage::new();
    let made = key(&stage, "key_1");
    stage.run(&CreateKey { key: made.clone() }).unwrap();
    let (early, late) = (stage.now, stage.now + Duration::from_secs(60));
    let gone = KeyId::parse("key_gone").unwrap();
    for at in [late, early] {
        stage.run(&NoteKeyUses { uses: vec![(gone.clone(), at), (made.id.clone(), at)] }).unwrap();
    }
    let rotate = RotateKey { key: made.id, hash: "second".into(), previous_until: None, expires_at: None };
    assert_eq!(stage.run(&rotate).unwrap().last_used_at, Some(late), "also over another secret");
    assert!(matches!(stage.run(&RevokeKey { key: gone }), Err(Rejected::UnknownKey(_))));
}

#[test]
fn limits_change_one_by_one_and_the_default_tenant_has_some_too() {
    let mut stage = Stage::new();
    let id = TenantId::parse("tnt_1").unwrap();
    let limits = TenantLimits { agents: Some(1), channels: Some(2), ..TenantLimits::default() };
    let tenant = Tenant { id: id.clone(), name: "acme".into(), created_at: stage.now, limits };
    let first = key(&stage, "key_1");
    stage.run(&CreateTenant { tenant, key: first }).unwrap();
    let change = |tenant: &TenantId, changes: Vec<(Limit, Option<u64>)>| ChangeTenant {
        tenant: tenant.clone(),
        name: None,
        limits: LimitChanges(changes),
    };
    let changed = stage.run(&change(&id, vec![(Limit::Agents, None), (Limit::ApiKeys, Some(0))])).unwrap();
    assert_eq!(
        (changed.limits.agents, changed.limits.channels, changed.limits.api_keys),
        (None, Some(2), Some(0))
    );
    let default = TenantId::default_tenant();
    let changed = stage.run(&change(&default, vec![(Limit::Agents, Some(9))])).unwrap();
    assert_eq!((changed.name.as_str(), changed.limits.agents), ("default", Some(9)));
    let nobody = TenantId::parse("tnt_nobody").unwrap();
    assert!(matches!(stage.run(&change(&nobody, Vec::new())), Err(Rejected::UnknownTenant(_))));
}

#[test]
fn what_nodes_took_adds_up() {
    let mut stage = Stage::new();
    let take = |day: u32, messages: u64| AddUsage { usage: UsageDay { messages, ..UsageDay::of(day) } };
    let day = 405;
    assert_eq!(stage.run(&take(5, 1)).unwrap().messages, 1);
    let totals: Vec<u64> =
        stage.fold(&[take(day, 2), take(day, 3)]).into_iter().map(|total| total.unwrap().messages).collect();
    assert_eq!(totals, [2, 5]);
    assert_eq!(stage.run(&take(day, 0)).unwrap().messages, 5);
    assert_eq!(stage.run(&take(5, 1)).unwrap().messages, 2, "each day by itself");
}
